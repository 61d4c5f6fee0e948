#include "fl/common/data/source.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/data/sample_file.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::testing {
namespace {

using namespace data;  // NOLINT(google-build-using-namespace): the tests of one library.

SourceOptions FromTree() {
  SourceOptions options;
  options.root = FL_TEST_SOURCE_DIR "/data";
  return options;
}

}  // namespace

TEST_CASE("OpenSource: a prefix finds the images and labels of mnist-mini") {
  SourceOptions options = FromTree();
  options.shape = Shape{28, 28, 1};
  options.classes = 10;
  const auto dataset = Get(OpenSource("idx:mnist-mini/train", options));
  CHECK(dataset->count() == 5000);
  CHECK(dataset->shape() == Shape{28, 28, 1});
  CHECK(Subset(dataset).LabelCounts() ==
        std::vector<std::uint64_t>{499, 575, 510, 512, 472, 417, 501, 520, 476, 518});
  const auto pair = Get(OpenSource(
      "idx:mnist-mini/test-images-idx3-ubyte.gz,mnist-mini/test-labels-idx1-ubyte.gz", options));
  CHECK(pair->count() == 1000);
}

TEST_CASE("OpenSource: a column chooses the rows of a table") {
  const auto train = Get(OpenSource("csv:small-tables/iris.csv.gz?split=train", FromTree()));
  const auto test = Get(OpenSource("small-tables/iris.csv.gz?split=test", FromTree()));
  CHECK(train->count() == 120);
  CHECK(test->count() == 30);
  CHECK(train->shape() == Shape{4});
  CHECK(test->classes() == 3);
  SourceOptions regression = FromTree();
  regression.regression = true;
  CHECK(Get(OpenSource("csv:small-tables/diabetes.csv.gz?split=train", regression))->features() ==
        10);
}

TEST_CASE("OpenSource: targets above target_max are read as it, NaN is refused as ever") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "engines.csv";
  REQUIRE(WriteFileAtomically(file, AsBytes("heat,rul\n1,300\n2,125\n3,7\n")));
  SourceOptions options;
  options.regression = true;
  options.target_max = 125.0F;
  const auto capped = Get(OpenSource(file.string(), options));
  CHECK(std::ranges::equal(capped->targets(), std::vector<float>{125, 125, 7}));
  REQUIRE(WriteFileAtomically(file, AsBytes("heat,rul\n1,nan\n")));
  CHECK(CodeOf(OpenSource(file.string(), options)) != ErrorCode::kOk);
}

TEST_CASE("OpenSource: what the model does not fit is refused") {
  SourceOptions options = FromTree();
  options.shape = Shape{5};
  CHECK(CodeOf(OpenSource("csv:small-tables/iris.csv.gz?split=train", options)) ==
        ErrorCode::kShapeMismatch);
  options.shape = Shape{2, 2};
  CHECK(CodeOf(OpenSource("csv:small-tables/iris.csv.gz?split=train", options)) == ErrorCode::kOk);
  options.normalization = {Normalization::Kind::kStandard, {1, 2, 3}, {1, 1, 1}};
  CHECK(CodeOf(OpenSource("csv:small-tables/iris.csv.gz?split=train", options)) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("OpenSource: what is not a source is refused with the forms that are") {
  CHECK(CodeOf(OpenSource("idx:mnist-mini/nothing", FromTree())) == ErrorCode::kNotFound);
  CHECK(CodeOf(OpenSource("csv:absent.csv", FromTree())) == ErrorCode::kNotFound);
  CHECK(CodeOf(OpenSource("csv:small-tables/iris.csv.gz?split", FromTree())) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(OpenSource("csv:small-tables/iris.csv.gz?split=no", FromTree())) ==
        ErrorCode::kInvalidArgument);
  const auto result = OpenSource("mnist-mini", FromTree());
  REQUIRE(CodeOf(result) == ErrorCode::kInvalidArgument);
  CHECK(result.error().message.find(SourceHelp()) != std::string::npos);
}

TEST_CASE("OpenSource: a folder with a saved share gives the same samples") {
  const TemporaryFolder folder;
  SourceOptions options = FromTree();
  options.normalization = {.kind = Normalization::Kind::kUnit};
  const Subset share(Get(OpenSource("idx:mnist-mini/test", options)), {5, 900, 17});
  REQUIRE(SaveSafetensors(share, folder.path() / "data.safetensors"));
  options.root = folder.path().parent_path();
  const auto loaded = Get(OpenSource(folder.path().filename().string(), options));
  CHECK(loaded->samples() == share.Extract());
  std::vector<float> one(784);
  std::vector<float> other(784);
  share.CopySample(1, one);
  loaded->CopySample(1, other);
  CHECK(one == other);
  CHECK(Get(OpenSource("safetensors:" + (folder.path() / "data.safetensors").string(), options))
            ->classes() == 10);
}

TEST_CASE("OpenSource: several CIFAR files are read one after the other") {
  const TemporaryFolder folder;
  Bytes record(3073, std::byte{7});
  REQUIRE(WriteFileAtomically(folder.path() / "a.bin", record));
  record[0] = std::byte{3};
  REQUIRE(WriteFileAtomically(folder.path() / "b.bin", record));
  SourceOptions options;
  options.root = folder.path();
  const auto dataset = Get(OpenSource("cifar:a.bin,b.bin", options));
  CHECK(std::ranges::equal(dataset->labels(), std::vector<std::int32_t>{7, 3}));
}

TEST_CASE("LoadClientIds: an IDX file or a column of a table") {
  CHECK(Get(LoadClientIds("mnist-mini/test-labels-idx1-ubyte.gz", FL_TEST_SOURCE_DIR "/data"))
            .size() == 1000);
  const auto ids =
      Get(LoadClientIds("small-tables/iris.csv.gz?split=test#split", FL_TEST_SOURCE_DIR "/data"));
  CHECK(ids == std::vector<std::int32_t>(30, 0));
  CHECK(CodeOf(LoadClientIds("mnist-mini/test-images-idx3-ubyte.gz", FL_TEST_SOURCE_DIR "/data")) ==
        ErrorCode::kMalformed);
}

TEST_CASE("OpenSource: larger data sets load where they are at hand") {
  const char* folder =
      std::getenv("FL_DATASETS");  // NOLINT(concurrency-mt-unsafe): the tests set no variables.
  if (folder == nullptr) {
    std::puts("SKIPPED: FL_DATASETS names no folder with data sets");
    return;
  }
  SourceOptions options;
  options.root = folder;
  CHECK(Get(OpenSource("cifar:cifar10-12k/test_batch.bin.gz", options))->count() == 2000);
  CHECK(Get(OpenSource("idx:har-phone-watch/test", options))->shape() == Shape{6, 64});
  CHECK(Get(LoadClientIds("mnist/t10k-writers-idx1-int.gz", folder)).size() == 10000);
  CHECK(Get(LoadClientIds("mnist/t10k-writers.csv.gz#client", folder)) ==
        Get(LoadClientIds("mnist/t10k-writers-idx1-int.gz", folder)));
  SourceOptions adult = options;
  adult.csv.categorical = {"workclass", "education", "marital_status", "occupation", "relationship",
                           "race",      "sex",       "native_country"};
  adult.csv.fill_missing = true;
  CHECK(Get(OpenSource("csv:adult/adult-test.csv.gz", adult))->count() == 16281);
  CHECK(
      Get(OpenSource("idx:omniglot-mini/images-idx3-ubyte.gz,omniglot-mini/meta.csv.gz#alphabet_id",
                     options))
          ->classes() == 8);
}

}  // namespace fl::testing
