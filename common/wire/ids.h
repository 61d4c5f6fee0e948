#pragma once

#include <compare>
#include <cstdint>

namespace fl {

// Issued by the server; stands for federation, client and draw. Never zero.
struct TaskId {
  std::uint64_t value = 0;
  friend auto operator<=>(const TaskId&, const TaskId&) = default;
};

// A step of the global model, from 1.
struct RoundId {
  std::uint64_t value = 0;
  friend auto operator<=>(const RoundId&, const RoundId&) = default;
};

// A published model: 0 is the plan's own start; round r's result is the next version.
struct ModelVersion {
  std::uint64_t value = 0;
  friend auto operator<=>(const ModelVersion&, const ModelVersion&) = default;
};

}  // namespace fl
