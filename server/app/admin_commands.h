#pragma once

#include <filesystem>
#include <ostream>
#include <string>

#include "fl/common/base/result.h"
#include "fl/server/operate/status_view.h"

namespace fl::server {

struct AdminOptions {
  std::string server;         // HOST:PORT.
  std::filesystem::path pki;  // A folder with an admin's certificate.
  std::string federation;     // Empty: the only one.
  std::string client;         // allow: whom.
  bool json = false;
  bool watch = false;  // status: show it again and again.
  bool follow =
      false;  // status: print each round as it is published, until the federation is done.
};

// Sends one admin request and prints the answer: for people, or as the server's JSON. `command`:
// status, clients, report, events, refusals, allow, start, pause, stop.
Result<> RunAdminCommand(const std::string& command, const AdminOptions& options,
                         std::ostream& out);

// One line of JSON for each round when it is published and measured, and a last one when the
// federation is done.
Result<> FollowRounds(const AdminOptions& options, std::ostream& out);

// Shows the status once a second, live on a terminal and a line a change elsewhere, until the
// federation is done or stopped. A server that goes away later is waited for.
Result<> WatchStatus(const AdminOptions& options, std::ostream& out, StatusWatch::Columns columns);

// Writes the published model, a safetensors file.
Result<> SaveModel(const AdminOptions& options, const std::filesystem::path& file);

}  // namespace fl::server
