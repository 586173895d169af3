// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/cli/progress_bar.h"

namespace rsyncfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
T parse(const std::vector<std::string>& words) {
  Result<Command> command = parse_command_line(words);
  EXPECT_TRUE(command.ok()) << command.error().message();
  if (!command || !std::holds_alternative<T>(*command)) {
    ADD_FAILURE() << "another command than expected";
    return T{};
  }
  return std::get<T>(*command);
}

std::string complaint(const std::vector<std::string>& words) {
  const Result<Command> command = parse_command_line(words);
  EXPECT_FALSE(command.ok());
  if (command) return "";
  EXPECT_EQ(command.error().code(), Errc::kUsage);
  EXPECT_EQ(command.error().message().find('\n'), std::string::npos) << command.error().message();
  return command.error().message();
}

TEST(CommandLine, MountIsTheVerbOfWhatIsNone) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"h::m", "/mnt", "-o", "ro,timeout=7", "-f", "-v"},
        {"mount", "h::m", "/mnt", "-f", "-v", "-o", "ro", "-otimeout=7"},
        {"-f", "-o", "timeout=7", "h::m", "-v", "/mnt"},
        {"--timeout=7", "--foreground", "--verbose", "h::m", "/mnt"},
        {"--timeout", "7", "h::m", "/mnt", "-fv"},
        {"-fv", "--timeout", "7", "--", "h::m", "/mnt"}}) {
    const auto request = parse<MountRequest>(words);
    EXPECT_EQ(request.source, "h::m");
    EXPECT_EQ(request.mountpoint, "/mnt");
    EXPECT_EQ(request.options.timeout.count(), 7);
    EXPECT_TRUE(request.foreground);
    EXPECT_EQ(request.verbosity, 1);
  }
}

TEST(CommandLine, AMountpointMayBeCalledLikeAVerb) {
  EXPECT_EQ(parse<MountRequest>({"h:p", "status"}).mountpoint, "status");
  EXPECT_EQ(parse<MountRequest>({"mount", "h:p", "umount"}).mountpoint, "umount");
}

TEST(CommandLine, OptionsRepeatAndKeepTheirOrder) {
  const auto request = parse<MountRequest>(
      {"h::m", "/mnt", "--include=a", "--exclude", "b", "-o", "filter=H c,include=d", "--include=e",
       "--exclude=f", "-o", R"(exclude=[g\,h])", "--ro", "--rw", "-o", "noxattrs", "--xattrs"});
  EXPECT_THAT(request.options.filters, ElementsAre("+ a", "- b", "H c", "+ d", "+ e", "- f", "- [g,h]"));
  EXPECT_EQ(request.options.read_write, true);
  EXPECT_TRUE(request.options.xattrs);
}

TEST(CommandLine, LogFlagsCount) {
  EXPECT_EQ(parse<MountRequest>({"h::m", "/mnt", "-vv"}).verbosity, 2);
  const auto request = parse<MountRequest>({"h::m", "/mnt", "-q", "-d"});
  EXPECT_EQ(request.verbosity, -1);
  EXPECT_TRUE(request.debug);
}

TEST(CommandLine, Verbs) {
  EXPECT_EQ(parse<UnmountCommand>({"umount", "/m"}).mountpoint, "/m");
  EXPECT_TRUE(parse<UnmountCommand>({"umount", "--lazy", "/m"}).lazy);
  EXPECT_EQ(parse<UnmountCommand>({"unmount", "/m", "--timeout=5"}).timeout_s, 5);
  EXPECT_EQ(parse<StatusCommand>({"status"}).mountpoint, "");
  EXPECT_TRUE(parse<StatusCommand>({"status", "--json", "/m"}).json);
  EXPECT_FALSE(parse<StatusCommand>({"status", "/m"}).watch);
  EXPECT_TRUE(parse<StatusCommand>({"status", "/m", "--watch"}).watch);
  EXPECT_TRUE(parse<StatusCommand>({"status", "--interval=0.5"}).watch);
  EXPECT_EQ(parse<StatusCommand>({"status", "--interval=0.5"}).interval_s, 0.5);
  EXPECT_EQ(parse<InfoCommand>({"info", "/m/a b"}).path, "/m/a b");
  EXPECT_EQ(parse<FlushCommand>({"flush", "/m/a"}).path, "/m/a");
  EXPECT_EQ(parse<FlushCommand>({"flush", "/m/a"}).timeout_s, std::nullopt);
  EXPECT_EQ(parse<FlushCommand>({"flush", "/m", "--timeout=0"}).timeout_s, 0);
  EXPECT_TRUE(parse<FlushCommand>({"flush", "-q", "/m"}).quiet);
  EXPECT_EQ(parse<ConflictsCommand>({"conflicts", "/m"}).mountpoint, "/m");
  EXPECT_TRUE(parse<ConflictsCommand>({"conflicts", "/m", "--clear"}).clear);
  EXPECT_TRUE(parse<ConflictsCommand>({"conflicts", "--json", "/m"}).json);
  EXPECT_EQ(parse<RefreshCommand>({"refresh", "/m/a"}).path, "/m/a");
  EXPECT_THAT(parse<VerifyCommand>({"verify", "a", "b"}).paths, ElementsAre("a", "b"));
  EXPECT_FALSE(parse<VerifyCommand>({"verify", "a"}).remote);
  EXPECT_TRUE(parse<VerifyCommand>({"verify", "--remote", "a"}).remote);
  EXPECT_TRUE(parse<VerifyCommand>({"verify", "a", "-q"}).quiet);
  EXPECT_EQ(parse<ResumeCommand>({"resume", "/m"}).mountpoint, "/m");
  EXPECT_EQ(parse<UnmountCommand>({"umount", "/m", "--timeout=0"}).timeout_s, 0);
  EXPECT_THAT(parse<FetchCommand>({"fetch", "a", "b\xff", "[c,d]"}).paths,
              ElementsAre("a", "b\xff", "[c,d]"));
  EXPECT_FALSE(parse<FetchCommand>({"fetch", "a"}).pin);
  EXPECT_TRUE(parse<FetchCommand>({"pin", "a", "-q"}).pin);
  EXPECT_THAT(parse<UnpinCommand>({"unpin", "a", "b"}).paths, ElementsAre("a", "b"));
  EXPECT_THAT(parse<FreeCommand>({"free", "a"}).paths, ElementsAre("a"));
}

