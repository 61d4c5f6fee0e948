// What holds for every codec, whatever its stages.
#include <algorithm>
#include <cmath>
#include <string>

#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::DecodeAll;
using testing::EncodeValues;
using testing::MakeCodec;

struct Case {
  const char* recipe;
  Shape shape;
  bool coded = false;  // Its payload's length depends on the values.
};

const std::vector<Case> kCases = {
    {"raw", {7, 3}},
    {"raw | pack", {1}},
    {"fp16", {129}},
    {"quantize 1", {77}},
    {"quantize 1 stochastic", {77}},
    {"quantize 2", {5, 5}},
    {"quantize 3 stochastic", {1003}},
    {"quantize 4", {40, 25}},
    {"quantize 4 asymmetric", {999}},
    {"quantize 5 asymmetric per=channel", {11, 13}},
    {"quantize 6 per=channel", {3, 3, 4, 5}},
    {"quantize 7 stochastic per=channel", {601, 2}},
    {"quantize 8", {2000}},
    {"quantize 8 asymmetric stochastic", {2000}},
    {"quantize 4 scale=shared range=2", {1001}},
    {"quantize 8 scale=shared stochastic range=4", {1001}},
    {"top_k 1%", {3000}},
    {"top_k 100%", {300}},
    {"top_k 1% warmup=5 from=30% | quantize 8", {3000}},
    {"top_k 3% | fp16", {70000}},
    {"top_k 2% | quantize 8 | pack", {300, 500}},
    {"top_k 50% | quantize 4 stochastic", {131073}},
    {"low_rank 2", {30, 20}},
    {"low_rank 3 | fp16", {5, 4, 20}},
    {"low_rank 2 | quantize 4", {101, 37}},
    {"low_rank 64 iterations=1 | quantize 8", {6, 5}},
    {"low_rank 4 | quantize 2", {3, 3, 8, 16}},
    {"tucker 2 3", {3, 3, 8, 16}},
    {"tucker 64 8 | quantize 4", {5, 5, 3, 40}},
    {"tucker 4 2 | fp16", {1, 7, 9, 12}},
    {"tucker 5 5 | quantize 8 stochastic", {3, 3, 16, 16}},
    {"low_rank energy=90% max=9 | quantize 4", {30, 20}},
    {"low_rank bytes=300 | fp16", {30, 20}},
    {"low_rank bytes=60 | quantize step=1", {30, 20}, true},
    {"low_rank 3 | lloyd 3", {30, 20}},
    {"low_rank 2 | natural", {30, 20}},
    {"low_rank 2 | sign", {31, 21}},
    {"low_rank 2 | quantize 5 stochastic per=group:16", {30, 20}},
    {"low_rank 2 | eden 3", {30, 20}},
    {"low_rank 2 basis=shared", {30, 20}},
    {"low_rank 3 basis=shared | quantize 4", {101, 37}},
    {"low_rank 1 basis=shared | eden 3", {3, 3, 8, 16}},
    {"low_rank 19 basis=shared | quantize 8 stochastic", {20, 70}},
    {"low_rank 4 basis=shared | quantize step=1", {30, 20}, true},
    {"quantize 3 per=group:9", {100}},
    {"quantize 8 asymmetric stochastic per=group:64", {13, 50}},
    {"top_k 10% | quantize 4 per=group:16", {3000}},
    {"bf16", {77}},
    {"auto bytes=300", {40, 33}, true},
    {"auto bytes=10KB", {1003}, true},
    {"auto bytes=100", {3, 3, 4, 5}, true},
    {"threshold 2", {3000}},
    {"threshold 0.5 | quantize 4", {70000}},
    {"threshold 3 | lloyd 2", {30, 50}},
    {"dead_zone 2", {40, 33}, true},
    {"dead_zone 0.5 zero=0.5 | context", {3, 3, 8, 16}, true},
    {"dead_zone 4 | rice", {1003}, true},
    {"dead_zone 0.01 | rans", {999}, true},
    {"top_k 1% | ternary", {300, 500}, true},
    {"top_k 20% | ternary | context", {1, 7}, true},
    {"top_k 50% | ternary | pack", {1001}, true},
    {"quantize step=1 stochastic", {70, 9}, true},
    {"quantize 4 | rans", {300, 300}, true},
    {"top_k 10% | quantize 3 | rice", {77}, true},
    {"natural", {1001}},
    {"sign", {77}},
    {"lloyd 1", {3, 3}},
    {"lloyd 3", {1003}},
    {"lloyd 8", {600}},
    {"top_k 10% | lloyd 4", {3000}},
    {"eden 1", {9000}},
    {"eden 4 block=64", {517}},
    {"eden 0.3 block=256", {1111}},
    {"eden 2.7 block=64 scale=nearest", {100, 3}},
    {"eden 8", {1}},
    {"hadamard 64 | quantize 4", {5, 41}},
    {"hadamard 1024 | bf16", {1500}},
    {"hadamard 256 seed=shared | quantize 6 stochastic scale=shared range=8", {999}},
    {"shared_mask 10%", {1003}},
    {"shared_mask 100% unbiased block=7 | fp16", {50}},
    {"shared_mask 30% block=1 | quantize 4 stochastic", {31, 40}},
    {"shared_mask 5% unbiased block=16 | quantize 8 scale=shared range=4", {2011}},
    {"shared_mask 20% block=32 | dead_zone 2 | context", {90, 40}, true},
    {"announced 10%", {1003}},
    {"announced 1% explore=100% | bf16", {50}},
    {"announced 30% explore=1% | quantize 8 scale=shared range=4", {40, 31}},
    {"sketch 5x40", {1003}},
    {"sketch 2x9 seed=7 | fp16", {31, 40}},
    {"sketch 4x50 | quantize 8 scale=shared range=60", {40, 31}},
    {"sketch 1x1 | quantize 4 stochastic", {2}},
    {"sign + fp16", {77}},
    {"low_rank 2 basis=shared | lloyd 4 + shared_mask 10% + low_rank 3 basis=shared", {30, 20}},
    {"low_rank 2 | quantize 4 + sign + top_k 3%", {30, 20}},
    {"low_rank 2 | quantize step=2 + top_k 1% | ternary | context", {60, 50}, true},
};

