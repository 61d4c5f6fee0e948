#include "fl/common/nn/model_zoo.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/nn/build_graph.h"

namespace fl::nn {
namespace {

using Lines = std::vector<std::string>;

constexpr ZooModel kModels[] = {
    {"ds_cnn", "keyword spotting of MLPerf Tiny, 12 classes"},
    {"resnet8", "CIFAR-10 of MLPerf Tiny"},
    {"mlp", "McMahan's 2NN on 28x28 pixels, two hidden layers of 200"},
    {"mobilenet_025", "visual wake words of MLPerf Tiny, 2 classes, width 0.25"},
    {"autoencoder", "machine sounds of MLPerf Tiny, mean squared error"},
    {"cifar_cnn", "a plain network of two convolutions for CIFAR-10"},
    {"mnist_cnn", "McMahan's network of two 5x5 convolutions for MNIST"},
    {"leaf_femnist_cnn", "LEAF's network of two 5x5 convolutions, 62 classes"},
};

// Appends a product, its norm where asked for, and a ReLU, all named after the product.
class LineWriter {
 public:
  explicit LineWriter(const ZooOptions& options) : options_(options) {}

  // Returns the name of the layer that ends the product: the convolution itself or its norm.
  std::string Product(const std::string& name, const std::string& line) {
    lines_.push_back(name + ": " + line);
    if (options_.folded) return name;
    lines_.push_back(name + "_norm: batchnorm");
    return name + "_norm";
  }

  std::string Activated(const std::string& name, const std::string& line) {
    Product(name, line);
    lines_.push_back(name + "_relu: relu");
    return name + "_relu";
  }

  void Add(std::string line) { lines_.push_back(std::move(line)); }
  const Lines& lines() const { return lines_; }

 private:
  ZooOptions options_;
  Lines lines_;
};

std::string Join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

Lines ResNet8(const ZooOptions& options) {
  LineWriter writer(options);
  std::string from = writer.Activated("stem", "conv 16 3x3 same");
  for (int block = 1; block <= 3; ++block) {
    const std::string name = "block" + std::to_string(block);
    const std::string channels = std::to_string(8 << block);
    const std::string_view stride = block == 1 ? " same" : " stride=2 same";
    writer.Activated(name + "_conv1", Join({"conv ", channels, " 3x3", stride}));
    const std::string last =
        writer.Product(name + "_conv2", Join({"conv ", channels, " 3x3 same"}));
    if (block == 1) {
      writer.Add(Join({name, "_add: add ", from}));
    } else {
      writer.Add(Join({name, "_skip: conv ", channels, " 1x1 stride=2 same from=", from}));
      writer.Add(Join({name, "_add: add ", last}));
    }
    from = name + "_relu";
    writer.Add(from + ": relu");
  }
  writer.Add("global_avgpool");
  writer.Add("dense 10");
  return writer.lines();
}

// A depthwise 3x3 convolution, then one of 1x1 that mixes the channels.
void AddSeparable(int number, int channels, bool halves, LineWriter& writer) {
  const std::string name = "block" + std::to_string(number);
  writer.Activated(name + "_depthwise",
                   std::string("depthwise 3x3") + (halves ? " stride=2" : "") + " same");
  writer.Activated(name + "_pointwise", "conv " + std::to_string(channels) + " 1x1");
}

Lines DsCnn(const ZooOptions& options) {
  LineWriter writer(options);
  writer.Activated("stem", "conv 64 10x4 stride=2 same");
  for (int block = 1; block <= 4; ++block) AddSeparable(block, 64, false, writer);
  writer.Add("global_avgpool");
  writer.Add("dense 12");
  return writer.lines();
}

Lines MobileNet(const ZooOptions& options) {
  LineWriter writer(options);
  writer.Activated("stem", "conv 8 3x3 stride=2 same");
  constexpr struct {
    int channels;
    bool halves;
  } kBlocks[] = {{16, false},  {32, true},   {32, false},  {64, true},   {64, false},
                 {128, true},  {128, false}, {128, false}, {128, false}, {128, false},
                 {128, false}, {256, true},  {256, false}};
  int number = 0;
  for (const auto& block : kBlocks) AddSeparable(++number, block.channels, block.halves, writer);
  writer.Add("global_avgpool");
  writer.Add("dense 2");
  return writer.lines();
}

Lines Autoencoder(const ZooOptions& options) {
  LineWriter writer(options);
  for (int i = 1; i <= 9; ++i) {
    writer.Activated("hidden" + std::to_string(i), i == 5 ? "dense 8" : "dense 128");
  }
  writer.Add("dense 640");
  return writer.lines();
}

Lines PlainCnn(const std::string& kernel, const std::string& hidden, const std::string& classes) {
  return {"conv 32 " + kernel + " same",
          "relu",
          "maxpool 2",
          "conv 64 " + kernel + " same",
          "relu",
          "maxpool 2",
          "flatten",
          "dense " + hidden,
          "relu",
          "dense " + classes};
}

}  // namespace

std::span<const ZooModel> ZooModels() {
  return kModels;
}

Result<Graph> BuildZooModel(std::string_view name, const ZooOptions& options) {
  const auto build = [](const Shape& input, const Lines& lines,
                        std::string_view loss = "softmax_cross_entropy") {
    return BuildGraph(input, lines, loss);
  };
  if (name == "ds_cnn") return build({49, 10, 1}, DsCnn(options));
  if (name == "resnet8") return build({32, 32, 3}, ResNet8(options));
  if (name == "mlp") return build({784}, {"dense 200", "relu", "dense 200", "relu", "dense 10"});
  if (name == "mobilenet_025") return build({96, 96, 3}, MobileNet(options));
  if (name == "autoencoder") return build({640}, Autoencoder(options), "mean_squared_error");
  if (name == "cifar_cnn") return build({32, 32, 3}, PlainCnn("3x3", "256", "10"));
  if (name == "mnist_cnn") return build({28, 28, 1}, PlainCnn("5x5", "512", "10"));
  if (name == "leaf_femnist_cnn") return build({28, 28, 1}, PlainCnn("5x5", "2048", "62"));
  std::string names;
  for (const ZooModel& model : kModels) {
    names += (names.empty() ? "" : ", ") + std::string(model.name);
  }
  return Error{ErrorCode::kInvalidArgument, "model zoo: expected one of " + names + ", found \"" +
                                                std::string(name.substr(0, 64)) + "\""};
}

}  // namespace fl::nn
