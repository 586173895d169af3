// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/source.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

Source good(const std::string& text) {
  const auto source = parse_source(text);
  EXPECT_TRUE(source.ok()) << text << ": " << (source ? "" : source.error().message());
  return source ? *source : Source{};
}

TEST(SourceTest, UrlWithEverything) {
  const Source s = good("rsync://ann@example.org:8730/mod/some/path/");
  EXPECT_EQ(s.kind, Source::Kind::kDaemon);
  EXPECT_EQ(s.user, "ann");
  EXPECT_EQ(s.host, "example.org");
  EXPECT_EQ(s.port, 8730);
  EXPECT_EQ(s.module, "mod");
  EXPECT_EQ(s.path, "some/path");
  EXPECT_EQ(s.canonical(), "rsync://ann@example.org:8730/mod/some/path");
}

TEST(SourceTest, TheSamePlaceHasOneCanonicalName) {
  EXPECT_EQ(good("rsync://h/m").canonical(), "rsync://h/m");
  EXPECT_EQ(good("rsync://h:873/m/").canonical(), "rsync://h/m");
  EXPECT_EQ(good("h::m").canonical(), "rsync://h/m");
  EXPECT_EQ(good("h::m/a/").canonical(), "rsync://h/m/a");
}

TEST(SourceTest, ShellForms) {
  const Source s = good("ann@host:/srv/data//");
  EXPECT_EQ(s.kind, Source::Kind::kShell);
  EXPECT_EQ(s.user, "ann");
  EXPECT_EQ(s.host, "host");
  EXPECT_EQ(s.path, "/srv/data");
  EXPECT_EQ(good("host:").path, "");
  EXPECT_EQ(good("host:/").path, "/");
  EXPECT_EQ(good("host:dir").path, "dir");
  EXPECT_EQ(good("[fe80::1]:dir").host, "fe80::1");
  EXPECT_EQ(good("a@[::1]::mod/x").module, "mod");
}

TEST(SourceTest, Ipv6Url) {
  const Source s = good("rsync://[::1]:8730/m");
  EXPECT_EQ(s.host, "::1");
  EXPECT_EQ(s.port, 8730);
  EXPECT_EQ(s.canonical(), "rsync://[::1]:8730/m");
}

TEST(SourceTest, RefusesWithTheForms) {
  for (const char* text :
       {"", "/local/path", "dir", "rsync://", "rsync://host", "rsync://host/", "host::", "http://h/m",
        "rsync://h:0/m", "rsync://h:99999/m", "rsync://h:x/m", "rsync://[::1/m", "-host:dir",
        "rsync://-oProxyCommand=x/m", ":dir", "./a:b", "-l@host:dir"}) {
    const auto source = parse_source(text);
    ASSERT_FALSE(source.ok()) << text;
    EXPECT_EQ(source.error().code(), Errc::kUsage) << text;
    EXPECT_NE(source.error().message().find("rsync://"), std::string::npos) << source.error().message();
  }
}

TEST(SourceTest, PasswordInUrlIsRefusedWithTheWayOut) {
  const auto source = parse_source("rsync://ann:secret@host/m");
  ASSERT_FALSE(source.ok());
  EXPECT_NE(source.error().message().find("password_file"), std::string::npos);
  EXPECT_EQ(source.error().message().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace rsyncfs
