#pragma once

#include <span>
#include <string_view>

#include "fl/common/nn/graph.h"

namespace fl::nn {

// Networks that papers and benchmarks name, as this project spells them. `folded` leaves batch
// norms out, as a model is after they were folded into its convolutions.
struct ZooOptions {
  bool folded = false;
};

struct ZooModel {
  std::string_view name;
  std::string_view origin;  // One sentence: whose network it is.
};

// All names, smallest network first:
//
//   name          input      parameters  is
//   ds_cnn        49x10x1    24,908      keyword spotting, 12 classes (MLPerf Tiny; Zhang et al.
//                                        2017, arXiv:1711.07128)
//   resnet8       32x32x3    78,666      CIFAR-10 (MLPerf Tiny; He et al. 2015, arXiv:1512.03385)
//   mlp           784        199,210     two hidden layers of 200 (McMahan's 2NN)
//   mobilenet_025 96x96x3    221,794     visual wake words, 2 classes, width 0.25 (MLPerf Tiny;
//                                        Howard et al. 2017, arXiv:1704.04861)
//   autoencoder   640        269,992     machine sounds, mean squared error (MLPerf Tiny, DCASE
//                                        2020)
//   cifar_cnn     32x32x3    1,070,794   3x3 convolutions of 32 and 64, dense 256
//   mnist_cnn     28x28x1    1,663,370   5x5 convolutions of 32 and 64, dense 512 (McMahan et al.
//                                        2016, arXiv:1602.05629)
//   leaf_femnist_cnn 28x28x1 6,603,710   the same with dense 2048 and 62 classes (LEAF; Caldas et
//                                        al. 2018, arXiv:1812.01097)
std::span<const ZooModel> ZooModels();

// The network's graph. kInvalidArgument for a name that is none of those above.
Result<Graph> BuildZooModel(std::string_view name, const ZooOptions& options = {});

}  // namespace fl::nn
