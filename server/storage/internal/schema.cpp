#include "fl/server/storage/internal/schema.h"

#include <array>
#include <string>

namespace fl::server::internal {
namespace {

// Step i brings a database from version i to i + 1; an old one takes the steps that it lacks.
constexpr std::array<const char*, kSchemaVersion> kSteps = {
    R"sql(
CREATE TABLE federations (
  name TEXT PRIMARY KEY, plan BLOB NOT NULL, plan_text TEXT NOT NULL, state INTEGER NOT NULL,
  version INTEGER NOT NULL, published INTEGER NOT NULL, round INTEGER NOT NULL,
  clients INTEGER NOT NULL, abandoned INTEGER NOT NULL, created_at INTEGER NOT NULL,
  deploying_at INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE rounds (
  federation TEXT NOT NULL, number INTEGER NOT NULL, state INTEGER NOT NULL,
  phase INTEGER NOT NULL, base_version INTEGER NOT NULL, version INTEGER NOT NULL,
  cohort INTEGER NOT NULL, accepted INTEGER NOT NULL, examples INTEGER NOT NULL,
  goal_reached INTEGER NOT NULL, opened_at INTEGER NOT NULL, deadline_at INTEGER NOT NULL,
  closed_at INTEGER NOT NULL, published_at INTEGER NOT NULL, loss_trained REAL, loss_before REAL,
  accuracy_before REAL, PRIMARY KEY (federation, number)) WITHOUT ROWID;
CREATE TABLE clients (
  federation TEXT NOT NULL, name TEXT NOT NULL, first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, accepted INTEGER NOT NULL, told_done INTEGER NOT NULL,
  PRIMARY KEY (federation, name)) WITHOUT ROWID;
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY, federation TEXT NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  round INTEGER NOT NULL, slot INTEGER NOT NULL, client TEXT NOT NULL,
  base_version INTEGER NOT NULL, reserved_bytes INTEGER NOT NULL, digest BLOB NOT NULL,
  committed INTEGER NOT NULL, counted_round INTEGER NOT NULL, position INTEGER NOT NULL,
  examples INTEGER NOT NULL, accepted_at INTEGER NOT NULL);
CREATE UNIQUE INDEX tasks_of_client ON tasks (federation, kind, round, client);
CREATE INDEX tasks_counted ON tasks (federation, counted_round, position) WHERE state = 2;
CREATE TABLE chunks (
  task INTEGER NOT NULL, start INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (task, start));
CREATE TABLE phases (
  task INTEGER NOT NULL, phase INTEGER NOT NULL, federation TEXT NOT NULL, round INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (task, phase)) WITHOUT ROWID;
CREATE INDEX phases_of_round ON phases (federation, round, phase);
CREATE TABLE blobs (
  digest BLOB PRIMARY KEY, federation TEXT NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE models (
  federation TEXT NOT NULL, version INTEGER NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL,
  round INTEGER NOT NULL, loss REAL, accuracy REAL,
  PRIMARY KEY (federation, version)) WITHOUT ROWID;
CREATE TABLE changes (
  federation TEXT NOT NULL, base INTEGER NOT NULL, target INTEGER NOT NULL, blob BLOB NOT NULL,
  bytes INTEGER NOT NULL, PRIMARY KEY (federation, base, target)) WITHOUT ROWID;
CREATE TABLE tensors (
  federation TEXT NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (federation, name));
CREATE TABLE traffic (
  federation TEXT NOT NULL, round INTEGER NOT NULL, bytes_up INTEGER NOT NULL,
  body_bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, body_bytes_down INTEGER NOT NULL,
  requests INTEGER NOT NULL, PRIMARY KEY (federation, round)) WITHOUT ROWID;
CREATE TABLE refusals (
  federation TEXT NOT NULL, round INTEGER NOT NULL, code INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (federation, round, code)) WITHOUT ROWID;
CREATE TABLE deployments (
  federation TEXT NOT NULL, client TEXT NOT NULL, bytes INTEGER NOT NULL,
  teacher_accuracy REAL NOT NULL, local_accuracy REAL NOT NULL, installed INTEGER NOT NULL,
  PRIMARY KEY (federation, client)) WITHOUT ROWID;
)sql",
    R"sql(
CREATE TABLE events (
  number INTEGER PRIMARY KEY, federation TEXT NOT NULL, at INTEGER NOT NULL, round INTEGER NOT NULL,
  text TEXT NOT NULL);
CREATE INDEX events_of_federation ON events (federation, number);
)sql",
    R"sql(
ALTER TABLE models ADD COLUMN released BLOB;
ALTER TABLE models ADD COLUMN loss_published REAL;
ALTER TABLE models ADD COLUMN accuracy_published REAL;
UPDATE models SET released = digest, loss_published = loss, accuracy_published = accuracy;
CREATE TABLE changes_by_edition (
  federation TEXT NOT NULL, base INTEGER NOT NULL, target INTEGER NOT NULL,
  edition INTEGER NOT NULL, blob BLOB NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (federation, base, target, edition)) WITHOUT ROWID;
INSERT INTO changes_by_edition SELECT federation, base, target, 0, blob, bytes FROM changes;
DROP TABLE changes;
ALTER TABLE changes_by_edition RENAME TO changes;
)sql",
    R"sql(
ALTER TABLE models ADD COLUMN clients_examples INTEGER NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN clients_loss_sum REAL NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN clients_correct INTEGER NOT NULL DEFAULT 0;
)sql",
    R"sql(
