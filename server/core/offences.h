#pragma once

#include <cstdint>

#include "fl/common/base/clock.h"
#include "fl/common/base/result.h"
#include "fl/server/storage/rows.h"

// What becomes of a client whose requests are refused again and again: it is held off, longer each
// time, and then denied for a while. An accepted update clears it. Pure functions of rows and time.
namespace fl::server {

struct OffencePolicy {
  std::uint64_t free = 1;        // Offences in a row that cost nothing.
  double hold_s = 30;            // The next one; each further one costs twice as much,
  double hold_max_s = 3600;      // at most that.
  std::uint64_t deny_after = 8;  // Offences in a row; 0: nobody is denied.
  double deny_s = 24 * 3600;     // How long. An offence counts with the last one within this time.
};

// Refusals that a client of this program that works on the right plan does not cause; late,
// needless or repeated requests are none, nor is the wrong role, which is an operator's slip.
bool IsOffence(ErrorCode code);

// What the row is after one more offence. True when the client was denied by this one.
bool CountOffence(const OffencePolicy& policy, TimePoint now, OffenderRow& row);

// The answer to a request of a client that has to wait still: kUnavailable with the detail kHeldOff
// or kDenied.
Error HeldOffError(const OffenderRow& row);

}  // namespace fl::server
