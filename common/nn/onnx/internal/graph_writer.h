#pragma once

#include <span>
#include <string>
#include <vector>

#include "fl/common/nn/onnx/internal/weight_order.h"
#include "fl/common/nn/onnx/onnx_model.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::onnx::internal {

// Writes a graph's nodes as ONNX's operators, in the graph's order. The names of operators are
// those of the nodes; all else is called NAME.SOMETHING, which no node can be called.
class GraphWriter {
 public:
  // The graph is plain. parameters: of fp32; quantized: of int8, else null. All outlive the writer.
  GraphWriter(const nn::Graph& graph, std::span<const float> parameters,
              const nn::QuantizedModel* quantized);

  Result<OnnxModel> Write();

 private:
  // What the readers of a node's output read.
  struct Value {
    std::string name;
    Shape flattened;  // Of an image that is flattened channels first; else empty.
  };

  void FindReaders();
  bool IsOutput(std::size_t i) const { return i + 1 == graph_.nodes.size(); }
  bool HasPair(std::size_t i) const;

  Result<> WriteNode(std::size_t i);
  std::string WriteProduct(std::size_t i);
  std::string WriteWeight(std::size_t i, const WeightExtents& extents);
  std::string WriteBias(std::size_t i);
  std::string WritePool(std::size_t i);
  std::string WriteNorm(std::size_t i);
  std::string WriteActivation(std::size_t i);
  std::string WriteCombination(std::size_t i);
  std::string WriteView(std::size_t i);

  // Adds an operator and returns the name of its output.
  std::string Add(std::string_view type, const std::string& name, std::vector<std::string> inputs,
                  std::vector<Attribute> attributes = {});
  // An operator that only moves values, before or after a node's own: of int8, with its pair.
  std::string AddMove(std::string_view type, const std::string& name, std::size_t scale_of,
                      std::vector<std::string> inputs, std::vector<Attribute> attributes = {});
  std::string AddPair(std::size_t scale_of, const std::string& name, const std::string& value);
  // To channels last.
  std::string AddTranspose(const std::string& name, std::size_t scale_of, const std::string& value);
  template <typename T>
  std::string AddConstant(const std::string& name, DataType type, std::vector<std::int64_t> extents,
                          std::span<const T> values);
  std::string AddParameter(std::size_t i, std::size_t which);
  std::string AddScalar(const std::string& name, float value);
  std::string AddExtents(const std::string& name, std::vector<std::int64_t> extents);

  const nn::Graph& graph_;
  std::span<const float> parameters_;
  const nn::QuantizedModel* quantized_;
  OnnxModel to_;
  std::vector<Value> values_;                      // One for each node.
  std::vector<std::vector<std::size_t>> readers_;  // Of each node, without heads.
  std::vector<bool> needed_;                       // The output depends on it.
  std::vector<bool> any_order_;                    // A flat output that only products read.
};

}  // namespace fl::onnx::internal