// Values of one of several kinds that tend to break things.
std::vector<float> MakeValues(const Shape& shape, std::uint64_t kind, RngStream rng) {
  std::vector<float> values = testing::NormalValues(shape.count(), rng);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (kind == 1) values[i] = 0;
    if (kind == 2) values[i] = -0.25F;
    if (kind == 3) values[i] *= i % 97 == 0 ? 1e4F : 1e-4F;
    if (kind == 4) values[i] *= 1e-42F;
    if (kind == 5) values[i] = i == values.size() / 2 ? 3.0F : 0.0F;
    if (kind == 6) values[i] = i % 2 == 0 ? 1.0F : -1.0F;
  }
  return values;
}

template <typename Property>
void ForCases(Property property) {
  for (const Case& each : kCases) {
    CAPTURE(each.recipe);
    const auto codec = MakeCodec(each.recipe, each.shape);
    for (std::uint64_t kind = 0; kind < 7; ++kind) {
      CAPTURE(kind);
      property(*codec, MakeValues(each.shape, kind, RngStream(kind + 1)));
    }
  }
}

TEST_CASE("Codec: the decoder sees what Encode said it would see") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    const auto encoded = EncodeValues(codec, values, RngStream(9));
    CHECK(DecodeAll(codec, encoded) == encoded.decoded);
    CHECK(AllFinite(encoded.decoded));
  });
}

TEST_CASE("Codec: no payload is larger than EncodedBytesMax") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    CHECK(EncodeValues(codec, values, RngStream(9)).payload.size() <= codec.EncodedBytesMax());
  });
}

TEST_CASE("Codec: the same values and stream give the same bytes") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    CHECK(EncodeValues(codec, values, RngStream(9)).payload ==
          EncodeValues(codec, values, RngStream(9)).payload);
  });
}

TEST_CASE("Codec: the bytes are the same where nobody asks what a decoder will see") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    ByteWriter out;
    codec.Encode(values, {}, {codec.InitialParameters()}, RngStream(9), out);
    CHECK(out.bytes() == EncodeValues(codec, values, RngStream(9)).payload);
  });
}

TEST_CASE("Codec: a deterministic codec does not look at its stream") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    if (!codec.traits().deterministic) return;
    CHECK(EncodeValues(codec, values, RngStream(9)).payload ==
          EncodeValues(codec, values, RngStream(10)).payload);
  });
}

