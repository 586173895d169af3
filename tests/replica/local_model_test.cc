// SPDX-License-Identifier: GPL-3.0-or-later
// Random changes here and at the source, listings and pushes in any order. In the end both are the same tree
// with nothing left to push, and no version that a user made was lost on the way.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "sync/replica/conflict_name.h"
#include "tests/replica/local_rig.h"
#include "tests/replica/model_pusher.h"
#include "tests/replica/model_source.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

struct Entry {
  NodeId parent = 0;
  std::string name;
  Node node;
};

// Users and the source of one store.
class World {
 public:
  World(uint64_t seed, bool source_changes)
      : random_(seed),
        source_changes_(source_changes),
        source_(seed + 1, versions_),
        pusher_(*store_, source_, seed + 2) {
    pusher_.lose_answers(source_changes);
  }

  void step() {
    const uint64_t what = random_() % 12;
    if (what < 7) {
      use();
    } else if (what < 9) {
      pusher_.step();
    } else if (what < 10 && source_changes_) {
      source_.change(outdated_);
    } else if (what < 11) {
      list_some();
    } else if (random_() % 8 == 0) {
      reopen();
    } else {
      forget_some();
    }
    consistent("a step");
    expect_nothing_lost();
  }

  // Everything is pushed, and everything is listed.
  void settle() {
    pusher_.lose_answers(false);
    for (int round = 0; round < 100; ++round) {
      list_tree(0, kRootNode);
      expect_nothing_lost();
      if (testing::Test::HasFailure()) return;
      bool pushed = false;
      while (pusher_.step()) pushed = true;
      bring_back_directories();
      if (!pushed && collided_ == 0) break;
      collided_ = 0;
    }
    list_tree(0, kRootNode);
    const PendingSummary summary = store_->pending().summary();
    EXPECT_EQ(summary.names, 0U);
    EXPECT_EQ(summary.nodes, 0U);
    for (const auto& name : must(store_->pending().names(0, 10))) {
      ADD_FAILURE() << "left: " << name.parent << "/" << name.name << ": " << name.base << " -> "
                    << name.local;
      if (name.base == 0) continue;
      const BaseNode base = must(store_->pending().base_of(name.base));
      const Node node = must(store_->node(name.base));
      std::printf("base mode %o size %lu mtime %ld; orphan %d; children %zu; names %zu\n", base.attr.mode,
                  base.attr.size, base.attr.mtime_s, node.orphan,
                  must(store_->pending().base_children(name.base, 100)).size(),
                  must(store_->pending().base_names_of(name.base, 100)).size());
    }
    compare(0, kRootNode, "");
  }

 private:
  void consistent(const std::string& after) {
    if (const auto checked = store_->check(); !checked)
      ADD_FAILURE() << after << ": " << checked.error().message();
  }
  std::vector<Entry> entries() {
    std::vector<Entry> out;
    std::vector<NodeId> directories{kRootNode};
    while (!directories.empty()) {
      const NodeId directory = directories.back();
      directories.pop_back();
      must(store_->list(directory, [&](std::string_view name, const Node& node) {
        out.push_back({directory, std::string(name), node});
      }));
      for (auto entry = out.rbegin(); entry != out.rend() && entry->parent == directory; ++entry) {
        if (S_ISDIR(entry->node.attr.mode)) directories.push_back(entry->node.id);
      }
    }
    return out;
  }
  std::set<int64_t> versions() {
    std::set<int64_t> out;
    for (const Entry& entry : entries()) {
      if (S_ISREG(entry.node.attr.mode)) out.insert(entry.node.attr.mtime_s);
    }
    return out;
  }
  std::string any_name() { return std::string(1, static_cast<char>('a' + random_() % 8)); }
  NodeId any_directory(const std::vector<Entry>& all) {
    std::vector<NodeId> directories{kRootNode};
    for (const Entry& entry : all) {
      if (S_ISDIR(entry.node.attr.mode)) directories.push_back(entry.node.id);
    }
    return directories[random_() % directories.size()];
  }

