// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/list_ingest.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace rsyncfs {

namespace {

// A slice holds the Replica's writer for about this many rows, or this long, whichever comes first.
constexpr size_t kSliceRows = 2000;
constexpr std::chrono::milliseconds kSliceTime{4};
constexpr uint32_t kIoErrorGeneral = 1;  // rsync.h IOERR_GENERAL; the others do not make names disappear

// The errno that rsync prints in parentheses at the end of its messages.
int trailing_errno(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (text.empty() || text.back() != ')') return 0;
  const size_t open = text.rfind('(');
  if (open == std::string_view::npos) return 0;
  int value = 0;
  const auto digits = text.substr(open + 1, text.size() - open - 2);
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

UnreadablePlaces::UnreadablePlaces(const FileList& list, const std::vector<std::string>& errors) {
  if ((list.io_error & kIoErrorGeneral) == 0) return;
  for (const std::string& text : errors) {
    const size_t open = text.find('"');
    const size_t close = open == std::string::npos ? open : text.find('"', open + 1);
    if (close == std::string::npos) continue;
    const int err = trailing_errno(text);
    const Errc code = err == EACCES || err == EPERM ? Errc::kPermission : Errc::kOs;
    places_.emplace_back(text.substr(open + 1, close - open - 1),
                         Error(code, text).with_errno(err == 0 ? EIO : err));
  }
  everything_ = places_.empty();
}

std::optional<Error> UnreadablePlaces::doubt(std::string_view directory) const {
  if (everything_) return Error(Errc::kOs, "the server could not read everything").with_errno(EIO);
  for (const auto& [place, error] : places_) {
    std::string_view shown = place;
    while (shown.size() > 1 && (shown.back() == '/' || shown.back() == '.')) shown.remove_suffix(1);
    if (directory.empty() ? shown == "/" || shown == "." : shown.ends_with(directory)) {
      const size_t before = shown.size() - directory.size();
      if (directory.empty() || before == 0 || shown[before - 1] == '/') return error;
    }
  }
  return std::nullopt;
}

ListIngest::ListIngest(Loop& loop, Strand& store, Replica& replica, IdMap& ids,
                       std::shared_ptr<RemoteSession> session, bool with_xattrs,
                       std::vector<WantedDirectory> wanted, Outdated outdated, Changes changes,
                       Finished finished)
    : loop_(loop),
      store_(store),
      replica_(replica),
      ids_(ids),
      session_(std::move(session)),
      with_xattrs_(with_xattrs),
      whole_tree_(wanted.empty()),
      outdated_(std::move(outdated)),
      changes_(std::move(changes)),
      finished_(std::move(finished)) {
  outcome_.wanted = std::move(wanted);
}

void ListIngest::start() {
  store_.post([self = shared_from_this()] { self->step(); });
}

void ListIngest::prepare() {
  listing_ = std::make_unique<Listing>(session_->list(), whole_tree_, with_xattrs_);
  unreadable_ = std::make_unique<UnreadablePlaces>(session_->list(), session_->errors());
  nodes_[""] = kRootNode;
}

Result<void> ListIngest::learn_ids() {
  const FileList& list = session_->list();
  if (list.user_names.empty() && list.group_names.empty()) return {};
  ids_.learn(list.user_names, list.group_names);
  return replica_.store_id_names(list.user_names, list.group_names);
}

void ListIngest::step() {
  if (!listing_) {
    prepare();
    if (const auto learned = learn_ids(); !learned) {
      finish(learned.error());
      return;
    }
  }
  const size_t total = whole_tree_ ? listing_->directories().size() : outcome_.wanted.size();
  auto batch = replica_.begin();
  if (!batch) {
    finish(batch.error());
    return;
  }
  const auto started = Clock::now();
  size_t rows = 0;
  if (whole_tree_ && position_ == 0) {
    ListedName root;
    if (listing_->describe("", root)) {
      auto changes = (*batch)->apply_attributes(kRootNode, root);
      if (!changes) {
        finish(changes.error());
        return;
      }
      report(std::move(*changes));
    }
  }
  while (position_ < total && rows < kSliceRows && Clock::now() - started < kSliceTime) {
    Result<size_t> applied = whole_tree_ ? apply_tree_directory(**batch, listing_->directories()[position_])
                                         : apply_wanted(**batch, outcome_.wanted[position_]);
    if (!applied) {
      finish(applied.error());
      return;
    }
    rows += *applied;
    ++position_;
    ++outcome_.directories;
  }
  if (const auto committed = (*batch)->commit(); !committed) {
    finish(committed.error());
    return;
  }
  batch->reset();
  if (!pending_changes_.empty()) {
    loop_.post([self = shared_from_this(), changes = std::exchange(pending_changes_, {})]() mutable {
      self->changes_(std::move(changes));
    });
  }
  if (position_ < total) {
    store_.post([self = shared_from_this()] { self->step(); });
  } else {
    finish(std::nullopt);
  }
}

Result<size_t> ListIngest::apply_tree_directory(Replica::Batch& batch, const std::string& path) {
  const auto found = nodes_.find(path);
  // Its parent was in doubt or is no directory any more: the next list will tell.
  if (found == nodes_.end()) return size_t{0};
  if (unreadable_->doubt(path)) return size_t{0};
  return apply(batch, found->second, path, true);
}

Result<size_t> ListIngest::apply_wanted(Replica::Batch& batch, WantedDirectory& wanted) {
  ListedName self;
  if (!listing_->describe(wanted.path, self)) {
    wanted.failure = Error(Errc::kVanished, "the directory is gone from the source");
    return size_t{1};
  }
  if (!S_ISDIR(self.attr.mode)) {
    wanted.failure = Error(Errc::kVanished, "it is no directory on the source any more");
    return size_t{1};
  }
  if (auto doubt = unreadable_->doubt(wanted.path)) {
    wanted.failure = std::move(doubt);
    return size_t{1};
  }
  auto changes = batch.apply_attributes(wanted.node, self);
  if (!changes) return changes.error();
  report(std::move(*changes));
  return apply(batch, wanted.node, wanted.path, true);
}

Result<size_t> ListIngest::apply(Replica::Batch& batch, NodeId node, const std::string& path, bool complete) {
  std::vector<ListedName> names = listing_->names(path);
  // A name that the server printed with escapes may not be recognised among the unreadable places.
  if (whole_tree_ && names.empty() && unreadable_->any()) return size_t{1};
  std::vector<std::string> kept;
  if (whole_tree_ && outdated_(node)) keep_younger(node, names, kept);
  std::vector<NodeId> nodes;
  auto changes = batch.apply_directory(node, names, complete, groups_, nodes);
  if (!changes) return changes.error();
  report(std::move(*changes));
  if (whole_tree_) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (!S_ISDIR(names[i].attr.mode)) continue;
      std::string child = path;
      if (!child.empty()) child += '/';
      child += names[i].name;
      nodes_[std::move(child)] = nodes[i];
    }
  }
  return names.size() + 1;
}

