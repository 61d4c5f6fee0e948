#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fl::testing {

// The parameters that train() gives. Under ctest, where each case is a process of its own, they are
// trained by the first case that asks for them and read by the others of the same run (fl_test's
// TRAINED in tests/CMakeLists.txt). `who` and `layers` together say which training it is.
std::vector<float> KeepTrained(std::string_view who, const std::vector<std::string>& layers,
                               const std::function<std::vector<float>()>& train);

}  // namespace fl::testing
