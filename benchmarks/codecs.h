#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The group `codecs`: what the codecs' bytes, errors and speeds are, against theory and against
// plain loops over the same values in the same run.
namespace fl::bench {

struct CodecsConfig {
  RunConditions conditions;
  // A folder that fl-sim wrote with --record-updates: its deltas' matrices are coded, too. Empty:
  // no rows of recorded deltas.
  std::filesystem::path recorded;
  // Values of the speed rows are side x side, at least 256 and of at most 2^24 in all. Bars suppose
  // 4096; smaller ones are for a test that all runs.
  std::size_t side = 4096;
  // Of the timed recipes those whose name holds this, and no other rows; empty: all.
  std::string only;
};

// kIo or kMalformed where a recorded file cannot be read.
Result<> RunCodecs(const CodecsConfig& config, Report& report);

// Its parts.
void AddErrorRows(const CodecsConfig& config, Report& report);
void AddEntropyRows(const CodecsConfig& config, Report& report);
void AddOverheadRows(const CodecsConfig& config, Report& report);
Result<> AddRecordedRows(const CodecsConfig& config, Report& report);
void AddSpeedRows(const CodecsConfig& config, Report& report);
void AddSelectRow(const CodecsConfig& config, Report& report);
void AddFoldRows(const CodecsConfig& config, Report& report);

}  // namespace fl::bench
