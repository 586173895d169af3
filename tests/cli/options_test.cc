// SPDX-License-Identifier: GPL-3.0-or-later
// The option table: every name, its value, its mistakes, and its other spellings.
#include "fs/daemon/options.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/cli/command_line.h"
#include "fs/cli/usage.h"

namespace rsyncfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<OptionSpec> all_options() {
  std::vector<OptionSpec> all;
  for (const OptionGroup& group : option_groups()) {
    all.insert(all.end(), group.options.begin(), group.options.end());
  }
  return all;
}

// A value that each option with an argument takes.
std::string good_value(const OptionSpec& spec) {
  if (spec.name == "compress" || spec.name == "compress_choice") return "zstd";
  if (spec.name == "address") return "127.0.0.1";
  if (spec.name == "sockopts") return "SO_SNDBUF=65536";
  if (spec.argument == "RULE" && spec.name == "filter") return "- 1";
  if (spec.name == "chmod") return "go-w";
  if (spec.argument == "MAP") return "0-99:1";
  if (spec.name == "checksum_choice") return "md5";
  if (spec.name == "protocol") return "31";
  if (spec.name == "io") return "threads";
  if (spec.name == "log_level") return "debug";
  if (spec.name == "profile") return "large";
  if (spec.name == "fuse_uring") return "yes";
  if (spec.name == "fsync" || spec.argument == "POLICY") return "remote";
  if (spec.name == "conflict_rule") return "*.o:local";
  if (spec.argument == "OCTAL") return "022";
  if (spec.argument == "SIZE") return "20M";
  return "1";
}

MountOptions parsed(std::string_view list) {
  MountOptions options;
  const Result<void> applied = apply_option_list(options, list);
  EXPECT_TRUE(applied.ok()) << list << ": " << applied.error().message();
  return options;
}

std::string complaint(std::string_view list) {
  MountOptions options;
  const Result<void> applied = apply_option_list(options, list);
  EXPECT_FALSE(applied.ok()) << list;
  if (applied) return "";
  EXPECT_EQ(applied.error().code(), Errc::kUsage);
  EXPECT_EQ(applied.error().message().find('\n'), std::string::npos);
  return applied.error().message();
}

TEST(OptionTable, NamesAreUniqueAndInOneSpelling) {
  std::set<std::string_view> seen;
  for (const OptionSpec& spec : all_options()) {
    EXPECT_TRUE(seen.insert(spec.name).second) << spec.name << " is there twice";
    EXPECT_EQ(spec.name.find('-'), std::string_view::npos) << spec.name;
    EXPECT_EQ(find_option(spec.name)->name, spec.name);
  }
  EXPECT_GT(seen.size(), 60U);
}

TEST(OptionTable, HelpCoversEveryOption) {
  const std::string help = mount_help();
  for (const OptionSpec& spec : all_options()) {
    const std::string shown =
        " " + std::string(spec.name) + (spec.argument.empty() ? "" : "=" + std::string(spec.argument));
    EXPECT_THAT(help, HasSubstr(shown));
    EXPECT_THAT(help, HasSubstr(std::string(spec.help)));
  }
  size_t longest = 0;
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = help.find('\n', begin);
    longest = std::max(longest, end - begin);
    begin = end + 1;
  }
  EXPECT_LE(longest, 130U);
}

