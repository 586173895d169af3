// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/store_check.h"

#include <sys/stat.h>

#include <algorithm>
#include <span>

namespace rsyncfs {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;  // of what users changed, read at a time

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

void StoreCheck::add(const Node& node, const std::string& path) {
  if (S_ISDIR(node.attr.mode)) {
    directories_.push_back({node.id, path, ""});
    return;
  }
  if (node.attr.nlink > 1 && !linked_.insert(node.id).second) return;
  const auto state = replica_.content_state(node.id);
  ++files_total_;
  bytes_total_ += state ? state->present_bytes : 0;
  files_.push_back({node, path});
}

StoreCheck::Step StoreCheck::step() {
  Step out;
  if (!directories_.empty() && files_.size() < kMaxQueuedFiles) {
    Directory directory = std::move(directories_.back());
    directories_.pop_back();
    const std::string path = directory.path;
    if (const auto read = read_page(std::move(directory)); !read) out.failed.emplace_back(path, read.error());
  } else {
    for (uint64_t bytes = 0;
         !files_.empty() && bytes < kStepBytes && out.files.size() < kStepFiles && !cancelled_.load();) {
      if (ahead_.empty()) read_ahead();
      auto checked = check_first(bytes);
      if (!checked) continue;
      out.files.push_back(std::move(*checked));
      files_.pop_front();
    }
  }
  ahead_.clear();
  out.files_total = files_total_;
  out.bytes_total = bytes_total_;
  out.counting = !directories_.empty();
  out.over = cancelled_.load() || (files_.empty() && directories_.empty());
  return out;
}

void StoreCheck::read_ahead() {
  if (verification_) return;
  std::vector<ContentVerification*> begun;
  for (const File& file : files_) {
    if (ahead_.size() == kReadAheadFiles || file.node.attr.size > kSlabMaxFileBytes) break;
    const auto [place, added] = ahead_.emplace(file.node.id, replica_.verify_content(file.node.id));
    if (added && place->second) begun.push_back(place->second->get());
  }
  replica_.read_ahead(begun);
}

Result<void> StoreCheck::read_page(Directory directory) {
  const auto names = replica_.list_after(directory.node, directory.after, kPageEntries);
  if (!names) return names.error();
  std::vector<Directory> below;
  for (const auto& [entry, node] : *names) {
    directory.after = entry.name;
    const std::string path = join(directory.path, entry.name);
    if (S_ISDIR(node.attr.mode)) below.push_back({node.id, path, ""});
    if (S_ISREG(node.attr.mode)) add(node, path);
  }
  if (names->size() == kPageEntries) directories_.push_back(std::move(directory));
  std::move(below.rbegin(), below.rend(), std::back_inserter(directories_));
  return {};
}

std::optional<CheckedFile> StoreCheck::check_first(uint64_t& read_bytes) {
  const File& file = files_.front();
  CheckedFile out;
  out.node = file.node.id;
  out.path = file.path;
  out.size = file.node.attr.size;
  const auto through = check_content(file, out);
  if (through && !*through) {
    read_bytes += kStepBytes;
    return std::nullopt;
  }
  verification_.reset();
  if (!through && through.error().code() != Errc::kNotFound) out.lost = through.error();
  if (const auto changes = replica_.local().dirty(file.node.id)) {
    out.changed_here = true;
    const auto read = read_changed(*changes);
    if (read) {
      out.read_bytes = *read;
    } else if (replica_.local().dirty(file.node.id)) {  // otherwise the source has it by now
      out.lost = read.error();
    }
  }
  read_bytes += out.read_bytes;
  return out;
}

Result<bool> StoreCheck::check_content(const File& file, CheckedFile& out) {
  if (!verification_) {
    auto ahead = ahead_.extract(file.node.id);
    auto begun = ahead ? std::move(ahead.mapped()) : replica_.verify_content(file.node.id);
    if (!begun) return begun.error();
    verification_ = std::move(*begun);
  }
  const auto more = verification_->step(kStepBytes);
  if (!more) return more.error();
  if (*more) return false;
  out.content = verification_->check();
  out.read_bytes = out.content->checked_bytes;
  out.complete = out.content->was_complete && out.content->damaged_bytes == 0;
  return true;
}

// What of it is neither here nor changed is the source's.
Result<uint64_t> StoreCheck::read_changed(const DirtyContent& content) const {
  std::vector<std::byte> buffer(std::min(kPieceBytes, content.size()));
  uint64_t total = 0;
  for (uint64_t at = 0; at < content.size() && !cancelled_.load(); at += kPieceBytes) {
    const uint64_t end = std::min(at + kPieceBytes, content.size());
    std::vector<ExtentSet::Range> missing;
    if (auto read = content.read(at, std::span(buffer).first(end - at), missing); !read) return read.error();
    ExtentSet here;
    here.add(at, end);
    for (const ExtentSet::Range& gap : missing) here.remove(gap.begin, gap.end);
    total += here.bytes();
    if (missing.empty()) continue;
    for (const ExtentSet::Range& part : here.ranges()) {
      std::vector<ExtentSet::Range> gone;  // let go in this moment
      const auto out = std::span(buffer).first(part.end - part.begin);
      if (auto read = content.read(part.begin, out, gone); !read) return read.error();
    }
  }
  return total;
}

}  // namespace rsyncfs
