#include "fl/client/serve/drift_file.h"

#include <nlohmann/json.hpp>

#include "fl/common/base/bytes.h"
#include "fl/common/base/file.h"

namespace fl::client {
namespace {

constexpr unsigned kMode = 0600;
constexpr std::uint64_t kBytesMax = 1U << 22;

}  // namespace

void DriftFile::Write(const std::string& text) {
  if (written_ == text) return;
  if (text.empty()) {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
    written_ = text;
    return;
  }
  const Result<> outcome = WriteFileAtomically(path_, AsBytes(text), kMode);
  if (outcome) {
    written_ = text;
  } else if (!has_failed_) {
    log_.Warning({}, "the drift is not written down: " + outcome.error().message);
  }
  has_failed_ = !outcome;
}

std::optional<KnownDrift> ReadDrift(const std::filesystem::path& state) {
  const auto file = ReadFile(DriftFolder(state) / "drift.json", kBytesMax);
  if (!file) return std::nullopt;
  const auto json = nlohmann::json::parse(AsText(*file), nullptr, false);
  if (!json.is_object() || !json.contains("drift") || !json["drift"].is_number() ||
      !json.contains("model_sha256") || !json["model_sha256"].is_string()) {
    return std::nullopt;
  }
  return KnownDrift{json["model_sha256"].get<std::string>(), json["drift"].get<double>(),
                    std::string(AsText(*file))};
}

}  // namespace fl::client
