#pragma once

#include <functional>

// A process that dies by SIGKILL at a chosen system call on files. A program that links
// dying_calls.cpp with
// --wrap=open, write, fsync, rename and fchmod leads the calls of its libraries through it (not
// those of shared objects).
namespace fl::testing {

// Runs `work` in a process of its own, in which `calls` calls are let through and the next one is
// the end; a write is half done then. False: the work ended before.
bool DiesAfter(long calls, const std::function<void()>& work);

// One more such moment, which is no call.
void PassMoment();

}  // namespace fl::testing