TEST(CommandLine, HelpAndVersion) {
  EXPECT_THAT(parse<ShowText>({"--version"}).text, HasSubstr("rsyncfs "));
  EXPECT_THAT(parse<ShowText>({"-h"}).text, HasSubstr("password_file=FILE"));
  EXPECT_THAT(parse<ShowText>({"mount", "--help"}).text, HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(parse<ShowText>({"help"}).text, HasSubstr("password_file=FILE"));
  EXPECT_THAT(parse<ShowText>({"umount", "--help"}).text, HasSubstr("--lazy"));
  EXPECT_THAT(parse<ShowText>({"fetch", "--help"}).text, HasSubstr("PATH"));
}

TEST(CommandLine, MistakesAreOneLine) {
  EXPECT_THAT(complaint({}), HasSubstr("SOURCE and MOUNTPOINT"));
  EXPECT_THAT(complaint({"h::m"}), HasSubstr("MOUNTPOINT is missing"));
  EXPECT_THAT(complaint({"umout", "/m"}), HasSubstr("did you mean 'umount'?"));
  EXPECT_THAT(complaint({"statsu"}), HasSubstr("did you mean 'status'?"));
  EXPECT_THAT(complaint({"/some/directory", "/m"}), HasSubstr("neither a command nor a SOURCE (rsync://"));
  EXPECT_THAT(complaint({"h::m", "/m", "/n"}), HasSubstr("'/n'"));
  EXPECT_THAT(complaint({"h::m", "/m", "--allow-otter"}), HasSubstr("'--allow-other'"));
  EXPECT_THAT(complaint({"h::m", "/m", "-Z"}), HasSubstr("-Z"));
  EXPECT_THAT(complaint({"h::m", "/m", "-o"}), HasSubstr("-o"));
  EXPECT_THAT(complaint({"h::m", "/m", "--timeout=x"}), HasSubstr("timeout"));
  EXPECT_THAT(complaint({"h::m", "/m", "-o", "allow_root"}), HasSubstr("allow_other"));
  EXPECT_THAT(complaint({"h::m", "/m", "--allow-other=yes"}), HasSubstr("no value"));
  EXPECT_THAT(complaint({"umount"}), HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(complaint({"umount", "/m", "--timeout=-1"}), HasSubstr("timeout"));
  EXPECT_THAT(complaint({"umount", "/m", "--timeout"}), HasSubstr("required SECONDS missing"));
  EXPECT_THAT(complaint({"umount", "/m", "--timeout=soon"}), HasSubstr("timeout"));
  EXPECT_THAT(complaint({"flush"}), HasSubstr("PATH"));
  EXPECT_THAT(complaint({"flush", "/a", "/b"}), HasSubstr("/b"));
  EXPECT_THAT(complaint({"flush", "/a", "--timeout=x"}), HasSubstr("timeout"));
  EXPECT_THAT(complaint({"refresh"}), HasSubstr("PATH"));
  EXPECT_THAT(complaint({"conflicts"}), HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(complaint({"resume"}), HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(complaint({"status", "--interval=0"}), HasSubstr("interval"));
  EXPECT_THAT(complaint({"info", "/a", "/b"}), HasSubstr("/b"));
  for (const char* verb : {"fetch", "free", "pin", "unpin", "verify"})
    EXPECT_THAT(complaint({verb}), HasSubstr("PATH"));
}

TEST(ProgressLine, ShowsPartAmountRateAndRest) {
  JobProgress progress;
  progress.files_done = 3;
  progress.files_total = 5;
  progress.bytes_done = 1 << 20;
  progress.bytes_total = 4 << 20;
  const std::string line = progress_line(progress, std::chrono::seconds(2), 200);
  EXPECT_EQ(line, "[#####---------------]  25 %  1.0 MiB of 4.0 MiB, 3 of 5 files, 512 KiB/s, 00:06 left");
  EXPECT_EQ(progress_line(progress, std::chrono::seconds(2), 20).size(), 20U);
  progress.counting = true;
  progress.files_failed = 1;
  const std::string open = progress_line(progress, std::chrono::seconds(2), 200);
  EXPECT_THAT(open, HasSubstr("4.0 MiB+, 3 of 5+ files, 1 failed"));
  EXPECT_EQ(open.find("left"), std::string::npos) << "nobody knows yet";
  EXPECT_THAT(progress_line(progress, std::chrono::seconds(2), 200, "changes"), HasSubstr("of 5+ changes"));
}

TEST(ProgressLine, HasNoTroubleWithNothing) {
  EXPECT_THAT(progress_line({}, std::chrono::seconds(0), 200), HasSubstr("100 %"));
  JobProgress more_than_all;
  more_than_all.bytes_done = 9;
  more_than_all.bytes_total = 3;
  EXPECT_THAT(progress_line(more_than_all, std::chrono::seconds(1), 200), HasSubstr("100 %"));
}

}  // namespace
}  // namespace rsyncfs