TEST_CASE("Codec: a lossless codec gives back the values") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    if (codec.traits().lossless) CHECK(EncodeValues(codec, values, RngStream(9)).decoded == values);
  });
}

TEST_CASE("Codec: any split into blocks gives the same bits") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    const auto encoded = EncodeValues(codec, values, RngStream(9));
    const auto parsed = testing::Get(codec.Parse(encoded.payload, encoded.parameters, {}));
    std::vector<float> whole(codec.count(), 0.5F);
    codec.DecodeAdd(*parsed, 0, 0.3F, whole);
    RngStream rng(4);
    std::vector<float> pieces(codec.count(), 0.5F);
    for (std::size_t first = 0; first < pieces.size();) {
      const std::size_t size =
          std::min<std::size_t>(1 + rng.UniformInteger(pieces.size()), pieces.size() - first);
      codec.DecodeAdd(*parsed, first, 0.3F, std::span(pieces).subspan(first, size));
      first += size;
    }
    CHECK(pieces == whole);
  });
}

// With weights, in any order and for any split; the integers exactly, the values but for rounding.
TEST_CASE("Codec: a linear codec's sum of integers finishes to the sum of what decoders see") {
  ForCases([](const Codec& codec, const std::vector<float>& values) {
    const CodecTraits traits = codec.traits();
    if (!traits.linear) return;
    const std::size_t count = codec.count();
    RngStream rng(6);
    std::vector<testing::Encoded> updates;
    std::vector<double> expected(count);
    double largest = 0;
    for (std::uint64_t client = 0; client < 5; ++client) {
      std::vector<float> own = values;
      for (float& value : own) value *= rng.Normal();
      updates.push_back(EncodeValues(codec, own, RngStream(9).Child("client", client)));
      for (std::size_t i = 0; i < count; ++i) {
        expected[i] += static_cast<double>(client + 1) * double{updates.back().decoded[i]};
        largest = std::max(largest, std::abs(expected[i]));
      }
    }
    const auto sum_in = [&](const std::vector<std::size_t>& order) {
      std::vector<std::int64_t> sum(count);
      for (const std::size_t client : order) {
        const auto parsed =
            testing::Get(codec.Parse(updates[client].payload, updates[client].parameters, {}));
        std::vector<std::int64_t> levels(count);
        const std::size_t cut = rng.UniformInteger(count + 1);
        codec.DecodeAddIntegers(*parsed, cut, std::span(levels).subspan(cut));
        codec.DecodeAddIntegers(*parsed, 0, std::span(levels).first(cut));
        for (std::size_t i = 0; i < count; ++i) {
          sum[i] += static_cast<std::int64_t>(client + 1) * levels[i];
        }
      }
      return sum;
    };
    const std::vector<std::int64_t> sum = sum_in({0, 1, 2, 3, 4});
    CHECK(sum_in({3, 0, 4, 2, 1}) == sum);
    const RoundParameters& parameters = updates[0].parameters;
    std::vector<float> whole(count);
    codec.Finish(sum, 5, parameters, 0, whole);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(std::abs(double{whole[i]} - expected[i]) <= 1e-5 * largest);
    }
    const std::size_t units = count / traits.granularity;
    const std::size_t cut = traits.granularity * rng.UniformInteger(units + 1);
    std::vector<float> pieces(count);
    codec.Finish(std::span(sum).first(cut), 5, parameters, 0, std::span(pieces).first(cut));
    codec.Finish(std::span(sum).subspan(cut), 5, parameters, cut, std::span(pieces).subspan(cut));
    CHECK(pieces == whole);
  });
}

// A piece of an entropy code may be the whole code of other values.
TEST_CASE("Codec: shorter payloads say something else or are refused and one longer is refused") {
  for (const Case& each : kCases) {
    CAPTURE(each.recipe);
    const auto codec = MakeCodec(each.recipe, each.shape);
    auto encoded = EncodeValues(*codec, MakeValues(each.shape, 0, RngStream(3)), RngStream(9));
    const std::size_t step = encoded.payload.size() / 50 + 1;
    for (std::size_t size = 0; size < encoded.payload.size(); size += step) {
      const auto shorter =
          codec->Parse(ByteSpan(encoded.payload).first(size), encoded.parameters, {});
      if (!each.coded) CHECK_FALSE(shorter.has_value());
      if (!shorter) continue;
      std::vector<float> other(codec->count());
      codec->DecodeAdd(**shorter, 0, 1.0F, other);
      CHECK(other != encoded.decoded);
    }
    encoded.payload.push_back(std::byte{0});
    CHECK(testing::CodeOf(codec->Parse(encoded.payload, encoded.parameters, {})) ==
          ErrorCode::kMalformed);
  }
}

