// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_clear_job.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "sync/engine/replaced_versions.h"

namespace rsyncfs {

namespace {

constexpr size_t kDrawn = 6;
constexpr size_t kMaxName = 255;
constexpr uint32_t kOthersBits = 077;  // that mkstemp(3) gives nobody

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

bool is_drawn_temporary(std::string_view temporary, std::string_view name) {
  constexpr size_t kAround = kDrawn + 2;  // the dots
  const std::string_view stem = name.substr(0, kMaxName - kAround);
  if (temporary.size() != stem.size() + kAround || temporary.front() != '.') return false;
  if (temporary.substr(1, stem.size()) != stem || temporary[stem.size() + 1] != '.') return false;
  const std::string_view drawn = temporary.substr(stem.size() + 2);
  const auto is_alnum = [](unsigned char c) { return std::isalnum(c) != 0; };
  const auto is_lower = [](unsigned char c) { return std::islower(c) != 0; };
  return std::all_of(drawn.begin(), drawn.end(), is_alnum) &&
         !std::all_of(drawn.begin(), drawn.end(), is_lower);
}

void PushClearJob::start() {
  for (const PushStep& step : batch().steps) directories_.insert(directory_of(step.path));
  next_directory();
}

void PushClearJob::next_directory() {
  if (directories_.empty()) return keep_known();
  std::string directory = std::move(directories_.extract(directories_.begin()).value());
  names_ = std::make_unique<RemoteNames>(
      context(), pool(), directory, [this, directory](const Result<std::vector<KeptListedName>>& names) {
        context().loop.post(
            [over = std::shared_ptr<RemoteNames>(std::move(names_))]() mutable { over.reset(); });
        if (!names && is_link_error(names.error())) {
          outcome().unfinished = true;
          return break_off(names.error());
        }
        if (names) take_names(directory, *names);  // otherwise the directory is gone, with all in it
        next_directory();
      });
}

void PushClearJob::take_names(const std::string& directory, const std::vector<KeptListedName>& names) {
  for (const KeptListedName& found : names) {
    if (!S_ISREG(found.attr.mode) || (found.attr.mode & kOthersBits) != 0) continue;
    for (const PushStep& step : batch().steps) {
      if (directory_of(step.path) != directory || !is_drawn_temporary(found.name, step.name)) continue;
      left_.push_back({step.parent, found.name, 0});
      left_paths_.push_back(join(directory, found.name));
      break;
    }
  }
}

// What was there before is nobody's temporary file.
void PushClearJob::keep_known() {
  on_store<std::vector<std::string>>(
      [&replica = context().replica, left = std::move(left_),
       paths = std::move(left_paths_)]() -> Result<std::vector<std::string>> {
        std::vector<std::string> out;
        for (size_t i = 0; i < left.size(); ++i) {
          const auto base = replica.pending().base_binding(left[i].parent, left[i].name);
          if (!base) return base.error();
          if (*base == 0) out.push_back(paths[i]);
        }
        return out;
      },
      [this](Result<std::vector<std::string>> paths) {
        if (!paths) return break_off(paths.error());
        left_paths_ = std::move(*paths);
        remove();
      });
}

void PushClearJob::remove() {
  PushConfig config;
  config.kind = PushKind::kDelete;
  if (std::string spare = spare_directory(batch()); spare_too_ && !spare.empty()) {
    config.force = true;
    left_paths_.push_back(std::move(spare));
  }
  for (const std::string& path : left_paths_) config.entries.emplace_back().path = path;
  if (config.entries.empty()) return finish();
  push(std::move(config), [this](const PushRunResult& result) {
    outcome().unfinished = !was_removed(result, left_paths_);
    if (result.end || !is_link_error(result.end.error())) return finish();
    break_off(result.end.error());
  });
}

}  // namespace rsyncfs
