#include "fl/compression/entropy/density_levels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/nonzero_blocks.h"
#include "fl/compression/entropy/range_coder.h"

namespace fl {
namespace {

constexpr unsigned kOne = 20;          // Activities are in units of 2^-20.
constexpr std::size_t kWidthMax = 32;  // Of a group of columns.
constexpr std::size_t kBuckets = 11;
constexpr std::size_t kPlaceBuckets = 9;
constexpr int kBucketWidth = 6;

// The mean activity of a kind, rounded, at least 1 unit.
std::uint64_t MeanOf(std::uint8_t kind) {
  constexpr std::array<std::uint64_t, 4> kQuarter = {1097253, 1304878, 1551792, 1845427};
  const std::uint64_t scaled = kQuarter[kind % 4] << (kind / 4);
  return std::max<std::uint64_t>(scaled >> 24, 1);
}

std::uint32_t Activity(std::int32_t level) {
  return std::min(static_cast<std::uint32_t>(level < 0 ? -level : level), kActivityMax);
}

// The chance, of 65536, that a level is not zero where the mean activity is `mean`, as if the
// levels were geometric.
std::uint32_t NonzeroChance(std::uint64_t mean) {
  const std::uint64_t chance = (mean << 16) / ((1U << kOne) + mean);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(chance, 1, 65535));
}

// A bit whose first chance counts as two ones and at least eight bits.
AdaptiveBit FirstBit(std::uint32_t chance) {
  return AdaptiveBit(chance, std::clamp(131072 / chance, 8U, 1000U));
}

// What a bucket makes of the mean at first: three quarters of the way, in logarithms, to its
// middle.
std::uint64_t ScaledToBucket(std::uint64_t mean, int bucket) {
  constexpr std::array<std::uint64_t, 8> kEighth = {256, 279, 304, 332, 362, 395, 431, 470};
  const int eighths = (kBucketWidth * bucket - 32) * 3 / 4 + 64;
  return (mean * kEighth[static_cast<std::size_t>(eighths % 8)] >> 8 << (eighths / 8)) >> 8;
}

int BucketOf(int log_ratio) {
  return std::clamp((log_ratio + 35) / kBucketWidth, 0, static_cast<int>(kBuckets) - 1);
}

// Whether a column whose share of its group is in a bucket is the first that is not zero, before
// `rest` others.
AdaptiveBit PlaceBit(std::size_t rest, std::size_t bucket) {
  constexpr std::array<std::uint32_t, kPlaceBuckets> kShare = {8,   13,  22,  38, 64,
                                                               108, 181, 304, 512};
  const std::uint32_t share = kShare[bucket];
  const auto chance = (share << 16) / (share + 64 * static_cast<std::uint32_t>(rest));
  return AdaptiveBit(chance, 32);
}

// How many columns make a group where the mean activity is `mean`.
std::size_t WidthFor(std::uint64_t mean) {
  return mean >= (1U << 14) ? 8 : mean >= (1U << 12) ? 16 : kWidthMax;
}

// All that is learnt while a part is read or written.
class Model {
 public:
  Model(const LevelArray& array, std::size_t first)
      : array_(array),
        column_(first % array.columns),
        mean_(MeanOf(array.kind)),
        mean_log_(LevelLog(mean_)),
        rows_prior_(4 + (std::uint64_t{3} << 18) / mean_),
        columns_prior_(8 + (std::uint64_t{1} << 18) / mean_),
        grouped_(mean_ < (1U << 16) && array.columns > 1),
        width_(WidthFor(mean_)),
        width_shift_(std::countr_zero(width_)),
        columns_(array.columns,
                 Sum{0, static_cast<std::int16_t>(LevelLog(rows_prior_ * mean_)), 0}),
        rho_(mean_) {
    for (int a = 0; a < static_cast<int>(kBuckets); ++a) {
      for (int b = 0; b < static_cast<int>(kBuckets); ++b) {
        const std::uint64_t mean = ScaledToBucket(ScaledToBucket(mean_, a), b);
        nonzero_[Cell(a, b)] = FirstBit(NonzeroChance(mean));
        group_[Cell(a, b)] = FirstBit(NonzeroChance(mean * width_));
      }
    }
    SetPlaceLogs();
    if (grouped_) {
      groups_.resize((array.columns + width_ - 1) / width_);
      for (std::size_t g = 0; g < groups_.size(); ++g) {
        groups_[g].log = static_cast<std::int16_t>(LevelLog(rows_prior_ * mean_ * GroupSize(g)));
        groups_[g].own_log = static_cast<std::int16_t>(LevelLog(GroupSize(g)));
      }
      for (std::size_t place = 0; place + 1 < width_; ++place) {
        for (std::size_t c = 0; c < kPlaceBuckets; ++c)
          place_[place][c] = PlaceBit(width_ - place - 1, c);
      }
    }
    BeginRow();
  }

