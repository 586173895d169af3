// SPDX-License-Identifier: GPL-3.0-or-later
// What contents replace is put aside by the server (-b) just before its rename, in a spare directory of the
// batch: there shows which version it really was, whatever was looked at before.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/engine/push_plan.h"
#include "sync/engine/sent_versions.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Somebody's version of a file that ours has replaced unseen. It is where kept_path() says.
struct ReplacedVersion {
  NodeId parent = 0;
  std::string name;
  std::string path;
  KeptListedName entry;
};

// Where they are kept: Replica::set_meta(). What the batch under way may replace: what was looked at, and
// what was sent before.
constexpr std::string_view kReplaceableMeta = "push_replaceable";

// Beside the batch's first place, which can be written if anything can. "": the batch has no spare name.
std::string spare_directory(const PushBatch& batch);
// Where the server puts what it replaces at `path`.
std::string kept_path(const PushBatch& batch, const std::string& path);
// No server takes longer paths than that.
bool paths_can_be_kept(const PushBatch& batch);
// The server cannot put anything aside there.
bool is_refusal_to_keep(const Error& why);

// Whether `there`, which the source shows after a push, is what was pushed: a file system that keeps coarser
// times than ours rounds them.
bool is_as_pushed(const NodeAttributes& pushed, const NodeAttributes& there);

}  // namespace rsyncfs
