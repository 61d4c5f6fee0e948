#include "fl/compression/app/command_line.h"

#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "fl/common/base/file.h"
#include "fl/compression/app/bench.h"
#include "fl/compression/app/codec_files.h"
#include "fl/compression/app/encode_tensors.h"
#include "fl/compression/app/inspect.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/app/update_file.h"

namespace fl::codec_app {
namespace {

constexpr const char* kExample =
    "Example: a delta through a recipe and back, then where its bytes went\n"
    "  fl-codec encode --recipe \"low_rank 2 | quantize 4\" delta.safetensors delta.flu\n"
    "  fl-codec decode delta.flu decoded.safetensors\n"
    "  fl-codec inspect delta.flu\n"
    "Example: real deltas and updates of a run\n"
    "  fl-sim run configs/quickstart.toml --set rounds.count=2 --record-updates rec --out out\n"
    "  fl-codec inspect rec/round-000001/device-0000.update --plan rec/plan.toml\n"
    "  fl-codec bench rec/round-000002/device-0000.safetensors\n";

struct Call {
  std::string in;
  std::string out;
  std::string plan;
  std::vector<std::string> recipes;
  std::uint32_t gather_below = CompressionConfig().gather_below;
  std::string gathered = CompressionConfig().gathered.text;
  std::uint64_t seed = 1;
  std::string synthetic;
  double seconds = 0.2;
  bool json = false;
};

// 2 where the call or what it names is at fault, 1 for all else.
int StatusOf(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kStreamMismatch:
    case ErrorCode::kWrongRecipe:
    case ErrorCode::kUnsupported:
      return 2;
    default:
      return 1;
  }
}

CompressionConfig RuleForAll(const Call& call, const std::string& recipe) {
  CompressionConfig compression;
  compression.rules.push_back({{"*", {}}, {recipe, {}}});
  compression.gather_below = call.gather_below;
  compression.gathered.text = call.gathered;
  return compression;
}

// The plan's [compression], or one recipe for all tensors.
Result<CompressionConfig> ChooseCompression(const Call& call) {
  if (call.plan.empty() == call.recipes.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a recipe or a plan: --recipe \"top_k 1% | quantize 8\", or --plan FILE"};
  }
  if (call.plan.empty()) return RuleForAll(call, call.recipes.front());
  FL_TRY(const Plan plan, LoadPlan(call.plan));
  return plan.compression;
}

std::string DrawRows(const EncodedTensors& encoded) {
  TextTable table({Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kRight,
                   Align::kRight, Align::kRight});
  table.AddRow({"tensor", "shape", "recipe", "values", "bytes", "bits/value", "NMSE"});
  std::vector<SegmentRow> rows = encoded.rows;
  rows.push_back(encoded.Total());
  for (const SegmentRow& row : rows) {
    table.AddRow({row.name, row.shape, row.recipe, FormatCount(row.count), FormatCount(row.bytes),
                  FormatFixed(row.bits(), 4), FormatError(row.nmse())});
  }
  return table.Draw();
}

std::string RowsToJson(const EncodedTensors& encoded, std::size_t update_bytes) {
  const auto to_json = [](const SegmentRow& row) {
    return nlohmann::ordered_json{{"name", row.name},     {"shape", row.shape},
                                  {"recipe", row.recipe}, {"values", row.count},
                                  {"bytes", row.bytes},   {"bits_per_value", row.bits()},
                                  {"nmse", row.nmse()}};
  };
  nlohmann::ordered_json json = {{"update_bytes", update_bytes}, {"all", to_json(encoded.Total())}};
  for (const SegmentRow& row : encoded.rows) json["tensors"].push_back(to_json(row));
  return json.dump(2) + "\n";
}

