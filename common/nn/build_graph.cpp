#include "fl/common/nn/build_graph.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "fl/common/nn/operator.h"

namespace fl::nn {
namespace {

std::vector<std::string_view> SplitWords(std::string_view line) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while (at < line.size()) {
    if (line[at] == ' ' || line[at] == '\t') {
      ++at;
      continue;
    }
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::optional<std::size_t> ParseCount(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0) return std::nullopt;
  return value;
}

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

// Reads the lines one after the other and appends a node for each.
class GraphBuilder {
 public:
  GraphBuilder(Graph& graph, const GraphLimits& limits) : graph_(graph), limits_(limits) {}

  Result<> AddInput(const Shape& shape) {
    Node node;
    node.kind = OpKind::kInput;
    node.name = "input";
    node.shape = shape;
    if (shape.rank() != 1 && shape.rank() != 3) {
      return Invalid("expected one extent (features) or three (height, width, channels), found " +
                     shape.ToText());
    }
    return Append(std::move(node));
  }

  Result<> AddLayer(std::string_view line) {
    const std::vector<std::string_view> words = SplitWords(line);
    if (words.empty()) return Invalid("expected a layer, found an empty line");
    const std::string_view name = words.front();
    const std::span<const std::string_view> rest(words.begin() + 1, words.end());
    for (const OpKind kind : kOpKinds) {
      if (kind != OpKind::kInput && RulesOf(kind).name == name) return AddOperator(kind, rest);
    }
    return Invalid("unknown layer \"" + std::string(name) +
                   "\": expected conv, dense, maxpool, avgpool, global_avgpool, relu or flatten");
  }

  TensorLayout TakeLayout() { return TensorLayout(std::move(specs_)); }

 private:
  const Shape& last_shape() const { return graph_.nodes.back().shape; }

  Result<> AddOperator(OpKind kind, std::span<const std::string_view> words) {
    Node node;
    node.kind = kind;
    const std::string name(RulesOf(kind).name);
    node.name = name + std::to_string(++counts_[name]);
    node.inputs = {graph_.nodes.size() - 1};
    if (kind == OpKind::kDense) return AddDense(std::move(node), words);
    if (kind == OpKind::kConv2d) return AddConvolution(std::move(node), words);
    if (kind == OpKind::kMaxPool || kind == OpKind::kAvgPool)
      return AddPool(std::move(node), words);
    if (!words.empty()) {
      return Invalid("expected nothing after " + name + ", found \"" + std::string(words[0]) +
                     "\"");
    }
    if (kind == OpKind::kGlobalAvgPool) {
      FL_TRY_OK(ExpectImage());
      node.shape = Shape{last_shape()[2]};
    } else if (kind == OpKind::kFlatten) {
      node.shape = Shape{last_shape().count()};
    } else {
      node.shape = last_shape();
    }
    return Append(std::move(node));
  }

  Result<> AddDense(Node node, std::span<const std::string_view> words) {
    FL_TRY(words, TakeFactoring(words, node.factoring));
    if (words.size() != 1) {
      return Invalid("expected \"dense UNITS [lora=RANK [alpha=N] [both] | fedpara=RANK]\"");
    }
    FL_TRY(const std::size_t units, ReadCount("UNITS", words[0]));
    if (last_shape().rank() != 1) {
      return Invalid("expected one extent as input of dense, found " + last_shape().ToText() +
                     "; put flatten or global_avgpool before it");
    }
    node.shape = Shape{units};
    FL_TRY_OK(AddParameters(node, Shape{last_shape()[0], units}, units));
    return Append(std::move(node));
  }

  Result<> AddConvolution(Node node, std::span<const std::string_view> words) {
    FL_TRY(words, TakeFactoring(words, node.factoring));
    if (words.size() < 2) return Invalid("expected \"conv CHANNELS HxW [stride=N] [same|valid]\"");
    FL_TRY(const std::size_t channels, ReadCount("CHANNELS", words[0]));
    FL_TRY_OK(ReadKernel(words[1], node));
    FL_TRY_OK(ReadOptions(words.subspan(2), node));
    FL_TRY_OK(ExpectImage());
    FL_TRY_OK(InferImage(channels, node));
    const Shape weight{node.kernel_height, node.kernel_width, last_shape()[2], channels};
    FL_TRY_OK(AddParameters(node, weight, channels));
    return Append(std::move(node));
  }

