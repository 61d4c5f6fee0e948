// The heart of federated learning in one file: two clients send changes of a model, as bytes; the
// server adds them up, weighted by how many examples each has seen, and never holds more than one
// block of a client's numbers at a time.
//
//   ./build/dev/examples/01_average_two_clients

#include <cstdio>
#include <vector>

#include "fl/common/wire/update.h"
#include "fl/compression/recipe.h"

namespace {

// What a client does with its delta: one segment, encoded by the recipe's codec, in an update's
// envelope.
fl::Bytes EncodeDelta(const fl::Codec& codec, const std::vector<float>& delta,
                      std::uint64_t examples) {
  fl::ByteWriter payload;
  std::vector<float> decoded(
      delta.size());  // What the server will see; the rest would be the residual.
  codec.Encode(delta, decoded, fl::RoundParameters{}, fl::RngStream(1), payload);

  fl::wire::Update update;
  update.examples = examples;  // The update's weight.
  update.streams = {{fl::wire::kStreamDelta, {{0, std::move(payload).Take()}}}};
  return fl::wire::EncodeUpdate(update);
}

// What the server does with it: nothing in it is believed before both the envelope and the payload
// have been checked.
fl::Result<> AddUpdate(const fl::Codec& codec, fl::ByteSpan bytes, double total_examples,
                       std::span<float> sum) {
  FL_TRY(const fl::wire::UpdateView update,
         fl::wire::DecodeUpdate(bytes, fl::wire::UpdateLimits{}));
  FL_TRY(const auto payload, codec.Parse(update.streams.at(0).entries.at(0).payload,
                                         fl::RoundParameters{}, fl::PayloadLimits{}));
  const auto weight = static_cast<float>(static_cast<double>(update.examples) / total_examples);
  codec.DecodeAdd(*payload, 0, weight, sum);
  return {};
}

fl::Result<> Run() {
  // A model of four weights. The recipe `fp16` halves each number; docs/codecs.md has the others.
  FL_TRY(const fl::Recipe recipe, fl::ParseRecipe("fp16"));
  FL_TRY(const auto codec, fl::BuildCodec(recipe, fl::Shape{4}));

  const fl::Bytes first = EncodeDelta(*codec, {1.0F, 0.0F, -2.0F, 0.5F}, 300);
  const fl::Bytes second = EncodeDelta(*codec, {0.0F, 4.0F, -2.0F, -0.5F}, 100);
  std::printf("two updates of %zu and %zu bytes\n", first.size(), second.size());

  std::vector<float> sum(4, 0.0F);
  FL_TRY_OK(AddUpdate(*codec, first, 400.0, sum));
  FL_TRY_OK(AddUpdate(*codec, second, 400.0, sum));
  std::printf("their weighted mean: %.3f %.3f %.3f %.3f\n", sum[0], sum[1], sum[2], sum[3]);

  // A bit that flipped on the way is noticed, and nothing is added.
  fl::Bytes damaged = first;
  damaged.back() ^= std::byte{1};
  const fl::Result<> refused = AddUpdate(*codec, damaged, 400.0, sum);
  std::printf("a damaged update: %s\n", refused ? "accepted" : refused.error().message.c_str());
  return {};
}

}  // namespace

int main() {
  const fl::Result<> result = Run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  return result ? 0 : 1;
}
