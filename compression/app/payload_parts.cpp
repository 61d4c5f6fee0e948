#include "fl/compression/app/payload_parts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/entropy/rice.h"

namespace fl::codec_app {
namespace {

constexpr std::size_t kTopKBlock = 65536;

const std::string* FindOption(const Stage& stage, std::string_view key) {
  const auto found =
      std::ranges::find(stage.options, key, &decltype(stage.options)::value_type::first);
  return found == stage.options.end() ? nullptr : &found->second;
}

bool HasWord(const Stage& stage, std::string_view word) {
  return std::ranges::find(stage.arguments, word) != stage.arguments.end();
}

// Takes pieces from the front of a payload; what is left over goes to whoever takes the rest.
class Divider {
 public:
  explicit Divider(ByteSpan payload) : left_(payload) {}

  ByteSpan left() const { return left_; }
  void Take(std::string stage, std::string what, std::size_t bytes) {
    bytes = std::min(bytes, left_.size());
    if (bytes == 0) return;
    left_ = left_.subspan(bytes);
    const auto same = std::ranges::find_if(
        parts_, [&](const PayloadPart& part) { return part.stage == stage && part.what == what; });
    if (same == parts_.end()) {
      parts_.push_back({std::move(stage), std::move(what), bytes});
    } else {
      same->bytes += bytes;
    }
  }
  void TakeRest(const std::string& stage, const std::string& what) {
    Take(stage, what, left_.size());
  }
  std::vector<PayloadPart> Finish() { return std::move(parts_); }

