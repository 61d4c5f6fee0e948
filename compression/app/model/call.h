#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/app/model/model_data.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own.
class App;
}

namespace fl::model_app {

// What the command line said; each command uses its part.
struct Call {
  std::string in;
  std::string out;
  DataOptions data;
  std::string passes;
  std::string profile;
  std::vector<std::string> settings;
  std::uint64_t seed = 1;
  bool unverified = false;
  // compress --auto.
  bool automatic = false;
  double max_drop = 0.5;
  std::string max_bytes;
  std::string max_latency;
  std::string prefer = "balance";
  double seconds = 600;
  std::uint32_t random = 0;
  std::uint32_t batch = 1;
  std::uint32_t runs = 1200;
  std::uint32_t threads = 1;
  bool json = false;
  // export and import.
  std::string format;
  std::string layout;
  std::string layers;
  std::string input;
  std::string loss = "softmax_cross_entropy";
};

using Action = Result<> (*)(const Call&);

// Adds a command to the program; when it is chosen, it sets `action`. `call` and `action` outlive
// the program's parser.
using AddCommand = void (*)(CLI::App& app, Call& call, Action& action);

void AddInfo(CLI::App& app, Call& call, Action& action);
void AddEvaluate(CLI::App& app, Call& call, Action& action);
void AddCompress(CLI::App& app, Call& call, Action& action);
void AddBench(CLI::App& app, Call& call, Action& action);
void AddProbe(CLI::App& app, Call& call, Action& action);
void AddExport(CLI::App& app, Call& call, Action& action);
void AddImport(CLI::App& app, Call& call, Action& action);

// compress --auto: looks for the pass list itself.
Result<> CompressAutomatically(const Call& call);

// --data, --label and --normalize, for a command that reads samples.
void AddData(CLI::App& command, Call& call);

}  // namespace fl::model_app
