#include "fl/compression/codecs/normal_levels.h"

#include <array>
#include <cstddef>

#include "fl/common/base/check.h"

namespace fl {
namespace {

constexpr unsigned kBitsMax = 8;

// The positive levels of 1, 2, ... 8 bits: 2^(bits - 1) of each. The negative ones mirror them.
constexpr std::array<float, 255> kPositive = {
    0.79788456F,  0.45278003F,   1.5104176F,   0.24509418F,  0.75600528F,  1.3439093F,
    2.1519457F,   0.12839503F,   0.3880483F,   0.65675912F,  0.94234046F,  1.2562312F,
    1.6180464F,   2.0690172F,    2.7325896F,   0.06588966F,  0.19805183F,  0.33137831F,
    0.46669952F,  0.60493362F,   0.7471357F,   0.89456512F,  1.0487833F,   1.2118044F,
    1.3863403F,   1.5762281F,    1.7872332F,   2.0287284F,   2.3177394F,   2.6911196F,
    3.2607325F,   0.033409506F,  0.10027829F,  0.1672969F,   0.23456699F,  0.30219285F,
    0.37028265F,  0.43894967F,   0.50831378F,  0.57850303F,  0.64965558F,  0.72192194F,
    0.79546766F,  0.87047659F,   0.94715494F,  1.0257363F,   1.1064882F,   1.1897201F,
    1.2757945F,   1.365141F,     1.4582764F,   1.5558312F,   1.6585889F,   1.7675419F,
    1.8839772F,   2.009611F,     2.1468102F,   2.2989812F,   2.4713048F,   2.6722738F,
    2.9174068F,   3.2404371F,    3.7441013F,   0.016828169F, 0.050490864F, 0.084172642F,
    0.11788628F,  0.15164465F,   0.18546072F,  0.21934764F,  0.25331873F,  0.28738756F,
    0.32156794F,  0.35587403F,   0.3903203F,   0.42492165F,  0.45969343F,  0.49465148F,
    0.52981221F,  0.56519265F,   0.60081053F,  0.63668431F,  0.67283333F,  0.70927785F,
    0.74603914F,  0.78313962F,   0.82060296F,  0.85845421F,  0.89671996F,  0.93542849F,
    0.97460997F,  1.0142967F,    1.0545232F,   1.0953267F,   1.1367474F,   1.1788286F,
    1.2216174F,   1.2651651F,    1.3095276F,   1.3547663F,   1.4009486F,   1.4481489F,
    1.49645F,     1.5459437F,    1.5967331F,   1.6489339F,   1.702677F,    1.7581114F,
    1.8154077F,   1.8747625F,    1.9364046F,   2.0006018F,   2.0676715F,   2.1379934F,
    2.2120275F,   2.2903392F,    2.3736343F,   2.4628114F,   2.5590405F,   2.6638865F,
    2.7795143F,   2.9090471F,    3.0572462F,   3.2319332F,   3.4474303F,   3.7349366F,
    4.1896942F,   0.0084461932F, 0.025339383F, 0.042234984F, 0.059134604F, 0.076039856F,
    0.092952355F, 0.10987372F,   0.12680558F,  0.14374957F,  0.16070732F,  0.1776805F,
    0.19467075F,  0.21167976F,   0.2287092F,   0.24576078F,  0.26283622F,  0.27993724F,
    0.29706559F,  0.31422304F,   0.33141138F,  0.34863242F,  0.365888F,    0.38317996F,
    0.40051021F,  0.41788064F,   0.43529321F,  0.45274988F,  0.47025266F,  0.4878036F,
    0.50540476F,  0.52305828F,   0.5407663F,   0.55853102F,  0.5763547F,   0.59423962F,
    0.61218813F,  0.63020261F,   0.64828553F,  0.66643939F,  0.68466676F,  0.70297027F,
    0.72135262F,  0.73981659F,   0.75836501F,  0.77700081F,  0.79572701F,  0.81454668F,
    0.83346301F,  0.85247928F,   0.87159887F,  0.89082527F,  0.91016206F,  0.92961296F,
    0.94918181F,  0.96887258F,   0.98868937F,  1.0086364F,   1.0287182F,   1.0489392F,
    1.0693042F,   1.0898181F,    1.110486F,    1.1313133F,   1.1523054F,   1.1734682F,
    1.1948076F,   1.21633F,      1.2380418F,   1.2599499F,   1.2820615F,   1.304384F,
    1.3269253F,   1.3496937F,    1.3726976F,   1.3959463F,   1.4194493F,   1.4432166F,
    1.4672587F,   1.491587F,     1.5162131F,   1.5411497F,   1.5664098F,   1.5920076F,
    1.6179578F,   1.6442765F,    1.6709804F,   1.6980875F,   1.725617F,    1.7535894F,
    1.7820269F,   1.8109531F,    1.8403933F,   1.8703751F,   1.9009281F,   1.9320842F,
    1.9638784F,   1.9963485F,    2.0295357F,   2.0634852F,   2.0982465F,   2.1338741F,
    2.1704282F,   2.2079755F,    2.2465899F,   2.2863545F,   2.3273619F,   2.3697171F,
    2.4135387F,   2.4589621F,    2.5061426F,   2.5552594F,   2.6065215F,   2.660174F,
    2.7165076F,   2.7758707F,    2.8386858F,   2.9054729F,   2.9768821F,   3.053742F,
    3.1371325F,   3.2285002F,    3.3298485F,   3.4440717F,   3.575588F,    3.7316663F,
    3.9256378F,   4.1865954F,    4.6035356F};

// For each number of bits its levels, and in the same place its thresholds.
struct Tables {
  std::array<float, 512> levels{};
  std::array<float, 512> thresholds{};
};

// Where the levels of so many bits begin: those of fewer come before.
constexpr std::size_t Begin(unsigned bits) {
  return (std::size_t{1} << bits) - 2;
}

constexpr Tables MakeTables() {
  Tables tables;
  for (unsigned bits = 1; bits <= kBitsMax; ++bits) {
    const std::size_t half = std::size_t{1} << (bits - 1);
    float* levels = tables.levels.data() + Begin(bits);
    for (std::size_t i = 0; i < half; ++i) {
      levels[half + i] = kPositive[half - 1 + i];
      levels[half - 1 - i] = -kPositive[half - 1 + i];
    }
    float* thresholds = tables.thresholds.data() + Begin(bits);
    for (std::size_t i = 0; i + 1 < 2 * half; ++i) {
      thresholds[i] = (levels[i] + levels[i + 1]) / 2;
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

std::span<const float> NormalLevels(unsigned bits) {
  FL_CHECK(bits >= 1 && bits <= kBitsMax, "there are levels of 1 to 8 bits");
  return std::span(kTables.levels).subspan(Begin(bits), std::size_t{1} << bits);
}

std::span<const float> NormalThresholds(unsigned bits) {
  FL_CHECK(bits >= 1 && bits <= kBitsMax, "there are levels of 1 to 8 bits");
  return std::span(kTables.thresholds).subspan(Begin(bits), (std::size_t{1} << bits) - 1);
}

}  // namespace fl
