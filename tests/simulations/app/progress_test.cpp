#include "fl/simulations/app/progress.h"

#include <sstream>

#include <doctest/doctest.h>

namespace fl::sim {
namespace {

const ProgressRow kRow{.round = 5,
                       .rounds = 20,
                       .accepted = 10,
                       .accuracy = 0.9125,
                       .loss = 0.31,
                       .bytes_up = 123456,
                       .seconds = 10};

TEST_CASE("FormatProgress: a bar shows how much is done and the time left") {
  CHECK(FormatProgress(kRow, true) ==
        "[######..................] round 5/20  accepted 10  accuracy 91.25 %  loss 0.3100  up "
        "123.5 kB  0:30 left");
}

TEST_CASE("FormatProgress: a plain line leaves out what is not known") {
  ProgressRow row = kRow;
  row.accuracy = -1;
  row.loss = -1;
  CHECK(FormatProgress(row, false) == "round 5/20  accepted 10  up 123.5 kB  10.0 s");
}

TEST_CASE("Progress: a shorter line on a terminal covers the longer one before it") {
  std::ostringstream out;
  Progress progress(out, true);
  progress.Show(kRow);
  const std::size_t length = out.str().size();
  ProgressRow row = kRow;
  row.loss = -1;
  progress.Show(row);
  progress.Finish();
  CHECK(out.str().size() == 2 * length + 1);
  CHECK(out.str().back() == '\n');
}

TEST_CASE("Progress: elsewhere each round is a line") {
  std::ostringstream out;
  Progress progress(out, false);
  progress.Show(kRow);
  progress.Show(kRow);
  progress.Finish();
  CHECK(out.str() == FormatProgress(kRow, false) + "\n" + FormatProgress(kRow, false) + "\n");
}

}  // namespace
}  // namespace fl::sim
