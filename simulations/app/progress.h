#pragma once

#include <cstdint>
#include <ostream>
#include <string>

namespace fl::sim {

// What a person wants to see of a run after a round.
struct ProgressRow {
  std::uint64_t round = 0;
  std::uint64_t rounds = 0;  // In the plan.
  std::uint64_t accepted = 0;
  double accuracy = -1;        // In [0, 1]; < 0: not known.
  double loss = -1;            // < 0: not known.
  std::uint64_t bytes_up = 0;  // Since the start.
  double seconds = 0;          // Since the start.
};

// Shows a run's progress: on a terminal one line that is drawn again and again, elsewhere a line a
// round. Thread safety: shared objects unsafe.
class Progress {
 public:
  // `out` must outlive the object.
  Progress(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}
  void Show(const ProgressRow& row);
  // Leaves the line that is drawn on, so that what follows starts on a new one.
  void Finish();

 private:
  std::ostream& out_;
  bool terminal_;
  std::size_t drawn_ = 0;  // Characters of the line on the terminal.
};

// The line itself, without line feed.
std::string FormatProgress(const ProgressRow& row, bool bar);

}  // namespace fl::sim