TEST_CASE("Codec: magnitudes above the limit are refused") {
  for (const Case& each : kCases) {
    CAPTURE(each.recipe);
    const auto codec = MakeCodec(each.recipe, each.shape);
    const auto encoded =
        EncodeValues(*codec, MakeValues(each.shape, 0, RngStream(3)), RngStream(9));
    CHECK(testing::CodeOf(codec->Parse(encoded.payload, encoded.parameters,
                                       {.magnitude_max = 1e-3F})) == ErrorCode::kLimitExceeded);
  }
}

TEST_CASE("Codec: what a corrupted payload decodes to is finite or it is refused") {
  for (const Case& each : kCases) {
    CAPTURE(each.recipe);
    const auto codec = MakeCodec(each.recipe, each.shape);
    const auto encoded =
        EncodeValues(*codec, MakeValues(each.shape, 0, RngStream(3)), RngStream(9));
    testing::ForAll(25, [&](RngStream& rng) {
      Bytes payload = encoded.payload;
      for (int flips = 0; flips < 3; ++flips) {
        payload[rng.UniformInteger(payload.size())] ^=
            static_cast<std::byte>(1U << rng.UniformInteger(8));
      }
      const auto parsed = codec->Parse(payload, encoded.parameters, {});
      if (!parsed) return;
      std::vector<float> decoded(codec->count());
      codec->DecodeAdd(**parsed, 0, 1.0F, decoded);
      CHECK(std::ranges::all_of(decoded, [](float value) { return std::fabs(value) <= 1e9F; }));
    });
  }
}

// For each coordinate the mean over m streams lies within 5 standard errors of the value: with
// fewer than 10^4 comparisons a right codec fails with a chance below 0.6 %, and the seeds are
// fixed. A value within 1e-4 of a level may not leave it once in m streams.
TEST_CASE("Codec: stochastic rounding is unbiased") {
  for (const char* recipe :
       {"quantize 1 stochastic", "quantize 2 stochastic", "quantize 3 stochastic asymmetric",
        "quantize 4 stochastic per=channel", "quantize 4 scale=shared stochastic range=6",
        "quantize 3 stochastic per=group:40", "hadamard 64 | quantize 3 stochastic",
        "hadamard 64 seed=shared | quantize 4 scale=shared stochastic range=6"}) {
    CAPTURE(recipe);
    const Shape shape{16, 8};
    const auto codec = MakeCodec(recipe, shape);
    const std::vector<float> values = MakeValues(shape, 0, RngStream(5));
    constexpr int kStreams = 2000;
    std::vector<double> sum(values.size());
    std::vector<double> squares(values.size());
    for (std::uint64_t stream = 0; stream < kStreams; ++stream) {
      const auto encoded = EncodeValues(*codec, values, RngStream(77).Child("draw", stream));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto value = static_cast<double>(encoded.decoded[i]);
        sum[i] += value;
        squares[i] += value * value;
      }
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double mean = sum[i] / kStreams;
      const double variance = std::max(squares[i] / kStreams - mean * mean, 0.0);
      CHECK(std::fabs(mean - static_cast<double>(values[i])) <=
            5 * std::sqrt(variance / kStreams) + 1e-4);
    }
  }
}

TEST_CASE("Codec: integers are for linear codecs only") {
  for (const Case& each : kCases) {
    CAPTURE(each.recipe);
    const bool shared =
        std::string_view(each.recipe).find("scale=shared") != std::string_view::npos;
    const auto codec = MakeCodec(each.recipe, each.shape);
    const Codec* summed = codec->summed();
    CHECK((summed != nullptr ? *summed : *codec).traits().linear == shared);
    CHECK_FALSE((summed != nullptr && codec->traits().linear));
  }
}

}  // namespace
}  // namespace fl
