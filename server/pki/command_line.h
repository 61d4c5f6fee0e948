#pragma once

// fl-pki: certificates for those who have no PKI of their own.
namespace fl::pki {

// Parses the call and carries it out. The program's exit status: 0; 2 for a wrong call; 1 for all
// else.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace fl::pki
