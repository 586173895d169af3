// SPDX-License-Identifier: GPL-3.0-or-later
// The texts are what rsync 3.5.0 said about a tree at /src of a module "m", or at /tmp/src of a host.
#include "sync/engine/unreadable_places.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

FileList list_of(const std::vector<std::pair<std::string, std::string>>& directory_and_name) {
  FileList list;
  list.io_error = FileList::kIoErrorGeneral;
  for (const auto& [dir, name] : directory_and_name) {
    FileEntry entry;
    entry.mode = 040755;
    entry.name_offset = static_cast<uint32_t>(list.arena.size());
    entry.name_length = static_cast<uint16_t>(name.size());
    list.arena += name;
    list.dirnames.push_back(dir);
    entry.dirname = static_cast<uint32_t>(list.dirnames.size() - 1);
    list.entries.push_back(entry);
  }
  return list;
}

struct Case {
  std::string root;
  std::string text;
  std::vector<std::string> doubted;
  std::vector<std::string> sure;
};

TEST(UnreadablePlacesTest, DoubtsOnlyWhatTheServerNamed) {
  const FileList list = list_of({{"", "."}, {"", "nox"}, {"", "q\"t"}, {"", "v1."}, {"", "x"}, {"x", "y"}});
  const std::string denied = " failed: Permission denied (13)";
  for (const Case& c : {
           Case{"/src",
                "rsync: [sender] opendir \"/src/x/y\" (in m)" + denied,
                {"x/y", "x/y/z"},
                {"", "x", "y"}},
           Case{"/src", "rsync: [sender] opendir \"/src/v1.\" (in m)" + denied, {"v1."}, {"", "v1", "x"}},
           Case{"/src", "rsync: [sender] opendir \"/src/q\"t\" (in m)" + denied, {"q\"t"}, {"t", "x"}},
           Case{"/src", "rsync: [sender] opendir \"/src/.\" (in m)" + denied, {"", "x"}, {}},
           Case{"/src", "rsync: [sender] change_dir \"src\" (in m)" + denied, {"", "x"}, {}},
           Case{"/src",
                "rsync: [sender] link_stat \"/src/nox/sub\" (in m)" + denied,
                {"nox", "nox/sub"},
                {"", "x"}},
           Case{"/", "rsync: [sender] opendir \"x/y\" (in m)" + denied, {"x/y"}, {"", "x"}},
           Case{"/", "rsync: [sender] opendir \".\" (in m)" + denied, {""}, {}},
           Case{"/", "rsync: [sender] opendir \"q\"t\" (in m q\" (in))" + denied, {"q\"t"}, {"x"}},
           Case{"/tmp/src", "rsync: [sender] opendir \"/tmp/src/.\"" + denied, {""}, {}},
           Case{"/tmp/src", "rsync: [sender] readlink_stat(\"/tmp/src/nox/f\")" + denied, {"nox"}, {"", "x"}},
           Case{"src", "rsync: [sender] readlink_stat(\"/tmp/src/nox/f\")" + denied, {"nox"}, {"", "x"}},
           Case{"src", "rsync: [sender] opendir \"/src/src/x\"" + denied, {"x"}, {"nox"}},
           Case{"", "rsync: [sender] readlink_stat(\"/tmp/src/nox/f\")" + denied, {"", "nox"}, {"x"}},
           Case{"/link", "rsync: [sender] opendir \"/tmp/src/x/y\"" + denied, {"", "x/y"}, {"v1."}},
           Case{"/tmp/src",
                "rsync: [sender] get_xattr_data: lgetxattr(\"/tmp/src/nox/f\",\"user.a\",0)" + denied,
                {"nox"},
                {"x"}},
           Case{"/src", "filename overflows max-path len by 1: x/y\"/src/nox\"", {"", "x", "nox"}, {}},
           Case{"/src", "rsync: [sender] opendir \"/src/x/", {"", "x", "nox"}, {}},
       }) {
    SCOPED_TRACE(c.root + ": " + c.text);
    const UnreadablePlaces places(list, {{c.text + "\n"}, false}, c.root);
    EXPECT_TRUE(places.any().has_value());
    for (const auto& directory : c.doubted) EXPECT_TRUE(places.doubt(directory).has_value()) << directory;
    for (const auto& directory : c.sure) EXPECT_FALSE(places.doubt(directory).has_value()) << directory;
  }
}

