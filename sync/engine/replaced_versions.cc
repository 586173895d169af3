// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/replaced_versions.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {

// PATH_MAX, less what the server's own directory and the name of a temporary file take.
constexpr size_t kMaxKeptPath = 3'000;
constexpr int64_t kCoarsestTime_s = 2;
constexpr std::array<uint32_t, 4> kGranularities_ns = {100, 1'000, 1'000'000, 10'000'000};

}  // namespace

std::string spare_directory(const PushBatch& batch) {
  if (!is_spare_name(batch.spare)) return {};  // it may come from a record that is damaged
  const std::string& first = batch.steps.front().path;
  const size_t slash = first.rfind('/');
  return slash == std::string::npos ? batch.spare : first.substr(0, slash + 1) + batch.spare;
}

std::string kept_path(const PushBatch& batch, const std::string& path) {
  return spare_directory(batch) + "/" + path;
}

bool paths_can_be_kept(const PushBatch& batch) {
  return std::all_of(batch.steps.begin(), batch.steps.end(), [&](const PushStep& step) {
    return kept_path(batch, step.path).size() <= kMaxKeptPath;
  });
}

bool is_refusal_to_keep(const Error& why) {
  // backup.c; without a word where not even the directory can be made.
  constexpr std::array<const char*, 4> kComplaints = {"backup mkdir ", "backup lstat ",
                                                      "backup filename too long", "rsync exit code 11"};
  return std::any_of(kComplaints.begin(), kComplaints.end(), [&](const char* complaint) {
    return why.message().find(complaint) != std::string::npos;
  });
}

bool is_as_pushed(const NodeAttributes& pushed, const NodeAttributes& there) {
  if (!S_ISREG(there.mode) || there.size != pushed.size) return false;
  if (there.mtime_ns == 0 || pushed.mtime_ns == 0)
    return std::abs(there.mtime_s - pushed.mtime_s) <= kCoarsestTime_s;
  if (there.mtime_s != pushed.mtime_s) return false;
  return there.mtime_ns == pushed.mtime_ns ||
         std::any_of(kGranularities_ns.begin(), kGranularities_ns.end(), [&](uint32_t granularity) {
           return there.mtime_ns == pushed.mtime_ns - pushed.mtime_ns % granularity;
         });
}

}  // namespace rsyncfs
