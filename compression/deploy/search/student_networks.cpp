#include "fl/compression/deploy/search/student_networks.h"

#include <algorithm>
#include <charconv>

#include "fl/common/nn/build_graph.h"

namespace fl::deploy {
namespace {

using Lines = std::vector<std::string>;

// A line's words: "conv 32 5x5 same".
Lines WordsOf(const std::string& line) {
  Lines words;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(' ', at)) != std::string::npos) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string LineOf(const Lines& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

// Where the operator's word stands: behind a name such as "stem:".
std::size_t OperatorAt(const Lines& words) {
  return !words.empty() && words.front().ends_with(':') ? 1 : 0;
}

bool Is(const std::string& line, std::string_view name) {
  const Lines words = WordsOf(line);
  const std::size_t at = OperatorAt(words);
  return at < words.size() && words[at] == name;
}

std::size_t CountAt(const Lines& words, std::size_t at) {
  std::size_t count = 0;
  if (at < words.size())
    std::from_chars(words[at].data(), words[at].data() + words[at].size(), count);
  return count;
}

// The line with 1/divisor of its channels or units, at least one multiple of them.
std::string Narrower(const std::string& line, std::size_t divisor, std::size_t multiple) {
  Lines words = WordsOf(line);
  const std::size_t at = OperatorAt(words) + 1;
  const std::size_t count = CountAt(words, at);
  if (count == 0 || divisor == 1) return line;
  const std::size_t wanted = (count / divisor + multiple - 1) / multiple * multiple;
  words[at] = std::to_string(std::min(count, std::max(multiple, wanted)));
  return LineOf(words);
}

// What a network is made of, apart from its widths.
struct Pattern {
  bool deeper = false;
  bool headless = false;  // Without hidden dense layers behind the flatten.
  bool other_kernel = false;
};

std::size_t IndexOf(const Lines& lines, std::string_view name) {
  const auto found =
      std::ranges::find_if(lines, [&](const std::string& line) { return Is(line, name); });
  return static_cast<std::size_t>(found - lines.begin());
}

void AddBlock(Lines& lines) {
  const std::size_t flatten = IndexOf(lines, "flatten");
  std::size_t channels = 0;
  for (std::size_t i = 0; i < flatten && i < lines.size(); ++i) {
    const Lines words = WordsOf(lines[i]);
    if (Is(lines[i], "conv")) channels = CountAt(words, OperatorAt(words) + 1);
  }
  if (channels == 0 || flatten == lines.size()) return;
  const Lines block = {"conv " + std::to_string(channels) + " 3x3 same", "relu", "maxpool 2"};
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(flatten), block.begin(), block.end());
}

void DropHidden(Lines& lines) {
  const std::size_t flatten = IndexOf(lines, "flatten");
  if (flatten + 2 >= lines.size()) return;
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(flatten) + 1, lines.end() - 1);
}

void ChangeKernel(Lines& lines) {
  const std::size_t first = IndexOf(lines, "conv");
  if (first == lines.size()) return;
  Lines words = WordsOf(lines[first]);
  const std::size_t at = OperatorAt(words) + 2;
  if (at >= words.size()) return;
  words[at] = words[at] == "3x3" ? "5x5" : "3x3";
  lines[first] = LineOf(words);
}

bool HasBranches(const Lines& lines) {
  return std::ranges::any_of(lines, [](const std::string& line) {
    return line.find("from=") != std::string::npos || line.find(':') != std::string::npos ||
           Is(line, "add") || Is(line, "multiply") || Is(line, "concat");
  });
}

// The last line stays: it has an output for each class.
Lines Narrow(Lines lines, std::size_t divisor, std::size_t multiple) {
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    if (Is(lines[i], "conv") || Is(lines[i], "dense"))
      lines[i] = Narrower(lines[i], divisor, multiple);
  }
  return lines;
}

// The lines as DescribeLayers writes them; none where they make no smaller network of the task.
Lines Checked(const Lines& lines, const nn::Graph& model) {
  const auto student = nn::BuildGraph(model.input_shape(), lines, nn::LossName(model.loss));
  const bool suits = student && student->output_shape() == model.output_shape() &&
                     student->parameters.total() < model.parameters.total();
  return suits ? nn::DescribeLayers(*student) : Lines();
}

}  // namespace

std::vector<std::vector<std::string>> StudentNetworks(const nn::Graph& model,
                                                      std::uint32_t multiple) {
  const Lines whole = nn::DescribeLayers(model);
  const int patterns = HasBranches(whole) ? 1 : 8;
  std::vector<Lines> students;
  for (int bits = 0; bits < patterns; ++bits) {
    const Pattern pattern{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
    Lines lines = whole;
    if (pattern.deeper) AddBlock(lines);
    if (pattern.headless) DropHidden(lines);
    if (pattern.other_kernel) ChangeKernel(lines);
    for (const std::size_t divisor : {1U, 2U, 4U, 8U}) {
      Lines student = Checked(Narrow(lines, divisor, multiple), model);
      if (!student.empty() && std::ranges::find(students, student) == students.end())
        students.push_back(std::move(student));
    }
  }
  return students;
}

}  // namespace fl::deploy
