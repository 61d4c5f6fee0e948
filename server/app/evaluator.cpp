#include "fl/server/app/evaluator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "fl/common/data/source.h"
#include "fl/common/nn/evaluate.h"

namespace fl::server {
namespace {

constexpr std::size_t kBatch = 64;

Result<data::SourceOptions> SourceOptionsOf(const FederationPlan& plan) {
  const DataConfig& config = plan.plan().data;
  data::SourceOptions options;
  options.shape = plan.graph().input_shape();
  options.regression = plan.graph().loss == nn::LossKind::kMeanSquaredError;
  options.classes = options.regression ? 0 : plan.graph().output_shape().count();
  FL_TRY(options.normalization,
         data::MakeNormalization(config.normalize, config.mean, config.scale));
  options.csv.label = config.label;
  options.csv.categorical = config.categorical;
  options.csv.ignore = config.ignore;
  options.csv.fill_missing = config.missing == "mean";
  return options;
}

Result<std::shared_ptr<const data::Dataset>> OpenUnder(
    const std::string& source, data::SourceOptions options,
    const std::vector<std::filesystem::path>& roots) {
  auto found = data::OpenSource(source, options);
  std::string tried = found ? "" : found.error().message;
  for (const std::filesystem::path& root : roots) {
    if (found || found.error().code != ErrorCode::kNotFound) break;
    options.root = root;
    found = data::OpenSource(source, options);
    if (!found) tried += "; " + found.error().message;
  }
  if (found || found.error().code != ErrorCode::kNotFound) return found;
  return Error{ErrorCode::kNotFound,
               "evaluation.data: " + tried + "; say where the data lie with --data-root DIR"};
}

// The samples of a data set in their order, a batch at a time.
class BatchReader {
 public:
  explicit BatchReader(const data::Dataset& dataset) : dataset_(dataset) {}

  std::size_t operator()(const nn::BatchBuffer& buffer) {
    const std::size_t count = std::min(kBatch, dataset_.count() - next_);
    std::vector<std::uint32_t> indices(count);
    std::iota(indices.begin(), indices.end(), static_cast<std::uint32_t>(next_));
    if (count > 0) {
      dataset_.CopySamples(indices, buffer.input.first(count * dataset_.features()));
    }
    if (dataset_.classes() > 0) {
      std::ranges::copy(dataset_.labels().subspan(next_, count), buffer.labels.begin());
    } else {
      std::ranges::copy(dataset_.targets().subspan(next_, count), buffer.targets.begin());
    }
    next_ += count;
    return count;
  }

 private:
  const data::Dataset& dataset_;
  std::size_t next_ = 0;
};

}  // namespace

Result<Evaluator> MakeEvaluator(std::shared_ptr<const FederationPlan> plan,
                                const std::vector<std::filesystem::path>& roots) {
  const std::string& source = plan->plan().evaluation.data;
  if (source.empty()) return Evaluator();
  FL_TRY(data::SourceOptions options, SourceOptionsOf(*plan));
  FL_TRY(std::shared_ptr<const data::Dataset> dataset,
         OpenUnder(source, std::move(options), roots));
  return Evaluator([plan = std::move(plan), dataset = std::move(dataset)](
                       std::uint64_t version, const Bytes& model) -> Result<Evaluated> {
    std::vector<float> parameters(plan->layout().total());
    if (model.size() != parameters.size() * sizeof(float)) {
      return Error{ErrorCode::kInternal, "the stored model has another size than the plan's"};
    }
    std::memcpy(parameters.data(), model.data(), model.size());
    FL_TRY(nn::Session session, nn::Session::Create(plan->graph(), kBatch));
    const nn::Evaluation evaluation = nn::Evaluate(session, parameters, BatchReader(*dataset));
    return Evaluated{version, evaluation.loss, evaluation.accuracy};
  });
}

}  // namespace fl::server
