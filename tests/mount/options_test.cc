// SPDX-License-Identifier: GPL-3.0-or-later
// Each mount option that --help and the manual page name is given to a real mount, as -o NAME and as --NAME,
// and does what it says where that can be seen from outside. What it does in full has tests of its own.
#include "fs/daemon/options.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

struct Use {
  std::string value;                       // "" = the option takes none
  std::function<void(Mount&)> check = {};  // with it mounted; null: that it mounts
  std::vector<std::string> with = {};      // other options that it needs
  std::string source = "";                 // "" = the daemon's module; "shell": through a remote shell
};

struct stat stat_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status;
}

void expect_flag(Mount& mount, const std::string& flag) {
  const std::string line =
      support::run_shell("grep -F ' " + mount.path() + " ' /proc/self/mountinfo | cut -d' ' -f6");
  EXPECT_THAT("," + line, ContainsRegex("[,]" + flag + "[,\n]"));
}
std::function<void(Mount&)> flag(const std::string& name) {
  return [name](Mount& mount) { expect_flag(mount, name); };
}
std::function<void(Mount&)> status_has(const std::string& text) {
  return [text](Mount& mount) { EXPECT_THAT(mount.status_json(), HasSubstr(text)); };
}

class OptionTour : public ::testing::Test {
 protected:
  OptionTour() {
    support::write_file(tree_ / "file", std::string(5000, 'x'));
    support::write_file(tree_ / "skip.o", "o");
    std::filesystem::create_directory(tree_ / "dir");
    support::write_file(extra_ / "secret", "pass\n", 0600);
    support::write_file(extra_ / "shell", "#!/bin/sh\nshift\nexec \"$@\"\n");
    chmod((extra_ / "shell").c_str(), 0755);
  }
  static DaemonOptions server_options() {
    DaemonOptions options = RsyncDaemon::serving("");
    options.modules[0].read_only = false;
    options.modules.push_back(
        {.name = "guarded", .path = "", .read_only = true, .users = {{"alice", "pass"}}, .parameters = {}});
    return options;
  }
  static void expect_mode(const std::string& path, mode_t mode) {
    EXPECT_EQ(stat_of(path).st_mode & 07777, mode);
  }

  std::map<std::string, Use> uses();
  MountOptions options_for(const Use& use) const {
    MountOptions options = tree_.mount_options(use.with);
    if (use.source == "shell") options.source = "host:" + tree_.path();
    if (!use.source.empty() && use.source != "shell") options.source = use.source;
    return options;
  }

  ServedTree tree_{server_options()};
  TempDir extra_;
};

