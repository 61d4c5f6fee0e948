#pragma once

#include "fl/server/storage/internal/columns.h"

namespace fl::server::internal {

// Where the body of a task's update lies in a file (BodyFiles).
struct BodyRow {
  std::uint64_t task = 0;
  std::uint64_t file = 0;
  std::uint64_t start = 0;
  std::uint64_t written = 0;
};

template <>
struct Table<BodyRow> {
  static constexpr std::string_view kName = "bodies";
  static constexpr std::string_view kKey = "task";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("task", row.task);
    visit("file", row.file);
    visit("start", row.start);
    visit("written", row.written);
  }
};

}  // namespace fl::server::internal
