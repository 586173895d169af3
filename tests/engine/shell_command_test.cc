// SPDX-License-Identifier: GPL-3.0-or-later
#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "sync/transport/connect.h"
#include "sync/transport/remote_shell.h"

namespace rsyncfs {
namespace {

using Words = std::vector<std::string>;

std::string through_shell(const std::string& word) {
  const std::string command = "printf %s " + shell_escape(word);
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  std::array<char, 256> buffer{};
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  ::pclose(pipe);
  return out;
}

TEST(ShellCommandTest, EscapedWordsComeBackFromARealShell) {
  for (const std::string word :
       {"plain", "", "a b", "$(touch x)", "`id`", "a'b\"c", "back\\slash", "new\nline 'q' $x", "*?[a-z]",
        "tab\there", "~root", "\xff\xfe", "-rf", "a;b&c|d<e>f(g)h{i}", "#!", "!x"}) {
    EXPECT_EQ(through_shell(word), word);
  }
}

TEST(ShellCommandTest, DefaultIsSshThatNeverAsks) {
  const auto argv = remote_shell_command("", "ann", "host", "rsync", {"--server", "--sender", ".", "a b"},
                                         std::chrono::seconds(7));
  ASSERT_TRUE(argv.ok());
  EXPECT_EQ(*argv, (Words{"ssh", "-oBatchMode=yes", "-oConnectTimeout=7", "-oServerAliveInterval=15", "-l",
                          "ann", "host", "rsync", "--server", "--sender", ".", "a\\ b"}));
}

TEST(ShellCommandTest, OwnShellIsSplitAsRsyncDoes) {
  const auto argv = remote_shell_command("ssh -F '/my dir/cfg'  -p 22", "", "h", "/opt/rsync", {"."},
                                         std::chrono::seconds(1));
  ASSERT_TRUE(argv.ok());
  EXPECT_EQ(*argv, (Words{"ssh", "-F", "/my dir/cfg", "-p", "22", "h", "/opt/rsync", "."}));
  EXPECT_FALSE(remote_shell_command("ssh 'x", "", "h", "rsync", {}, std::chrono::seconds(1)).ok());
  EXPECT_FALSE(remote_shell_command("  ", "", "h", "rsync", {}, std::chrono::seconds(1)).ok());
}

TEST(ShellCommandTest, TildeOfThePathIsLeftToTheRemoteShell) {
  const auto argv =
      remote_shell_command("ssh", "", "h", "rsync", {".", "~ann/my dir/"}, std::chrono::seconds(1));
  ASSERT_TRUE(argv.ok());
  EXPECT_EQ(argv->back(), "~ann/my\\ dir/");
}

TEST(ShellCommandTest, OnlyAUsersNameFollowsABareTilde) {
  const auto path_word = [](const std::string& path) {
    const auto argv = remote_shell_command("ssh", "", "h", "rsync", {".", path}, std::chrono::seconds(1));
    return argv ? argv->back() : argv.error().message();
  };
  EXPECT_EQ(path_word("~"), "~");
  EXPECT_EQ(path_word("~/"), "~/");
  EXPECT_EQ(path_word("~a.b_c-9"), "~a.b_c-9");
  EXPECT_EQ(path_word("~a;cmd"), "\\~a\\;cmd");
  EXPECT_EQ(path_word("~a b/c"), "\\~a\\ b/c");
  EXPECT_EQ(path_word("~$(id)/c"), "\\~\\$\\(id\\)/c");
  EXPECT_EQ(path_word("~a\nb"), "'~a\nb'");
  EXPECT_EQ(path_word(""), "''");
}

TEST(ShellCommandTest, OnlyAnSshThatWasNotToldHowSharesItsConnection) {
  EXPECT_TRUE(may_share_connection({}));
  EXPECT_TRUE(may_share_connection({"/usr/bin/ssh", "-F", "/x", "-p22"}));
  for (const Words& words :
       {Words{"rsh"}, Words{"sshpass", "ssh"}, Words{"ssh", "-M"}, Words{"ssh", "-S", "/x"},
        Words{"ssh", "-S/x"}, Words{"ssh", "-o", "controlpath=/x"}, Words{"ssh", "-oControlMaster=no"}}) {
    EXPECT_FALSE(may_share_connection(words)) << words.back();
  }
  const std::string plain = "user x\nhostname h\ncontrolmaster false\ncontrolpersist no\n";
  EXPECT_TRUE(leaves_sharing_open(plain));
  EXPECT_TRUE(leaves_sharing_open(plain + "controlpath none\n"));
  EXPECT_FALSE(leaves_sharing_open(plain + "controlpath /x/%C"));
  EXPECT_FALSE(leaves_sharing_open("hostname h\ncontrolmaster auto\n"));
  EXPECT_FALSE(leaves_sharing_open("")) << "no OpenSSH";
}

}  // namespace
}  // namespace rsyncfs
