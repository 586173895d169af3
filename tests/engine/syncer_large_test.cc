// SPDX-License-Identifier: GPL-3.0-or-later
// Large files: many readers at once, streams that share the sessions, versions that change meanwhile.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

class LargeFileTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  TempDir tree_;
  TempDir store_;
};

TEST_F(LargeFileTest, ReadersFarApartAllGetTheirBytes) {
  const std::string contents = support::random_bytes(96 * kMiB, 11);
  write_file(served("big"), contents);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  ASSERT_TRUE(node.ok());
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 6; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(seed + reader);
      for (int i = 0; i < 8; ++i) {
        // Half of them step backwards, the others jump.
        const uint64_t offset =
            reader % 2 == 0 ? random() % contents.size() : contents.size() - (reader + 12 * i + 1) * kMiB / 2;
        const auto bytes = rig.read(node->id, offset, 50'000);
        ASSERT_TRUE(bytes.ok()) << bytes.error().message();
        ASSERT_TRUE(*bytes == contents.substr(offset, 50'000)) << offset;
      }
    });
  }
  for (auto& reader : readers) reader.join();
}

TEST_F(LargeFileTest, AFileInOnePieceTakesOneSession) {
  for (int i = 0; i < 4; ++i)
    write_file(served(std::to_string(i)), support::random_bytes(20 * kMiB, static_cast<uint64_t>(i)));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto before = rig.status().sessions_opened;
  for (int i = 0; i < 4; ++i) {
    const auto node = rig.find(std::to_string(i));
    ASSERT_TRUE(node.ok());
    ASSERT_TRUE(rig.hydrate(node->id).ok());
  }
  EXPECT_EQ(rig.status().sessions_opened, before + 4);
}

}  // namespace
}  // namespace rsyncfs
