// SPDX-License-Identifier: GPL-3.0-or-later
// The support bundle of a mount with a password and telling names: what is in it, and what must not be.
#include <sys/stat.h>

#include <filesystem>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kPassword = "correcthorsebattery";
constexpr const char* kContents = "zanzibarcontents";
constexpr const char* kName = "takeoverplans";

// The texts of all files of an archive, with their names.
std::string unpacked(const std::string& archive) {
  const TempDir dir;
  const CommandResult run = support::run_command({"tar", "-xzf", archive, "-C", dir.path()}, seconds(20));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  std::string out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
    if (!entry.is_regular_file()) continue;
    out += "=== " + entry.path().filename().string() + "\n" + support::read_file(entry.path().string());
  }
  return out;
}

class Bundle : public ::testing::Test {
 protected:
  Bundle() {
    DaemonOptions options = RsyncDaemon::serving(tree_.make_dir(std::string(kName) + "-root"));
    options.modules[0].read_only = false;
    options.modules[0].users = {{"user", kPassword}};
    root_ = options.modules[0].path;
    support::make_dirs(root_ + "/" + kName);
    support::write_file(root_ + "/" + kName + "/" + kName + ".txt", kContents);
    // What the source refuses is in the status and in the log.
    const std::string closed = root_ + "/" + kName + " unreadable";
    support::write_file(closed, kContents);
    EXPECT_EQ(chmod(closed.c_str(), 0600), 0);
    EXPECT_EQ(chmod(root_.c_str(), 0755), 0);
    options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}, {"use chroot", "no"}};
    server_ = std::make_unique<RsyncDaemon>(std::move(options));
    password_file_ = tree_ / "password";
    support::write_file(password_file_, std::string(kPassword) + "\n");
    EXPECT_EQ(chmod(password_file_.c_str(), 0600), 0);
  }
  MountOptions mount_options() const {
    MountOptions mount;
    mount.source = server_->url("m", "", "user");
    mount.options = {"password_file=" + password_file_,
                     "exclude=" + std::string(kName) + ".bak",
                     "timeout=2",
                     "contimeout=1",
                     "log_level=debug",
                     "rw"};
    return mount;
  }

  TempDir tree_;
  std::string root_;
  std::string password_file_;
  std::unique_ptr<RsyncDaemon> server_;
};

TEST_F(Bundle, HasNeitherPasswordsNorContentsNorNames) {
  Mount mount(mount_options());
  const std::string file = mount / (std::string(kName) + "/" + kName + ".txt");
  ASSERT_EQ(read_whole(file).bytes, kContents);
  ASSERT_FALSE(read_whole(mount / (std::string(kName) + " unreadable")).ok);
  support::write_file(mount / (std::string(kName) + "-new"), kContents);
  const auto told = [&](const std::string& what) {
    return wait_until([&] { return mount.status_json().find(what) != std::string::npos; }, seconds(20));
  };
  ASSERT_TRUE(told(std::string(kName) + " unreadable: ")) << mount.status_json();
  ASSERT_TRUE(told(std::string(kName) + "-new: ")) << mount.status_json();
  ASSERT_THAT(mount.log(), HasSubstr(kName));
  server_->stop();
  ASSERT_TRUE(told("\"state\":\"down\""));
  ASSERT_TRUE(told("Connection refused"));
  const TempDir out;
  const CommandResult run = mount.command({"doctor", mount.path(), "--bundle=" + (out / "b.tar.gz")});
  EXPECT_EQ(run.exit_code, 1) << "the source is away";
  EXPECT_THAT(run.err, HasSubstr("support bundle written to"));
  struct stat info {};
  ASSERT_EQ(stat((out / "b.tar.gz").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  const std::string text = unpacked(out / "b.tar.gz");
  for (const char* part :
       {"=== status.json", "=== metrics.txt", "=== log.txt", "=== findings.txt", "=== findings.json",
        "=== versions.txt", "=== options.txt", "=== kernel.txt", "\"link\":{\"state\":\"down\"",
        "rsyncfs_link_state{state=\"down\"} 1", "timeout=2\n", "exclude=_\n", "password_file=_\n",
        "Connection refused", "libfuse 3", "problem  link"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr(kPassword)));
  EXPECT_THAT(text, Not(HasSubstr(kContents)));
  EXPECT_THAT(text, Not(HasSubstr(kName)));
  EXPECT_THAT(text, Not(HasSubstr(password_file_)));
  EXPECT_THAT(text, Not(HasSubstr(mount.path())));
  server_->start();
}

TEST_F(Bundle, HasNamesWhereTheyAreWantedAndStillNoPassword) {
  Mount mount(mount_options());
  ASSERT_EQ(read_whole(mount / (std::string(kName) + "/" + kName + ".txt")).bytes, kContents);
  const TempDir out;
  const CommandResult run =
      mount.command({"doctor", mount.path(), "--bundle=" + (out / "b.tar.gz"), "--with-names"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  const std::string text = unpacked(out / "b.tar.gz");
  EXPECT_THAT(text, HasSubstr("exclude=" + std::string(kName) + ".bak\n"));
  EXPECT_THAT(text, HasSubstr(mount.path()));
  EXPECT_THAT(text, Not(HasSubstr(kPassword)));
  EXPECT_THAT(text, Not(HasSubstr(kContents)));
}

TEST_F(Bundle, OfASourceHasNoPasswordEither) {
  const TempDir out;
  support::ProcessOptions environment;
  environment.environment = {{"RSYNC_PASSWORD", kPassword},
                             {"RSYNCFS_STATE_DIR", out / "state"},
                             {"RSYNCFS_RUNTIME_DIR", out / "run"}};
  const auto run = [&](const std::string& source) {
    return support::run_command(
        {support::rsyncfs_binary(), "doctor", source, "--bundle=" + (out / "b.tar.gz"), "-o", "ro"},
        seconds(60), environment);
  };
  const CommandResult asked = run(server_->url("m", "", "user"));
  EXPECT_EQ(asked.exit_code, 0) << asked.out;
  const std::string text = unpacked(out / "b.tar.gz");
  EXPECT_THAT(text, HasSubstr("can be reached and listed"));
  EXPECT_THAT(text, Not(HasSubstr(kPassword)));
  const CommandResult refused = run("rsync://user:" + std::string(kPassword) + "@127.0.0.1/m");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.out + refused.err, Not(HasSubstr(kPassword)));
}

TEST_F(Bundle, ThatCannotBeWrittenIsAFailure) {
  const TempDir out;
  const CommandResult run = support::run_command(
      {support::rsyncfs_binary(), "doctor", "--bundle=" + (out / "none/b.tar.gz")}, seconds(60));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("No such file or directory"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
