#include "fl/compression/deploy/pass_table.h"

#include "fl/compression/deploy/passes/adaround.h"
#include "fl/compression/deploy/passes/correct_bias.h"
#include "fl/compression/deploy/passes/distil.h"
#include "fl/compression/deploy/passes/fine_tune.h"
#include "fl/compression/deploy/passes/fold_batchnorm.h"
#include "fl/compression/deploy/passes/half_weights.h"
#include "fl/compression/deploy/passes/low_rank.h"
#include "fl/compression/deploy/passes/mixed_precision.h"
#include "fl/compression/deploy/passes/prune_channels.h"
#include "fl/compression/deploy/passes/prune_layers.h"
#include "fl/compression/deploy/passes/prune_weights.h"
#include "fl/compression/deploy/passes/ptq_dynamic.h"
#include "fl/compression/deploy/passes/ptq_static.h"
#include "fl/compression/deploy/passes/qat.h"
#include "fl/compression/deploy/passes/verify.h"

namespace fl::deploy {

std::span<const PassRow> PassTable() {
  static constexpr PassRow kRows[] = {
      {"fold_batchnorm", ReadFoldBatchNorm},
      {"equalize", ReadEqualize},
      {"prune_layers", ReadPruneLayers},
      {"prune_channels", ReadPruneChannels},
      {"prune_weights", ReadPruneWeights},
      {"low_rank", ReadLowRank},
      {"fine_tune", ReadFineTune},
      {"distil", ReadDistil},
      {"mixed_precision", ReadMixedPrecision},
      {"qat", ReadQat},
      {"adaround", ReadAdaRound},
      {"correct_bias", ReadCorrectBias},
      {"ptq_dynamic", ReadPtqDynamic},
      {"ptq_static", ReadPtqStatic},
      {"half_weights", ReadHalfWeights},
      {"verify", ReadVerify},
  };
  return kRows;
}

}  // namespace fl::deploy