  // Codes `count` levels, or of those the first `stop` at least. Coder: bool Bit(AdaptiveBit&,
  // std::size_t first, std::size_t size): is one of these nonzero; std::int32_t
  // Level(AdaptiveNumber&, std::size_t at): a nonzero level.
  template <typename Coder>
  void Run(Coder& coder, std::size_t count, std::size_t stop) {
    for (std::size_t at = 0; at < stop;) {
      const std::size_t end = std::min(count, at + array_.columns - column_);
      grouped_ ? RunGroups(coder, at, end, stop) : RunRow(coder, at, std::min(end, stop));
      at = end;
      if (column_ == array_.columns) EndRow();
    }
  }

  std::uint64_t activity() const { return activity_; }

 private:
  struct Sum {
    std::uint32_t sum = 0;
    std::int16_t log = 0;      // Of the sum with what the mean adds.
    std::int16_t own_log = 0;  // Of a column's place with what is added to it, of a group's width.
  };

  static std::size_t Cell(int a, int b) {
    return static_cast<std::size_t>(a) * kBuckets + static_cast<std::size_t>(b);
  }
  std::size_t GroupSize(std::size_t group) const {
    return std::min(width_, array_.columns - group * width_);
  }

  // The Log of x stays the same until x is a multiple of an eighth of its highest bit.
  void SetPlaceLogs() {
    std::uint64_t x = columns_prior_;
    for (std::size_t column = 0; column < columns_.size();) {
      const std::uint64_t unit = std::max<std::uint64_t>(std::bit_floor(x) / 8, 1);
      const auto log = static_cast<std::int16_t>(LevelLog(x));
      for (const std::uint64_t end = x - x % unit + unit; x < end && column < columns_.size(); ++x)
        columns_[column++].own_log = log;
    }
  }

  void BeginRow() {
    rows_log_ = LevelLog(row_ + rows_prior_) + mean_log_;
    row_sum_ = 0;
    RowChanged();
  }
  void RowChanged() {
    row_log_ = LevelLog((std::uint64_t{row_sum_} << kOne) + columns_prior_ * rho_) - mean_log_;
  }
  void EndRow() {
    const std::uint64_t row_mean = (std::uint64_t{row_sum_} << kOne) / array_.columns;
    rho_ = std::max<std::uint64_t>((rho_ + row_mean) / 2, 1);
    column_ = 0;
    ++row_;
    BeginRow();
  }

  int RowBucket() const { return BucketOf(row_log_ - columns_[column_].own_log); }

  template <typename Coder>
  void RunRow(Coder& coder, std::size_t at, std::size_t end) {
    for (; at < end; ++at, ++column_) {
      const int a = BucketOf(columns_[column_].log - rows_log_);
      const int b = RowBucket();
      if (coder.Bit(nonzero_[Cell(a, b)], at, 1)) AddLevel(coder, a, b, at);
    }
  }

  template <typename Coder>
  void RunGroups(Coder& coder, std::size_t at, std::size_t end, std::size_t stop) {
    while (at < std::min(end, stop)) {
      const std::size_t group = column_ >> width_shift_;
      const std::size_t size = std::min(group * width_ + GroupSize(group) - column_, end - at);
      const int width_log = groups_[group].own_log;
      const int a = BucketOf(groups_[group].log - rows_log_ - width_log);
      if (coder.Bit(group_[Cell(a, RowBucket())], at, size)) {
        RunGroup(coder, groups_[group].log - width_log, at, at + size);
      } else {
        column_ += size;
      }
      at += size;
    }
  }

  // A group of which some level is not zero.
  template <typename Coder>
  void RunGroup(Coder& coder, int group_log, std::size_t at, std::size_t end) {
    bool found = false;
    for (; at < end; ++at, ++column_) {
      const int column_log = columns_[column_].log;
      const int a = BucketOf(column_log - rows_log_);
      const int b = RowBucket();
      bool nonzero = !found && at + 1 == end;
      if (found) {
        nonzero = coder.Bit(nonzero_[Cell(a, b)], at, 1);
      } else if (!nonzero) {
        const int c = std::clamp((column_log - group_log + 27) / kBucketWidth, 0,
                                 static_cast<int>(kPlaceBuckets) - 1);
        nonzero = coder.Bit(place_[width_ - (end - at)][static_cast<std::size_t>(c)], at, 1);
      }
      if (!nonzero) continue;
      found = true;
      AddLevel(coder, a, b, at);
    }
  }

