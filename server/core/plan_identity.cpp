#include "fl/server/core/plan_identity.h"

#include <vector>

#include "fl/common/config/plan.h"

namespace fl::server {
namespace {

// The text with what may change set to one and the same value, in OverridePlan's spelling.
Result<std::string> Fixed(const std::string& text) {
  return OverridePlan(text, {"rounds.count=1", "rounds.deadline_s=1.0", "rounds.wait_s=1.0"});
}

}  // namespace

Result<> CheckSamePlan(const std::string& stored_text, const std::string& text,
                       const std::string& federation) {
  FL_TRY(const std::string stored, Fixed(stored_text));
  FL_TRY(const std::string found, Fixed(text));
  if (stored == found) return Ok{};
  return Error{ErrorCode::kWrongState,
               federation +
                   ": the state is of another plan; of a federation that has begun only "
                   "rounds.count, rounds.deadline_s and rounds.wait_s may change. Give it "
                   "another name or another state folder"};
}

}  // namespace fl::server