// A long flag is the same option as its -o form, in every spelling.
TEST(OptionTable, FlagsAndListItemsAreOneOption) {
  for (const OptionSpec& spec : all_options()) {
    const std::string value = spec.argument.empty() ? "" : "=" + good_value(spec);
    std::string dashed(spec.name);
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    std::string flag = dashed;
    flag.erase(0, flag.find_first_not_of('-'));
    const std::vector<std::vector<std::string>> forms = {{"-o", std::string(spec.name) + value},
                                                         {"-o", dashed + value},
                                                         {"--" + flag + value},
                                                         {"--" + std::string(spec.name) + value}};
    for (std::vector<std::string> words : forms) {
      if (words[0].rfind("---", 0) == 0 || words[0].rfind("--_", 0) == 0) continue;
      const std::string shown = words.back();
      words.insert(words.begin(), {"rsync://h/m", "/mnt"});
      const Result<Command> command = parse_command_line(words);
      ASSERT_TRUE(command.ok()) << shown << ": " << command.error().message();
      const auto* request = std::get_if<MountRequest>(&*command);
      ASSERT_NE(request, nullptr) << shown;
      EXPECT_EQ(request->source, "rsync://h/m") << shown;
      EXPECT_EQ(request->mountpoint, "/mnt") << shown;
    }
  }
}

TEST(OptionTable, AMissingOrUnwantedValueIsNamed) {
  for (const OptionSpec& spec : all_options()) {
    const std::string name(spec.name);
    if (spec.argument.empty()) {
      EXPECT_THAT(complaint(name + "=1"), AllOf(HasSubstr(name), HasSubstr("no value")));
    } else {
      EXPECT_THAT(complaint(name), AllOf(HasSubstr(name), HasSubstr("needs a value")));
    }
  }
}

TEST(Options, SizesHaveUnitsOrAreShares) {
  constexpr uint64_t kDisk = 1'000'000'000;
  const auto bytes = [](const std::optional<DiskAmount>& amount) { return amount ? amount->of(kDisk) : 0; };
  EXPECT_EQ(parsed("").cache_size, std::nullopt);
  EXPECT_EQ(bytes(parsed("cache_size=16777216").cache_size), 16U << 20U);
  EXPECT_EQ(bytes(parsed("cache_size=500M").cache_size), 500ULL << 20U);
  EXPECT_EQ(bytes(parsed("cache_size=1.5g").cache_size), 3ULL << 29U);
  EXPECT_EQ(bytes(parsed("cache_size=2T").cache_size), 2ULL << 40U);
  EXPECT_EQ(bytes(parsed("cache_size=20%").cache_size), kDisk / 5);
  EXPECT_EQ(bytes(parsed("min_free=0").min_free), 0U);
  EXPECT_EQ(bytes(parsed("min_free=64K").min_free), 64U << 10U);
  for (const char* wrong :
       {"cache_size=1M", "cache_size=0", "cache_size=0%", "cache_size=101%", "cache_size=5Q", "cache_size=-1",
        "cache_size=20MB", "min_free=x", "min_free=nan", "min_free=9999999T"}) {
    EXPECT_THAT(complaint(wrong), HasSubstr("20%")) << wrong;
  }
}

TEST(Options, SetWhatTheySay) {
  const MountOptions options = parsed(
      "allow_other,auto_unmount,suid,dev,noexec,rw,fsname=a:/b,subtype=x,uid=7,gid=8,fmask=0133,dmask=022,"
      "password_file=pw,rsh=ssh -p "
      "2,rsync_path=/opt/rsync,port=8873,timeout=5,contimeout=6,request_timeout=7,compress=zlibx,"
      "checksum_choice=xxh3,numeric_ids,noxattrs,noacls,protocol=30,max_sessions=9,store=/s,io=uring,"
      "log_file=/l,log_level=warning,exclude=*.o,include=a/***,filter=hide\\,! x/");
  EXPECT_TRUE(options.allow_other && options.auto_unmount && options.suid && options.dev && !options.exec);
  EXPECT_EQ(options.read_write, true);
  EXPECT_EQ(options.fsname, "a:/b");
  EXPECT_EQ(options.subtype, "x");
  EXPECT_EQ(options.uid, 7U);
  EXPECT_EQ(options.gid, 8U);
  EXPECT_EQ(options.file_mask, 0133U);
  EXPECT_EQ(options.directory_mask, 022U);
  EXPECT_EQ(options.password_file, "pw");
  EXPECT_EQ(options.remote_shell, "ssh -p 2");
  EXPECT_EQ(options.rsync_path, "/opt/rsync");
  EXPECT_EQ(options.port, 8873);
  EXPECT_EQ(options.timeout.count(), 5);
  EXPECT_EQ(options.connect_timeout.count(), 6);
  EXPECT_EQ(options.request_timeout, std::chrono::seconds(7));
  EXPECT_EQ(options.compress, "zlibx");
  EXPECT_EQ(options.checksum_choice, "xxh3");
  EXPECT_TRUE(options.numeric_ids && !options.xattrs && !options.acls);
  EXPECT_EQ(options.protocol, 30);
  EXPECT_EQ(options.max_sessions, 9U);
  EXPECT_EQ(options.store, "/s");
  EXPECT_EQ(options.io, IoChoice::kUring);
  EXPECT_EQ(options.log_file, "/l");
  EXPECT_EQ(options.log_level, LogLevel::kWarn);
  EXPECT_THAT(options.filters, ElementsAre("- *.o", "+ a/***", "hide,! x/"));
}

