// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/output_queue.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "io/base/result.h"

namespace rsyncfs {

namespace {
// What is longer is not copied behind what waits already.
constexpr size_t kMaxCopied = 4096;

iovec as_iovec(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // NOLINT: iovec has no const form
}
}  // namespace

void OutputQueue::seal_tail() {
  if (tail_.empty()) return;
  auto sealed = std::make_shared<ByteQueue>(std::exchange(tail_, ByteQueue()));
  parts_bytes_ += sealed->size();
  const auto bytes = sealed->readable();
  parts_.push_back({std::move(sealed), bytes});
}

void OutputQueue::append_shared(SharedBytes bytes) {
  if (bytes.bytes.empty()) return;
  seal_tail();
  parts_bytes_ += bytes.bytes.size();
  parts_.push_back(std::move(bytes));
}

void OutputQueue::append(OutputQueue& other) {
  if (!other.parts_.empty()) {
    seal_tail();
    std::move(other.parts_.begin(), other.parts_.end(), std::back_inserter(parts_));
    other.parts_.clear();
    parts_bytes_ += std::exchange(other.parts_bytes_, 0);
  }
  append(other.tail_);
}

void OutputQueue::append(ByteQueue& other) {
  if (other.empty()) return;
  if (!tail_.empty() && other.size() > kMaxCopied) seal_tail();
  if (tail_.empty()) {
    std::swap(tail_, other);
  } else {
    tail_.append(other.readable());
    other.clear();
  }
}

size_t OutputQueue::gather(std::span<iovec> out) const {
  const size_t parts = std::min(out.size(), parts_.size());
  for (size_t i = 0; i < parts; ++i) out[i] = as_iovec(parts_[i].bytes);
  if (parts == out.size() || tail_.empty()) return parts;
  out[parts] = as_iovec(tail_.readable());
  return parts + 1;
}

void OutputQueue::consume(size_t n) {
  RSYNCFS_CHECK(n <= size());
  while (n > 0 && !parts_.empty()) {
    SharedBytes& front = parts_.front();
    const size_t here = std::min(n, front.bytes.size());
    n -= here;
    parts_bytes_ -= here;
    if (here == front.bytes.size()) {
      parts_.pop_front();
    } else {
      front = front.from(here);
    }
  }
  if (n > 0) tail_.consume(n);
}

}  // namespace rsyncfs
