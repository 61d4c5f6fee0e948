#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/layer_inputs.h"

namespace fl::deploy {

enum class LowRankMethod : std::uint8_t { kSvd, kSpatialSvd, kTucker, kCp };

// The weight of a dense layer (height = width = 1) or of a convolution: height x width x inputs x
// outputs.
struct LayerWeight {
  std::size_t height = 1;
  std::size_t width = 1;
  std::size_t inputs = 1;
  std::size_t outputs = 1;
  std::span<const float> values;

  std::size_t rows() const { return height * width * inputs; }
};

// How many directions the factors have: Tucker's of the input and of the output channels; else
// both numbers are the same.
struct Ranks {
  std::size_t in = 1;
  std::size_t out = 1;
  friend bool operator==(const Ranks&, const Ranks&) = default;
};

// One of the layers that replace a layer; its bias is zero but for the last one's.
struct Factor {
  bool depthwise =
      false;  // Weight height x width x outputs, else height x width x inputs x outputs.
  std::size_t height = 1;
  std::size_t width = 1;
  std::size_t inputs = 1;
  std::size_t outputs = 1;
  std::vector<float> weight;

  // With the bias.
  std::size_t parameters() const {
    return height * width * (depthwise ? 1 : inputs) * outputs + outputs;
  }
};

struct Factorization {
  std::vector<Factor> factors;  // In the order in which they run.
  std::vector<float> product;   // The weight that they stand for.
  // To be added to the bias: the mean input times what the weight lost (Zhang et al. 2015,
  // arXiv:1505.06798). Zero without inputs.
  std::vector<float> bias_shift;
  // Share of the output's variance that is lost, on the inputs; without inputs the share of the
  // weight's energy.
  double error = 0;
};

// Takes one weight W (rows = height x width x inputs, columns = outputs) apart:
//
//   kSvd         W = A B: the kernel with r outputs, then 1x1 (r -> outputs). With inputs, B's
//                rows are the leading eigenvectors of W^T C W, C being the inputs' covariance, and
//                A = W B^T: the best rank-r fit to the outputs, the same as the SVD of C^(1/2) W.
//   kSpatialSvd  height x 1 (r), then 1 x width: SVD of the (height x inputs) x (width x outputs)
//                matrix (Jaderberg et al. 2014, arXiv:1405.3866).
//   kTucker      1x1 (inputs -> ranks.in), height x width (-> ranks.out), 1x1 (-> outputs): HOSVD
//                of the two channel modes, then two sweeps of HOOI (De Lathauwer et al. 2000; Kim
//                et al. 2016, arXiv:1511.06530).
//   kCp          1x1 (inputs -> r), height x 1 and 1 x width depthwise, 1x1 (-> outputs), by
//                alternating least squares from a random start (Lebedev et al. 2015,
//                arXiv:1412.6553). Without `separable` one depthwise height x width in the middle.
//
// With inputs the last factor is then the least-squares fit to the layer's outputs on them (ridge
// 1e-3 of the mean variance, so that the weight decides where the inputs say nothing). Inputs that
// are constant count as none. Time grows with the cube of the outputs (kSvd: 1 s for 512, 22 s for
// 2,048 on one 2026 core beside other work). Sums in double; same arguments, same bits on one
// machine and build. Thread safety: immutable, shared objects safe.
class LayerFactorizer {
 public:
  // kInvalidArgument: sizes that do not fit; kSpatialSvd or kTucker for a kernel of 1x1, kCp
  // likewise; kNotFinite. `weight.values` is copied.
  static Result<LayerFactorizer> Create(LowRankMethod method, const LayerWeight& weight,
                                        const LayerInputs& inputs, bool separable,
                                        const RngStream& rng);
  LayerFactorizer(LayerFactorizer&&) noexcept;
  LayerFactorizer& operator=(LayerFactorizer&&) noexcept;
  ~LayerFactorizer();

  LowRankMethod method() const;

  // Ranks in one dimension, from 1 to level_max: r, or Tucker's two in proportion to the channels.
  // At level_max the factors stand for the whole weight (kCp: 128 at
  // most, and about).
  std::size_t level_max() const;
  Ranks RanksOf(std::size_t level) const;

  // The factors at these ranks, without their weights.
  std::vector<Factor> ShapesOf(const Ranks& ranks) const;

  // The least ranks that keep `share`, in (0, 1], of the energy: of the outputs' with inputs and
  // kSvd or kCp, else of the weight's (Tucker: of each mode).
  Ranks EnergyRanks(double share) const;
  // By VariationalRank on the weight: as the method sees it, or on the two modes of the channels
  // (kCp: the larger); at least 1.
  Ranks VariationalRanks() const;

  // Factorization::error at these ranks, without the factors where that is cheaper.
  double ErrorOf(const Ranks& ranks) const;
  // Each of the ranks in [1, what level_max has].
  Factorization Factorize(const Ranks& ranks) const;

 private:
  struct Parts;
  explicit LayerFactorizer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace fl::deploy
