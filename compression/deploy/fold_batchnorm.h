#pragma once

#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/model_file.h"

namespace fl::deploy {

// Puts batch norms into the products before them; what the model computes in inference stays the
// same but for rounding (Krishnamoorthi 2018, arXiv:1806.08342, section 3.2). For each channel
//   w' = w * gamma / sqrt(variance + eps)
//   b' = (b - mean) * gamma / sqrt(variance + eps) + beta
// Folded is a batch norm that alone reads a dense layer, a convolution or a depthwise one; its node
// goes, all other names stay. Others are left, a fact to report: without a product before them they
// have no integer form.
struct FoldedModel {
  nn::FloatModel model;
  std::vector<std::string> folded;  // Names of the batch norms that are gone.
  std::vector<std::string> left;    // Of those that stay.
};

// kInvalidArgument when the parameters are not the graph's; kNotFinite when a variance makes no
// scale.
Result<FoldedModel> FoldBatchNorms(const nn::Graph& graph, std::span<const float> parameters);

}  // namespace fl::deploy
