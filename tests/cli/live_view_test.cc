// SPDX-License-Identifier: GPL-3.0-or-later
// The picture of `status --watch`.
#include "fs/cli/live_view.h"

#include <algorithm>
#include <ctime>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

class Live : public ::testing::Test {
 protected:
  Live() {
    mount.source = "rsync://host/m";
    mount.mountpoint = "/mnt/tree";
    mount.pid = 7;
    mount.writable = true;
    mount.syncer.link = LinkState::kUp;
    mount.syncer.link_text = "protocol 32";
    mount.cached_files = 3;
    mount.requests = {{"read", 100}};
  }
  std::string draw(int at_s) {
    return view.draw({mount}, complaints, std::chrono::steady_clock::time_point(seconds(at_s)), "12:00:00",
                     style);
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }

  LiveView view;
  MountStatus mount;
  std::vector<std::string> complaints;
  TerminalStyle style;
};

TEST_F(Live, TellsRatesOfWhatPassedBetweenTwoLooks) {
  EXPECT_THAT(draw(10), HasSubstr("0 B/s"));
  mount.syncer.bytes_in += 10 << 20;
  mount.syncer.bytes_out += 4096;
  mount.requests[0].second += 84;
  const std::string text = draw(12);
  EXPECT_THAT(text, HasSubstr(" 5.0 MiB/s"));
  EXPECT_THAT(text, HasSubstr(" 2.0 KiB/s"));
  EXPECT_THAT(text, HasSubstr("42/s"));
  // Another daemon counts from the beginning.
  mount.pid = 8;
  mount.syncer.bytes_in = 0;
  EXPECT_THAT(draw(13), Not(HasSubstr("MiB/s")));
}

TEST_F(Live, ShowsTransfersWithBarsAndRates) {
  mount.syncer.transfers = {{"dir/down.bin", 1 << 20, 4 << 20}};
  mount.syncer.push.sending = {{"up.bin", 3 << 20, 3 << 20}};
  draw(1);
  mount.syncer.transfers[0].done_bytes = 2 << 20;
  const std::string text = draw(2);
  EXPECT_THAT(text, HasSubstr("< dir/down.bin"));
  EXPECT_THAT(text, HasSubstr("########--------  50 %  1.0 MiB/s"));
  EXPECT_THAT(text, HasSubstr("> up.bin"));
  EXPECT_THAT(text, HasSubstr("################ 100 %"));
  mount.syncer.transfers.assign(LiveView::kMostTransfers + 3, {"x", 1, 2});
  EXPECT_THAT(draw(3), HasSubstr("3 more"));
}

TEST_F(Live, SaysWhatNeedsSomebody) {
  mount.syncer.link = LinkState::kDown;
  mount.syncer.push.pending_nodes = 2;
  mount.syncer.push.pending_bytes = 2048;
  mount.syncer.push.oldest_s = time(nullptr) - 90;
  mount.syncer.push.conflicts = 2;
  mount.syncer.push.stopped = "12000 deletions at once";
  mount.syncer.push.failing = {"a: permission denied"};
  mount.front_waiting = 5;
  complaints = {"the daemon does not answer"};
  const std::string text = draw(1);
  for (const char* words :
       {"down", "2 changes (2.0 KiB) to be sent, the oldest for 90 s", "2 conflicts", "stopped",
        "12000 deletions", "a: permission denied", "5 waiting", "the daemon does not answer"})
    EXPECT_THAT(text, HasSubstr(words));
}

TEST_F(Live, FitsTheTerminal) {
  mount.source = "rsync://host/" + std::string(300, 'm');
  mount.syncer.transfers = {{std::string(300, 'd') + "/the-end", 1, 2}};
  mount.syncer.push.failing = {std::string(300, 'f')};
  for (const size_t columns : {20, 40, 80, 132}) {
    style.columns = columns;
    style.rows = 10;
    const auto lines = lines_of(draw(1));
    EXPECT_LT(lines.size(), style.rows);
    for (const std::string& line : lines) EXPECT_LE(line.size(), columns) << line;
  }
  style.rows = 40;
  EXPECT_THAT(draw(2), HasSubstr("the-end")) << "of a path the end";
}

TEST_F(Live, ColoursAndBlocksWhereTheTerminalHasThem) {
  mount.syncer.transfers = {{"f", 1, 2}};
  EXPECT_THAT(draw(1), Not(HasSubstr("\033")));
  style.colour = true;
  style.utf8 = true;
  const std::string text = draw(2);
  EXPECT_THAT(text, HasSubstr("\033[32m● \033[0m"));
  EXPECT_THAT(text, HasSubstr("████████░░░░░░░░"));
}

TEST_F(Live, NamesCannotSpeakToTheTerminal) {
  mount.syncer.transfers = {{"a\033[2Jb\nc", 1, 2}};
  mount.syncer.link_text = "\033]0;title\007";
  const std::string text = draw(1);
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, Not(HasSubstr("\007")));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n') + 1, static_cast<long>(lines_of(text).size()));
}

TEST_F(Live, WithoutMounts) {
  EXPECT_THAT(view.draw({}, {}, {}, "12:00:00", style), HasSubstr("rsyncfs: 0 mounts"));
}

}  // namespace
}  // namespace rsyncfs
