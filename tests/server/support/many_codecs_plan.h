#pragma once

#include <string_view>

namespace fl::server::testing {

// A federation of two devices with one layer for each way of writing values.
inline constexpr std::string_view kManyCodecsPlan = R"(name = "small"
seed = 7
[model]
input = [20]
layers = ["dense 21", "dense 20", "dense 20", "dense 20", "dense 20", "dense 20"]
[rounds]
count = 2
population_min = 2
goal = 2
min_report = 2
deadline_s = 1000
[privacy]
norm_bound = 1000.0
[compression]
gather_below = 1
[[compression.recipe]]
tensors = "dense1.weight"
recipe = "quantize 3"
[[compression.recipe]]
tensors = "dense2.weight"
recipe = "top_k 10%"
[[compression.recipe]]
tensors = "dense3.weight"
recipe = "low_rank energy=80% max=4 | quantize 4"
[[compression.recipe]]
tensors = "dense4.weight"
recipe = "quantize 4 | context"
[[compression.recipe]]
tensors = "dense5.weight"
recipe = "dead_zone 1 | rice"
)";
;

}  // namespace fl::server::testing
