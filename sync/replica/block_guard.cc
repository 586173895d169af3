// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/block_guard.h"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace rsyncfs {

bool read_map(const std::byte* from, std::span<std::byte> out) {
  size_t done = 0;
  while (done < out.size()) {
    const iovec to{out.data() + done, out.size() - done};
    const iovec at{const_cast<std::byte*>(from) + done, out.size() - done};  // NOLINT: it is only read
    const ssize_t got = ::process_vm_readv(::getpid(), &to, 1, &at, 1, 0);
    if (got < 0 && (errno == EPERM || errno == ENOSYS)) {
      // Confined so that it is not allowed: then as everybody else reads maps.
      std::memcpy(out.data() + done, from + done, out.size() - done);
      return true;
    }
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

void DamageReports::add(NodeId node, size_t block) {
  const std::lock_guard lock(mutex_);
  if (count_ >= kMaxBlocks) return;
  std::vector<size_t>& blocks = blocks_[node];
  if (std::ranges::find(blocks, block) != blocks.end()) return;
  blocks.push_back(block);
  if (count_++ == 0 && wake_) wake_();
}

DamageReports::Blocks DamageReports::take() {
  const std::lock_guard lock(mutex_);
  count_ = 0;
  return std::exchange(blocks_, {});
}

std::vector<size_t> DamageReports::take(NodeId node) {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(node);
  if (found == blocks_.end()) return {};
  std::vector<size_t> out = std::move(found->second);
  blocks_.erase(found);
  count_ -= out.size();
  return out;
}

void DamageReports::close() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

BlockGuard::BlockGuard(NodeId node, ContentSums sums, const std::byte* base,
                       std::shared_ptr<DamageReports> reports)
    : node_(node),
      sums_(std::move(sums)),
      base_(base),
      reports_(std::move(reports)),
      sound_(sums_.empty() ? 0 : (sums_.blocks() + kWordBits - 1) / kWordBits),
      damaged_(sound_.size()) {}

bool BlockGuard::holds(uint64_t begin, uint64_t end) const {
  if (begin >= end || sums_.empty()) return true;
  bool good = true;
  bool first = true;
  for (size_t block = sums_.block_at(begin); block <= sums_.block_at(end - 1); ++block) {
    if (!sums_.knows(block)) continue;
    const uint64_t bit = uint64_t{1} << (block % kWordBits);
    if ((sound_[block / kWordBits].load(std::memory_order_relaxed) & bit) != 0) continue;
    if (first) prefetch(block, sums_.block_at(end - 1));
    first = false;
    good = check(block) && good;
  }
  return good;
}

// A page fault reads around the page as far as the disk reads ahead, which may be megabytes: good for those
// who read in order, and far too much for others, whose blocks are asked for by name, all at once.
void BlockGuard::prefetch(size_t first, size_t last) const {
  static const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = sums_.range_of(first).begin;
  const uint64_t end = sums_.range_of(last).end;
  const uint64_t before = checked_until_.exchange(end, std::memory_order_relaxed);
  if (begin <= before + kInOrderBytes && before <= begin + kInOrderBytes) return;
  const auto address = reinterpret_cast<uintptr_t>(base_ + begin);
  const uint64_t into_page = address % page_bytes;
  // Without success it is as slow as without it.
  ::madvise(const_cast<std::byte*>(base_) + begin - into_page, end - begin + into_page,  // NOLINT: only read
            MADV_WILLNEED);
}

bool BlockGuard::checked() const {
  for (size_t block = 0; block < sums_.blocks(); ++block) {
    const uint64_t bit = uint64_t{1} << (block % kWordBits);
    if (sums_.knows(block) && (sound_[block / kWordBits].load(std::memory_order_relaxed) & bit) == 0)
      return false;
  }
  return true;
}

bool BlockGuard::check(size_t block) const {
  static thread_local std::vector<std::byte> bytes;
  const auto range = sums_.range_of(block);
  bytes.resize(range.end - range.begin);
  const bool good = read_map(base_ + range.begin, bytes) && sums_.matches(block, bytes);
  const uint64_t bit = uint64_t{1} << (block % kWordBits);
  auto& words = good ? sound_ : damaged_;
  words[block / kWordBits].fetch_or(bit, std::memory_order_relaxed);
  if (!good) {
    any_damage_.store(true, std::memory_order_release);
    reports_->add(node_, block);
  }
  return good;
}

void BlockGuard::subtract_damage(uint64_t begin, uint64_t end, ExtentSet& present) const {
  if (!any_damage_.load(std::memory_order_acquire) || begin >= end) return;
  for (size_t block = sums_.block_at(begin); block <= sums_.block_at(end - 1); ++block) {
    if (block >= sums_.blocks()) return;
    if ((damaged_[block / kWordBits].load(std::memory_order_relaxed) & uint64_t{1} << (block % kWordBits)) ==
        0)
      continue;
    const auto range = sums_.range_of(block);
    present.remove(range.begin, range.end);
  }
}

}  // namespace rsyncfs
