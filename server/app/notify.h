#pragma once

#include <string>

namespace fl::server {

// Tells systemd how this service stands: one datagram such as "READY=1\nSTATUS=..." to the socket
// that the environment's NOTIFY_SOCKET names (man sd_notify); nothing where it names none, and
// no error where that cannot be reached.
void NotifyServiceManager(const std::string& state);

}  // namespace fl::server