TEST(Options, OfWritingSetWhatTheySay) {
  const MountOptions options = parsed(
      "fsync=remote,writeback-delay=250ms,conflict=local,max_delete=0,conflict_rule=*.log:remote,"
      "conflict_rule=a:b/*:copy");
  EXPECT_TRUE(options.fsync_remote);
  EXPECT_EQ(options.writeback_delay, std::chrono::milliseconds(250));
  EXPECT_EQ(options.conflict, ConflictPolicy::kLocal);
  EXPECT_EQ(options.max_delete, 0U);
  EXPECT_THAT(options.conflict_rules, ElementsAre(ConflictRule{"*.log", ConflictPolicy::kRemote},
                                                  ConflictRule{"a:b/*", ConflictPolicy::kCopy}));
  EXPECT_FALSE(parsed("fsync=remote,fsync=local").fsync_remote);
  EXPECT_EQ(parsed("writeback_delay=2").writeback_delay, std::chrono::seconds(2));
  EXPECT_EQ(parsed("writeback_delay=1.5s").writeback_delay, std::chrono::milliseconds(1500));
  EXPECT_EQ(parsed("writeback_delay=0").writeback_delay, std::chrono::milliseconds(0));
}

TEST(Options, OfPollingSaysHowOften) {
  EXPECT_EQ(parsed("").poll.mode, PollOptions::Mode::kAuto);
  EXPECT_EQ(parsed("poll=off").poll.mode, PollOptions::Mode::kOff);
  EXPECT_EQ(parsed("poll=2.5").poll.mode, PollOptions::Mode::kFixed);
  EXPECT_EQ(parsed("poll=2.5").poll.every, std::chrono::milliseconds(2500));
  EXPECT_EQ(parsed("poll=2.5,poll=auto").poll.mode, PollOptions::Mode::kAuto);
  for (const char* when : {"", "never", "-1", "0.01", "86401"})
    EXPECT_THAT(complaint("poll=" + std::string(when)), HasSubstr("auto, off or seconds"));
}

TEST(Options, TheLastOneCounts) {
  EXPECT_EQ(parsed("rw,ro").read_write, false);
  EXPECT_EQ(parsed("").read_write, std::nullopt);
  EXPECT_TRUE(parsed("noxattrs,xattrs").xattrs);
  EXPECT_EQ(parsed("umask=077,dmask=0").directory_mask, 0U);
  EXPECT_EQ(parsed("umask=077,dmask=0").file_mask, 077U);
  EXPECT_EQ(parsed("checksum_choice=md5,checksum_choice=auto").checksum_choice, "");
}

