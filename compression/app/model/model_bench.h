#pragma once

#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/measure_model.h"

namespace fl::model_app {

struct ModelBenchRow {
  std::string engine;  // "fp32 x86-64-v4", "int8 avx512-vnni".
  deploy::Latency latency;
};

// Times the model in fp32 and in int8 on one thread, with drawn inputs, in four rounds that take
// turns (the least of the rounds' figures counts). An fp32 file is rounded for it with ranges of
// those inputs, an int8 one's integers are taken as fp32; an engine that cannot run the model is
// left out. instruments.batch samples a run.
Result<std::vector<ModelBenchRow>> BenchModel(const nn::ModelFile& file,
                                              const deploy::Instruments& instruments);

std::string DrawModelBench(const std::vector<ModelBenchRow>& rows, std::size_t batch);
std::string ModelBenchToJson(const std::vector<ModelBenchRow>& rows, std::size_t batch);

}  // namespace fl::model_app