TEST(UnreadablePlacesTest, SaysWhy) {
  const UnreadablePlaces places(
      list_of({{"", "x"}}),
      {{"rsync: [sender] opendir \"/x\" (in m) failed: Permission denied (13)\n"}, false}, "/");
  ASSERT_TRUE(places.doubt("x").has_value());
  EXPECT_EQ(places.doubt("x")->code(), Errc::kPermission);
  EXPECT_EQ(places.doubt("x")->os_errno(), 13);
}

TEST(UnreadablePlacesTest, AnUnexplainedErrorDoubtsEverything) {
  FileList list = list_of({{"", "x"}});
  const std::string text = "rsync: [sender] opendir \"/x\" (in m) failed: Permission denied (13)\n";
  EXPECT_TRUE(UnreadablePlaces(list, {}, "/").doubt("any").has_value());
  EXPECT_TRUE(UnreadablePlaces(list, {{text}, true}, "/").doubt("any").has_value()) << "there was more";
  EXPECT_FALSE(UnreadablePlaces(list, {{text}, false}, "/").doubt("any").has_value());
  list.io_error = FileList::kIoErrorVanished;  // nothing is missing that is there
  EXPECT_FALSE(UnreadablePlaces(list, {}, "/").doubt("any").has_value());
}

// A server says that something failed with one page only, and its texts may come before that.
TEST(UnreadablePlacesTest, WhatWasSaidCountsForThePagesItIsAbout) {
  const std::string denied = " (in m) failed: Permission denied (13)";
  UnreadablePlaces places("/src");
  FileList list = list_of({{"a", "x"}});
  list.io_error = 0;
  places.turn(list, {"rsync: [sender] opendir \"/src/b\"" + denied}, false);
  EXPECT_FALSE(places.any().has_value());
  EXPECT_FALSE(places.doubt("a").has_value()) << "nothing has failed by then";
  FileList failed = list_of({});
  places.turn(failed, {}, false);
  EXPECT_TRUE(places.any().has_value());
  EXPECT_TRUE(places.doubt("b").has_value()) << "it was said before";
  FileList after = list_of({{"c", "y"}});
  places.turn(after, {}, false);
  EXPECT_FALSE(places.doubt("c").has_value()) << "it is about something else";
  FileList lacking = list_of({{"d", "z"}});
  places.turn(lacking, {"rsync: [sender] readlink_stat(\"/src/d/lost\")" + denied}, false);
  EXPECT_TRUE(places.doubt("d").has_value());
  FileList has_it = list_of({{"d", "lost"}});
  places.turn(has_it, {}, false);
  EXPECT_FALSE(places.doubt("d").has_value()) << "its own name is there";
  places.turn(after, {}, true);
  EXPECT_TRUE(places.doubt("c").has_value()) << "more was said than is kept";
}

TEST(UnreadablePlacesTest, ATextOfNothingButQuotesDoubtsEverything) {
  const FileList list = list_of({{"", "."}, {"", "x"}});
  const ServerErrors errors{
      {"rsync: [sender] opendir \"/src/" + std::string(4000, '"') + "\" failed: Permission denied (13)"},
      false};
  const UnreadablePlaces places(list, errors, "/src");
  EXPECT_TRUE(places.doubt("x").has_value());
  EXPECT_TRUE(places.doubt("elsewhere/entirely").has_value());
}

}  // namespace
}  // namespace rsyncfs