  // A user does something, which may fail as it would on any disk.
  void use() {
    const std::set<int64_t> before = versions();
    const std::vector<Entry> all = entries();
    const NodeId directory = any_directory(all);
    const std::string name = any_name();
    LocalChanges& local = store_->local();
    const uint64_t what = random_() % 12;
    if (what < 3) {
      save(directory, name);
    } else if (what == 3) {
      static_cast<void>(local.create(directory, name, new_directory()));
    } else if (what == 4) {
      static_cast<void>(local.create(directory, name, new_symlink(any_name())));
    } else if (!all.empty()) {
      change(all[random_() % all.size()], directory, name, what);
    }
    const std::set<int64_t> after = versions();
    for (const int64_t version : before) {
      if (after.count(version) == 0) users_.erase(version);
    }
  }
  // A new file, which may take the place of another, as editors do it.
  void save(NodeId directory, const std::string& name) {
    auto made = store_->local().create(directory, "tmp", new_file());
    if (!made) return;
    must(store_->local().change_attributes(made->id, {.mtime = FileTime{++versions_, 0}}));
    if (store_->local().rename(directory, "tmp", directory, name, RenameMode::kReplace)) {
      users_.insert(versions_);
    } else {
      must(store_->local().unlink(directory, "tmp"));
    }
  }
  void change(const Entry& entry, NodeId directory, const std::string& name, uint64_t what) {
    LocalChanges& local = store_->local();
    switch (what) {
      case 5:
        static_cast<void>(local.unlink(entry.parent, entry.name));
        break;
      case 6:
        static_cast<void>(local.remove_directory(entry.parent, entry.name));
        break;
      case 7:
        static_cast<void>(local.link(entry.node.id, directory, name));
        break;
      case 8:
        must(local.change_attributes(entry.node.id,
                                     {.permissions = static_cast<uint32_t>(0600 + random_() % 64)}));
        break;
      case 9:
        static_cast<void>(local.rename(entry.parent, entry.name, directory, name, RenameMode::kExchange));
        break;
      default:
        static_cast<void>(local.rename(entry.parent, entry.name, directory, name, RenameMode::kReplace));
    }
  }

  // One directory; gives the nodes by name.
  std::map<std::string, NodeId> list_one(uint64_t inode, NodeId node) {
    Listing listing;
    const auto& children = source_.inode(inode).children;
    for (const auto& [name, child] : children) {
      const uint32_t links = source_.links(child);
      const SourceInode& entry = source_.inode(child);
      ListedName& listed = listing.add(name, entry.attr, links > 1 ? static_cast<uint32_t>(child) : 0);
      if (!entry.is_directory()) listed.attr.nlink = links;
      listed.link_target = entry.target;
    }
    auto batch = must(store_->begin());
    std::vector<NodeId> nodes;
    auto applied = batch->apply_directory(node, listing.take(), true, *groups_, nodes);
    if (!applied) return {};
    must(batch->commit());
    batch.reset();
    consistent("listing " + std::to_string(node));
    if (testing::Test::HasFailure()) return {};
    decide(applied->collisions);
    std::map<std::string, NodeId> out;
    size_t at = 0;
    for (const auto& [name, child] : children) out[name] = nodes[at++];
    return out;
  }
  void decide(const std::vector<Collision>& collisions) {
    for (const Collision& collision : collisions) {
      ++collided_;
      const ListedName theirs = collision.theirs.view();
      const std::string copy = free_conflict_name(collision.name, "host", {}, [&](std::string_view name) {
        return store_->lookup(collision.parent, name).ok() ||
               must(store_->pending().base_binding(collision.parent, name)) != 0;
      });
      must(store_->pending().keep_both(collision.parent, collision.name, &theirs, copy));
      consistent("keeping both of " + std::to_string(collision.parent) + "/" + collision.name);
    }
  }
  // Directories that were removed here, and in which somebody else has changed something.
  void bring_back_directories() {
    for (const PendingName& name : must(store_->pending().names(0, 1000))) {
      if (name.base == 0 || !must(store_->node(name.base)).orphan || must(store_->node(name.parent)).orphan) {
        continue;
      }
      const auto path = store_->pending().remote_path(name.parent, name.name);
      const auto there = path ? source_.find(*path) : std::nullopt;
      if (!there || source_.inode(*there).children.empty()) continue;
      Collision collision;
      collision.parent = name.parent;
      collision.name = name.name;
      collision.theirs.name = name.name;
      collision.theirs.attr = source_.inode(*there).attr;
      decide({collision});
    }
  }
  void list_tree(uint64_t inode, NodeId node) {
    groups_.emplace();
    std::vector<std::pair<uint64_t, NodeId>> todo{{inode, node}};
    while (!todo.empty()) {
      const auto [directory, id] = todo.back();
      todo.pop_back();
      for (const auto& [name, child] : list_one(directory, id)) {
        const uint64_t child_inode = source_.inode(directory).children.at(name);
        if (source_.inode(child_inode).is_directory() && child != 0) todo.emplace_back(child_inode, child);
      }
    }
  }
  void list_some() {
    if (random_() % 3 == 0) {
      list_tree(0, kRootNode);
      return;
    }
    // Down some way.
    groups_.emplace();
    uint64_t inode = 0;
    NodeId node = kRootNode;
    for (int depth = 0; depth < 4; ++depth) {
      const auto nodes = list_one(inode, node);
      std::vector<std::string> below;
      for (const auto& [name, child] : nodes) {
        if (child != 0 && source_.inode(source_.inode(inode).children.at(name)).is_directory())
          below.push_back(name);
      }
      if (below.empty()) return;
      const std::string& name = below[random_() % below.size()];
      node = nodes.at(name);
      inode = source_.inode(inode).children.at(name);
    }
  }

