// A codec that keeps 5 % of the coordinates forgets the other 95 %. Unless the client remembers
// them: what a codec left out is the residual, and goes into the next update. After some rounds
// everything has arrived.
//
//   ./build/dev/examples/02_error_feedback

#include <cstdio>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/recipe.h"

namespace {

constexpr std::size_t kCoordinates = 2000;
constexpr int kRounds = 200;

// How much of what a client meant to say in all rounds the server has not heard, as a share.
fl::Result<double> ShareLost(const fl::Codec& codec, bool remember) {
  // Each round the client finds the same direction with some noise on it, as in training.
  std::vector<float> direction(kCoordinates);
  fl::RngStream(7).Child("direction").FillNormal(direction);

  std::vector<float> meant(kCoordinates, 0.0F);
  std::vector<float> heard(kCoordinates, 0.0F);
  std::vector<float> residual(kCoordinates, 0.0F);
  for (int round = 0; round < kRounds; ++round) {
    fl::RngStream noise = fl::RngStream(7).Child("noise", static_cast<std::uint64_t>(round));
    std::vector<float> update(kCoordinates);
    for (std::size_t i = 0; i < kCoordinates; ++i) {
      update[i] = direction[i] + noise.Normal();
      meant[i] += update[i];
      if (remember) update[i] += residual[i];
    }

    fl::ByteWriter bytes;
    std::vector<float> decoded(kCoordinates);
    codec.Encode(update, decoded, fl::RoundParameters{}, noise.Child("encode"), bytes);
    for (std::size_t i = 0; i < kCoordinates; ++i) residual[i] = update[i] - decoded[i];

    FL_TRY(const auto payload,
           codec.Parse(bytes.bytes(), fl::RoundParameters{}, fl::PayloadLimits{}));
    codec.DecodeAdd(*payload, 0, 1.0F, heard);
    if (round == 0 && remember) {
      std::printf("an update of %zu numbers takes %zu bytes in place of %zu\n", kCoordinates,
                  bytes.size(), 4 * kCoordinates);
    }
  }
  for (std::size_t i = 0; i < kCoordinates; ++i) heard[i] -= meant[i];
  return fl::NormL2(heard) / fl::NormL2(meant);
}

fl::Result<> Run() {
  FL_TRY(const fl::Recipe recipe, fl::ParseRecipe("top_k 5% | quantize 8"));
  FL_TRY(const auto codec, fl::BuildCodec(recipe, fl::Shape{kCoordinates}));
  FL_TRY(const double with, ShareLost(*codec, true));
  FL_TRY(const double without, ShareLost(*codec, false));
  std::printf("after %d rounds, lost with error feedback: %4.1f %%\n", kRounds, 100 * with);
  std::printf("after %d rounds, lost without it:          %4.1f %%\n", kRounds, 100 * without);
  return {};
}

}  // namespace

int main() {
  const fl::Result<> result = Run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  return result ? 0 : 1;
}