// The directory was listed by itself after this list began: what that showed is younger. Only hard-link
// groups and link counts, which one directory alone does not show, are taken from here.
void ListIngest::keep_younger(NodeId node, std::vector<ListedName>& names,
                              std::vector<std::string>& kept_names) {
  std::vector<std::pair<std::string, Node>> stored;
  const auto listed = replica_.list(
      node, [&](std::string_view name, const Node& child) { stored.emplace_back(std::string(name), child); });
  if (!listed) return;
  kept_names.reserve(stored.size() * 2);
  std::vector<ListedName> merged;
  merged.reserve(stored.size());
  for (const auto& [name, child] : stored) {
    const auto found = std::lower_bound(names.begin(), names.end(), name,
                                        [](const ListedName& a, const std::string& b) { return a.name < b; });
    const bool both = found != names.end() && found->name == name;
    if (both && found->attr.mode == child.attr.mode && found->attr.size == child.attr.size &&
        found->attr.mtime_s == child.attr.mtime_s && found->attr.mtime_ns == child.attr.mtime_ns) {
      merged.push_back(*found);
      continue;
    }
    ListedName keep;
    kept_names.push_back(name);
    keep.name = kept_names.back();
    keep.attr = child.attr;
    keep.attr.nlink = 0;
    if (S_ISLNK(child.attr.mode)) {
      auto target = replica_.link_target(child.id);
      kept_names.push_back(target ? std::move(*target) : std::string());
      keep.link_target = kept_names.back();
    }
    keep.xattrs_known = false;
    merged.push_back(keep);
  }
  names = std::move(merged);
}

void ListIngest::report(std::vector<NameChange> changes) {
  pending_changes_.insert(pending_changes_.end(), std::make_move_iterator(changes.begin()),
                          std::make_move_iterator(changes.end()));
}

void ListIngest::finish(std::optional<Error> failure) {
  outcome_.failure = std::move(failure);
  listing_.reset();
  // The session belongs to the loop: the last reference must be dropped there.
  loop_.post([self = shared_from_this(), changes = std::exchange(pending_changes_, {})]() mutable {
    if (!changes.empty()) self->changes_(std::move(changes));
    Finished finished = std::move(self->finished_);
    finished(std::move(self->outcome_));
    self->session_.reset();
  });
}

}  // namespace rsyncfs