TEST(Options, DefaultsAreSafe) {
  const MountOptions options = parsed("");
  EXPECT_FALSE(options.suid || options.dev || options.allow_other);
  EXPECT_EQ(options.timeout.count(), 30);
  EXPECT_EQ(options.request_timeout, std::nullopt);
  EXPECT_FALSE(options.fsync_remote);
  EXPECT_EQ(options.conflict, ConflictPolicy::kCopy);
  EXPECT_EQ(options.max_delete, kDefaultMaxDelete);
  EXPECT_THAT(mount_help(), HasSubstr("(default: " + std::to_string(kDefaultMaxDelete) + ")"));
}

TEST(Options, WhatIsMeantForOthersIsDropped) {
  parsed(
      "_netdev,nofail,noauto,user,users,noatime,x-systemd.automount,x-systemd.idle-timeout=60,X-mount.mkdir");
  parsed("comment=systemd.automount,,,defaults");
}

TEST(Options, BadValuesAreNamedWithWhatIsAccepted) {
  EXPECT_THAT(complaint("timeout=0"), AllOf(HasSubstr("timeout"), HasSubstr("'0'"), HasSubstr("from 1")));
  EXPECT_THAT(complaint("request_timeout=65536"), HasSubstr("'65536'"));
  EXPECT_THAT(complaint("timeout=soon"), HasSubstr("number"));
  EXPECT_THAT(complaint("timeout=5s"), HasSubstr("number"));
  EXPECT_THAT(complaint("timeout=-1"), HasSubstr("number"));
  EXPECT_THAT(complaint("timeout=99999999999999999999"), HasSubstr("number"));
  EXPECT_THAT(complaint("port=65536"), HasSubstr("65535"));
  EXPECT_THAT(complaint("umask=8"), HasSubstr("octal"));
  EXPECT_THAT(complaint("umask=7777"), HasSubstr("octal"));
  EXPECT_THAT(complaint("uid=no-such-user"), HasSubstr("user"));
  EXPECT_THAT(complaint("uid=4294967295"), HasSubstr("user"));
  EXPECT_THAT(complaint("compress=gzip"), HasSubstr("zstd, zlibx, none"));
  EXPECT_THAT(complaint("protocol=33"), HasSubstr("30"));
  EXPECT_THAT(complaint("io=fast"), HasSubstr("auto, uring, threads"));
  EXPECT_THAT(complaint("exclude="), HasSubstr("pattern"));
  EXPECT_THAT(complaint("fsync=both"), HasSubstr("local, remote"));
  for (const char* delay : {"", "s", "-1", "1m", "nan", "inf", "1e9", "3601", "1 s", "0x1"}) {
    EXPECT_THAT(complaint("writeback_delay=" + std::string(delay)), HasSubstr("from 0 to 3600"));
  }
  EXPECT_THAT(complaint("conflict=ours"), HasSubstr("copy, local, remote"));
  EXPECT_THAT(complaint("conflict_rule=*.log"), HasSubstr("PATTERN:POLICY"));
  EXPECT_THAT(complaint("conflict_rule=:copy"), HasSubstr("PATTERN:POLICY"));
  EXPECT_THAT(complaint("conflict_rule=*.log:mine"), HasSubstr("copy, local, remote"));
  EXPECT_THAT(complaint("max_delete=many"), HasSubstr("number"));
  EXPECT_THAT(complaint("rsh="), HasSubstr("value"));
}

