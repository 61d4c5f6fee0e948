#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fl::deploy {

// What models are compared by.
struct Objectives {
  double accuracy = 0;      // In [0, 1].
  std::uint64_t bytes = 0;  // Of the model file.
  double microseconds = 0;  // Of one sample.
  friend bool operator==(const Objectives&, const Objectives&) = default;
};

// Whether `a` is at least as good as `b` in all three and better in one.
bool Dominates(const Objectives& a, const Objectives& b);

// Of each point the number of its front: 0 where no other dominates it, 1 where only points of
// front 0 do, and so on (non-dominated sorting; Deb et al. 2002, doi:10.1109/4235.996017). Equal
// points share a front. Thread safety: pure function.
std::vector<std::size_t> FrontNumbers(std::span<const Objectives> points);

// How much of what is better than `corner` the points dominate together (hypervolume; Zitzler and
// Thiele 1999, doi:10.1109/4235.797969): accuracy counts in points, bytes and time by their
// natural logarithms. A point that is no better than the corner in one of the three adds nothing;
// of a single point it is the product of what it gains over the corner. Thread safety: pure
// function.
double DominatedVolume(std::span<const Objectives> points, const Objectives& corner);

}  // namespace fl::deploy
