#include <cstddef>
#include <cstdint>

#include "fl/common/base/check.h"
#include "fl/compression/lattice.h"

// The input is a change on the lattice of a small model.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::TensorLayout layout({{"a.weight", {12, 10}}, {"a.bias", {10}}, {"c", {3, 3, 2, 4}}});
  const fl::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto change = fl::DecodeLatticeChange(bytes, layout);
  if (!change) return 0;
  const fl::Bytes again = fl::EncodeLatticeChange(*change, layout);
  FL_CHECK(again == fl::Bytes(bytes.begin(), bytes.end()), "a change has one encoding");
  const fl::Lattice::Point start(layout.total(), 0);
  (void)fl::ApplyChange(start, *change);
  return 0;
}
