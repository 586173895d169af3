// SPDX-License-Identifier: GPL-3.0-or-later
// One change of the bytes of one file: first in the block file of its open layer, where nobody looks yet or
// where something was written before, then in one transaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "io/base/result.h"
#include "sync/replica/block_files.h"
#include "sync/replica/dirty_file.h"
#include "sync/replica/local_changes.h"

namespace rsyncfs {

// The references must outlive it. One thread, one of the changes.
class FileChange {
 public:
  // `clear_permissions`: bits of the mode that go.
  FileChange(DirtyStore& store, DirtyFile& file, uint32_t clear_permissions)
      : store_(store), file_(file), clear_permissions_(clear_permissions) {}
  FileChange(const FileChange&) = delete;
  FileChange& operator=(const FileChange&) = delete;
  ~FileChange();

  Result<Node> write(uint64_t offset, std::span<const std::byte> data);
  Result<Node> resize(uint64_t size);
  Result<Node> allocate(AllocateMode mode, uint64_t offset, uint64_t length);
  // Of a file that is lent: what users wrote into maps of it, from `position` on, which moves; at most one
  // range of it. False: nothing is left.
  Result<bool> take_mapped(const LentFile& lent, uint64_t& position);
  // After one that succeeded: the name that the file got with it, having lost its own to the source.
  const std::optional<NameChange>& new_name() const { return new_name_; }
  bool changed() const { return recorded_; }  // some bytes of it

 private:
  using View = DirtyFile::View;
  // What a change comes to.
  struct Effect {
    uint64_t size = 0;               // of the file
    ExtentSet::Range covered{0, 0};  // this is in the open layer
    bool times = true;               // the times are changed
    bool layer = false;              // there is an open layer, whatever else
  };
  using Act = std::function<Result<Effect>(const View& view)>;
  // Has a lent file follow a change that was made.
  using Follow = std::function<Result<void>(LentFile& lent, const Node& node)>;
  Result<Node> run(const Act& act, const Follow& follow);
  Result<Node> run_alone(const Act& act);
  // nullopt: the file is not what the view says.
  Result<std::optional<Node>> record(const View& view, const Effect& effect);
  // The source replaced or removed the file before it was changed here: it becomes a conflict copy.
  Result<void> adopt(Transaction& transaction, const View& view, const Effect& effect, Node& node);
  Result<void> record_layer(Transaction& transaction, const View& view, const Effect& effect);
  void take_effect(const View& view, const Effect& effect);

  // The block file to write to; made when there is none.
  void note_space(const View& view) const;
  Result<SharedFd> layer_file(const View& view);
  // [begin, end) is zeros: of the open layer, or beyond the end of the file.
  Result<void> zero(const View& view, uint64_t begin, uint64_t end);
  Result<Effect> write_now(const View& view, uint64_t offset, std::span<const std::byte> data);
  Result<Effect> resize_now(const View& view, uint64_t size);
  Result<Effect> allocate_now(const View& view, AllocateMode mode, uint64_t offset, uint64_t length);
  Result<Effect> mapped_now(const View& view, const LentFile& lent, uint64_t& position);
  Result<Effect> reserve(const View& view, AllocateMode mode, uint64_t offset, uint64_t length);

  DirtyStore& store_;
  DirtyFile& file_;
  const uint32_t clear_permissions_;
  uint64_t created_ = 0;  // the block file that was made
  bool recorded_ = false;
  bool log_synced_ = false;
  std::optional<NameChange> new_name_;
  // Of the transaction, for take_effect().
  LayerRow row_;
  LayerExtents::Plan plan_;
  bool cut_synced_ = false;
};

}  // namespace rsyncfs