  void forget_some() {
    std::vector<NodeId> some;
    for (int i = 0; i < 20; ++i) some.push_back(2 + random_() % 300);
    must(store_->forget_orphans(some));
    // Bytes come in.
    for (const Entry& entry : entries()) {
      if (S_ISREG(entry.node.attr.mode) && random_() % 3 == 0 && entry.node.differences == 0) {
        store_content(*store_, entry.node.id, known_bytes(1, entry.node.attr.size));
      }
    }
  }
  void reopen() {
    store_.reset();
    store_ = open_store(tmp_.path());
    pusher_.use(*store_);
    if (random_() % 2 == 0) must(store_->purge_orphans(1000));
  }

  void expect_nothing_lost() {
    const std::set<int64_t> here = versions();
    for (const int64_t version : users_) {
      if (outdated_.count(version) != 0) continue;
      // What is at the source will be listed.
      EXPECT_TRUE(here.count(version) != 0 || source_.has_version(version)) << "lost version " << version;
    }
  }

  void compare(uint64_t inode, NodeId node, const std::string& path) {
    std::map<std::string, Node> here;
    must(store_->list(node,
                      [&](std::string_view name, const Node& child) { here[std::string(name)] = child; }));
    const auto& there = source_.inode(inode).children;
    for (const auto& [name, child] : there) {
      const std::string at = path + "/" + name;
      const auto found = here.find(name);
      if (found == here.end()) {
        ADD_FAILURE() << at << " is only at the source";
        continue;
      }
      const SourceInode& entry = source_.inode(child);
      EXPECT_EQ(found->second.attr.mode, entry.attr.mode) << at;
      EXPECT_EQ(found->second.attr.uid, entry.attr.uid) << at;
      EXPECT_EQ(must(store_->link_target(found->second.id)), entry.target) << at;
      if (entry.is_directory()) {
        compare(child, found->second.id, at);
      } else {
        EXPECT_EQ(found->second.attr.mtime_s, entry.attr.mtime_s) << at;
        EXPECT_EQ(found->second.attr.size, entry.attr.size) << at;
        EXPECT_EQ(found->second.attr.nlink, source_.links(child)) << at;
      }
      here.erase(found);
    }
    for (const auto& [name, child] : here) ADD_FAILURE() << path << "/" << name << " is only here";
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  std::mt19937_64 random_;
  const bool source_changes_;
  int64_t versions_ = 1000;
  ModelSource source_;
  ModelPusher pusher_;
  std::optional<HardLinkGroups> groups_{std::in_place};
  std::set<int64_t> users_;     // versions that users made and did not give up
  std::set<int64_t> outdated_;  // that the source replaced or removed by itself
  size_t collided_ = 0;
};

void run(bool source_changes, int worlds, int steps) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int world = 0; world < worlds; ++world) {
    World one(random(), source_changes);
    for (int step = 0; step < steps; ++step) {
      one.step();
      if (testing::Test::HasFailure()) {
        std::printf("world %d, step %d\n", world, step);
        return;
      }
    }
    one.settle();
    if (testing::Test::HasFailure()) {
      std::printf("world %d, at the end\n", world);
      return;
    }
  }
}

TEST(LocalModel, WhatUsersDoArrives) {
  run(false, 6, 120);
}

TEST(LocalModel, BothSidesChange) {
  run(true, 12, 120);
}

}  // namespace
}  // namespace rsyncfs
