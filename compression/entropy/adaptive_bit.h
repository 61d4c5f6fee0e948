#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace fl {

// The chance that a bit is one: it starts as given, and the n-th bit seen moves it by 1 / (n + 1.5)
// of the way to that bit (about the mean of what was seen), from the thousandth on by 1 / 1024.
class AdaptiveBit {
 public:
  AdaptiveBit() : AdaptiveBit(32768) {}
  // chance: of 65536, in [1, 65535]; it counts as much as `seen` bits, at most 1023.
  explicit AdaptiveBit(std::uint32_t chance, std::uint32_t seen = 0)
      : state_((chance << 16) | seen) {}

  // Of 65536, in [1, 65535].
  std::uint32_t chance() const { return std::max(state_ >> 16, 1U); }

  void Update(bool bit) {
    const std::uint32_t seen = state_ & kSeenMax;
    const auto place = static_cast<std::int64_t>(state_ >> kSeenBits);
    const std::int64_t target = bit ? (1 << 22) - 1 : 0;
    const std::int64_t moved = place + (((target - place) * kRate[seen]) >> 16);
    state_ = (static_cast<std::uint32_t>(moved) << kSeenBits) | std::min(seen + 1, kSeenMax);
  }

 private:
  static constexpr unsigned kSeenBits = 10;
  static constexpr std::uint32_t kSeenMax = (1U << kSeenBits) - 1;
  static constexpr std::array<std::uint16_t, kSeenMax + 1> kRate = [] {
    std::array<std::uint16_t, kSeenMax + 1> rate{};
    for (std::uint32_t n = 0; n <= kSeenMax; ++n)
      rate[n] = static_cast<std::uint16_t>((2U << 16) / (2 * n + 3));
    return rate;
  }();

  std::uint32_t
      state_;  // The chance in the upper 22 bits, how many bits were seen in the lower 10.
};

}  // namespace fl
