#pragma once

// fl-codec: updates and tensor files through a recipe.
namespace fl::codec_app {

// Parses the call and carries it out. The program's exit status: 0; 2 for a wrong call, recipe,
// plan or file name; 1 for all else.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace fl::codec_app
