#pragma once

#include <deque>
#include <map>
#include <variant>

#include "fl/common/nn/onnx/internal/constants.h"
#include "fl/common/nn/onnx/internal/imported_layers.h"
#include "fl/common/nn/onnx/internal/weight_order.h"

namespace fl::onnx::internal {

// How the values of an activation lie in the file.
enum class Order : std::uint8_t {
  kFlat,           // N x features.
  kChannelsFirst,  // N x channels x height x width.
  kChannelsLast,   // N x height x width x channels, between two Transposes.
  kOnePixel,       // N x channels x 1 x 1 of a layer that is flat in fl.
};

// The output of a layer, as an operator of the file sees it.
struct Activation {
  std::size_t layer = 0;
  Order order = Order::kFlat;
  Shape flattened;       // Of an image that was flattened channels first; else empty.
  bool integer = false;  // Between QuantizeLinear and DequantizeLinear.
};

struct Constant {
  const Tensor* tensor = nullptr;
  Quantization quantization;  // Without scales: not behind DequantizeLinear.

  bool dequantized() const { return !quantization.scale.empty(); }
};

// Reads a file's operators, in their order, into layers.
class GraphReader {
 public:
  // The model outlives the reader.
  explicit GraphReader(const OnnxModel& model) : model_(model), layers_(Shape{1}) {}

  // Once. The errors are those of ImportOnnx.
  Result<ImportedLayers> Read();
  // Whether activations are quantized; after Read.
  bool integer() const { return integer_; }
  // Weights of -128 that were read as -127; after Read.
  std::size_t clamped() const { return clamped_; }

  static std::string SupportedOperators();

 private:
  using Value = std::variant<Constant, Activation>;
  using Handler = Result<> (GraphReader::*)(const Operator&);
  struct Entry {
    std::string_view type;
    Handler handler;
  };
  static const std::vector<Entry>& Entries();

  Result<> ReadInput();
  Result<> ReadConstants();
  Result<std::vector<bool>> FindNeeded() const;
  Result<> ReadOperator(const Operator& node);
  bool QuantizesActivations(const std::vector<bool>& needed) const;
  Result<> ExpectOutput();

  Result<> ReadConv(const Operator& node);
  Result<> ReadGemm(const Operator& node);
  Result<> ReadMatMul(const Operator& node);
  Result<> ReadPool(const Operator& node);
  Result<> ReadGlobalPool(const Operator& node);
  Result<> ReadBatchNorm(const Operator& node);
  Result<> ReadLayerNorm(const Operator& node);
  Result<> ReadActivation(const Operator& node);
  Result<> ReadClip(const Operator& node);
  Result<> ReadAdd(const Operator& node);
  Result<> ReadMultiply(const Operator& node);
  Result<> ReadConcat(const Operator& node);
  Result<> ReadFlatten(const Operator& node);
  Result<> ReadReshape(const Operator& node);
  Result<> ReadSqueeze(const Operator& node);
  Result<> ReadTranspose(const Operator& node);
  Result<> ReadIdentity(const Operator& node);
  Result<> ReadConstant(const Operator& node);
  Result<> ReadQuantize(const Operator& node);
  Result<> ReadDequantize(const Operator& node);

  // An operator's operands. All name the operator in their errors.
  bool Has(const Operator& node, std::size_t input) const;
  Result<const Value*> ValueAt(const Operator& node, std::size_t input) const;
  Result<Activation> ActivationAt(const Operator& node, std::size_t input) const;
  Result<Activation> ImageAt(const Operator& node, std::size_t input);
  Result<Constant> ConstantAt(const Operator& node, std::size_t input) const;
  Result<const Tensor*> TensorAt(const Operator& node, std::size_t input) const;
  Result<std::vector<float>> FloatsAt(const Operator& node, std::size_t input,
                                      std::size_t count) const;
  Result<std::vector<std::int64_t>> IntegersAt(const Operator& node, std::size_t input,
                                               std::string_view attribute) const;
  const Shape& ShapeOf(const Activation& value) const { return layers_[value.layer].shape; }

  // A dense layer or a convolution: its weight has `outputs` first where `transposed` is false.
  struct Product {
    const Operator& node;
    std::size_t input;
    WeightExtents extents;
    std::size_t output_axis;
    std::optional<std::size_t> bias;  // Which input of the operator.
  };
  Result<> SetWeight(const Product& product, ImportedLayer& layer);
  Result<> SetIntegerWeight(const Product& product, const Constant& weight, ImportedLayer& layer);
  Result<> SetBias(const Operator& node, std::size_t input, ImportedLayer& layer);
  Result<> AddDense(const Operator& node, bool transposed, std::optional<std::size_t> bias);
  Result<bool> FoldBias(const Operator& node);

  Result<> Flatten(const Operator& node, const Activation& value);
  Result<> Reshape(const Operator& node, const Activation& value,
                   const std::vector<std::int64_t>& extents);
  Result<> Combine(const Operator& node, nn::OpKind kind);
  // Appends the layer that the operator's output is, in the given order.
  Result<> Define(const Operator& node, ImportedLayer layer, Order order, Shape flattened = {});
  Result<> DefineValue(const Operator& node, Value value);
  ImportedLayer LayerOf(const Operator& node, nn::OpKind kind, std::size_t input) const;

  const OnnxModel& model_;
  ImportedLayers layers_;
  std::map<std::string, Value> values_;
  std::map<std::string, std::size_t> reads_;  // How many operators read a value.
  std::deque<Tensor> made_;                   // Constants that operators make.
  std::int64_t batch_ = -1;                   // Where the file fixes it.
  bool integer_ = false;
  std::size_t clamped_ = 0;
};

// Error that names the operator: "ONNX: operator Conv \"conv1\": ...".
Error OperatorError(ErrorCode code, const Operator& node, std::string message);

// An attribute's value, or the default of the operator's definition.
std::int64_t IntegerOr(const Operator& node, std::string_view name, std::int64_t fallback);
float NumberOr(const Operator& node, std::string_view name, float fallback);

}  // namespace fl::onnx::internal
