#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

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
  // How wide the terminal is now, in columns; 0: it is none.
  using Columns = std::function<std::size_t()>;
  // `out` must outlive the object.
  StatusWatch(std::ostream& out, Columns columns) : out_(out), columns_(std::move(columns)) {}
  // `now_us` since the Unix epoch.
  void Show(const StatusView& view, std::int64_t now_us);
  // The server does not answer at the moment.
  void ShowProblem(const std::string& problem, std::int64_t now_us);

 private:
  void Draw(std::string_view lines, std::size_t columns);
  void Write(const std::string& line, std::int64_t now_us);

  std::ostream& out_;
  Columns columns_;
  std::size_t drawn_ = 0;  // Lines on the terminal.
  std::string written_;
};

}  // namespace fl::server
