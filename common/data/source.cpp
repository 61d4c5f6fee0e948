#include "fl/common/data/source.h"

#include <algorithm>
#include <string>

#include "fl/common/base/file.h"
#include "fl/common/data/cifar.h"
#include "fl/common/data/idx.h"
#include "fl/common/data/internal/gzip.h"
#include "fl/common/data/sample_file.h"

namespace fl::data {
namespace {

using std::filesystem::path;

path Resolve(std::string_view text, const path& root) {
  return root.empty() ? path(text) : root / path(text);
}

// The file's content, decompressed where it is a gzip file.
Result<Bytes> ReadContent(const path& file, const DataLimits& limits) {
  FL_TRY(Bytes content, ReadFile(file, limits.file_bytes_max));
  if (!internal::IsGzip(content)) return content;
  Result<Bytes> plain = internal::DecompressGzip(content, limits.file_bytes_max);
  if (!plain) return plain.error().At(file.string());
  return plain;
}

// Reads a file and parses it with `parse`; an error gets the file's name.
template <typename F>
auto ParseFile(const path& file, const DataLimits& limits, const F& parse)
    -> decltype(parse(ByteSpan())) {
  FL_TRY(const Bytes content, ReadContent(file, limits));
  auto result = parse(ByteSpan(content));
  if (!result) return result.error().At(file.string());
  return result;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// "FILE[?COLUMN=TEXT[&COLUMN=TEXT]]".
struct CsvSource {
  std::string_view file;
  std::vector<std::pair<std::string, std::string>> filter;
};

Result<CsvSource> ParseCsvSource(std::string_view text) {
  const std::size_t mark = text.find('?');
  CsvSource source{.file = text.substr(0, mark), .filter = {}};
  if (mark == std::string_view::npos) return source;
  for (const std::string_view rule : Split(text.substr(mark + 1), '&')) {
    const std::size_t equals = rule.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return Error{ErrorCode::kInvalidArgument, "source '" + std::string(text) +
                                                    "': expected COLUMN=TEXT after '?', found '" +
                                                    std::string(rule) + "'"};
    }
    source.filter.emplace_back(rule.substr(0, equals), rule.substr(equals + 1));
  }
  return source;
}

Result<Samples> LoadCsv(std::string_view text, const SourceOptions& options) {
  FL_TRY(CsvSource source, ParseCsvSource(text));
  CsvOptions csv = options.csv;
  csv.filter = std::move(source.filter);
  csv.regression = options.regression;
  csv.classes = options.classes;
  return ParseFile(Resolve(source.file, options.root), options.limits,
                   [&](ByteSpan bytes) { return ParseCsv(AsText(bytes), csv, options.limits); });
}

Result<Samples> LoadSampleFile(const path& file, const SourceOptions& options) {
  return ParseFile(file, options.limits, [&](ByteSpan bytes) {
    return ParseSampleFile(bytes, options.regression, options.classes, options.limits);
  });
}

Result<Samples> LoadCifar(std::string_view text, const SourceOptions& options) {
  Samples samples;
  std::vector<std::uint8_t> features;
  for (const std::string_view name : Split(text, ',')) {
    FL_TRY(Samples part,
           ParseFile(Resolve(name, options.root), options.limits,
                     [&](ByteSpan bytes) { return ParseCifar10(bytes, options.limits); }));
    const auto& bytes = std::get<std::vector<std::uint8_t>>(part.features);
    features.insert(features.end(), bytes.begin(), bytes.end());
    part.labels.insert(part.labels.begin(), samples.labels.begin(), samples.labels.end());
    samples = std::move(part);
  }
  if (features.size() > options.limits.values_max)
    return Error{ErrorCode::kLimitExceeded, "CIFAR-10: more values than accepted"};
  samples.features = std::move(features);
  return samples;
}

// The values of a file with one whole number a sample, IDX or a CSV column; shared by labels and
// client ids.
Result<std::vector<std::int32_t>> LoadIntegers(std::string_view text, const path& root,
                                               const DataLimits& limits) {
  const std::size_t hash = text.rfind('#');
  if (hash == std::string_view::npos) {
    return ParseFile(Resolve(text, root), limits,
                     [&](ByteSpan bytes) -> Result<std::vector<std::int32_t>> {
                       FL_TRY(const IdxArray array, ParseIdx(bytes, limits));
                       return IdxIntegers(array);
                     });
  }
  FL_TRY(const CsvSource source, ParseCsvSource(text.substr(0, hash)));
  return ParseFile(Resolve(source.file, root), limits, [&](ByteSpan bytes) {
    return ParseCsvIds(AsText(bytes), text.substr(hash + 1), source.filter, limits);
  });
}

Result<Samples> LoadIdxPair(std::string_view images, std::string_view labels,
                            const SourceOptions& options) {
  FL_TRY(IdxArray features,
         ParseFile(Resolve(images, options.root), options.limits,
                   [&](ByteSpan bytes) { return ParseIdx(bytes, options.limits); }));
  FL_TRY(const std::vector<std::int32_t> values,
         LoadIntegers(labels, options.root, options.limits));
  Result<Samples> samples =
      CombineIdx(std::move(features), values, options.regression, options.classes, options.limits);
  if (!samples) return samples.error().At(std::string(images));
  return samples;
}

// The names in the prefix's folder that begin like it, sorted.
std::vector<std::string> NamesWithPrefix(const path& prefix) {
  std::vector<std::string> names;
  const std::string start = prefix.filename().string() + "-";
  std::error_code error;
  const path folder = prefix.has_parent_path() ? prefix.parent_path() : path(".");
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.starts_with(start)) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

// PREFIX-labels-idx1-* and the one file PREFIX-*-idxN-* of a higher rank.
Result<Samples> LoadIdxPrefix(std::string_view text, const SourceOptions& options) {
  const path prefix = Resolve(text, options.root);
  std::vector<std::string> labels;
  std::vector<std::string> features;
  const std::string label_start = prefix.filename().string() + "-labels-idx1-";
  for (const std::string& name : NamesWithPrefix(prefix)) {
    if (name.starts_with(label_start)) {
      labels.push_back(name);
    } else if (name.find("-idx") != std::string::npos && name.find("-idx1-") == std::string::npos) {
      features.push_back(name);
    }
  }
  if (labels.size() != 1 || features.size() != 1) {
    return Error{ErrorCode::kNotFound, prefix.string() + ": expected one file " + label_start +
                                           "* and one with features (" +
                                           prefix.filename().string() + "-*-idx3-*), found " +
                                           std::to_string(labels.size()) + " and " +
                                           std::to_string(features.size())};
  }
  SourceOptions resolved = options;
  resolved.root = prefix.has_parent_path() ? prefix.parent_path() : path(".");
  return LoadIdxPair(features.front(), labels.front(), resolved);
}

Result<Samples> LoadIdx(std::string_view text, const SourceOptions& options) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return LoadIdxPrefix(text, options);
  return LoadIdxPair(text.substr(0, comma), text.substr(comma + 1), options);
}

// A source without a scheme: by its ending, or a folder with a file of samples.
Result<Samples> LoadByName(std::string_view text, const SourceOptions& options) {
  const std::string_view file = text.substr(0, text.find('?'));
  if (file.ends_with(".csv") || file.ends_with(".csv.gz")) return LoadCsv(text, options);
  if (file.ends_with(".safetensors") || file.ends_with(".safetensors.gz")) {
    return LoadSampleFile(Resolve(text, options.root), options);
  }
  const path folder = Resolve(text, options.root);
  std::error_code error;
  if (std::filesystem::is_regular_file(folder / "data.safetensors", error)) {
    return LoadSampleFile(folder / "data.safetensors", options);
  }
  return Error{ErrorCode::kInvalidArgument,
               "source '" + std::string(text) + "': expected one of\n" + std::string(SourceHelp())};
}

Result<Samples> LoadSamples(std::string_view source, const SourceOptions& options) {
  const std::size_t colon = source.find(':');
  const std::string_view scheme = source.substr(0, colon == std::string_view::npos ? 0 : colon);
  const std::string_view rest = source.substr(colon == std::string_view::npos ? 0 : colon + 1);
  if (scheme == "idx") return LoadIdx(rest, options);
  if (scheme == "cifar") return LoadCifar(rest, options);
  if (scheme == "csv") return LoadCsv(rest, options);
  if (scheme == "safetensors") return LoadSampleFile(Resolve(rest, options.root), options);
  return LoadByName(source, options);
}

// Whether the samples are what the model expects; gives them its shape.
Result<> FitToModel(const SourceOptions& options, Samples& samples) {
  if (options.regression != (samples.classes == 0)) {
    return Error{ErrorCode::kInvalidArgument, options.regression
                                                  ? "expected numbers to predict, found classes"
                                                  : "expected classes, found numbers to predict"};
  }
  if (!options.regression && options.classes > 0 && samples.classes != options.classes) {
    return Error{ErrorCode::kShapeMismatch, "expected " + std::to_string(options.classes) +
                                                " classes, found " +
                                                std::to_string(samples.classes)};
  }
  if (!options.shape) return {};
  if (options.shape->count() != samples.shape.count()) {
    return Error{ErrorCode::kShapeMismatch, "expected samples of " + options.shape->ToText() +
                                                " (" + std::to_string(options.shape->count()) +
                                                " features), found " + samples.shape.ToText() +
                                                " (" + std::to_string(samples.shape.count()) + ")"};
  }
  samples.shape = *options.shape;
  return {};
}

Result<Dataset> MakeDataset(Samples samples, const SourceOptions& options) {
  FL_TRY_OK(FitToModel(options, samples));
  if (options.target_max) {
    for (float& target : samples.targets) target = std::min(target, *options.target_max);
  }
  return Dataset::Create(std::move(samples), options.normalization);
}

}  // namespace

