// SPDX-License-Identifier: GPL-3.0-or-later
// Files with local changes, for tests: what a file is to be, and what the store says it is.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/contents_rig.h"

namespace rsyncfs {

using Bytes = std::vector<std::byte>;

inline Bytes filled(size_t size, int value) {
  return Bytes(size, static_cast<std::byte>(value));
}

// As pwrite(2) and ftruncate(2) do.
inline void model_write(Bytes& model, uint64_t offset, std::span<const std::byte> data) {
  if (data.empty()) return;
  if (model.size() < offset + data.size()) model.resize(offset + data.size());
  std::memcpy(model.data() + offset, data.data(), data.size());
}
inline void model_zero(Bytes& model, uint64_t begin, uint64_t end) {
  std::fill(model.begin() + static_cast<int64_t>(std::min<uint64_t>(begin, model.size())),
            model.begin() + static_cast<int64_t>(std::min<uint64_t>(end, model.size())), std::byte{0});
}

struct ReadOut {
  Bytes bytes;
  std::vector<ExtentSet::Range> missing;
};

// What a reader of the mount gets.
inline ReadOut read_file(Replica& store, NodeId node, uint64_t offset, uint64_t length,
                         const BaseBytes* fresh = nullptr) {
  ReadOut out;
  if (const auto dirty = store.local().dirty(node)) {
    out.bytes.resize(length, std::byte{0xee});
    out.bytes.resize(must(dirty->read(offset, out.bytes, out.missing, fresh)));
    return out;
  }
  const uint64_t size = must(store.node(node)).attr.size;
  length = std::min(length, size - std::min(offset, size));
  if (length == 0) return out;
  const auto content = must(store.content(node));
  if (content == nullptr) {
    out.missing.push_back({offset, offset + length});
    return out;
  }
  if (const auto view = content->view(offset, length)) {
    out.bytes.assign(view->begin(), view->end());
  } else {
    out.missing = content->extents().missing(offset, offset + length);
  }
  return out;
}

inline Bytes whole_file(Replica& store, NodeId node) {
  const uint64_t size = must(store.node(node)).attr.size;
  ReadOut out = read_file(store, node, 0, size + 10);
  EXPECT_TRUE(out.missing.empty()) << "bytes are missing of node " << node;
  EXPECT_EQ(out.bytes.size(), size);
  return out.bytes;
}

// What a file of these bytes has in a range.
inline std::span<const std::byte> range_of(const Bytes& bytes, uint64_t begin, uint64_t end) {
  begin = std::min<uint64_t>(begin, bytes.size());
  return std::span(bytes).subspan(begin, std::clamp<uint64_t>(end, begin, bytes.size()) - begin);
}
inline bool same_range(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// The first byte that is in none of the states at its place. Pieces that are all of one state are compared at
// once: a byte at a time is slow where nothing is optimised.
inline std::optional<size_t> byte_of_no_state(const Bytes& got, const std::vector<const Bytes*>& states) {
  constexpr size_t kPiece = 4096;
  for (size_t at = 0; at < got.size(); at += kPiece) {
    const size_t length = std::min(kPiece, got.size() - at);
    const std::span<const std::byte> piece(got.data() + at, length);
    const auto has_piece = [&](const Bytes* state) {
      return state->size() >= at + length && same_range(piece, {state->data() + at, length});
    };
    if (std::ranges::any_of(states, has_piece)) continue;
    for (size_t i = at; i < at + length; ++i) {
      const auto has_byte = [&](const Bytes* state) { return i < state->size() && (*state)[i] == got[i]; };
      if (std::ranges::none_of(states, has_byte)) return i;
    }
  }
  return std::nullopt;
}

// Says where they differ, and not more.
inline testing::AssertionResult same_bytes(const Bytes& got, const Bytes& expected) {
  if (got.size() != expected.size())
    return testing::AssertionFailure() << "size " << got.size() << ", expected " << expected.size();
  if (same_range(got, expected)) return testing::AssertionSuccess();
  const auto at = std::mismatch(got.begin(), got.end(), expected.begin());
  return testing::AssertionFailure() << "at " << at.first - got.begin() << " of " << got.size() << ": "
                                     << std::to_integer<int>(*at.first) << ", expected "
                                     << std::to_integer<int>(*at.second);
}

class DirtyTest : public Contents {
 protected:
  // A file that the source has, with all of its bytes here.
  NodeId add_cached(const Bytes& bytes) {
    const NodeId node = add_file(bytes.size());
    if (!bytes.empty()) store_content(*store_, node, bytes);
    return node;
  }
  LocalChanges& local() { return store_->local(); }
};

}  // namespace rsyncfs
