// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that changes names.
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

#include <climits>

#include "fs/tree/acl.h"
#include "fs/tree/tree.h"

namespace rsyncfs {
namespace {

bool is_exists(const Error& error) {
  return error.code() == Errc::kOs && error.os_errno() == EEXIST;
}

const StoredXattr* find_named(const StoredXattrs& all, std::string_view name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const StoredXattr& x) { return x.name == name; });
  return found == all.end() ? nullptr : &*found;
}

StoredXattr acl_xattr(std::string_view name, std::string value) {
  const uint64_t size = value.size();
  return {std::string(name), std::move(value), size, false};
}

}  // namespace

RequestId Tree::attempt(Attempt attempt) {
  const AnswerGate::Section section(gate_);
  const NodeId directory = attempt({});
  if (directory == 0) return 0;
  const RequestId chain = chains_.begin();
  attempt_again(chain, directory, {}, std::move(attempt));
  return chain;
}

void Tree::attempt_again(RequestId chain, NodeId directory, Listings known, Attempt attempt) {
  const uint64_t number = chains_.next(chain);
  if (number == 0 || known.listed.size() == kMaxListings) {
    known.failure = number == 0 ? Error(Errc::kCanceled, "interrupted")
                                : Error(Errc::kChanged, "the directories change faster than they are listed");
    chains_.end(chain);
    attempt(known);
    return;
  }
  known.listed.push_back(directory);
  const RequestId wait = after_listing(
      directory,
      [this, chain, known = std::move(known), attempt = std::move(attempt)](Result<void> listed) mutable {
        if (!listed) {
          known.failure = listed.error();
          chains_.end(chain);  // first: nothing waits for us once the answer is out
          attempt(known);
          return;
        }
        const NodeId next = attempt(known);
        if (next == 0) return chains_.end(chain);
        attempt_again(chain, next, std::move(known), std::move(attempt));
      });
  chains_.waiting(chain, number, wait);
}

// `work` gives the answer, or the directory that must be listed first.
template <class T, class Work>
RequestId Tree::change_names(Done<T> done, Work work) {
  return attempt([done = std::move(done), work = std::move(work)](const Listings& known) mutable -> NodeId {
    if (known.failure) {
      done(*known.failure);
      return 0;
    }
    std::variant<Result<T>, NodeId> outcome = work(known);
    if (const NodeId* directory = std::get_if<NodeId>(&outcome)) return *directory;
    done(std::move(std::get<Result<T>>(outcome)));
    return 0;
  });
}

NodeId Tree::unlisted(const Node& directory, const Listings& known) const {
  if (std::find(known.listed.begin(), known.listed.end(), directory.id) != known.listed.end()) return 0;
  return names_are_known(directory) ? 0 : directory.id;
}

Result<Node> Tree::changing_directory(NodeId id, std::string_view name) const {
  Result<Node> directory = directory_node(id);
  if (!directory) return directory;
  if (name.size() > NAME_MAX) return Error::os(ENAMETOOLONG, "name");
  if (directory->orphan) return Error(Errc::kNotFound, "the directory was removed");
  return directory;
}

Result<NewNode> Tree::new_node(const Node& parent, const NewFile& file) const {
  const ShownAttributes& shown = options_.shown;
  const bool directory = S_ISDIR(file.mode);
  const bool inherits_group = (parent.attr.mode & S_ISGID) != 0;
  const IdMap& ids = syncer_.ids();
  // Where the shown ids are made up, the caller's mean nothing at the source.
  const std::optional<uint32_t> uid = shown.uid ? parent.attr.uid : ids.source_uid(file.caller.uid);
  const std::optional<uint32_t> gid =
      inherits_group || shown.gid ? parent.attr.gid : ids.source_gid(file.caller.gid);
  if (!uid || !gid) return Error::os(EOVERFLOW, "the source has no number for this user or group");
  NewNode made;
  made.uid = *uid;
  made.gid = *gid;
  made.rdev_major = major(file.rdev);
  made.rdev_minor = minor(file.rdev);
  made.link_target = file.link_target;
  made.mode = file.mode;
  if (S_ISLNK(file.mode)) {
    made.mode = S_IFLNK | 0777;
    return made;
  }
  if (Result<void> inherited = inherit(parent, file, made); !inherited) return inherited.error();
  if (directory && inherits_group) made.mode |= S_ISGID;
  return made;
}

