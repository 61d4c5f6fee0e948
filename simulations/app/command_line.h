#pragma once

// fl-sim: virtual devices in one process.
namespace fl::sim {

// Parses the call and carries it out. The program's exit status: 0; 2 for a wrong call, plan or
// setting; 1 for all else.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace fl::sim
