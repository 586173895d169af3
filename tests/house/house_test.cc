// SPDX-License-Identifier: GPL-3.0-or-later
// The project against its own rules; and the rules against texts that break them.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/house_rules.h"

namespace rsyncfs::house {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kTop = RSYNCFS_SOURCE_DIR;

template <class Check>
void expect_no_complaints(Check check) {
  for (const auto& path : project_files(kTop)) {
    std::ifstream file(std::filesystem::path(kTop) / path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (const auto& complaint : check(path, text)) ADD_FAILURE() << complaint;
  }
}

TEST(House, EverySourceFileHasTheLicenceLine) {
  expect_no_complaints(check_licence);
}
TEST(House, IncludesGoDownward) {
  expect_no_complaints(check_includes);
}
TEST(House, NoFileIsTooLong) {
  expect_no_complaints(check_length);
}
TEST(House, NothingIsLeftToDo) {
  expect_no_complaints(check_leftovers);
}
TEST(House, TheTopLevelHoldsOnlyWhatBelongsThere) {
  std::set<std::string> complaints;
  for (const auto& path : project_files(kTop)) {
    for (const auto& complaint : check_top_level(path)) complaints.insert(complaint);
  }
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(HouseRules, SeeTheProject) {
  const auto files = project_files(kTop);
  EXPECT_THAT(files, testing::IsSupersetOf({"CMakeLists.txt", "io/loop.h", "tests/house/house_test.cc"}));
  EXPECT_EQ(box_of("io/loop.h"), "io");
  EXPECT_EQ(box_of("io/base/result.h"), "io/base");
  EXPECT_EQ(box_of("io/uring/ring.h"), "io");
  EXPECT_EQ(box_of("sync/engine/syncer.h"), "sync/engine");
  EXPECT_EQ(box_of("tests/io/base_test.cc"), "tests");
  EXPECT_EQ(box_of("iox/loop.h"), "");
}

TEST(HouseRules, WorkWithoutACheckout) {
  const auto top = std::filesystem::path(testing::TempDir()) / ("house-" + std::to_string(::getpid()));
  std::filesystem::create_directories(top / "build");
  std::filesystem::create_directories(top / "io");
  std::ofstream(top / "io/loop.h") << "x";
  std::ofstream(top / "build/generated.cc") << "x";
  EXPECT_THAT(project_files(top), ElementsAre("io/loop.h"));
  std::filesystem::remove_all(top);
}

TEST(HouseRules, Licence) {
  const std::string line = "SPDX-License-Identifier: GPL-3.0-or-later\n";
  EXPECT_THAT(check_licence("io/a.cc", "// " + line), IsEmpty());
  EXPECT_THAT(check_licence("io/CMakeLists.txt", "# " + line), IsEmpty());
  EXPECT_THAT(check_licence("tests/run", "#!/bin/sh\n# " + line), IsEmpty());
  EXPECT_THAT(check_licence("README.md", "words"), IsEmpty());
  EXPECT_THAT(check_licence("io/a.cc", ""), SizeIs(1));
  EXPECT_THAT(check_licence("io/a.cc", "\n// " + line), SizeIs(1));
  EXPECT_THAT(check_licence("io/a.h", "# " + line), SizeIs(1));
  EXPECT_THAT(check_licence("io/a.h", "// SPDX-License-Identifier: MIT\n"), SizeIs(1));
  EXPECT_THAT(check_licence("tests/run", "#!/bin/sh\n"), SizeIs(1));
}

TEST(HouseRules, Includes) {
  const auto allowed = [](std::string_view path, const std::string& header) {
    return check_includes(path, "#pragma once\n#include " + header + "\n").empty();
  };
  EXPECT_TRUE(allowed("io/loop.h", "\"io/base/result.h\""));
  EXPECT_TRUE(allowed("sync/engine/syncer.h", "\"sync/replica/replica.h\""));
  EXPECT_TRUE(allowed("fs/tree/tree.h", "\"sync/engine/syncer.h\""));
  EXPECT_TRUE(allowed("fs/daemon/daemon.cc", "\"fs/fuse/front.h\""));
  EXPECT_TRUE(allowed("io/loop.h", "<vector>"));
  EXPECT_TRUE(allowed("tests/fs/tree_test.cc", "<sqlite3.h>"));
  EXPECT_TRUE(allowed("bench/loop_bench.cc", "\"tests/support/temp_dir.h\""));

  EXPECT_FALSE(allowed("io/base/result.h", "\"io/loop.h\""));
  EXPECT_FALSE(allowed("sync/rsync/mux.h", "\"sync/replica/replica.h\""));
  EXPECT_FALSE(allowed("sync/replica/replica.h", "\"sync/rsync/mux.h\""));
  EXPECT_FALSE(allowed("sync/rsync/mux.h", "\"io/loop.h\""));
  EXPECT_FALSE(allowed("sync/transport/tcp.cc", "\"sync/rsync/mux.h\""));
  EXPECT_FALSE(allowed("sync/engine/syncer.cc", "\"fs/tree/tree.h\""));
  EXPECT_FALSE(allowed("fs/tree/tree.cc", "\"fs/fuse/front.h\""));
  EXPECT_FALSE(allowed("fs/control/control.cc", "\"fs/daemon/daemon.h\""));
  EXPECT_FALSE(allowed("io/loop.h", "\"tests/io/loop_fixture.h\""));
  EXPECT_FALSE(allowed("fs/tree/tree.cc", "\"bench/loop_bench.h\""));
  EXPECT_FALSE(allowed("io/loop.cc", "\"loop.h\""));
  EXPECT_FALSE(allowed("fs/tree/tree.h", "<fuse3/fuse_lowlevel.h>"));
  EXPECT_FALSE(allowed("io/loop.cc", "<liburing.h>"));
  EXPECT_TRUE(allowed("io/uring/ring.h", "<liburing.h>"));
  EXPECT_FALSE(allowed("sync/engine/syncer.cc", "<sqlite3.h>"));
  EXPECT_FALSE(allowed("sync/engine/syncer.cc", "  <sqlite3.h>"));
  EXPECT_EQ(check_includes("io/a.cc", "\n# include <fuse.h>\n").front(),
            "io/a.cc:2: <fuse.h> belongs to fs/fuse");
}

TEST(HouseRules, LengthLeftoversAndTopLevel) {
  std::string lines;
  for (int i = 0; i < 600; ++i) lines += "\n";
  EXPECT_THAT(check_length("io/a.cc", lines), IsEmpty());
  EXPECT_THAT(check_length("io/a.cc", lines + "\n"), SizeIs(1));
  EXPECT_THAT(check_length("LICENSE", lines + "\n"), IsEmpty());

  EXPECT_THAT(check_leftovers("io/a.cc", std::string("// TO") + "DO: more\n// FIX" + "ME\n/*X" + "XX*/"),
              SizeIs(3));
  EXPECT_THAT(check_leftovers("io/a.cc", "mkstemp(\"/tmp/XXXXXX\"); // todolist\n"), IsEmpty());

  EXPECT_THAT(check_top_level("io/loop.h"), IsEmpty());
  EXPECT_THAT(check_top_level(".ci/run"), IsEmpty());
  EXPECT_THAT(check_top_level("tests/run"), IsEmpty());
  EXPECT_THAT(check_top_level("notes.txt"), SizeIs(1));
  EXPECT_THAT(check_top_level("src/main.cc"), SizeIs(1));
}

}  // namespace
}  // namespace rsyncfs::house