std::map<std::string, Use> OptionTour::uses() {
  const std::string shell = extra_ / "shell";
  return {
      {"password_file",
       {extra_ / "secret",
        [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); },
        {},
        tree_.server().url("guarded", "", "alice")}},
      {"rsh", {shell, [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); }, {}, "shell"}},
      {"rsync_path", {"/usr/bin/rsync", {}, {"rsh=" + shell}, "shell"}},
      {"port",
       {std::to_string(tree_.server().port()),
        [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); },
        {},
        "rsync://127.0.0.1/m"}},
      {"timeout", {"7"}},
      {"contimeout", {"7"}},
      {"request_timeout", {"120"}},
      {"compress", {"zstd", status_has("zstd")}},
      {"checksum_choice",
       {"md5",
        [](Mount& m) {
          EXPECT_TRUE(read_whole(m / "file").ok);
          EXPECT_THAT(m.status_json(), HasSubstr("md5"));
        }}},
      {"protocol", {"31", status_has("\"protocol\":31")}},
      {"max_sessions", {"2"}},
      {"poll", {"off"}},
      {"exclude", {"*.o", [](Mount& m) { EXPECT_EQ(list_names(m.path()).bytes, "dir\nfile\n"); }}},
      {"include", {"*.o", {}, {"exclude=*.o"}}},
      {"filter", {"- *.o", [](Mount& m) { EXPECT_EQ(list_names(m.path()).bytes, "dir\nfile\n"); }}},
      {"numeric_ids", {""}},
      {"xattrs", {""}},
      {"noxattrs", {""}},
      {"acls", {""}},
      {"noacls", {""}},
      {"uid", {"12345", [](Mount& m) { EXPECT_EQ(stat_of(m / "file").st_uid, 12345U); }}},
      {"gid", {"12345", [](Mount& m) { EXPECT_EQ(stat_of(m / "file").st_gid, 12345U); }}},
      {"umask", {"077", [](Mount& m) { expect_mode(m / "file", 0600); }}},
      {"fmask", {"0177", [](Mount& m) { expect_mode(m / "file", 0600); }}},
      {"dmask", {"077", [](Mount& m) { expect_mode(m / "dir", 0700); }}},
      {"rw", {"", flag("rw")}},
      {"ro", {"", flag("ro")}},
      {"fsync", {"remote"}},
      {"writeback_delay", {"0.1"}},
      {"conflict", {"local"}},
      {"conflict_rule", {"*.log:remote"}},
      {"max_delete", {"5"}},
      {"allow_other", {""}},
      {"profile", {"small"}},
      {"fuse_uring", {"no"}},
      {"default_permissions", {""}},
      {"auto_unmount", {""}},
      {"nonempty", {""}},
      {"sloppy", {"", {}, {}}},
      {"suid",
       {"",
        [](Mount& m) {
          if (geteuid() == 0) {
            EXPECT_THAT(support::run_shell("grep -F ' " + m.path() + " ' /proc/self/mountinfo"),
                        ::testing::Not(HasSubstr("nosuid")));
          }
        }}},
      {"nosuid", {"", flag("nosuid")}},
      {"dev",
       {"",
        [](Mount& m) {
          if (geteuid() == 0) {
            EXPECT_THAT(support::run_shell("grep -F ' " + m.path() + " ' /proc/self/mountinfo"),
                        ::testing::Not(HasSubstr("nodev")));
          }
        }}},
      {"nodev", {"", flag("nodev")}},
      {"exec", {""}},
      {"noexec", {"", flag("noexec")}},
      {"fsname",
       {"tour",
        [](Mount& m) {
          EXPECT_THAT(support::run_shell("grep -F ' " + m.path() + " ' /proc/self/mountinfo"),
                      HasSubstr(" tour "));
        }}},
      {"subtype",
       {"tour",
        [](Mount& m) {
          EXPECT_THAT(support::run_shell("grep -F ' " + m.path() + " ' /proc/self/mountinfo"),
                      HasSubstr(" fuse.tour "));
        }}},
      {"store",
       {extra_ / "store", [this](Mount&) { EXPECT_TRUE(std::filesystem::exists(extra_ / "store")); }}},
      {"cache_size", {"64M", status_has("67108864")}},
      {"min_free", {"1M", status_has("1048576")}},
      {"metrics",
       {extra_ / "metrics",
        [this](Mount&) {
          EXPECT_TRUE(wait_until([&] { return std::filesystem::exists(extra_ / "metrics"); }, seconds(10)));
        }}},
      {"metrics_mode", {"0640", {}, {"metrics=" + (extra_ / "metrics")}}},
      {"bwlimit", {"10m", status_has("10485760")}},
      {"chmod",
       {"D0711,F0604",
        [](Mount& m) {
          expect_mode(m / "file", 0604);
          expect_mode(m / "dir", 0711);
        }}},
      {"usermap", {"*:12345", [](Mount& m) { EXPECT_EQ(stat_of(m / "file").st_uid, 12345U); }}},
      {"groupmap", {"*:12345", [](Mount& m) { EXPECT_EQ(stat_of(m / "file").st_gid, 12345U); }}},
      {"compress_choice", {"zstd", status_has("zstd")}},
      {"compress_level", {"3", {}, {"compress=zstd"}}},
      {"address", {"127.0.0.1", [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); }}},
      {"sockopts",
       {"TCP_NODELAY,SO_RCVBUF=262144", [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); }}},
      {"ipv4", {"", [](Mount& m) { EXPECT_TRUE(read_whole(m / "file").ok); }}},
      {"ipv6", {"", {}, {"rsh=" + shell}, "shell"}},
      {"io", {"threads", status_has("\"threads\"")}},
      {"log_file", {extra_ / "log", [this](Mount&) { EXPECT_NE(support::read_file(extra_ / "log"), ""); }}},
      {"log_level", {"debug"}},
  };
}

TEST_F(OptionTour, EachOptionMounts) {
  const std::map<std::string, Use> all = uses();
  std::set<std::string> known;
  for (const OptionGroup& group : option_groups()) {
    for (const OptionSpec& spec : group.options) {
      const std::string name(spec.name);
      known.insert(name);
      Use use;
      if (const auto found = all.find(name); found != all.end()) {
        use = found->second;
      } else if (spec.help.empty()) {
        use.value = spec.argument.empty() ? "" : "text";  // without effect
      } else {
        ADD_FAILURE() << "no use of option '" << name << "' is known to this test";
        continue;
      }
      SCOPED_TRACE(name);
      ASSERT_EQ(use.value.empty(), spec.argument.empty()) << name;
      const std::string given = name + (use.value.empty() ? "" : "=" + use.value);
      {
        MountOptions options = options_for(use);
        std::string listed = given;
        for (size_t at = name.size(); (at = listed.find(',', at)) != std::string::npos; at += 2)
          listed.insert(at, "\\");
        options.options.push_back(listed);
        Mount mount(options);
        if (use.check) use.check(mount);
      }
      // As a long flag, with '-' for '_'; the same thing, so that it is not looked at again.
      const std::string bare = name.starts_with('_') ? name.substr(1) : name;
      std::string flag = bare;
      std::ranges::replace(flag, '_', '-');
      flag = "--" + flag + given.substr(name.size());
      const Mount mount(options_for(use), false);
      std::vector<std::string> words = {options_for(use).source, mount.path(), flag};
      for (const std::string& other : use.with) words.insert(words.end(), {"-o", other});
      const CommandResult run = mount.command(words);
      EXPECT_EQ(run.exit_code, 0) << flag << ": " << run.err;
    }
  }
  for (const auto& [name, use] : all)
    EXPECT_TRUE(known.contains(name)) << "there is no option '" << name << "'";
}

}  // namespace
}  // namespace rsyncfs::mount_tests
