// SPDX-License-Identifier: GPL-3.0-or-later
// LocalChanges as this store keeps them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "sync/replica/dirty_files.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/new_files.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it. Any thread.
class StoredLocalChanges final : public LocalChanges {
 public:
  StoredLocalChanges(Writer& writer, DirtyFiles& files, NewFiles& new_files)
      : writer_(writer), files_(files), new_files_(new_files) {}

  Result<Node> create(NodeId parent, std::string_view name, const NewNode& node) override;
  Result<Node> create_unnamed(const NewNode& node) override;
  Result<Node> link(NodeId node, NodeId parent, std::string_view name) override;
  Result<NameEffect> unlink(NodeId parent, std::string_view name) override;
  Result<NameEffect> remove_directory(NodeId parent, std::string_view name) override;
  Result<NameEffect> rename(NodeId parent, std::string_view name, NodeId new_parent,
                            std::string_view new_name, RenameMode mode) override;

  Result<Node> change_attributes(NodeId node, const AttributeChange& change) override;
  Result<Node> replace_xattrs(NodeId node, const StoredXattrs& xattrs, const std::vector<FullValue>& values,
                              std::optional<uint32_t> permissions) override;

  Result<Node> write(NodeId file, uint64_t offset, std::span<const std::byte> data,
                     uint32_t clear_permissions) override {
    if (clear_permissions == 0) {
      if (auto node = new_files_.write(file, offset, data)) return *node;
    }
    if (auto done = settle(file); !done) return done.error();
    return files_.write(file, offset, data, clear_permissions);
  }
  Result<Node> resize(NodeId file, uint64_t size, uint32_t clear_permissions) override {
    if (auto done = settle(file); !done) return done.error();
    return files_.resize(file, size, clear_permissions);
  }
  Result<Node> allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length,
                        uint32_t clear_permissions) override {
    if (auto done = settle(file); !done) return done.error();
    return files_.allocate(file, mode, offset, length, clear_permissions);
  }
  void watch_new_names(NewNameWatch watch) override { files_.watch_new_names(std::move(watch)); }
  std::shared_ptr<const DirtyContent> dirty(NodeId file) const override;
  Result<void> sync(NodeId node) override {
    if (auto done = new_files_.settle(); !done) return done;
    return files_.sync(node);
  }
  Result<void> sync_all() override {
    if (auto done = new_files_.settle(); !done) return done;
    return files_.sync_all();
  }

 private:
  // One transaction: body(Transaction&) gives a Result<T>, and without an error it is committed.
  template <class T, class Body>
  Result<T> change(const Body& body) {
    auto transaction = writer_.begin();
    if (!transaction) return transaction.error();
    Result<T> result = body(**transaction);
    if (!result) return result;
    if (auto done = (*transaction)->commit(); !done) return done.error();
    return result;
  }
  Result<NameEffect> remove(NodeId parent, std::string_view name, bool is_directory);
  // The database has the node, if there is one.
  Result<void> settle(NodeId node) const {
    return new_files_.has(node) ? new_files_.settle() : Result<void>();
  }

  Writer& writer_;
  DirtyFiles& files_;
  NewFiles& new_files_;
};

}  // namespace rsyncfs
