#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/server/core/admit.h"
#include "fl/tests/server/support/many_codecs_plan.h"

namespace {

std::shared_ptr<const fl::server::FederationPlan> MakePlan() {
  auto plan = fl::ParsePlan(fl::server::testing::kManyCodecsPlan, "plan");
  FL_CHECK(plan.has_value(), "the plan is good");
  auto checked = fl::CheckPlan(*std::move(plan), "plan");
  FL_CHECK(checked.has_value(), "the plan's parts fit");
  return fl::server::FederationPlan::Create(*std::move(checked));
}

}  // namespace

// The number of streams and what follows an update's header, whose claims and CRCs are right: it is
// admitted or refused with a detail.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto plan = MakePlan();
  if (size == 0) return 0;
  fl::server::TaskRow task;
  task.id = 77;
  const fl::server::ModelRow base;
  fl::ByteWriter out;
  out.WriteSpan(fl::AsBytes("FLU"));
  out.Write(std::uint8_t{1});
  out.Write(task.id);
  out.Write(base.digest.prefix());
  out.Write(plan->recipe());
  out.WriteVarint(10);
  out.WriteVarint(data[0]);
  out.Write(fl::Crc32(out.bytes()));
  out.WriteSpan(std::as_bytes(std::span(data + 1, size - 1)));
  out.Write(fl::Crc32(out.bytes()));
  const auto checked = fl::server::CheckUpdate(*plan, {task, base, std::nullopt}, out.bytes(), {});
  if (checked) return 0;
  FL_CHECK(checked.error().detail != fl::ErrorDetail::kNone, "each refusal has a detail");
  FL_CHECK(!checked.error().message.empty(), "and a message");
  return 0;
}
