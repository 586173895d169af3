// SPDX-License-Identifier: GPL-3.0-or-later
// The ranges of a file that one layer of local changes has, each with the epoch of the store in which it came
// to be there: 0 says that it is surely on the disk. Each is a row of the table `layer_extents`.
//
// A change is planned first, written to the database, and only then made here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

class LayerExtents {
 public:
  struct Extent {
    uint64_t begin = 0;
    uint64_t end = 0;  // exclusive
    uint64_t epoch = 0;
    bool operator==(const Extent&) const = default;
  };
  // What leads from one set to another, for rows as for the set: first what goes, then what comes. One that
  // comes takes the place of one that begins there.
  struct Plan {
    std::optional<uint64_t> erase_from;  // all that begin there or later
    std::vector<uint64_t> erase;         // that begin there
    std::vector<Extent> put;
    int64_t bytes = 0;  // that the set gains
    bool empty() const { return !erase_from && erase.empty() && put.empty(); }
  };

  // [begin, end) is there. What was there before keeps its epoch: after a power cut it has the bytes of now
  // or of before. Neighbours of one epoch become one.
  Plan plan_add(uint64_t begin, uint64_t end, uint64_t epoch) const;
  // Nothing is there from `at` on.
  Plan plan_cut(uint64_t at) const;
  // All that is there is on the disk.
  Plan plan_synced() const;
  void apply(const Plan& plan);
  // As a row has it.
  void insert(const Extent& extent);

  bool empty() const { return extents_.empty(); }
  size_t size() const { return extents_.size(); }
  uint64_t bytes() const { return bytes_; }
  // The extent that has the byte at `offset`.
  std::optional<Extent> find(uint64_t offset) const;
  // Where the first extent after `offset` begins; the highest number if there is none.
  uint64_t next_begin(uint64_t offset) const;
  // Where the ranges that follow one another without a gap from `offset` on end; `offset` if nothing is
  // there.
  uint64_t contiguous_end(uint64_t offset) const;
  bool all_synced() const { return unsynced_.empty(); }
  // Is anything from `at` on surely on the disk?
  bool synced_from(uint64_t at) const;
  ExtentSet ranges() const;
  std::vector<Extent> all() const;

 private:
  struct Rest {
    uint64_t end = 0;
    uint64_t epoch = 0;
  };
  using Map = std::map<uint64_t, Rest>;
  Map::const_iterator covering_or_next(uint64_t offset) const;
  Extent run_around(uint64_t begin, std::vector<uint64_t>& others) const;
  void erase(uint64_t begin);

  Map extents_;                  // by their beginnings
  std::set<uint64_t> unsynced_;  // beginnings of those whose epoch is not 0
  uint64_t bytes_ = 0;
};

}  // namespace rsyncfs
