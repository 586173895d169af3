// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/loop.h"

#include <string>
#include <utility>

#include "io/threads/epoll_loop.h"

namespace rsyncfs {

Result<IoChoice> parse_io_choice(std::string_view text) {
  if (text == "auto") return IoChoice::kAuto;
  if (text == "uring") return IoChoice::kUring;
  if (text == "threads") return IoChoice::kThreads;
  return Error(Errc::kUsage, "io=" + std::string(text) + ": not one of auto, uring, threads");
}

Result<LoopSelection> make_loop(IoChoice choice) {
  if (choice == IoChoice::kUring) return Error(Errc::kUnsupported, "io_uring: not in this build");
  auto loop = make_epoll_loop();
  if (!loop.ok()) return loop.error().with_context("threads");
  return LoopSelection{std::move(*loop), "threads: asked for"};
}

}  // namespace rsyncfs
