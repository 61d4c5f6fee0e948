#include "fl/common/nn/build_graph.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "fl/common/nn/internal/layer_name.h"
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

bool IsName(std::string_view word) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !word.empty() && word.size() <= 64 && lower(word[0]) &&
         std::ranges::all_of(
             word, [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '_'; });
}

std::string AllOperators() {
  std::string list;
  for (const OpKind kind : kOpKinds) {
    if (kind == OpKind::kInput) continue;
    list += (list.empty() ? "" : ", ") + std::string(RulesOf(kind).name);
  }
  return list;
}

using internal::AutomaticName;
using Words = std::span<const std::string_view>;

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

  // [NAME:] OPERATOR ... [from=NAME]
  Result<> AddLayer(std::string_view line) {
    const std::vector<std::string_view> all = SplitWords(line);
    Words words = all;
    Node node;
    if (!words.empty() && words.front().ends_with(':')) {
      node.name = words.front().substr(0, words.front().size() - 1);
      words = words.subspan(1);
      if (!IsName(node.name)) {
        return Invalid("expected a name of a-z, 0-9 and _ before the colon, found \"" + node.name +
                       "\"");
      }
    }
    if (words.empty()) return Invalid("expected a layer, found none in the line");
    node.inputs = {graph_.nodes.size() - 1};
    if (words.back().starts_with("from=")) {
      FL_TRY(node.inputs[0], Find(words.back().substr(5)));
      words = words.first(words.size() - 1);
    }
    for (const OpKind kind : kOpKinds) {
      if (kind == OpKind::kInput || words.empty() || RulesOf(kind).name != words.front()) continue;
      node.kind = kind;
      const std::string automatic = AutomaticName(kind, counts_);
      if (node.name.empty()) node.name = automatic;
      if (names_.contains(node.name))
        return Invalid("expected another name than \"" + node.name + "\", which is taken");
      return AddOperator(std::move(node), words.subspan(1));
    }
    return Invalid("unknown layer \"" + std::string(words.empty() ? "" : words.front()) +
                   "\": expected one of " + AllOperators());
  }

  TensorLayout TakeLayout() { return TensorLayout(std::move(specs_)); }

 private:
  const Shape& InputShape(const Node& node) const { return graph_.nodes[node.inputs[0]].shape; }

  Result<std::size_t> Find(std::string_view name) const {
    const auto found = names_.find(std::string(name));
    if (found != names_.end()) return found->second;
    return Invalid("expected the name of a layer before this one, found \"" +
                   std::string(name.substr(0, 64)) + "\"");
  }

  Result<> AddOperator(Node node, Words words) {
    switch (node.kind) {
      case OpKind::kDense:
        return AddDense(std::move(node), words);
      case OpKind::kConv2d:
        return AddConvolution(std::move(node), words);
      case OpKind::kDepthwise:
        return AddDepthwise(std::move(node), words);
      case OpKind::kMaxPool:
      case OpKind::kAvgPool:
        return AddPool(std::move(node), words);
      case OpKind::kAdd:
      case OpKind::kMultiply:
      case OpKind::kConcat:
        return AddCombination(std::move(node), words);
      case OpKind::kReshape:
        return AddReshape(std::move(node), words);
      default:
        return AddPlain(std::move(node), words);
    }
  }

  // An operator without words of its own.
  Result<> AddPlain(Node node, Words words) {
    if (!words.empty()) {
      return Invalid("expected nothing after " + std::string(RulesOf(node.kind).name) +
                     ", found \"" + std::string(words[0]) + "\"");
    }
    node.shape = InputShape(node);
    const Shape channels{node.shape[node.shape.rank() - 1]};
    if (node.kind == OpKind::kGlobalAvgPool) {
      FL_TRY_OK(ExpectImage(node));
      node.shape = channels;
    } else if (node.kind == OpKind::kFlatten) {
      node.shape = Shape{node.shape.count()};
    } else if (node.kind == OpKind::kBatchNorm || node.kind == OpKind::kLayerNorm) {
      FL_TRY_OK(AddTensor(node, ".gamma", channels, false));
      FL_TRY_OK(AddTensor(node, ".beta", channels, false));
    }
    if (node.kind == OpKind::kBatchNorm) {
      for (const char* suffix : {".mean", ".variance"}) {
        graph_.statistics.push_back(specs_.size());
        FL_TRY_OK(AddTensor(node, suffix, channels, false));
      }
    }
    return Append(std::move(node));
  }

  // add NAME..., multiply NAME..., concat NAME...: the input and the outputs of the named layers.
  Result<> AddCombination(Node node, Words words) {
    if (words.empty()) {
      return Invalid("expected \"" + std::string(RulesOf(node.kind).name) +
                     " NAME...\", the names of earlier layers");
    }
    for (const std::string_view word : words) {
      FL_TRY(const std::size_t operand, Find(word));
      node.inputs.push_back(operand);
    }
    node.shape = InputShape(node);
    std::vector<std::size_t> extents(node.shape.extents().begin(), node.shape.extents().end());
    for (const std::size_t operand : std::span(node.inputs).subspan(1)) {
      const Shape& other = graph_.nodes[operand].shape;
      const Shape channels{node.shape[node.shape.rank() - 1]};
      if (node.kind == OpKind::kConcat && other.rank() == node.shape.rank()) {
        std::vector<std::size_t> expected(node.shape.extents().begin(), node.shape.extents().end());
        expected.back() = other[other.rank() - 1];
        if (other != Shape(expected)) return Mismatch(node, other);
        extents.back() += expected.back();
      } else if (other != node.shape && (node.kind != OpKind::kMultiply || other != channels)) {
        return Mismatch(node, other);
      }
    }
    node.shape = Shape(std::move(extents));
    return Append(std::move(node));
  }

  Error Mismatch(const Node& node, const Shape& found) const {
    return Invalid("expected operands that fit " + InputShape(node).ToText() + ", found " +
                   found.ToText());
  }

  Result<> AddReshape(Node node, Words words) {
    if (words.size() != 1) return Invalid("expected \"reshape N|HxWxC\"");
    std::vector<std::size_t> extents;
    std::string_view rest = words[0];
    while (true) {
      const std::size_t cross = std::min(rest.find('x'), rest.size());
      FL_TRY(const std::size_t extent, ReadCount("an extent", rest.substr(0, cross)));
      extents.push_back(extent);
      if (cross == rest.size()) break;
      rest.remove_prefix(cross + 1);
    }
    node.shape = Shape(extents);
    const bool ranks = node.shape.rank() == 1 || node.shape.rank() == 3;
    FL_TRY_OK(CheckCount(node.shape));
    if (ranks && node.shape.count() == InputShape(node).count()) return Append(std::move(node));
    return Invalid("expected N or HxWxC with as many values as " + InputShape(node).ToText() +
                   ", found " + std::string(words[0]));
  }

  Result<> AddDense(Node node, Words words) {
    FL_TRY(words, TakeFactoring(words, node.factoring));
    if (words.size() != 1) {
      return Invalid("expected \"dense UNITS [lora=RANK [alpha=N] [both] | fedpara=RANK]\"");
    }
    FL_TRY(const std::size_t units, ReadCount("UNITS", words[0]));
    if (InputShape(node).rank() != 1) {
      return Invalid("expected one extent as input of dense, found " + InputShape(node).ToText() +
                     "; put flatten or global_avgpool before it");
    }
    node.shape = Shape{units};
    FL_TRY_OK(AddParameters(node, Shape{InputShape(node)[0], units}, units));
    return Append(std::move(node));
  }

  Result<> AddConvolution(Node node, Words words) {
    FL_TRY(words, TakeFactoring(words, node.factoring));
    if (words.size() < 2)
      return Invalid("expected \"conv CHANNELS HxW [stride=N] [same|valid] [groups=N]\"");
    FL_TRY(const std::size_t channels, ReadCount("CHANNELS", words[0]));
    FL_TRY_OK(ReadKernel(words[1], node));
    FL_TRY_OK(ReadOptions(words.subspan(2), node));
    FL_TRY_OK(ExpectImage(node));
    FL_TRY_OK(InferImage(channels, node));
    const std::size_t inputs = InputShape(node)[2];
    if (inputs % node.groups != 0 || channels % node.groups != 0) {
      return Invalid("expected groups that divide the channels " + std::to_string(inputs) +
                     " and " + std::to_string(channels) + ", found " + std::to_string(node.groups));
    }
    const Shape weight{node.kernel_height, node.kernel_width, inputs / node.groups, channels};
    FL_TRY_OK(AddParameters(node, weight, channels));
    return Append(std::move(node));
  }

  Result<> AddDepthwise(Node node, Words words) {
    if (words.empty()) return Invalid("expected \"depthwise HxW [stride=N] [same|valid]\"");
    FL_TRY_OK(ReadKernel(words[0], node));
    FL_TRY_OK(ReadOptions(words.subspan(1), node));
    FL_TRY_OK(ExpectImage(node));
    const std::size_t channels = InputShape(node)[2];
    FL_TRY_OK(InferImage(channels, node));
    FL_TRY_OK(
        AddParameters(node, Shape{node.kernel_height, node.kernel_width, channels}, channels));
    return Append(std::move(node));
  }

  Result<> AddPool(Node node, Words words) {
    const std::string name(RulesOf(node.kind).name);
    if (words.empty()) return Invalid("expected \"" + name + " N|HxW [stride=N] [same|valid]\"");
    FL_TRY_OK(ReadKernel(words[0], node));
    node.stride = node.kernel_height;
    FL_TRY_OK(ReadOptions(words.subspan(1), node));
    FL_TRY_OK(ExpectImage(node));
    FL_TRY_OK(InferImage(InputShape(node)[2], node));
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
  Result<Words> TakeFactoring(Words words, Factoring& factoring) const {
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

  // [stride=N] [same|valid], and of conv [groups=N]; each at most once.
  Result<> ReadOptions(Words words, Node& node) const {
    const bool grouped = node.kind == OpKind::kConv2d;
    std::vector<std::string_view> seen;
    for (const std::string_view word : words) {
      const bool padding = word == "same" || word == "valid";
      const std::string_view key = padding ? "padding" : word.substr(0, word.find('='));
      const bool known =
          padding || word.starts_with("stride=") || (grouped && word.starts_with("groups="));
      if (!known || std::ranges::find(seen, key) != seen.end()) {
        return Invalid(std::string("expected [stride=N] [same|valid]") +
                       (grouped ? " [groups=N]" : "") + ", found \"" + std::string(word) + "\"");
      }
      seen.push_back(key);
      if (padding) {
        node.same_padding = word == "same";
      } else {
        FL_TRY((key == "stride" ? node.stride : node.groups),
               ReadCount(key, word.substr(key.size() + 1)));
      }
    }
    return {};
  }

  Result<> ExpectImage(const Node& node) const {
    if (InputShape(node).rank() == 3) return {};
    return Invalid("expected height, width and channels as input, found " +
                   InputShape(node).ToText());
  }

  Result<> InferImage(std::size_t channels, Node& node) const {
    const Shape& input = InputShape(node);
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
      if (extent == 0 || extent > limits_.activation_max / count) {
        return Error{ErrorCode::kLimitExceeded,
                     "expected between 1 and " + std::to_string(limits_.activation_max) +
                         " values, found the shape " + node.shape.ToText()};
      }
      count *= extent;
    }
    names_[node.name] = graph_.nodes.size();
    graph_.nodes.push_back(std::move(node));
    return {};
  }

  Graph& graph_;
  const GraphLimits& limits_;
  std::vector<TensorSpec> specs_;
  std::uint64_t parameter_count_ = 0;
  std::map<std::string, std::size_t> names_;  // Of the nodes, to their indices.
  internal::NameCounts counts_;
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

}  // namespace fl::nn
