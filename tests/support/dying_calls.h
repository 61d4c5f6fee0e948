#pragma once

// A process that dies by SIGKILL at a chosen system call on files. A program that links
// dying_calls.cpp with
// --wrap=open, write, fsync, rename and fchmod leads the calls of its libraries through it (not
// those of shared objects).
namespace fl::testing {

// From now on `count` calls are let through, and the next one ends the process; a write is half
// done then. Below 0: all are let through.
void DieAfterCalls(long count);

// One more such moment, which is no call.
void PassMoment();

}  // namespace fl::testing
