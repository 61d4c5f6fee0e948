#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// A pass that a list may name, and what makes one of its settings; errors carry the place.
struct PassRow {
  std::string_view name;
  Result<std::shared_ptr<const Pass>> (*read)(Fields& fields) = nullptr;
};

// Every pass of this version, in the order in which a list could hold them.
std::span<const PassRow> PassTable();

}  // namespace fl::deploy