// A default ACL takes the place of the umask.
Result<void> Tree::inherit(const Node& parent, const NewFile& file, NewNode& made) const {
  std::optional<InheritedAcl> inherited;
  if (parent.xattr_set != 0 && options_.acls) {
    const Result<StoredXattrs> all = replica_.xattrs(parent.id);
    if (!all) return all.error();
    if (const StoredXattr* acl = find_named(*all, kDefaultAcl)) {
      inherited = inherit_acl(acl->value, file.mode & ALLPERMS);
      if (inherited && !inherited->access.empty()) {
        made.xattrs.push_back(acl_xattr(kAccessAcl, std::move(inherited->access)));
      }
      if (inherited && S_ISDIR(file.mode)) made.xattrs.push_back(*acl);
    }
  }
  const uint32_t permissions = inherited ? inherited->permissions : file.mode & ALLPERMS & ~file.caller.umask;
  made.mode = (file.mode & S_IFMT) | permissions;
  return {};
}

// Counted before it is read again: an invalidation must find it known.
Result<Entry> Tree::answer_new(Result<Node> made, uint64_t changes_before) {
  if (!made) return made.error();
  lookups_.add(made->id);
  syncer_.note_change(made->id);
  return Entry{made->id, stat_of(read_again(*made, changes_before))};
}

Result<Entry> Tree::answer_existing(NodeId parent, std::string_view name, CreateFlags flags,
                                    const Caller& caller) {
  const uint64_t changes_before = changes_.load();
  Result<Node> node = replica_.lookup(parent, name);
  if (!node) return node.error();
  if (!S_ISREG(node->attr.mode)) return Error::os(EEXIST, "not a regular file");
  if (flags.truncate) {
    node = replica_.local().resize(node->id, 0, lost_by_writing(*node, caller));
    if (!node) return node.error();
    return answer_new(std::move(node), changes_before);
  }
  lookups_.add(node->id);
  return Entry{node->id, stat_of(read_again(*node, changes_before))};
}

RequestId Tree::make(NodeId parent, std::string_view name, NewFile file, Done<Entry> done) {
  return create(parent, name, std::move(file), {.exclusive = true}, std::move(done));
}

RequestId Tree::create(NodeId parent, std::string_view name, NewFile file, CreateFlags flags,
                       Done<Entry> done) {
  using Outcome = std::variant<Result<Entry>, NodeId>;
  return change_names<Entry>(std::move(done),
                             [this, parent, name = std::string(name), file = std::move(file),
                              flags](const Listings& known) -> Outcome {
                               const Result<Node> directory = changing_directory(parent, name);
                               if (!directory) return directory.error();
                               if (const NodeId first = unlisted(*directory, known); first != 0) return first;
                               const Result<NewNode> node = new_node(*directory, file);
                               if (!node) return node.error();
                               const uint64_t changes_before = changes_.load();
                               Result<Node> made = replica_.local().create(parent, name, *node);
                               if (!made && is_exists(made.error()) && !flags.exclusive) {
                                 return answer_existing(parent, name, flags, file.caller);
                               }
                               return answer_new(std::move(made), changes_before);
                             });
}

void Tree::make_unnamed(NodeId parent, NewFile file, Done<Entry> done) {
  const AnswerGate::Section section(gate_);
  const Result<Node> directory = changing_directory(parent, {});
  if (!directory) return done(directory.error());
  const Result<NewNode> node = new_node(*directory, file);
  if (!node) return done(node.error());
  const uint64_t changes_before = changes_.load();
  done(answer_new(replica_.local().create_unnamed(*node), changes_before));
}

// What stays here, and what the source has, are as on two file systems: mv copies between them, so that what
// stays here is here as a whole, and what goes to the source goes as any new file.
Result<void> Tree::may_get_name(const Node& node, NodeId parent, std::string_view name) const {
  if (local_only_.has(node) == local_only_.has(parent, name, S_ISDIR(node.attr.mode))) return {};
  return Error::os(EXDEV, "one of the names is left out by a filter rule, and stays here");
}