TEST(Options, OfRsyncSetWhatTheySay) {
  const MountOptions options = parsed(
      "bwlimit=1.5m,address=127.0.0.1,ipv4,sockopts=SO_SNDBUF=65536,chmod=D755\\,F644,chmod=go-w,usermap=0-"
      "99:7,"
      "groupmap=*:8,compress_level=-5");
  EXPECT_EQ(options.bytes_per_second, 3U << 19U);
  EXPECT_TRUE(options.address.has_value());
  EXPECT_EQ(options.family, AF_INET);
  EXPECT_THAT(options.sockopts, ElementsAre(SocketOption{SOL_SOCKET, SO_SNDBUF, 65'536}));
  EXPECT_EQ(options.mode_changes.apply(S_IFREG | 0777), S_IFREG | 0644U);
  EXPECT_EQ(options.mode_changes.apply(S_IFDIR | 0700), S_IFDIR | 0755U);
  EXPECT_EQ(options.user_rules.local(50, ""), 7U);
  EXPECT_EQ(options.group_rules.local(50, "any"), 8U);
  EXPECT_EQ(options.compress_level, -5);
  EXPECT_EQ(parsed("compress_choice=auto").compress, "zstd");
}

TEST(Options, OfTheRateAreAsRsyncHasThem) {
  EXPECT_EQ(parsed("bwlimit=0").bytes_per_second, 0U);
  EXPECT_EQ(parsed("bwlimit=100").bytes_per_second, 102'400U);
  EXPECT_EQ(parsed("bwlimit=100K").bytes_per_second, 102'400U);
  EXPECT_EQ(parsed("bwlimit=100KiB").bytes_per_second, 102'400U);
  EXPECT_EQ(parsed("bwlimit=1024kB").bytes_per_second, 1'024'000U);
  EXPECT_EQ(parsed("bwlimit=2mb").bytes_per_second, 1'999'872U);  // to the nearest KiB
  EXPECT_EQ(parsed("bwlimit=600b").bytes_per_second, 1'024U);
  for (const char* rate : {"", "fast", "-1", "0.4", "100b", "1x", "1kbit", "inf", "1e9p"})
    EXPECT_THAT(complaint("bwlimit=" + std::string(rate)), HasSubstr("KiB a second")) << rate;
}

TEST(Options, WithoutAWayHereSayWhy) {
  EXPECT_THAT(complaint("iconv=utf8,latin1"), HasSubstr("names are not converted here"));
  EXPECT_THAT(complaint("skip_compress=gz"), HasSubstr("leave it out"));
  EXPECT_THAT(complaint("filter=merge /x"), HasSubstr("reads rules from files"));
}

TEST(Options, UnknownNamesComeWithTheNearestOne) {
  EXPECT_THAT(complaint("timeuot=3"), HasSubstr("'timeout'"));
  EXPECT_THAT(complaint("allow-othr"), HasSubstr("'allow_other'"));
  EXPECT_THAT(complaint("passwordfile=x"), HasSubstr("'password_file'"));
  EXPECT_EQ(complaint("quux=1"), "unknown option 'quux'; `rsyncfs --help` lists them");
  EXPECT_EQ(complaint(std::string(100'000, 'a')).find("mean"), std::string::npos);
}

TEST(Options, SloppyDropsWhatComesAfter) {
  parsed("sloppy,quux=1,timeout=3");
  EXPECT_THAT(complaint("quux=1,sloppy"), HasSubstr("quux"));
  EXPECT_THAT(complaint("sloppy,timeout=x"), HasSubstr("timeout")) << "known ones must still be right";
}

TEST(Options, AllowRootIsRefusedWithTheWayOut) {
  EXPECT_THAT(complaint("allow_root"), HasSubstr("allow_other"));
  EXPECT_THAT(complaint("sloppy,allow_root"), HasSubstr("allow_other")) << "not one to be dropped in silence";
}

TEST(OptionList, CommasAndBackslashesAreEscaped) {
  EXPECT_THAT(split_option_list(R"(a,b=c\,d,,e\\,f\*)"), ElementsAre("a", "b=c,d", R"(e\)", R"(f\*)"));
  EXPECT_THAT(split_option_list(""), ElementsAre());
  EXPECT_THAT(split_option_list(R"(a\)"), ElementsAre(R"(a\)"));
  EXPECT_THAT(parsed(R"(exclude=a\,b)").filters, ElementsAre("- a,b"));
}

TEST(OptionList, JoiningIsTheReverse) {
  const std::vector<std::string> items = {"a,b", R"(c\,d)", R"(e\)", "f=,"};
  EXPECT_EQ(split_option_list(join_option_list(items)), items);
}

}  // namespace
}  // namespace rsyncfs
