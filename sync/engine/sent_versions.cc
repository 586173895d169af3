// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/sent_versions.h"

#include <sys/stat.h>

#include <algorithm>
#include <sstream>

namespace rsyncfs {

bool SentVersion::may_be(const NodeAttributes& entry) const {
  if (!S_ISREG(entry.mode)) return false;
  if (appended_to && entry.size >= *appended_to && entry.size <= version.size) return true;
  const bool same_ns =
      entry.mtime_ns == version.mtime_ns || entry.mtime_ns == 0;  // old protocols carry no nanoseconds
  return entry.size == version.size && entry.mtime_s == version.mtime_s && same_ns;
}

bool SentVersion::is(const NodeAttributes& entry) const {
  return S_ISREG(entry.mode) && entry.size == version.size && entry.mtime_s == version.mtime_s &&
         entry.mtime_ns == version.mtime_ns && entry.mtime_ns != 0;
}

void SentVersions::put(NodeId node, const SentVersion& version) {
  std::vector<SentVersion>& sent = versions_[node];
  sent.push_back(version);
  if (sent.size() > kMaxOfNode) sent.erase(sent.begin());
  if (versions_.size() > kMaxNodes) versions_.erase(versions_.begin());
}

void SentVersions::erase(NodeId node, const FileVersion& version) {
  const auto found = versions_.find(node);
  if (found == versions_.end()) return;
  std::erase_if(found->second, [&](const SentVersion& sent) { return sent.version == version; });
  if (found->second.empty()) versions_.erase(found);
}

bool SentVersions::is_of(NodeId node, const NodeAttributes& entry) const {
  const auto found = versions_.find(node);
  if (found == versions_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(),
                     [&](const SentVersion& sent) { return sent.may_be(entry); });
}

bool SentVersions::may_be(NodeId node, const NodeAttributes& entry) const {
  for (const auto& [sender, versions] : versions_) {
    for (const SentVersion& sent : versions) {
      if (sender == node ? sent.may_be(entry) : sent.is(entry)) return true;
    }
  }
  return false;
}

// One line each: node, size, mtime, nanoseconds, and for what grew in place its size before, else "-".
std::string SentVersions::serialize() const {
  std::ostringstream out;
  for (const auto& [node, versions] : versions_) {
    for (const SentVersion& sent : versions) {
      out << node << ' ' << sent.version.size << ' ' << sent.version.mtime_s << ' ' << sent.version.mtime_ns
          << ' ' << (sent.appended_to ? std::to_string(*sent.appended_to) : "-") << '\n';
    }
  }
  return out.str();
}

SentVersions SentVersions::parse(std::string_view text) {
  SentVersions out;
  std::istringstream in{std::string(text)};
  NodeId node = 0;
  SentVersion sent;
  std::string before;
  while (in >> node >> sent.version.size >> sent.version.mtime_s >> sent.version.mtime_ns >> before) {
    sent.appended_to.reset();
    if (before != "-") {
      uint64_t size = 0;
      if (!(std::istringstream(before) >> size)) continue;
      sent.appended_to = size;
    }
    out.put(node, sent);
  }
  return out;
}

}  // namespace rsyncfs
