#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "fl/common/base/result.h"

// What /v1/admin/status says, for a person.
namespace fl::server {

struct StatusView {
  std::string lines;    // Some lines for a terminal: bar, time left, trend.
  std::string summary;  // The same in one, without what changes by the clock alone.
  bool over = false;    // Done or stopped.
};
// kMalformed where `json` is not such an answer.
Result<StatusView> ViewStatus(std::string_view json);

// Shows one status after the other: on a terminal in place of the last one, elsewhere a line with
// the time (UTC) when something has changed. Thread safety: shared objects unsafe.
class StatusWatch {
 public:
  // `out` must outlive the object.
  StatusWatch(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}
  // `now_us` since the Unix epoch.
  void Show(const StatusView& view, std::int64_t now_us);
  // The server does not answer at the moment.
  void ShowProblem(const std::string& problem, std::int64_t now_us);

 private:
  void Draw(const std::string& lines);
  void Write(const std::string& line, std::int64_t now_us);

  std::ostream& out_;
  bool terminal_;
  std::size_t drawn_ = 0;  // Lines on the terminal.
  std::string written_;
};

}  // namespace fl::server