Result<> Encode(const Call& call) {
  FL_TRY(const CompressionConfig compression, ChooseCompression(call));
  FL_TRY(const NamedTensors tensors, ReadTensors(call.in));
  FL_TRY(const SegmentPlan plan, SegmentPlan::Create(compression, tensors.layout));
  auto encoded = EncodeTensors(plan, compression, tensors, call.seed);
  if (!encoded) return encoded.error().At(call.in);
  UpdateFile file{tensors.layout, compression, wire::EncodeUpdate(encoded->update)};
  const Bytes bytes = SerializeUpdateFile(file);
  FL_TRY_OK(WriteFileAtomically(call.out, bytes));
  if (call.json) {
    std::cout << RowsToJson(*encoded, file.update.size());
    return {};
  }
  const double times =
      4 * static_cast<double>(tensors.values.size()) / static_cast<double>(file.update.size());
  std::cout << DrawRows(*encoded) << "the update: " << FormatCount(file.update.size()) << " bytes, "
            << FormatFixed(times, 1) << " times less than fp32; " << call.out
            << " says how to read it, too: " << FormatCount(bytes.size()) << " bytes\n";
  return {};
}

Result<> Decode(const Call& call) {
  FL_TRY(const ReadableUpdate readable, ReadUpdate(call.in, call.plan));
  const auto view = wire::DecodeUpdate(readable.update, {});
  if (!view) return view.error().At(call.in);
  if (view->recipe != readable.delta().digest().prefix()) {
    return Error{ErrorCode::kWrongRecipe,
                 call.in +
                     ": encoded by another recipe than the one at hand; name the plan that it "
                     "was made with"};
  }
  auto tensors = DecodeTensors(readable.delta(), *view);
  if (!tensors) return tensors.error().At(call.in);
  FL_TRY_OK(WriteTensors(call.out, *tensors));
  std::cout << FormatCount(tensors->values.size()) << " values in "
            << FormatCount(tensors->layout.size()) << " tensors: " << call.out << "\n";
  return {};
}

Result<> Inspect(const Call& call) {
  FL_TRY(const ReadableUpdate readable, ReadUpdate(call.in, call.plan));
  const auto inspection = InspectUpdate(readable.update, readable.streams);
  if (!inspection) return inspection.error().At(call.in);
  std::cout << (call.json ? InspectionToJson(*inspection)
                          : DrawInspection(*inspection,
                                           std::filesystem::path(call.in).filename().string()));
  return {};
}

Result<NamedTensors> BenchTensors(const Call& call) {
  if (call.in.empty() == call.synthetic.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a safetensors file, or --synthetic ROWSxCOLUMNS"};
  }
  if (!call.in.empty()) return ReadTensors(call.in);
  const std::size_t cross = call.synthetic.find('x');
  const std::string_view text = call.synthetic;
  const auto rows = ParseNumber<std::size_t>(text.substr(0, cross));
  const auto columns =
      cross == std::string::npos ? std::nullopt : ParseNumber<std::size_t>(text.substr(cross + 1));
  constexpr std::size_t kExtentMax = 32768;
  if (!rows || !columns || *rows < 1 || *columns < 1 || *rows > kExtentMax ||
      *columns > kExtentMax) {
    return Error{
        ErrorCode::kInvalidArgument,
        "--synthetic: expected ROWSxCOLUMNS, each 1 to 32768, found \"" + call.synthetic + "\""};
  }
  return SyntheticDelta(*rows, *columns, call.seed);
}

std::vector<CompressionConfig> BenchRecipes(const Call& call) {
  static const std::vector<std::string> kUsual = {
      "raw",
      "fp16",
      "quantize 8",
      "quantize 4",
      "quantize 1",
      "top_k 1%",
      "top_k 1% | quantize 8",
      "low_rank 2",
      "low_rank 2 | quantize 4",
  };
  std::vector<CompressionConfig> all;
  for (const std::string& recipe : call.recipes.empty() ? kUsual : call.recipes)
    all.push_back(RuleForAll(call, recipe));
  return all;
}

