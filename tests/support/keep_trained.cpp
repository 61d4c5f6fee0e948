#include "fl/tests/support/keep_trained.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace fl::testing {
namespace {

std::vector<float> ReadFloats(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Renamed into its place when it is whole: two cases may train the same at the same time.
void WriteFloats(const std::filesystem::path& file, const std::vector<float>& values) {
  std::filesystem::path part = file;
  part += "." + std::to_string(getpid());
  {
    std::ofstream stream(part, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(values.data()),
                 static_cast<std::streamsize>(values.size() * sizeof(float)));
    if (!stream.flush()) return;
  }
  std::error_code error;
  std::filesystem::rename(part, file, error);
}

}  // namespace

std::vector<float> KeepTrained(std::string_view who, const std::vector<std::string>& layers,
                               const std::function<std::vector<float>()>& train) {
  const char* folder =
      std::getenv("FL_TRAINED");  // NOLINT(concurrency-mt-unsafe): nothing sets variables.
  if (folder == nullptr) return train();
  std::string settings(who);
  for (const std::string& layer : layers) settings.append("\n").append(layer);
  const std::filesystem::path file =
      std::filesystem::path(folder) / std::to_string(std::hash<std::string>()(settings));
  if (std::filesystem::exists(file)) return ReadFloats(file);
  std::vector<float> values = train();
  WriteFloats(file, values);
  return values;
}

}  // namespace fl::testing
