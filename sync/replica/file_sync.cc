// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/file_sync.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "sync/replica/layer_file.h"

namespace rsyncfs {
namespace {

struct OpenLayer {
  uint64_t block_file = 0;
  SharedFd fd;
  LayerExtents extents;
};

// A sealed layer may go at any time, and its file with it, but not while the state is looked at.
Result<std::vector<OpenLayer>> open_layers(DirtyStore& store, DirtyFile& file, bool with_extents) {
  return file.look([&](const DirtyState& state) -> Result<std::vector<OpenLayer>> {
    std::vector<OpenLayer> out;
    for (const auto* layer : {&state.sealed, &state.open}) {
      if (!*layer || (*layer)->block_file == 0) continue;
      auto fd = store.files.open((*layer)->block_file);
      if (!fd) return fd.error();
      out.push_back({(*layer)->block_file, *fd, with_extents ? (*layer)->extents : LayerExtents()});
    }
    return out;
  });
}

Result<void> sync_layers(DirtyStore& store, DirtyFile& file) {
  auto layers = open_layers(store, file, false);
  if (!layers) return layers.error();
  std::vector<FileSync> syncs;
  std::vector<uint64_t> ids;
  std::vector<std::string> new_entries;
  for (const OpenLayer& layer : *layers) {
    syncs.push_back({layer.fd->get(), true});
    ids.push_back(layer.block_file);
    const auto& known = file.entries_synced;
    if (std::find(known.begin(), known.end(), layer.block_file) == known.end())
      new_entries.push_back(store.directory.block_file(layer.block_file));
  }
  store.batch.sync(syncs);
  for (const FileSync& sync : syncs) {
    if (sync.error != 0) return Error::os(sync.error, "syncing a local change");
  }
  if (auto done = sync_entries(store.batch, new_entries); !done) return done;
  file.entries_synced = std::move(ids);
  return {};
}

// Nobody wrote meanwhile. A sealed layer may be gone by now: then it is a content.
Result<void> record_synced(DirtyStore& store, DirtyFile& file, const DirtyFile::View& view) {
  auto transaction = store.writer.begin();
  if (!transaction) return transaction.error();
  if (!file.is_current(view)) return {};
  using Step = std::pair<uint64_t, LayerExtents::Plan>;
  std::vector<Step> steps;
  file.look([&](const DirtyState& state) {
    for (const auto* layer : {&state.sealed, &state.open}) {
      if (*layer && !(*layer)->extents.all_synced())
        steps.emplace_back((*layer)->block_file, (*layer)->extents.plan_synced());
    }
  });
  if (steps.empty()) return {};
  for (const Step& step : steps) {
    if (auto done = write_extents(**transaction, step.first, step.second); !done) return done;
  }
  (*transaction)->aftermath().then.emplace_back([&] {
    file.change([&](DirtyState& state) {
      for (const Step& step : steps) {
        for (auto* layer : {&state.sealed, &state.open}) {
          if (*layer && (*layer)->block_file == step.first) (*layer)->extents.apply(step.second);
        }
      }
    });
  });
  return (*transaction)->commit();
}

Result<void> write_anew_locked(DirtyStore& store, DirtyFile& file) {
  auto layers = open_layers(store, file, true);
  if (!layers) return layers.error();
  for (const OpenLayer& layer : *layers) {
    if (auto done = write_anew(layer.fd->get(), layer.extents); !done) return done;
  }
  return {};
}

bool all_synced(const DirtyFile& file) {
  return file.look([](const DirtyState& state) {
    return (!state.sealed || state.sealed->extents.all_synced()) &&
           (!state.open || state.open->extents.all_synced());
  });
}

}  // namespace

Result<void> sync_bytes(DirtyStore& store, DirtyFile& file) {
  const std::lock_guard lock(file.changes());
  auto view = file.view();
  if (!view) return view.error();
  if (file.sync_failed) {
    if (auto done = write_anew_locked(store, file); !done) return done;
    file.sync_failed = false;
    return Error::os(EIO, "local changes could not be written to the disk");
  }
  if (auto done = sync_layers(store, file); !done) {
    // If that can't be done either, it is due at the next attempt.
    file.sync_failed = !write_anew_locked(store, file);
    return done;
  }
  return all_synced(file) ? Result<void>() : record_synced(store, file, *view);
}

Result<void> write_bytes_anew(DirtyStore& store, DirtyFile& file) {
  const std::lock_guard lock(file.changes());
  if (auto view = file.view(); !view) return view.error();
  return write_anew_locked(store, file);
}

}  // namespace rsyncfs
