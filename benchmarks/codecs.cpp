#include "fl/benchmarks/codecs.h"

namespace fl::bench {

Result<> RunCodecs(const CodecsConfig& config, Report& report) {
  if (!config.only.empty()) {
    AddSpeedRows(config, report);
    AddFoldRows(config, report);
    return {};
  }
  AddErrorRows(config, report);
  AddEntropyRows(config, report);
  FL_TRY_OK(AddRecordedRows(config, report));
  AddOverheadRows(config, report);
  AddSelectRow(config, report);
  AddSpeedRows(config, report);
  AddFoldRows(config, report);
  return {};
}

}  // namespace fl::bench
