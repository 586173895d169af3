// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of local changes share: a store with some names that the source has, and short ways to
// change it.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {

inline NewNode new_file(uint32_t permissions = 0644) {
  NewNode node;
  node.mode = S_IFREG | permissions;
  node.uid = 1000;
  node.gid = 100;
  return node;
}
inline NewNode new_directory() {
  NewNode node;
  node.mode = S_IFDIR | 0755;
  return node;
}
inline NewNode new_symlink(std::string target) {
  NewNode node;
  node.mode = S_IFLNK | 0777;
  node.link_target = std::move(target);
  return node;
}

// The errno of a failure; 0: none.
template <class T>
int errno_of(const Result<T>& result) {
  return result ? 0 : result.error().os_errno();
}

class LocalRig : public testing::Test {
 protected:
  // The store is consistent, whatever a test did.
  void TearDown() override {
    if (store_) must(store_->check());
  }
  void reopen() {
    store_.reset();
    store_ = open_store(tmp_.path());
  }
  LocalChanges& local() { return store_->local(); }
  PendingChanges& pending() { return store_->pending(); }
  Node at(NodeId parent, std::string_view name) { return must(store_->lookup(parent, name)); }
  Node at(std::string_view name) { return at(kRootNode, name); }
  bool exists(NodeId parent, std::string_view name) { return store_->lookup(parent, name).ok(); }
  bool exists(std::string_view name) { return exists(kRootNode, name); }
  Node state(NodeId node) { return must(store_->node(node)); }
  std::vector<std::string> list(NodeId directory = kRootNode) {
    std::vector<std::string> out;
    must(store_->list(directory, [&out](std::string_view name, const Node&) { out.emplace_back(name); }));
    return out;
  }
  // The source has this, in this order of names: "name/" a directory, "name@" a symbolic link, else a file of
  // one byte.
  std::vector<NodeId> source_has(NodeId directory, const std::vector<std::string>& names) {
    Listing listing;
    for (const std::string& name : names) {
      if (name.back() == '/') {
        listing.directory(name.substr(0, name.size() - 1));
      } else if (name.back() == '@') {
        listing.link(name.substr(0, name.size() - 1), "target");
      } else {
        listing.file(name, 1);
      }
    }
    return apply(*store_, directory, listing).nodes;
  }
  // "name: base -> local" of every name that differs.
  std::vector<std::string> differing_names() {
    std::vector<std::string> out;
    for (const PendingName& name : must(pending().names(0, 1000))) {
      out.push_back(name.name + ": " + std::to_string(name.base) + " -> " + std::to_string(name.local));
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  std::map<NodeId, uint32_t> differing_nodes() {
    std::map<NodeId, uint32_t> out;
    for (const PendingNode& node : must(pending().nodes(0, 1000))) out[node.local.id] = node.differences;
    return out;
  }
  static std::string leads(const std::string& name, NodeId base, NodeId local) {
    return name + ": " + std::to_string(base) + " -> " + std::to_string(local);
  }
  bool nothing_pending() {
    const PendingSummary summary = pending().summary();
    return summary.names == 0 && summary.nodes == 0 && summary.bytes == 0;
  }
  // The source has the node exactly as it is here.
  BaseNode as_it_is(NodeId node) {
    const Node now = state(node);
    BaseNode base;
    base.node = node;
    base.present = true;
    base.attr = now.attr;
    base.xattr_set = now.xattr_set;
    return base;
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
};

}  // namespace rsyncfs
