#include "fl/server/storage/rows.h"

namespace fl::server {

Traffic& Traffic::operator+=(const Traffic& other) {
  bytes_up += other.bytes_up;
  body_bytes_up += other.body_bytes_up;
  bytes_down += other.bytes_down;
  body_bytes_down += other.body_bytes_down;
  requests += other.requests;
  return *this;
}

}  // namespace fl::server