  template <typename Coder>
  void AddLevel(Coder& coder, int a, int b, std::size_t at) {
    const std::int32_t level =
        coder.Level(magnitude_[static_cast<std::size_t>((a + b) / 4)], at, array_.max);
    const std::uint32_t activity = Activity(level);
    activity_ += activity;
    row_sum_ += activity;
    RowChanged();
    AddTo(columns_[column_], activity, rows_prior_ * mean_);
    if (grouped_) {
      const std::size_t group = column_ >> width_shift_;
      AddTo(groups_[group], activity, rows_prior_ * mean_ * GroupSize(group));
    }
  }
  static void AddTo(Sum& sum, std::uint32_t activity, std::uint64_t prior) {
    sum.sum += activity;
    sum.log = static_cast<std::int16_t>(LevelLog((std::uint64_t{sum.sum} << kOne) + prior));
  }

  const LevelArray array_;
  std::size_t column_;
  std::size_t row_ = 0;
  const std::uint64_t mean_;
  const int mean_log_;
  const std::uint64_t rows_prior_;     // How many rows, and columns, of the mean are added to what
  const std::uint64_t columns_prior_;  // was seen.
  const bool grouped_;
  const std::size_t width_;  // Of a group: 2 to the power of the next.
  const int width_shift_;
  std::vector<Sum> columns_;
  std::vector<Sum> groups_;
  std::uint64_t rho_;
  std::uint32_t row_sum_ = 0;
  int row_log_ = 0;
  int rows_log_ = 0;
  std::uint64_t activity_ = 0;
  std::array<AdaptiveBit, kBuckets * kBuckets> nonzero_;
  std::array<AdaptiveBit, kBuckets * kBuckets> group_;
  std::array<std::array<AdaptiveBit, kPlaceBuckets>, kWidthMax> place_;
  std::array<AdaptiveNumber, 6> magnitude_;
};

template <std::signed_integral Integer>
class Writer {
 public:
  Writer(std::span<const Integer> levels, ByteWriter& out) : levels_(levels), encoder_(out) {
    FindNext(0);
  }
  bool Bit(AdaptiveBit& model, std::size_t first, std::size_t size) {
    const bool bit = next_ < first + size;
    encoder_.Encode(model, bit);
    return bit;
  }
  std::int32_t Level(AdaptiveNumber& model, std::size_t at, std::uint32_t max) {
    const std::int32_t level = levels_[at];
    FindNext(at + 1);
    FL_CHECK(static_cast<std::uint32_t>(level < 0 ? -level : level) <= max, "a level in its range");
    encoder_.EncodeUniform(level < 0 ? 1 : 0, 1);
    model.Encode(encoder_, static_cast<std::uint32_t>(level < 0 ? -level : level) - 1, max - 1);
    return level;
  }
  void Finish() { encoder_.Finish(); }

 private:
  // The next level that is not zero, from `at` on.
  void FindNext(std::size_t at) {
    next_ = at < levels_.size() && levels_[at] != 0 ? at : NextNonzero(levels_, at);
  }

  std::span<const Integer> levels_;
  std::size_t next_ = 0;  // The first level that is not zero among those that are still to come.
  RangeEncoder encoder_;
};

template <std::signed_integral Integer>
void WritePart(std::span<const Integer> levels, std::size_t first, const LevelArray& array,
               ByteWriter& out) {
  Model model(array, first);
  Writer<Integer> writer(levels, out);
  model.Run(writer, levels.size(), levels.size());
  writer.Finish();
}

template <std::signed_integral Integer>
std::uint64_t SumOfActivities(std::span<const Integer> levels) {
  std::uint64_t activity = 0;
  ForNonzeroBlocks(levels, [&](std::size_t /*at*/, std::span<const Integer> block) {
    for (const Integer level : block) activity += Activity(level);
  });
  return activity;
}

class Reader {
 public:
  Reader(ByteSpan bytes, std::size_t first, LevelSink& sink)
      : decoder_(bytes), first_(first), sink_(sink) {}
  bool Bit(AdaptiveBit& model, std::size_t /*first*/, std::size_t /*size*/) {
    return decoder_.Decode(model);
  }
  std::int32_t Level(AdaptiveNumber& model, std::size_t at, std::uint32_t max) {
    const bool negative = decoder_.DecodeUniform(1) != 0;
    const auto magnitude = static_cast<std::int32_t>(model.Decode(decoder_, max - 1) + 1);
    const std::int32_t level = negative ? -magnitude : magnitude;
    places_[run_] = static_cast<std::uint32_t>(at - from_);
    levels_[run_] = level;
    if (++run_ == kRun) Flush(at + 1);
    return level;
  }
  // Hands on what was read; the next places count from there.
  void Flush(std::size_t next) {
    sink_.PutPlaces(first_ + from_, std::span(places_).first(run_), std::span(levels_).first(run_));
    from_ = next;
    run_ = 0;
  }
  Result<> Finish() const { return decoder_.Finish(); }

