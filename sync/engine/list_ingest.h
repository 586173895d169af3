// SPDX-License-Identifier: GPL-3.0-or-later
// Brings one received file list, or the pages of one, into the Replica, in slices on the store strand, so
// that readers and other writers get their turn in between.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/executor.h"
#include "io/loop.h"
#include "sync/engine/id_map.h"
#include "sync/engine/listing.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/push_job.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/unreadable_places.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// One directory that the list was asked for, and what became of it.
struct WantedDirectory {
  NodeId node = 0;
  std::string path;  // "" = the root
  std::optional<Error> failure;
  bool stale = false;  // something was pushed there since the list began: it has to be listed again
};

// A file that is held as it was.
struct ListedGrowth {
  HeldGrowth growth;
  std::string path;
  Clock::time_point list_began;
};

// Who finds out about files that got longer.
struct GrowthUser {
  Replica::Batch::MayHold may_hold;                       // on the store strand
  std::function<void(std::vector<ListedGrowth>)> listed;  // on the loop
};

class ListIngest : public std::enable_shared_from_this<ListIngest> {
 public:
  struct Outcome {
    std::vector<WantedDirectory> wanted;
    std::optional<Error> failure;  // the store could not be written
    size_t directories = 0;
    // Of the tree: empty by this list, which has errors, but not before. A list of its own will tell.
    // Or something was pushed there since this one began.
    std::vector<WantedDirectory> unsettled;
    std::vector<StepCollision> collisions;
    // Of the tree: something was pushed while the list was made, so that a part of it says nothing.
    bool partial = false;
    // The root shows no name at all, where there were many: not believed (kManyNodes).
    bool emptied = false;
    // Pages: how many entries were brought in, and whether the last one was among them.
    uint64_t entries = 0;
    bool cut_short = false;
  };
  using Changes = std::function<void(std::vector<NameChange>)>;  // on the loop, for each slice
  using Finished = UniqueFunction<void(Outcome)>;                // on the loop, once
  // On the store strand: whether this directory was listed by itself after that.
  using Outdated = std::function<bool(NodeId, Clock::time_point list_began)>;

  // A source with more than so many nodes that shows nothing any more is rather one that is not mounted.
  static constexpr uint64_t kManyNodes = 50;
  // Before start(): believe it.
  void believe_emptied() { believe_emptied_ = true; }
  // The same. Without one, files that got longer are replaced like others.
  void hold_growths(const GrowthUser& user) { growth_user_ = user; }

  // `wanted` empty: the whole tree. The session is kept alive until the end and released on the loop.
  ListIngest(Loop& loop, Strand& store, Replica& replica, IdMap& ids, std::shared_ptr<RemoteSession> session,
             bool with_xattrs, std::vector<WantedDirectory> wanted, Outdated outdated,
             const PushFences& fences, Changes changes, Finished finished);
  void start();
  // Instead of start(), of a paged session: each page, bring_in_pages() after some of them, and then the end
  // of them, `cut_short` if there are more. A directory is brought in as of its own page, whose hard links
  // may lead to nodes of others. The session is told of pages that are done.
  void add_page(TreePage page);
  void bring_in_pages();
  void end_pages(bool cut_short);

 private:
  void step();
  void step_pages();
  bool next_page();
  Result<void> in_slice(const std::function<bool()>& more,
                        const std::function<Result<size_t>(Replica::Batch&)>& apply_one);
  Result<size_t> apply_next(Replica::Batch& batch);
  Result<size_t> apply_page(Replica::Batch& batch, const TreePage& page);
  Result<void> apply_root(Replica::Batch& batch);
  void tell_changes();
  void follow_groups(std::vector<ListedName>& names);
  bool is_still(NodeId node, const NodeAttributes& attr) const;
  Result<void> learn_ids(const FileList& list);
  Result<size_t> apply_tree_directory(Replica::Batch& batch, const std::string& path);
  Result<size_t> apply_wanted(Replica::Batch& batch, WantedDirectory& wanted);
  Result<size_t> apply(Replica::Batch& batch, NodeId node, const std::string& path);
  Result<size_t> apply_itself(Replica::Batch& batch, WantedDirectory& wanted);
  void keep_younger(NodeId node, std::vector<ListedName>& names, std::vector<std::string>& kept_texts);
  Result<size_t> skip_stale(NodeId node, const std::string& path);
  void hide_spare_names(NodeId node, std::vector<ListedName>& names) const;
  bool stale(NodeId directory) const { return fences_.stale(directory, began_); }
  bool is_at(const WantedDirectory& wanted) const;
  bool has_changes(NodeId node) const;
  bool has_names(NodeId node) const;
  void join_group(ListedName& keep, const Node& child, const ListedName* listed);
  void take_younger(std::vector<ListedName>& names) const;
  void report(std::vector<NameChange> changes);
  void finish(std::optional<Error> failure);

  Loop& loop_;
  Strand& store_;
  Replica& replica_;
  IdMap& ids_;
  std::shared_ptr<RemoteSession> session_;
  const bool with_xattrs_;
  const bool whole_tree_;
  bool believe_emptied_ = false;
  Outdated outdated_;
  const PushFences& fences_;
  Changes changes_;
  GrowthUser growth_user_;
  std::vector<ListedGrowth> pending_growths_;
  Finished finished_;
  Outcome outcome_;
  std::unique_ptr<Listing> listing_;
  UnreadablePlaces unreadable_;
  Clock::time_point began_;                        // of what is being brought in
  std::unordered_map<std::string, NodeId> nodes_;  // directories of the tree by path
  HardLinkGroups groups_;
  uint32_t own_groups_ = 0;
  std::unordered_map<uint32_t, NodeAttributes> younger_;  // of hard-link groups
  std::vector<NameChange> pending_changes_;
  size_t position_ = 0;

  std::optional<TreePage> page_;  // is being brought in
  std::mutex pages_mutex_;        // guards those below, up to cut_short_
  std::deque<TreePage> pages_;
  bool stepping_ = false;  // on the store strand
  bool ended_ = false;
  bool cut_short_ = false;
  // The version that an inode had when it was first met, and the group that its names are of. A source gives
  // an inode number again: another version is another inode.
  struct Group {
    FileVersion version;
    uint32_t type = 0;
    uint32_t group = 0;
  };
  std::unordered_map<uint32_t, Group> page_groups_;
};

}  // namespace rsyncfs
