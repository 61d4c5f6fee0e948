#include "fl/server/http/revocation_watch.h"

#include <utility>

#include "fl/common/net/tls_files.h"

namespace fl::server {

RevocationWatch::RevocationWatch(std::filesystem::path file, std::string in_force,
                                 PutInForce put_in_force, const Logger& logger)
    : file_(std::move(file)),
      in_force_(std::move(in_force)),
      put_in_force_(std::move(put_in_force)),
      logger_(logger) {}

void RevocationWatch::Look() {
  Result<std::string> found = net::ReadRevocations(file_);
  if (!found) {
    // Most fleets begin without a list.
    const bool never_there = found.error().code == ErrorCode::kNotFound && in_force_.empty();
    if (!never_there) Complain(found.error().message);
    return;
  }
  if (*found == in_force_) {
    complaint_.clear();
    return;
  }
  const Result<> taken = put_in_force_(*found);
  if (!taken) return Complain(file_.string() + ": " + taken.error().message);
  in_force_ = *std::move(found);
  complaint_.clear();
  logger_.Info({}, file_.string() + ": the new revocation list is in force");
}

void RevocationWatch::Complain(const std::string& what) {
  if (what == complaint_) return;
  complaint_ = what;
  logger_.Error({}, what + "; the revocations known before stay in force");
}

}  // namespace fl::server
