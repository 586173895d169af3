// SPDX-License-Identifier: GPL-3.0-or-later
// Puts a new version of a file together from what was sent of it and from what is here of an older one, into
// a content that nobody sees yet.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/file_target.h"
#include "sync/replica/replica.h"
#include "sync/rsync/checksum.h"

namespace rsyncfs {

// The next bytes of the new version.
struct DeltaPiece {
  bool copy = false;
  uint64_t from = 0;  // copy: of the older version
  uint64_t length = 0;
  std::vector<std::byte> literal;
};

// What came of it; the digest has matched.
struct DeltaResult {
  FileVersion version;
  uint64_t sent_size = 0;  // of the whole file as it was sent: it may have grown beyond the version
  // The older version is the beginning of this one: `writer` adds to its content, null: nothing is added.
  // Otherwise it has all of the new one.
  bool grown = false;
  std::unique_ptr<ContentWriter> writer;
  std::string digest;  // of sent_size bytes
  std::string digest_name;
};

// Store strand only.
class DeltaAssembly {
 public:
  // `may_grow`: the basis is the complete content of `target.node`, which is longer now; while all of it is
  // found in place, nothing is written but what is added.
  DeltaAssembly(Replica& replica, FileTarget target, std::shared_ptr<const Content> basis, ChecksumKind kind,
                bool may_grow);

  void add(std::vector<DeltaPiece> pieces);
  // Works off some of it. False: nothing is left.
  Result<bool> step();
  uint64_t literal_bytes() const { return literal_bytes_; }  // not worked off
  // With may_grow: the older version turned out not to be the beginning of this one.
  bool refuted() const { return may_grow_ && !in_place_; }
  // After all pieces, and step() says that nothing is left. kCorrupt: the digest is another.
  Result<DeltaResult> finish(const ChecksumValue& sent);

 private:
  Result<void> take(std::span<const std::byte> bytes, bool in_its_place);
  Result<void> write(std::span<const std::byte> bytes);
  Result<void> leave_place();
  Result<void> catch_up(uint64_t bytes);
  bool equals_basis(std::span<const std::byte> bytes) const;

  Replica& replica_;
  const FileTarget target_;
  std::shared_ptr<const Content> basis_;
  const ChecksumKind kind_;
  const bool may_grow_;
  Digest digest_;
  std::deque<DeltaPiece> pieces_;
  uint64_t literal_bytes_ = 0;
  uint64_t position_ = 0;    // in the version
  uint64_t sent_size_ = 0;   // of the whole file
  bool in_place_;            // all before position_ is as it is in the basis
  uint64_t left_place_ = 0;  // what comes before is to be written from the basis,
  uint64_t caught_up_ = 0;   // and has been up to here
  std::unique_ptr<ContentWriter> writer_;
};

}  // namespace rsyncfs