ALTER TABLE federations ADD COLUMN parameters BLOB;
ALTER TABLE rounds ADD COLUMN parameters BLOB;
)sql",
    R"sql(
CREATE TABLE offenders (
  federation TEXT NOT NULL, client TEXT NOT NULL, offences INTEGER NOT NULL,
  last_at INTEGER NOT NULL, held_until INTEGER NOT NULL, denied INTEGER NOT NULL,
  PRIMARY KEY (federation, client)) WITHOUT ROWID;
CREATE TABLE refused (
  number INTEGER PRIMARY KEY, federation TEXT NOT NULL, at INTEGER NOT NULL,
  round INTEGER NOT NULL, client TEXT NOT NULL, code INTEGER NOT NULL, detail INTEGER NOT NULL,
  message TEXT NOT NULL);
CREATE INDEX refused_of_federation ON refused (federation, number);
)sql",
    R"sql(
CREATE TABLE bodies (
  task INTEGER PRIMARY KEY, file INTEGER NOT NULL, start INTEGER NOT NULL,
  written INTEGER NOT NULL);
CREATE INDEX bodies_of_file ON bodies (file);
ALTER TABLE tasks ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
)sql"};

Result<std::uint64_t> VersionOf(SqliteConnection& connection) {
  SqliteQuery query(connection, "PRAGMA user_version");
  FL_TRY([[maybe_unused]] const bool row, query.Step());
  std::uint64_t version = 0;
  query.Read(version);
  return version;
}

}  // namespace

Result<> PrepareSchema(SqliteConnection& connection) {
  FL_TRY_OK(connection.Execute("BEGIN IMMEDIATE"));
  FL_TRY(const std::uint64_t version, VersionOf(connection));
  if (version > kSchemaVersion) {
    return Error{ErrorCode::kWrongVersion, connection.path() + ": schema version " +
                                               std::to_string(version) + ", expected at most " +
                                               std::to_string(kSchemaVersion) +
                                               "; a newer program wrote it"};
  }
  if (version == kSchemaVersion) return connection.Execute("COMMIT");
  for (std::uint64_t step = version; step < kSchemaVersion; ++step) {
    FL_TRY_OK(connection.Execute(kSteps[step]));
  }
  FL_TRY_OK(connection.Execute(("PRAGMA user_version=" + std::to_string(kSchemaVersion)).c_str()));
  return connection.Execute("COMMIT");
}

}  // namespace fl::server::internal
