// SPDX-License-Identifier: GPL-3.0-or-later
// A process that pushes what is pending in a store, to be killed meanwhile: push_process SOURCE STORE
#include <cstdio>

#include "tests/engine/engine_rig.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  rsyncfs::SyncerOptions options;
  options.writeback_delay = std::chrono::seconds(1000);
  rsyncfs::EngineRig rig(argv[1], argv[2], options);
  const auto done =
      rig.start() ? rig.flush() : rsyncfs::Error(rsyncfs::Errc::kUnreachable, "no first contact");
  if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return done ? 0 : 1;
}
