#pragma once

#include <cstdint>
#include <string>

// Figures as a person reads them.
namespace fl {

// "999 B", "1.2 kB", "25.0 MB"; powers of 1000.
std::string FormatBytes(std::uint64_t bytes);
// "0:07", "12:40", "1:02:03".
std::string FormatSeconds(double seconds);
// "[######..................]": how much of `all` is done; full where there is nothing to do.
std::string ProgressBar(std::uint64_t done, std::uint64_t all);

}  // namespace fl