Result<> RunBench(const Call& call) {
  FL_TRY(const NamedTensors tensors, BenchTensors(call));
  std::vector<CompressionConfig> compressions;
  if (call.plan.empty()) {
    compressions = BenchRecipes(call);
  } else {
    FL_TRY(Plan plan, LoadPlan(call.plan));
    compressions.push_back(std::move(plan.compression));
  }
  std::vector<BenchRow> rows;
  for (const CompressionConfig& compression : compressions) {
    FL_TRY(const SegmentPlan plan, SegmentPlan::Create(compression, tensors.layout));
    FL_TRY(BenchRow row, Bench(plan, compression, tensors, {call.seconds, call.seed}));
    rows.push_back(std::move(row));
    if (!call.json) std::cerr << "." << std::flush;
  }
  if (!call.json) std::cerr << "\n";
  std::cout << (call.json ? BenchToJson(rows) : DrawBench(rows));
  return {};
}

void AddRecipe(CLI::App& command, Call& call) {
  CLI::Option* recipe = command
                            .add_option("--recipe", call.recipes,
                                        "A recipe for all tensors: \"low_rank 2 | quantize 4\"")
                            ->allow_extra_args(false);
  command.add_option("--plan", call.plan, "Take the recipes from a plan's [compression]")
      ->excludes(recipe);
  command
      .add_option("--gather-below", call.gather_below, "Tensors with fewer values are coded as one")
      ->capture_default_str();
  command.add_option("--gathered", call.gathered, "The recipe of those")->capture_default_str();
  command.add_option("--seed", call.seed, "Of the codecs' random numbers")->capture_default_str();
  command.add_flag("--json", call.json, "Print JSON");
}

using Action = Result<> (*)(const Call&);

CLI::App& AddCommand(CLI::App& app, const char* name, const char* what) {
  CLI::App& command = *app.add_subcommand(name, what);
  command.footer(kExample);
  return command;
}

void AddEncode(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = AddCommand(app, "encode", "Tensors to an update: bytes, bits a value, error");
  command.add_option("IN", call.in, "A safetensors file")->required();
  command.add_option("OUT", call.out, "The file to write")->required();
  AddRecipe(command, call);
  command.callback([&] { action = Encode; });
}

void AddDecode(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = AddCommand(app, "decode", "An update back to tensors");
  command.add_option("IN", call.in, "What encode wrote, or an update of a run")->required();
  command.add_option("OUT", call.out, "The safetensors file to write")->required();
  command.add_option("--plan", call.plan, "The run's plan, for an update of a run");
  command.callback([&] { action = Decode; });
}

void AddInspect(CLI::App& app, Call& call, Action& action) {
  CLI::App& command =
      AddCommand(app, "inspect", "An update field by field, and where its bytes went");
  command.add_option("IN", call.in, "What encode wrote, or an update of a run")->required();
  command.add_option("--plan", call.plan, "The run's plan, for an update of a run");
  command.add_flag("--json", call.json, "Print JSON");
  command.callback([&] { action = Inspect; });
}

void AddBench(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = AddCommand(
      app, "bench", "Sizes, errors and speeds of recipes, beside axpy's in the same run");
  command.add_option("IN", call.in, "A safetensors file");
  command.add_option("--synthetic", call.synthetic,
                     "ROWSxCOLUMNS: a matrix made from --seed instead of a file");
  command.add_option("--seconds", call.seconds, "How long each pass is repeated")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  AddRecipe(command, call);
  command.callback([&] { action = RunBench; });
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  Call call;
  Action action = nullptr;
  CLI::App app("Puts tensors through the codecs of updates: sizes, errors, speeds.", "fl-codec");
  app.set_version_flag("--version", "fl-codec " FL_VERSION);
  app.footer(kExample);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-codec: " + std::string(error.what()) + "; see fl-codec --help\n";
  });
  AddEncode(app, call, action);
  AddDecode(app, call, action);
  AddInspect(app, call, action);
  AddBench(app, call, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const Result<> outcome = action(call);
  if (outcome) return 0;
  std::cerr << "fl-codec: " << outcome.error().message << '\n';
  return StatusOf(outcome.error());
}

}  // namespace fl::codec_app
