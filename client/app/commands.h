#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fl/common/base/log.h"
#include "fl/common/base/result.h"

// What fl-client does, one function a command; main reads the flags. Results go to standard output.
namespace fl::client {

struct RunCall {
  std::string server;      // HOST:PORT.
  std::string pki;         // Folder with ca.crt, client.crt, client.key.
  std::string data;        // A source, see data::SourceHelp.
  std::string state;       // Folder.
  std::string federation;  // Empty: the server's only one.
  bool until_done = false;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};
// Until SIGTERM or SIGINT, or with until_done until the federation is done.
Result<> RunDevice(const RunCall& call);

struct PredictCall {
  std::string state;
  std::string data;                 // Or:
  std::vector<std::string> images;  // PGM files.
  std::size_t count = 10;           // Of the source's first samples.
  bool json = false;
  bool draw = false;
};
Result<> Predict(const PredictCall& call);

struct ServeCall {
  std::string state;
  std::string socket;  // Path; with `listen` empty too: serve.sock in the state folder.
  std::string listen;  // HOST:PORT, a loopback address; port 0: any free one.
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};
// Until SIGTERM or SIGINT. The bound address is written to STATE/serve-address.
Result<> Serve(const ServeCall& call);

Result<> Rollback(const std::string& state);

Result<> ShowInfo(const std::string& state, bool json);

}  // namespace fl::client