 private:
  ByteSpan left_;
  std::vector<PayloadPart> parts_;
};

// Grids of one quantizer over `count` values: one, one a channel, or one a group.
std::size_t GridsOf(const Stage& stage, const Shape& shape, std::size_t count) {
  const std::string* per = FindOption(stage, "per");
  if (per == nullptr || *per == "tensor") return 1;
  if (*per == "channel") return shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
  const std::size_t colon = per->find(':');
  const auto group = ParseNumber<std::size_t>(
      colon == std::string::npos ? std::string_view() : std::string_view(*per).substr(colon + 1));
  return group && *group > 0 ? (count + *group - 1) / *group : 1;
}

void DivideQuantize(const Stage& stage, const Shape& shape, std::size_t count, Divider& divider) {
  const bool shared = FindOption(stage, "scale") != nullptr;
  const std::size_t grid = HasWord(stage, "asymmetric") ? 4 : 2;
  if (!shared) divider.Take("quantize", "grids", grid * GridsOf(stage, shape, count));
  divider.TakeRest("quantize", "codes");
}

// What a value stage wrote for `count` values.
void DivideValues(const Stage* stage, const Shape& shape, std::size_t count, Divider& divider) {
  const std::string name = stage == nullptr ? "raw" : stage->name;
  if (stage != nullptr && name == "quantize") {
    DivideQuantize(*stage, shape, count, divider);
  } else if (name == "sign" || name == "lloyd") {
    divider.Take(name, "scale", 2);
    divider.TakeRest(name, "codes");
  } else if (name == "natural") {
    divider.Take(name, "exponents", count);
    divider.TakeRest(name, "signs");
  } else {
    divider.TakeRest(name, "values");
  }
}

void DivideTopK(std::size_t count, Divider& divider) {
  for (std::size_t first = 0; first < count; first += kTopKBlock) {
    const std::size_t size = std::min(kTopKBlock, count - first);
    ByteReader reader(divider.left());
    const auto kept = reader.ReadVarint();
    if (!kept) return;
    divider.Take("top_k", "counts", reader.position());
    IndexReader places(divider.left(), *kept, size);
    for (std::uint64_t i = 0; i < *kept; ++i) {
      if (!places.Next()) return;
    }
    divider.Take("top_k", "places", places.bytes_read());
  }
}

// Factors in levels of a fixed width; any other way to write them is one piece.
void DivideLowRank(const Stage& head, const Stage* values, const Shape& shape, Divider& divider) {
  const std::size_t columns = shape[shape.rank() - 1];
  const std::size_t rows = shape.count() / columns;
  std::size_t rank = std::min(rows, columns);
  if (head.arguments.empty()) {  // Chosen for each message.
    rank = divider.left().empty() ? 0 : std::to_integer<std::size_t>(divider.left().front());
    divider.Take("low_rank", "rank", 1);
  } else {
    rank = std::min(rank, ParseNumber<std::size_t>(head.arguments.front()).value_or(1));
  }
  const std::string* basis = FindOption(head, "basis");
  if (basis != nullptr && *basis == "shared") {
    divider.TakeRest("low_rank", "factor");
    return;
  }
  const bool levels = values != nullptr && values->name == "quantize" &&
                      values->arguments.size() == 1 && FindOption(*values, "per") == nullptr;
  const auto bits = levels ? ParseNumber<unsigned>(values->arguments.front()) : std::nullopt;
  if (bits.value_or(1) == 1) {
    divider.TakeRest("low_rank", "factors");
    return;
  }
  divider.Take("low_rank", "left factor", PackedBytes(rows * rank, *bits));
  divider.Take("low_rank", "scales", 2 * rank);
  divider.TakeRest("low_rank", "right factor");
}

// Recipes joined by +: a length and a part for each but the last.
std::vector<PayloadPart> PartsOfJoined(const Recipe& recipe, const Shape& shape, ByteSpan payload) {
  std::vector<PayloadPart> parts;
  std::size_t lengths = 0;
  ByteReader reader(payload);
  for (std::size_t i = 0; i <= recipe.rest.size(); ++i) {
    std::uint64_t size = reader.remaining();
    if (i < recipe.rest.size()) {
      const std::size_t before = reader.position();
      size = reader.ReadVarint().value();
      lengths += reader.position() - before;
    }
    const Recipe part{.stages = i == 0 ? recipe.stages : recipe.rest[i - 1].stages, .rest = {}};
    for (PayloadPart& each : PartsOf(part, shape, reader.ReadSpan(size).value()))
      parts.push_back(std::move(each));
  }
  parts.insert(parts.begin(), {"+", "lengths", lengths});
  return parts;
}

}  // namespace

std::vector<PayloadPart> PartsOf(const Recipe& recipe, const Shape& shape, ByteSpan payload) {
  if (!recipe.rest.empty()) return PartsOfJoined(recipe, shape, payload);
  Divider divider(payload);
  const Stage& head = recipe.stages.front();
  const Stage* next = recipe.stages.size() > 1 ? &recipe.stages[1] : nullptr;
  if (next != nullptr && next->name == "pack") next = nullptr;
  const bool masked = head.name == "shared_mask" || head.name == "announced";
  if (recipe.stages.size() > 2 || (next != nullptr && head.name != "top_k" && !masked &&
                                   head.name != "low_rank" && head.name != "hadamard")) {
    divider.TakeRest(head.name, "all");  // Coded by an entropy stage, which mixes what it codes.
  } else if (head.name == "auto") {
    divider.Take("auto", "choice", 1);
    divider.TakeRest(AdaptiveChoiceOf(payload), "all");
  } else if (head.name == "top_k") {
    DivideTopK(shape.count(), divider);
    DivideValues(next, Shape(), divider.left().size(), divider);
  } else if (masked) {
    DivideValues(next, Shape(), divider.left().size(), divider);
  } else if (head.name == "low_rank") {
    DivideLowRank(head, next, shape, divider);
  } else if (head.name == "hadamard") {
    const std::string* seed = FindOption(head, "seed");
    if (seed == nullptr || *seed != "shared") divider.Take("hadamard", "seed", 4);
    DivideValues(next, shape, shape.count(), divider);
  } else {
    DivideValues(&head, shape, shape.count(), divider);
  }
  return divider.Finish();
}

}  // namespace fl::codec_app
