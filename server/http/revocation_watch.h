#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "fl/common/base/log.h"
#include "fl/common/base/result.h"

namespace fl::server {

// Follows the authority's revocation list in a file while a server runs. A list that is not the one
// in force is handed on; one that is damaged, that another authority signed or that has gone
// changes nothing and is logged, once. Thread safety: one thread at a time.
class RevocationWatch {
 public:
  // Puts a list (PEM) in force, or says what is wrong with it: net::HttpServer::Revoke.
  using PutInForce = std::function<Result<>(const std::string& revoked)>;

  // `in_force` is the list that the server began with, empty for none; `logger` must outlive this.
  RevocationWatch(std::filesystem::path file, std::string in_force, PutInForce put_in_force,
                  const Logger& logger);

  // Reads the file, which is to be done at least every two seconds: whole and not by its time
  // stamp, which may stay the same when two lists are written at once.
  void Look();

 private:
  void Complain(const std::string& what);

  std::filesystem::path file_;
  std::string in_force_;
  PutInForce put_in_force_;
  const Logger& logger_;
  std::string complaint_;  // What was logged and still holds.
};

}  // namespace fl::server