  Result<> AddPool(Node node, std::span<const std::string_view> words) {
    const std::string name(RulesOf(node.kind).name);
    if (words.empty()) return Invalid("expected \"" + name + " N|HxW [stride=N] [same|valid]\"");
    FL_TRY_OK(ReadKernel(words[0], node));
    node.stride = node.kernel_height;
    FL_TRY_OK(ReadOptions(words.subspan(1), node));
    FL_TRY_OK(ExpectImage());
    FL_TRY_OK(InferImage(last_shape()[2], node));
    return Append(std::move(node));
  }

  Result<std::size_t> ReadCount(std::string_view what, std::string_view word) const {
    const std::optional<std::size_t> value = ParseCount(word);
    if (!value || *value > limits_.extent_max) {
      return Invalid("expected " + std::string(what) + " in [1, " +
                     std::to_string(limits_.extent_max) + "], found \"" + std::string(word) + "\"");
    }
    return *value;
  }

  // Reads the words about factors, which come last, and returns those before them.
  Result<std::span<const std::string_view>> TakeFactoring(std::span<const std::string_view> words,
                                                          Factoring& factoring) const {
    const auto first = std::ranges::find_if(words, [](std::string_view word) {
      return word.starts_with("lora=") || word.starts_with("fedpara=");
    });
    if (first == words.end()) return words;
    const auto before = static_cast<std::size_t>(first - words.begin());
    const bool lora = first->starts_with("lora=");
    factoring.kind = lora ? FactorKind::kLora : FactorKind::kFedPara;
    FL_TRY(factoring.rank, ReadCount("the rank", first->substr(first->find('=') + 1)));
    for (const std::string_view word : words.subspan(before + 1)) {
      if (lora && word == "both" && !factoring.both) {
        factoring.both = true;
      } else if (lora && word.starts_with("alpha=") && factoring.alpha == 0) {
        FL_TRY(factoring.alpha, ReadCount("alpha", word.substr(6)));
      } else {
        return Invalid(std::string("expected ") +
                       (lora ? "[alpha=N] [both] after lora=RANK" : "nothing after fedpara=RANK") +
                       ", found \"" + std::string(word) + "\"");
      }
    }
    if (lora && factoring.alpha == 0) factoring.alpha = factoring.rank;
    return words.first(before);
  }

  // "5x3"; or "2", the same in both directions.
  Result<> ReadKernel(std::string_view word, Node& node) const {
    const std::size_t cross = word.find('x');
    FL_TRY(node.kernel_height, ReadCount("the kernel's height", word.substr(0, cross)));
    node.kernel_width = node.kernel_height;
    if (cross != std::string_view::npos) {
      FL_TRY(node.kernel_width, ReadCount("the kernel's width", word.substr(cross + 1)));
    }
    return {};
  }

  Result<> ReadOptions(std::span<const std::string_view> words, Node& node) const {
    bool has_stride = false;
    bool has_padding = false;
    for (const std::string_view word : words) {
      const bool is_stride = word.starts_with("stride=");
      const bool is_padding = word == "same" || word == "valid";
      if ((is_stride && has_stride) || (is_padding && has_padding) || (!is_stride && !is_padding)) {
        return Invalid("expected [stride=N] [same|valid], found \"" + std::string(word) + "\"");
      }
      if (is_stride) {
        FL_TRY(node.stride, ReadCount("stride", word.substr(7)));
        has_stride = true;
      } else {
        node.same_padding = word == "same";
        has_padding = true;
      }
    }
    return {};
  }

  Result<> ExpectImage() const {
    if (last_shape().rank() == 3) return {};
    return Invalid("expected height, width and channels as input, found " + last_shape().ToText());
  }

