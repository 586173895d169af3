// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/loop.h"

#include <string>
#include <utility>

#include "io/threads/epoll_loop.h"
#include "io/uring/uring_loop.h"

namespace rsyncfs {

Result<IoChoice> parse_io_choice(std::string_view text) {
  if (text == "auto") return IoChoice::kAuto;
  if (text == "uring") return IoChoice::kUring;
  if (text == "threads") return IoChoice::kThreads;
  return Error(Errc::kUsage, "io=" + std::string(text) + ": not one of auto, uring, threads");
}

Result<LoopSelection> make_loop(IoChoice choice) {
  std::string why = "asked for";
  if (choice != IoChoice::kThreads) {
    auto uring = make_uring_loop();
    if (uring.ok()) return LoopSelection{std::move(uring->loop), "io_uring: " + uring->description};
    if (choice == IoChoice::kUring) return uring.error();
    why = uring.error().message();
  }
  auto loop = make_epoll_loop();
  if (!loop.ok()) return loop.error().with_context("threads");
  return LoopSelection{std::move(*loop), "threads: " + why};
}

}  // namespace rsyncfs