 private:
  static constexpr std::size_t kRun = 256;  // Levels handed on at once.

  RangeDecoder decoder_;
  std::size_t first_;
  LevelSink& sink_;
  std::array<std::uint32_t, kRun> places_;
  std::array<std::int32_t, kRun> levels_;
  std::size_t run_ = 0;
  std::size_t from_ = 0;
};

class SpanSink final : public LevelSink {
 public:
  explicit SpanSink(std::span<std::int32_t> out) : out_(out) {}
  void Put(std::size_t index, std::int32_t level) override { out_[index] = level; }

 private:
  std::span<std::int32_t> out_;
};

}  // namespace

std::uint64_t ActivityOf(std::span<const std::int32_t> levels) {
  return SumOfActivities(levels);
}
std::uint64_t ActivityOf(std::span<const std::int16_t> levels) {
  return SumOfActivities(levels);
}

std::uint8_t LevelKind(std::uint64_t activity, std::size_t count) {
  const int log = LevelLog(std::max<std::uint64_t>((activity << 24) / count, 1));
  return static_cast<std::uint8_t>(std::clamp(log / 2, 0, 127));
}

std::size_t PartCoordinates(std::uint8_t kind, std::size_t part_bytes) {
  constexpr std::uint64_t kLeast = 65536;
  // About log2(1 / mean) + 2 bits for each unit of activity.
  const std::uint64_t bits = kind < 96 ? 26 - kind / 4 : 2;
  const std::uint64_t bytes =
      std::max<std::uint64_t>((kLeast * MeanOf(kind) * bits) >> (kOne + 3), 1);
  return kLeast * ((part_bytes + bytes - 1) / bytes);
}

void EncodePart(std::span<const std::int32_t> levels, std::size_t first, const LevelArray& array,
                ByteWriter& out) {
  WritePart(levels, first, array, out);
}
void EncodePart(std::span<const std::int16_t> levels, std::size_t first, const LevelArray& array,
                ByteWriter& out) {
  WritePart(levels, first, array, out);
}

Result<std::uint64_t> DecodePart(ByteSpan bytes, std::size_t first, std::size_t count,
                                 const LevelArray& array, LevelSink& sink) {
  Model model(array, first);
  Reader reader(bytes, first, sink);
  model.Run(reader, count, count);
  reader.Flush(count);
  FL_TRY_OK(reader.Finish());
  return model.activity();
}

void DecodeAcceptedPart(ByteSpan bytes, std::size_t first, std::size_t count, std::size_t stop,
                        const LevelArray& array, LevelSink& sink) {
  Model model(array, first);
  Reader reader(bytes, first, sink);
  model.Run(reader, count, stop);
  reader.Flush(count);
}

void EncodeLevels(std::span<const std::int32_t> levels, std::size_t columns, std::uint32_t max,
                  ByteWriter& out) {
  FL_CHECK(columns > 0, "levels lie in columns");
  const std::uint64_t activity = ActivityOf(levels);
  if (activity == 0) return;
  const LevelArray array{columns, max, LevelKind(activity, levels.size())};
  out.Write(array.kind);
  EncodePart(levels, 0, array, out);
}

Result<> DecodeLevels(ByteSpan bytes, std::size_t columns, std::uint32_t max,
                      std::span<std::int32_t> out) {
  FL_CHECK(columns > 0, "levels lie in columns");
  std::ranges::fill(out, 0);
  if (bytes.empty()) return {};
  const LevelArray array{columns, max, std::to_integer<std::uint8_t>(bytes[0])};
  if (array.kind > 127 || out.empty() || max == 0) {
    return Error{ErrorCode::kMalformed,
                 "expected a kind of levels up to 127, found " + std::to_string(array.kind),
                 ErrorDetail::kCodeDamaged};
  }
  SpanSink sink(out);
  FL_TRY(const std::uint64_t activity, DecodePart(bytes.subspan(1), 0, out.size(), array, sink));
  if (activity != 0 && LevelKind(activity, out.size()) == array.kind) return {};
  return Error{ErrorCode::kMalformed,
               "expected the kind of the levels, found " + std::to_string(array.kind),
               ErrorDetail::kCodeDamaged};
}

}  // namespace fl