  Result<> InferImage(std::size_t channels, Node& node) const {
    const Shape& input = last_shape();
    const auto extent = [&node](std::size_t size, std::size_t kernel) -> std::size_t {
      if (node.same_padding) return (size - 1) / node.stride + 1;
      return size < kernel ? 0 : (size - kernel) / node.stride + 1;
    };
    const std::size_t height = extent(input[0], node.kernel_height);
    const std::size_t width = extent(input[1], node.kernel_width);
    // Keeps the pixels that `same` adds in proportion to the image, so that padded sizes stay
    // bounded.
    const bool larger =
        node.kernel_height > 2 * input[0] + 1 || node.kernel_width > 2 * input[1] + 1;
    if (height == 0 || width == 0 || larger) {
      return Invalid("the kernel " + std::to_string(node.kernel_height) + "x" +
                     std::to_string(node.kernel_width) + " is larger than its input " +
                     input.ToText());
    }
    node.shape = Shape{height, width, channels};
    return {};
  }

  Result<> AddParameters(Node& node, const Shape& weight, std::size_t outputs) {
    FL_TRY_OK(CheckCount(weight));
    const Factoring& factoring = node.factoring;
    const std::size_t rank = factoring.rank;
    const std::size_t rows = weight.count() / outputs;
    if (factoring.kind != FactorKind::kNone && rank > std::min(rows, outputs)) {
      return Invalid("expected a rank of at most " + std::to_string(std::min(rows, outputs)) +
                     " for a weight of " + weight.ToText() + ", found " + std::to_string(rank));
    }
    if (factoring.kind == FactorKind::kFedPara) {
      for (const char* factor : {"1", "2"}) {
        FL_TRY_OK(AddTensor(node, std::string(".x") + factor, Shape{rows, rank}, false));
        FL_TRY_OK(AddTensor(node, std::string(".y") + factor, Shape{rank, outputs}, false));
      }
    } else {
      const bool lora = factoring.kind == FactorKind::kLora;
      FL_TRY_OK(AddTensor(node, ".weight", weight, lora));
      if (lora) {
        FL_TRY_OK(AddTensor(node, ".lora_a", Shape{rows, rank}, !factoring.both));
        FL_TRY_OK(AddTensor(node, ".lora_b", Shape{rank, outputs}, false));
      }
    }
    return AddTensor(node, ".bias", Shape{outputs}, false);
  }

  Result<> AddTensor(Node& node, const std::string& suffix, Shape shape, bool frozen) {
    FL_TRY_OK(CheckCount(shape));
    parameter_count_ += shape.count();
    if (parameter_count_ > limits_.parameters_max) return TooMany(shape);
    if (frozen) graph_.frozen.push_back(specs_.size());
    node.parameters.push_back(specs_.size());
    specs_.push_back({node.name + suffix, std::move(shape)});
    return {};
  }

  // Each extent is at most 2^20 (of a weight's rows 2^31), so a product is checked after each
  // factor.
  Result<> CheckCount(const Shape& shape) const {
    std::uint64_t count = 1;
    for (const std::size_t extent : shape.extents()) {
      count *= extent;
      if (count > limits_.parameters_max) return TooMany(shape);
    }
    return {};
  }

  Error TooMany(const Shape& shape) const {
    return Error{ErrorCode::kLimitExceeded,
                 "expected at most " + std::to_string(limits_.parameters_max) +
                     " parameters in all, found a tensor of " + shape.ToText() + " more"};
  }

  Result<> Append(Node node) {
    std::uint64_t count = 1;
    for (const std::size_t extent : node.shape.extents()) {
      if (extent == 0 || extent > limits_.activation_max) count = limits_.activation_max + 1;
      count = std::min<std::uint64_t>(
          count * std::min<std::uint64_t>(extent, limits_.activation_max + 1),
          limits_.activation_max + 1);
    }
    if (count == 0 || count > limits_.activation_max) {
      return Error{ErrorCode::kLimitExceeded,
                   "expected between 1 and " + std::to_string(limits_.activation_max) +
                       " values, found the shape " + node.shape.ToText()};
    }
    graph_.nodes.push_back(std::move(node));
    return {};
  }

