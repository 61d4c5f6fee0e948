#pragma once

#include <string_view>

#include "fl/server/storage/rows.h"

// Which fields of a row are which columns, once for each row type. `row` is a row or a const row;
// `visit` is called as visit(column name, field), in one fixed order; the columns of the primary
// key come first.
namespace fl::server::internal {

template <typename Row>
struct Table;

template <>
struct Table<FederationRow> {
  static constexpr std::string_view kName = "federations";
  static constexpr std::string_view kKey = "name";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("name", row.name);
    visit("plan", row.plan);
    visit("plan_text", row.plan_text);
    visit("state", row.state);
    visit("version", row.version);
    visit("published", row.published);
    visit("round", row.round);
    visit("clients", row.clients);
    visit("abandoned", row.abandoned);
    visit("created_at", row.created_at);
    visit("deploying_at", row.deploying_at);
    visit("parameters", row.parameters);
  }
};

template <>
struct Table<RoundRow> {
  static constexpr std::string_view kName = "rounds";
  static constexpr std::string_view kKey = "federation, number";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("number", row.number);
    visit("state", row.state);
    visit("phase", row.phase);
    visit("base_version", row.base_version);
    visit("version", row.version);
    visit("cohort", row.cohort);
    visit("accepted", row.accepted);
    visit("examples", row.examples);
    visit("goal_reached", row.goal_reached);
    visit("opened_at", row.opened_at);
    visit("deadline_at", row.deadline_at);
    visit("closed_at", row.closed_at);
    visit("published_at", row.published_at);
    visit("loss_trained", row.loss_trained);
    visit("loss_before", row.loss_before);
    visit("accuracy_before", row.accuracy_before);
    visit("parameters", row.parameters);
  }
};

template <>
struct Table<ClientRow> {
  static constexpr std::string_view kName = "clients";
  static constexpr std::string_view kKey = "federation, name";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("name", row.name);
    visit("first_seen", row.first_seen);
    visit("last_seen", row.last_seen);
    visit("accepted", row.accepted);
    visit("told_done", row.told_done);
  }
};

template <>
struct Table<TaskRow> {
  static constexpr std::string_view kName = "tasks";
  static constexpr std::string_view kKey = "id";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("id", row.id);
    visit("federation", row.federation);
    visit("kind", row.kind);
    visit("state", row.state);
    visit("round", row.round);
    visit("slot", row.slot);
    visit("client", row.client);
    visit("base_version", row.base_version);
    visit("reserved_bytes", row.reserved_bytes);
    visit("digest", row.digest);
    visit("committed", row.committed);
    visit("attempt", row.attempt);
    visit("counted_round", row.counted_round);
    visit("position", row.position);
    visit("examples", row.examples);
    visit("accepted_at", row.accepted_at);
  }
};

template <>
struct Table<PhaseRow> {
  static constexpr std::string_view kName = "phases";
  static constexpr std::string_view kKey = "task, phase";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("task", row.task);
    visit("phase", row.phase);
    visit("federation", row.federation);
    visit("round", row.round);
    visit("body", row.body);
  }
};

template <>
struct Table<ModelRow> {
  static constexpr std::string_view kName = "models";
  static constexpr std::string_view kKey = "federation, version";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("version", row.version);
    visit("digest", row.digest);
    visit("bytes", row.bytes);
    visit("round", row.round);
    visit("loss", row.loss);
    visit("accuracy", row.accuracy);
    visit("released", row.released);
    visit("loss_published", row.loss_published);
    visit("accuracy_published", row.accuracy_published);
    visit("clients_examples", row.clients_examples);
    visit("clients_loss_sum", row.clients_loss_sum);
    visit("clients_correct", row.clients_correct);
  }
};

template <>
struct Table<ChangeRow> {
  static constexpr std::string_view kName = "changes";
  static constexpr std::string_view kKey = "federation, base, target, edition";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("base", row.from);
    visit("target", row.to);
    visit("edition", row.edition);
    visit("blob", row.blob);
    visit("bytes", row.bytes);
  }
};

template <>
struct Table<DeploymentRow> {
  static constexpr std::string_view kName = "deployments";
  static constexpr std::string_view kKey = "federation, client";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("client", row.client);
    visit("bytes", row.bytes);
    visit("teacher_accuracy", row.teacher_accuracy);
    visit("local_accuracy", row.local_accuracy);
    visit("installed", row.installed);
  }
};

template <>
struct Table<EventRow> {
  static constexpr std::string_view kName = "events";
  static constexpr std::string_view kKey = "";
  template <typename Row, typename Visitor>
  static void Visit(Row& row, Visitor&& visit) {
    visit("federation", row.federation);
    visit("at", row.at);
    visit("round", row.round);
    visit("text", row.text);
  }
};

}  // namespace fl::server::internal
