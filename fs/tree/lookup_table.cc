// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/lookup_table.h"

#include <algorithm>
#include <utility>

#include "io/base/result.h"

namespace rsyncfs {
namespace {

constexpr size_t kSmallest = 16;

}  // namespace

LookupTable::LookupTable() {
  add(kRootNode);
}

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): node ids are consecutive, shards and slots should
// not be.
uint64_t LookupTable::hash(NodeId node) {
  uint64_t h = node + 0x9e3779b97f4a7c15;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
  h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
  return h ^ (h >> 31);
}

const LookupTable::Slot* LookupTable::Shard::find(NodeId node) const {
  if (slots.empty()) return nullptr;
  const size_t mask = slots.size() - 1;
  for (size_t i = hash(node) & mask; slots[i].node != 0; i = (i + 1) & mask) {
    if (slots[i].node == node) return &slots[i];
  }
  return nullptr;
}

LookupTable::Slot* LookupTable::Shard::find(NodeId node) {
  return const_cast<Slot*>(std::as_const(*this).find(node));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

LookupTable::Slot& LookupTable::Shard::insert(NodeId node) {
  if (Slot* slot = find(node)) return *slot;
  if ((used + 1) * 8 > slots.size() * 7) resize(std::max(kSmallest, slots.size() * 2));
  const size_t mask = slots.size() - 1;
  size_t i = hash(node) & mask;
  while (slots[i].node != 0) i = (i + 1) & mask;
  slots[i].node = node;
  ++used;
  return slots[i];
}

// Moves later members of the probe chain back, so that no tombstones are needed.
void LookupTable::Shard::erase(Slot* slot) {
  const size_t mask = slots.size() - 1;
  size_t hole = static_cast<size_t>(slot - slots.data());
  for (size_t i = (hole + 1) & mask; slots[i].node != 0; i = (i + 1) & mask) {
    const size_t home = hash(slots[i].node) & mask;
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      slots[hole] = slots[i];
      hole = i;
    }
  }
  slots[hole] = Slot{};
  --used;
  if (slots.size() > kSmallest && used * 8 < slots.size()) resize(slots.size() / 2);
}

void LookupTable::Shard::resize(size_t size) {
  std::vector<Slot> old(size);
  old.swap(slots);
  const size_t mask = size - 1;
  for (const Slot& slot : old) {
    if (slot.node == 0) continue;
    size_t i = hash(slot.node) & mask;
    while (slots[i].node != 0) i = (i + 1) & mask;
    slots[i] = slot;
  }
}

void LookupTable::add(NodeId node, uint64_t count) {
  RSYNCFS_CHECK(node != 0);
  Shard& s = shard(node);
  const std::lock_guard lock(s.mutex);
  s.insert(node).state += count * 2;
}

bool LookupTable::remove(NodeId node, uint64_t count) {
  if (node == kRootNode) return false;
  Shard& s = shard(node);
  const std::lock_guard lock(s.mutex);
  Slot* slot = s.find(node);
  if (slot == nullptr) return false;
  if (slot->state / 2 > count) {
    slot->state -= count * 2;
    return false;
  }
  s.erase(slot);
  return true;
}

uint64_t LookupTable::count(NodeId node) const {
  const Shard& s = shard(node);
  const std::lock_guard lock(s.mutex);
  const Slot* slot = s.find(node);
  return slot == nullptr ? 0 : slot->state / 2;
}

void LookupTable::mark(NodeId node) {
  Shard& s = shard(node);
  const std::lock_guard lock(s.mutex);
  if (Slot* slot = s.find(node)) slot->state |= 1;
}

bool LookupTable::is_marked(NodeId node) const {
  const Shard& s = shard(node);
  const std::lock_guard lock(s.mutex);
  const Slot* slot = s.find(node);
  return slot != nullptr && (slot->state & 1) != 0;
}

size_t LookupTable::size() const {
  size_t total = 0;
  for (const Shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    total += s.used;
  }
  return total;
}

}  // namespace rsyncfs