RequestId Tree::link(NodeId node, NodeId parent, std::string_view name, Done<Entry> done) {
  using Outcome = std::variant<Result<Entry>, NodeId>;
  return change_names<Entry>(
      std::move(done), [this, node, parent, name = std::string(name)](const Listings& known) -> Outcome {
        const Result<Node> directory = changing_directory(parent, name);
        if (!directory) return directory.error();
        if (const NodeId first = unlisted(*directory, known); first != 0) return first;
        const Result<Node> present = present_node(node);
        if (!present) return present.error();
        if (auto may = may_get_name(*present, parent, name); !may) return may.error();
        const uint64_t changes_before = changes_.load();
        return answer_new(replica_.local().link(node, parent, name), changes_before);
      });
}

// The kernel has looked up what it removes, as a rule, and gives it back later.
void Tree::lost_name(const Node& node) {
  syncer_.note_change(node.id);
  if (node.orphan && !is_known(node.id)) forgets_.add(node.id);
}

RequestId Tree::unlink(NodeId parent, std::string_view name, Done<void> done) {
  using Outcome = std::variant<Result<void>, NodeId>;
  return change_names<void>(std::move(done),
                            [this, parent, name = std::string(name)](const Listings& known) -> Outcome {
                              const Result<Node> directory = changing_directory(parent, name);
                              if (!directory) return directory.error();
                              if (const NodeId first = unlisted(*directory, known); first != 0) return first;
                              const Result<NameEffect> removed = replica_.local().unlink(parent, name);
                              if (!removed) return removed.error();
                              lost_name(removed->node);
                              syncer_.note_change(parent);
                              return Result<void>();
                            });
}

// Only what was listed is known to be empty.
RequestId Tree::rmdir(NodeId parent, std::string_view name, Done<void> done) {
  using Outcome = std::variant<Result<void>, NodeId>;
  return change_names<void>(
      std::move(done), [this, parent, name = std::string(name)](const Listings& known) -> Outcome {
        const Result<Node> directory = changing_directory(parent, name);
        if (!directory) return directory.error();
        if (const NodeId first = unlisted(*directory, known); first != 0) return first;
        const Result<Node> going = replica_.lookup(parent, name);
        if (!going) return going.error();
        if (!S_ISDIR(going->attr.mode)) return Error(Errc::kNotDirectory, "not a directory");
        if (const NodeId first = unlisted(*going, known); first != 0) return first;
        const Result<NameEffect> removed = replica_.local().remove_directory(parent, name);
        if (!removed) return removed.error();
        lost_name(removed->node);
        syncer_.note_change(parent);
        return Result<void>();
      });
}

RequestId Tree::rename(NodeId parent, std::string_view name, NodeId new_parent, std::string_view new_name,
                       RenameMode mode, Done<void> done) {
  using Outcome = std::variant<Result<void>, NodeId>;
  return change_names<void>(std::move(done),
                            [this, parent, name = std::string(name), new_parent,
                             new_name = std::string(new_name), mode](const Listings& known) -> Outcome {
                              const Result<Node> from = changing_directory(parent, name);
                              if (!from) return from.error();
                              const Result<Node> to = changing_directory(new_parent, new_name);
                              if (!to) return to.error();
                              for (const Node* directory : {&*from, &*to}) {
                                if (const NodeId first = unlisted(*directory, known); first != 0)
                                  return first;
                              }
                              const Result<Node> moved = replica_.lookup(parent, name);
                              if (moved) {
                                if (auto may = may_get_name(*moved, new_parent, new_name); !may)
                                  return may.error();
                              }
                              // A directory that is replaced must be empty, and known to be.
                              const Result<Node> replaced = replica_.lookup(new_parent, new_name);
                              if (replaced && mode == RenameMode::kExchange) {
                                if (auto may = may_get_name(*replaced, parent, name); !may)
                                  return may.error();
                              }
                              if (replaced && mode == RenameMode::kReplace && S_ISDIR(replaced->attr.mode)) {
                                if (const NodeId first = unlisted(*replaced, known); first != 0) return first;
                              }
                              const Result<NameEffect> renamed =
                                  replica_.local().rename(parent, name, new_parent, new_name, mode);
                              if (!renamed) return renamed.error();
                              if (renamed->other) lost_name(*renamed->other);
                              syncer_.note_change(renamed->node.id);
                              return Result<void>();
                            });
}

}  // namespace rsyncfs
