// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/unreadable_places.h"

#include <algorithm>
#include <cerrno>

#include "sync/rsync/server_text.h"

namespace rsyncfs {

namespace {

constexpr ptrdiff_t kMaxQuotes = 8;  // in a text whose path is looked for

// What stands before the quoted path. Other texts do not quote it, or are about something else.
constexpr std::string_view kOpenings[] = {
    "opendir \"",    "readdir(\"",    "readlink_stat(\"", "link_stat \"",
    "change_dir \"", "llistxattr(\"", "lgetxattr(\"",
};

Error error_of(const std::string& text) {
  const int err = trailing_errno(text);
  const Errc code = err == EACCES || err == EPERM ? Errc::kPermission : Errc::kOs;
  return Error(code, text).with_errno(err == 0 ? EIO : err);
}

// Where the quoted path begins; npos: nowhere.
size_t place_begin(std::string_view text) {
  const size_t quote = text.find('"');
  if (quote == std::string_view::npos) return quote;
  for (const std::string_view opening : kOpenings) {
    if (text.substr(0, quote + 1).ends_with(opening)) return quote + 1;
  }
  return std::string_view::npos;
}

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// "/a/b/.", "/a/b/" and "/a/b" are one place; "" is the top.
std::string_view without_dot(std::string_view place) {
  if (place == ".") return {};
  while (place.ends_with('/') || place.ends_with("/.")) place.remove_suffix(place.ends_with('/') ? 1 : 2);
  return place;
}

// The places seen from `root`: usually one, several if the root may be meant by more than one part of it.
std::vector<std::string_view> below(std::string_view place, std::string_view root) {
  std::vector<std::string_view> out;
  const bool absolute = root.starts_with('/');
  const std::string anchor(without_dot(absolute ? root : "/" + std::string(root)));
  for (size_t at = place.find(anchor); at != std::string_view::npos; at = place.find(anchor, at + 1)) {
    if (absolute ? at != 0 : anchor.empty()) break;
    const std::string_view rest = place.substr(at + anchor.size());
    if (rest.empty() || rest.front() == '/') out.push_back(rest.substr(rest.empty() ? 0 : 1));
  }
  return out;
}

}  // namespace

void UnreadablePlaces::turn(const FileList& list, const std::vector<std::string>& texts, bool cut) {
  list_ = &list;
  // The other bits do not make names disappear that are there.
  failed_ = (list.io_error & FileList::kIoErrorGeneral) != 0;
  if (failed_ && !any_) any_ = Error(Errc::kOs, "the server could not read everything").with_errno(EIO);
  told_ = told_ || !texts.empty();
  everything_ = everything_ || cut;
  for (const std::string& text : texts) add_text(text);
}

void UnreadablePlaces::add_text(const std::string& text) {
  const size_t begin = place_begin(text);
  size_t end = begin == std::string::npos ? begin : text.find('"', begin);
  if (end == std::string::npos) {
    everything_ = true;
    return;
  }
  // Each may end the path, and whoever makes such names must not make us hold thousands of them.
  if (std::count(text.begin(), text.end(), '"') > kMaxQuotes) {
    everything_ = true;
    return;
  }
  any_ = error_of(text);
  // A name may have quotes, and more quoted words may follow.
  for (; end != std::string::npos; end = text.find('"', end + 1)) {
    add_place(std::string_view(text).substr(begin, end - begin), *any_);
  }
}

void UnreadablePlaces::add_place(std::string_view place, const Error& why) {
  std::string from_top(without_dot(place));
  if (!from_top.starts_with('/')) from_top.insert(0, "/");
  from_top = without_dot(from_top);
  const auto paths = below(from_top, root_);
  for (const std::string_view path : paths) add_path(path, why);
  if (!paths.empty()) return;
  // The root is spelt otherwise than we know it: any of its last parts may be what we know the place by.
  lacking_.emplace("", why);
  for (size_t slash = from_top.find('/'); slash != std::string::npos; slash = from_top.find('/', slash + 1)) {
    add_path(std::string_view(from_top).substr(slash + 1), why);
  }
}

void UnreadablePlaces::add_path(std::string_view path, const Error& why) {
  if (unreadable_.emplace(path, why).second && !path.empty()) by_directory_.emplace(parent_of(path), path);
}

std::optional<Error> UnreadablePlaces::doubt(std::string_view directory) const {
  if (!failed_) return std::nullopt;
  if (everything_ || !told_) return any_;
  if (const auto found = lacking_.find(directory); found != lacking_.end()) return found->second;
  // A directory whose names could not be read is listed itself; otherwise its own name is what is missing.
  const auto [begin, end] = by_directory_.equal_range(directory);
  for (auto at = begin; at != end; ++at) {
    if (!list_->find(at->second)) return unreadable_.find(at->second)->second;
  }
  for (std::string_view path = directory;; path = parent_of(path)) {
    if (const auto found = unreadable_.find(path); found != unreadable_.end()) return found->second;
    if (path.empty()) return std::nullopt;
  }
}

}  // namespace rsyncfs
