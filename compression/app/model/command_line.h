#pragma once

namespace fl::model_app {

// fl-model: exit status 0, 2 for a wrong call or file, 1 for all else.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace fl::model_app
