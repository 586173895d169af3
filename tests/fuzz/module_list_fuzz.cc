// SPDX-License-Identifier: GPL-3.0-or-later
// A daemon's list of modules.
#include "sync/rsync/pull_session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rsyncfs::ModuleListSession session;
  for (size_t i = 0; i < size; ++i) {
    if (!session.receive(std::as_bytes(std::span(data + i, 1))).ok()) break;
  }
  for (const rsyncfs::ListedModule& module : session.modules()) {
    RSYNCFS_CHECK(module.name.find('\n') == std::string::npos);
  }
  return 0;
}
