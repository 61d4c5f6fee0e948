#pragma once

#include <string>

#include "fl/common/base/result.h"

namespace fl::server {

// Whether a running federation may go on with this plan: its text says the same as the stored one,
// but for rounds.count, rounds.deadline_s and rounds.wait_s. kWrongState names the federation and
// what may change.
Result<> CheckSamePlan(const std::string& stored_text, const std::string& text,
                       const std::string& federation);

}  // namespace fl::server
