#pragma once

#include <string_view>

#include "fl/server/storage/internal/columns.h"

// The columns of what is kept of refusals and of those who cause them; as in columns.h.
namespace fl::server::internal {

template <>
struct Table<OffenderRow> {
  static constexpr std::string_view kName = "offenders";
  static constexpr std::string_view kKey = "federation, client";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("client", row.client);
    visit("offences", row.offences);
    visit("last_at", row.last_at);
    visit("held_until", row.held_until);
    visit("denied", row.denied);
  }
};

template <>
struct Table<RefusedRow> {
  static constexpr std::string_view kName = "refused";
  static constexpr std::string_view kKey = "";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("at", row.at);
    visit("round", row.round);
    visit("client", row.client);
    visit("code", row.code);
    visit("detail", row.detail);
    visit("message", row.message);
  }
};

}  // namespace fl::server::internal