  Graph& graph_;
  const GraphLimits& limits_;
  std::vector<TensorSpec> specs_;
  std::uint64_t parameter_count_ = 0;
  std::map<std::string, std::size_t> counts_;
};

Result<LossKind> ParseLoss(std::string_view text) {
  for (const LossKind kind : {LossKind::kSoftmaxCrossEntropy, LossKind::kMeanSquaredError}) {
    if (text == LossName(kind)) return kind;
  }
  return Invalid("unknown loss \"" + std::string(text) +
                 "\": expected softmax_cross_entropy or mean_squared_error");
}

Result<> CheckOutput(const Graph& graph) {
  if (graph.nodes.size() < 2) return Invalid("a network has at least one layer");
  const bool classes = graph.loss == LossKind::kSoftmaxCrossEntropy;
  if (classes && (graph.output_shape().rank() != 1 || graph.output_shape()[0] < 2)) {
    return Invalid(
        "softmax_cross_entropy needs one extent of at least 2 classes as the last output, found " +
        graph.output_shape().ToText());
  }
  return {};
}

std::string DescribeKernel(const Node& node) {
  std::string text = std::to_string(node.kernel_height) + "x" + std::to_string(node.kernel_width);
  text += " stride=" + std::to_string(node.stride);
  return text + (node.same_padding ? " same" : " valid");
}

std::string DescribeFactoring(const Factoring& factoring) {
  const std::string rank = std::to_string(factoring.rank);
  if (factoring.kind == FactorKind::kFedPara) return " fedpara=" + rank;
  return " lora=" + rank + " alpha=" + std::to_string(factoring.alpha) +
         (factoring.both ? " both" : "");
}

}  // namespace

Result<Graph> BuildGraph(const Shape& input, std::span<const std::string> layers,
                         std::string_view loss, std::size_t* failed_layer,
                         const GraphLimits& limits) {
  std::size_t layer = 0;
  std::size_t& failed = failed_layer != nullptr ? *failed_layer : layer;
  failed = 0;
  Graph graph;
  const auto kind = ParseLoss(loss);
  if (!kind) return kind.error().At("loss");
  graph.loss = *kind;
  GraphBuilder builder(graph, limits);
  if (const auto added = builder.AddInput(input); !added) return added.error().At("input");
  for (const std::string& line : layers) {
    ++failed;
    const std::string where = "layer " + std::to_string(failed) + " \"" + line + "\" after " +
                              graph.output_shape().ToText();
    if (failed > limits.layers_max) {
      return Error{ErrorCode::kLimitExceeded,
                   "expected at most " + std::to_string(limits.layers_max) + " layers, found " +
                       std::to_string(layers.size())};
    }
    if (const auto added = builder.AddLayer(line); !added) return added.error().At(where);
  }
  if (const auto checked = CheckOutput(graph); !checked) {
    return checked.error().At("layer " + std::to_string(failed));
  }
  graph.parameters = builder.TakeLayout();
  failed = 0;
  return graph;
}

std::vector<std::string> DescribeLayers(const Graph& graph) {
  std::vector<std::string> lines;
  for (const Node& node : graph.nodes) {
    if (node.kind == OpKind::kInput) continue;
    std::string line(RulesOf(node.kind).name);
    if (node.kind == OpKind::kDense) line += " " + std::to_string(node.shape[0]);
    if (node.kind == OpKind::kConv2d) line += " " + std::to_string(node.shape[2]);
    if (node.kernel_height > 0) line += " " + DescribeKernel(node);
    if (node.factoring.kind != FactorKind::kNone) line += DescribeFactoring(node.factoring);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string_view LossName(LossKind loss) {
  return loss == LossKind::kSoftmaxCrossEntropy ? "softmax_cross_entropy" : "mean_squared_error";
}

std::size_t PaddingBefore(std::size_t input, std::size_t output, std::size_t kernel,
                          std::size_t stride, bool same) {
  const std::size_t covered = (output - 1) * stride + kernel;
  return same && covered > input ? (covered - input) / 2 : 0;
}

}  // namespace fl::nn
