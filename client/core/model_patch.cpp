#include "fl/client/core/model_patch.h"