Result<std::shared_ptr<const Dataset>> OpenSource(std::string_view source,
                                                  const SourceOptions& options) {
  FL_TRY(Samples samples, LoadSamples(source, options));
  Result<Dataset> dataset = MakeDataset(std::move(samples), options);
  if (!dataset) return dataset.error().At(source);
  return std::make_shared<const Dataset>(std::move(dataset).value());
}

std::string_view SourceHelp() {
  return "  idx:PREFIX                    PREFIX-*-idx3-ubyte[.gz] and "
         "PREFIX-labels-idx1-ubyte[.gz], e.g. idx:data/mnist-mini/train\n"
         "  idx:FEATURES,LABELS           two IDX files; LABELS may be a column: FILE.csv#COLUMN\n"
         "  csv:FILE[?COLUMN=TEXT[&...]]  a table with a header, all rows or those with TEXT in "
         "COLUMN, e.g. csv:iris.csv.gz?split=train\n"
         "  cifar:FILE[,FILE...]          CIFAR-10 binary files\n"
         "  safetensors:FILE              tensors x (samples) and y (labels)\n"
         "  FOLDER                        a folder with a file data.safetensors, as fl-sim split "
         "writes it\n"
         "Files may be gzip-compressed. FILE.csv and FILE.safetensors need no prefix.\n";
}

Result<std::vector<std::int32_t>> LoadClientIds(std::string_view source, const path& root,
                                                const DataLimits& limits) {
  return LoadIntegers(source, root, limits);
}

}  // namespace fl::data
