// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/paths_by_mount.h"

#include <map>
#include <utility>

#include "fs/cli/usage.h"
#include "fs/control/protocol.h"

namespace rsyncfs {
namespace {

// Room for what a request says beside its paths, and for bytes that are escaped in it.
constexpr size_t kMaxRequestPathBytes = kMaxControlLine / 8;

struct Open {
  PathBatch batch;
  size_t bytes = 0;
};

}  // namespace

PathsByMount paths_by_mount(const std::vector<std::string>& paths) {
  const UserPlaces user = UserPlaces::of_this_process();
  PathsByMount out;
  std::map<std::string, Open> open;
  for (const std::string& path : paths) {
    Result<FoundMount> mount = find_mount(path, user);
    if (!mount) {
      complain(mount.error().message());
      out.failed = true;
      continue;
    }
    std::string inner = std::exchange(mount->inner, {});
    Open& filling = open[mount->mountpoint];
    const bool full = filling.batch.paths.size() == kMaxControlPaths ||
                      (!filling.batch.paths.empty() && filling.bytes + inner.size() > kMaxRequestPathBytes);
    if (full) out.batches.push_back(std::move(std::exchange(filling, {}).batch));
    filling.batch.mount = std::move(mount.value());
    filling.bytes += inner.size();
    filling.batch.paths.push_back(std::move(inner));
  }
  for (auto& [mountpoint, filling] : open) out.batches.push_back(std::move(filling.batch));
  return out;
}

}  // namespace rsyncfs
