// SPDX-License-Identifier: GPL-3.0-or-later
// Rolling and strong sums by each vector unit, the sums of a basis, and the search for its blocks beside that
// of rsync. The first argument of each is the size of the data: in the second-level cache, or in memory.
#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/upstream_match.h"
#include "io/base/xxh.h"
#include "io/base/xxh_variants.h"
#include "sync/rsync/block_match.h"
#include "sync/rsync/checksum.h"
#include "sync/rsync/rolling_sum.h"
#include "sync/rsync/sum_filter.h"

namespace rsyncfs {
namespace {

constexpr int64_t kCached = 256 << 10;
constexpr int64_t kStreamed = 256 << 20;
constexpr int64_t kSearched = 16 << 20;
constexpr int32_t kSeed = 4711;
constexpr int64_t kBlockLengths[] = {704, 8192, kMaxBlockLength};

std::span<const std::byte> random_data(size_t size) {
  static const std::vector<std::byte> kBytes = [] {
    std::vector<std::byte> bytes(kStreamed);
    std::mt19937_64 random(1);
    for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
      const uint64_t value = random();
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
    return bytes;
  }();
  return std::span(kBytes).first(size);
}

template <typename Sum>
void for_each_block(benchmark::State& state, const Sum& sum) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const auto length = static_cast<size_t>(state.range(1));
  for ([[maybe_unused]] auto _ : state) {
    for (auto rest = data; !rest.empty();) {
      const auto block = rest.first(std::min(length, rest.size()));
      sum(block);
      rest = rest.subspan(block.size());
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// What a plain look at each byte takes: no sum can be faster.
void BM_ReadAll(benchmark::State& state) {
  for_each_block(state, [](std::span<const std::byte> block) {
    uint64_t sum = 0;
    for (; block.size() >= sizeof sum; block = block.subspan(sizeof sum)) {
      uint64_t word = 0;
      std::memcpy(&word, block.data(), sizeof word);
      sum += word;
    }
    benchmark::DoNotOptimize(sum);
  });
}

void BM_RollingSum(benchmark::State& state, const RollingSumVariant* variant) {
  for_each_block(state, [variant](std::span<const std::byte> block) {
    benchmark::DoNotOptimize(variant->sum(block.data(), block.size()));
  });
}

void BM_Xxh128(benchmark::State& state, const XxhVariant* variant) {
  const XxhSeed seed = make_xxh_seed(kSeed);
  for_each_block(state, [&](std::span<const std::byte> block) {
    Xxh128 out;
    variant->hash_128(block.data(), block.size(), seed, &out.low, &out.high);
    benchmark::DoNotOptimize(out);
  });
}

void BM_Xxh64(benchmark::State& state) {
  for_each_block(state,
                 [](std::span<const std::byte> block) { benchmark::DoNotOptimize(xxh64(block, kSeed)); });
}

// Rolling and strong sum of each block, as a pull sends them and a comparison does.
void BM_Signature(benchmark::State& state, ChecksumKind kind) {
  for_each_block(state, [kind](std::span<const std::byte> block) {
    BlockSum sum{rolling_sum(block), block_sum(kind, kSeed, block)};
    benchmark::DoNotOptimize(sum);
  });
}

void BM_SignatureScalar(benchmark::State& state) {
  const RollingSumVariant& rolling = *rolling_sum_variants().back();
  const XxhSeed seed = make_xxh_seed(kSeed);
  for_each_block(state, [&](std::span<const std::byte> block) {
    Xxh128 out;
    kXxhScalar.hash_128(block.data(), block.size(), seed, &out.low, &out.high);
    benchmark::DoNotOptimize(rolling.sum(block.data(), block.size()));
    benchmark::DoNotOptimize(out);
  });
}

// Sums of blocks that nothing in the data looks like.
BlockSums foreign_sums(size_t count) {
  BlockSums sums{.block_length = 8192, .strong_length = 16, .remainder = 0, .blocks = {}};
  std::mt19937_64 random(2);
  std::vector<std::byte> block(sums.block_length);
  for (size_t i = 0; i < count; ++i) {
    for (size_t at = 0; at < block.size(); at += sizeof(uint64_t)) {
      const uint64_t value = random();
      std::memcpy(block.data() + at, &value, sizeof value);
    }
    sums.blocks.push_back({rolling_sum(block), block_sum(ChecksumKind::kXxh128, kSeed, block)});
  }
  return sums;
}

uint64_t literal_bytes(const BlockSums& sums, std::span<const std::byte> data) {
  BlockMatcher matcher(sums, ChecksumKind::kXxh128, kSeed, data.size(),
                       [data](uint64_t offset, std::span<std::byte> out) -> Result<void> {
                         std::memcpy(out.data(), data.data() + offset, out.size());
                         return {};
                       });
  uint64_t literal = 0;
  while (true) {
    const auto piece = matcher.next();
    RSYNCFS_CHECK(piece.ok());
    if (piece->what == MatchedPiece::What::kEnd) return literal;
    if (piece->what == MatchedPiece::What::kLiteral) literal += piece->bytes.size();
  }
}

// (size of the data, blocks of the basis): a look at each byte.
void BM_NoMatch(benchmark::State& state) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const BlockSums sums = foreign_sums(static_cast<size_t>(state.range(1)));
  for ([[maybe_unused]] auto _ : state) RSYNCFS_CHECK(literal_bytes(sums, data) == data.size());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// The loop alone, with a filter as for so many blocks.
void BM_Roll(benchmark::State& state, const RollVariant* variant) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const auto word_bits = static_cast<unsigned>(std::bit_width(static_cast<uint64_t>(state.range(1)) - 1));
  std::vector<uint32_t> words(size_t{1} << word_bits);
  std::mt19937_64 random(3);
  for (int64_t bit = 0; bit < 2 * state.range(1); ++bit)
    words[random() % words.size()] |= 1u << random() % 32;
  constexpr uint32_t kWindow = 8192;
  for ([[maybe_unused]] auto _ : state) {
    RollingWindow window{data.data(), kWindow, 0, 0};
    for (const std::byte* const end = data.data() + data.size() - kWindow; window.data != end;)
      variant->roll(words.data(), word_bits, window, static_cast<size_t>(end - window.data));
    benchmark::DoNotOptimize(window);
  }
  state.SetBytesProcessed(state.iterations() * (state.range(0) - kWindow));
}

void BM_NoMatchUpstream(benchmark::State& state, bool through_calls) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const BlockSums sums = foreign_sums(static_cast<size_t>(state.range(1)));
  const bench::UpstreamMatch matcher(sums, ChecksumKind::kXxh128, kSeed);
  for ([[maybe_unused]] auto _ : state) RSYNCFS_CHECK(matcher.search(data, through_calls).matches == 0);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// (size of the data, block length): every block is where it was. The data are copied out of memory first, as
// a snapshot's are out of its file.
void BM_Unchanged(benchmark::State& state) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const BlockSums sums =
      make_block_sums(data, ChecksumKind::kXxh128, kSeed, static_cast<uint32_t>(state.range(1)));
  for ([[maybe_unused]] auto _ : state) RSYNCFS_CHECK(literal_bytes(sums, data) == 0);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// The same with as much again behind it.
void BM_Appended(benchmark::State& state) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const auto length = static_cast<uint32_t>(state.range(1));
  const BlockSums sums = make_block_sums(data.first(data.size() / 2), ChecksumKind::kXxh128, kSeed, length);
  for ([[maybe_unused]] auto _ : state) RSYNCFS_CHECK(literal_bytes(sums, data) == data.size() / 2);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// What BM_Unchanged is measured by: the sums of data that are copied out of memory in pieces.
void BM_CopyAndSign(benchmark::State& state) {
  const auto data = random_data(static_cast<size_t>(state.range(0)));
  const auto length = static_cast<size_t>(state.range(1));
  std::vector<std::byte> piece((size_t{256} << 10) / length * length);
  for ([[maybe_unused]] auto _ : state) {
    for (size_t at = 0; at < data.size(); at += piece.size()) {
      const auto part = data.subspan(at, std::min(piece.size(), data.size() - at));
      std::memcpy(piece.data(), part.data(), part.size());
      for (auto rest = std::span<const std::byte>(piece).first(part.size()); !rest.empty();) {
        const auto block = rest.first(std::min(length, rest.size()));
        BlockSum sum{rolling_sum(block), block_sum(ChecksumKind::kXxh128, kSeed, block)};
        benchmark::DoNotOptimize(sum);
        rest = rest.subspan(block.size());
      }
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void sizes_and_lengths(benchmark::internal::Benchmark* of) {
  for (const int64_t length : kBlockLengths) of->Args({kCached, length})->Args({kStreamed, length});
}

void blocks(benchmark::internal::Benchmark* of) {
  for (const int64_t count : {8192, 65536, 524288}) of->Args({kSearched, count});
}

[[maybe_unused]] const bool kRegistered = [] {
  for (const RollingSumVariant* variant : rolling_sum_variants()) {
    sizes_and_lengths(benchmark::RegisterBenchmark((std::string("BM_RollingSum/") + variant->name).c_str(),
                                                   BM_RollingSum, variant));
  }
  for (const XxhVariant* variant : xxh_variants()) {
    sizes_and_lengths(benchmark::RegisterBenchmark((std::string("BM_Xxh128/") + variant->name).c_str(),
                                                   BM_Xxh128, variant));
  }
  for (const RollVariant* variant : roll_variants()) {
    benchmark::RegisterBenchmark((std::string("BM_Roll/") + variant->name).c_str(), BM_Roll, variant)
        ->Apply(blocks);
  }
  return true;
}();

BENCHMARK(BM_ReadAll)->Apply(sizes_and_lengths);
BENCHMARK(BM_Xxh64)->Apply(sizes_and_lengths);
BENCHMARK_CAPTURE(BM_Signature, xxh128, ChecksumKind::kXxh128)->Apply(sizes_and_lengths);
BENCHMARK_CAPTURE(BM_Signature, md5, ChecksumKind::kMd5)->Apply(sizes_and_lengths);
BENCHMARK(BM_SignatureScalar)->Apply(sizes_and_lengths);
BENCHMARK(BM_CopyAndSign)->Apply(sizes_and_lengths);
BENCHMARK(BM_Unchanged)->Apply(sizes_and_lengths);
BENCHMARK(BM_Appended)->Apply(sizes_and_lengths);
BENCHMARK(BM_NoMatch)->Apply(blocks);
BENCHMARK_CAPTURE(BM_NoMatchUpstream, memory, false)->Apply(blocks);
BENCHMARK_CAPTURE(BM_NoMatchUpstream, calls, true)->Apply(blocks);

}  // namespace
}  // namespace rsyncfs
