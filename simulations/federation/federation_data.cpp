#include "fl/simulations/federation/federation_data.h"

#include <algorithm>
#include <string>

#include "fl/common/base/file.h"
#include "fl/common/data/sample_file.h"
#include "fl/common/data/source.h"
#include "fl/compression/samples/plan_samples.h"
#include "fl/simulations/population/population.h"

namespace fl::sim {
namespace {

using Roots = std::vector<std::filesystem::path>;

// The first root under which the source exists decides.
template <typename Open>
auto FindUnder(const Roots& roots, Open open) -> decltype(open(roots.front())) {
  std::string tried;
  for (const std::filesystem::path& root : roots) {
    auto found = open(root);
    if (found || found.error().code != ErrorCode::kNotFound) return found;
    tried += (tried.empty() ? "" : "; ") + found.error().message;
  }
  return Error{ErrorCode::kNotFound, tried + "; set the folder with --set data.root=DIR"};
}

Result<std::shared_ptr<const data::Dataset>> Open(const std::string& source,
                                                  data::SourceOptions options, const Roots& roots) {
  return FindUnder(roots, [&](const std::filesystem::path& root) {
    options.root = root;
    return data::OpenSource(source, options);
  });
}

Result<SampleFacts> FactsOf(const CheckedPlan& plan, const data::Dataset& dataset,
                            const Roots& roots) {
  SampleFacts facts;
  facts.samples = dataset.count();
  facts.labels.assign(dataset.labels().begin(), dataset.labels().end());
  const SimulationConfig& config = plan.plan.simulation;
  if (config.partition != "natural") return facts;
  FL_TRY(const std::vector<std::int32_t> clients,
         FindUnder(roots, [&](const std::filesystem::path& root) {
           return data::LoadClientIds(config.clients, root);
         }));
  facts.clients.assign(clients.begin(), clients.end());
  return facts;
}

}  // namespace

Result<FederationData> LoadFederationData(const CheckedPlan& plan, const Roots& roots) {
  const SimulationConfig& config = plan.plan.simulation;
  if (config.data.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "simulation.data: expected a source of samples for the devices, found none"};
  }
  FL_TRY(const data::SourceOptions options, SourceOptionsOf(plan));
  FederationData data;
  FL_TRY(data.training, Open(config.data, options, roots));
  FL_TRY(const SampleFacts facts, FactsOf(plan, *data.training, roots));
  FL_TRY(data.shares, Partition(config, facts, plan.plan.seed));
  if (!plan.plan.evaluation.data.empty()) {
    FL_TRY(data.evaluation, Open(plan.plan.evaluation.data, options, roots));
    data.evaluation = FitNormalization(data::Subset(data.evaluation), plan.plan.data);
  }
  return data;
}

Result<FederationData> GroupByDevice(FederationData data) {
  constexpr std::size_t kBytesMax = 256U << 20U;
  const std::size_t bytes =
      std::visit([](const auto& values) { return values.size() * sizeof(values.front()); },
                 data.training->samples().features);
  if (bytes > kBytesMax) return data;
  std::vector<std::uint32_t> order;
  order.reserve(data.training->count());
  for (const auto& share : data.shares) order.insert(order.end(), share.begin(), share.end());
  if (order.empty()) return data;
  FL_TRY(data::Dataset grouped,
         data::Dataset::Create(data::Subset(data.training, std::move(order)).Extract(),
                               data.training->normalization()));
  data.training = std::make_shared<const data::Dataset>(std::move(grouped));
  std::uint32_t next = 0;
  for (auto& share : data.shares) {
    for (std::uint32_t& index : share) index = next++;
  }
  return data;
}

Result<> WriteShares(const FederationData& data, const std::filesystem::path& folder) {
  for (std::size_t device = 0; device < data.shares.size(); ++device) {
    const std::filesystem::path own = folder / DeviceName(device);
    FL_TRY_OK(MakePrivateFolder(own));
    FL_TRY_OK(data::SaveSafetensors(data.ShareOf(device), own / "data.safetensors"));
  }
  return {};
}

}  // namespace fl::sim
