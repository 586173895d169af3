// SPDX-License-Identifier: GPL-3.0-or-later
// Lists that come directory by directory: their order, what refers to earlier ones, and servers that mean
// harm.
#include "sync/rsync/paged_list.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

constexpr uint32_t kDirectory = S_IFDIR | 0755;
constexpr uint32_t kFile = S_IFREG | 0644;

ListFormat paged_format() {
  ListFormat format;
  format.numeric_ids = true;
  format.incremental = true;
  return format;
}

// What a server says, piece by piece; its numbers are coded as differences.
class Speech {
 public:
  Speech& entry(std::string_view path, uint32_t mode = kFile) {
    text_ += plain_entry(path, mode);
    return *this;
  }
  Speech& raw(const std::string& text) {
    text_ += text;
    return *this;
  }
  Speech& end(int io_error = 0) {
    text_ += end_of_list(io_error);
    return *this;
  }
  Speech& ndx(int32_t ndx) {
    ByteQueue out;
    coder_.write(out, ndx);
    text_ += text_of(out);
    return *this;
  }
  Speech& list_of(int32_t directory) { return ndx(-101 - directory); }
  Speech& eof() { return ndx(kNdxFlistEof); }
  // "." with the directories a (number 1) and b (2), and the file x.
  Speech& root() {
    return entry(".", kDirectory).entry("a", kDirectory).entry("b", kDirectory).entry("x").end();
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  NdxCoder coder_;
};

class Pages {
 public:
  explicit Pages(const ListFormat& format = paged_format(), const ListLimits& limits = {})
      : decoder(format, limits, [this](ListPage page) { pages.push_back(std::move(page)); }) {}
  Result<void> feed(const std::string& text, size_t piece = 7) {
    for (size_t at = 0; at < text.size(); at += piece) {
      const auto fed =
          stream_.feed(bytes_of(std::string_view(text).substr(at, piece)),
                       [this](std::span<const std::byte> bytes) { return decoder.parse(bytes); });
      if (!fed.ok()) return fed;
    }
    return {};
  }
  std::vector<std::string> directories() const {
    std::vector<std::string> out;
    for (const ListPage& page : pages) out.push_back(page.directory);
    return out;
  }

  std::vector<ListPage> pages;
  PagedListDecoder decoder;

 private:
  ItemStream stream_;
};

Errc error_of(const Speech& speech, const ListFormat& format = paged_format(),
              const ListLimits& limits = {}) {
  Pages pages(format, limits);
  const auto fed = pages.feed(speech.text());
  return fed.ok() ? Errc::kUsage : fed.error().code();  // kUsage stands for none
}

TEST(PagedList, DirectoriesFollowTheirParentsDepthFirst) {
  Speech speech;
  speech.root().list_of(1).entry("a/c", kDirectory).entry("a/y").end();
  speech.list_of(3).end().list_of(2).entry("b/z").end().eof();
  for (const size_t piece : {size_t{1}, size_t{5}, size_t{10'000}}) {
    Pages pages;
    const auto fed = pages.feed(speech.text(), piece);
    ASSERT_TRUE(fed.ok()) << fed.error().message();
    EXPECT_TRUE(pages.decoder.done());
    EXPECT_EQ(pages.directories(), (std::vector<std::string>{"", "a", "a/c", "b"}));
    EXPECT_EQ(pages.pages[0].list.size(), 4u);
    EXPECT_EQ(pages.pages[1].list.size(), 2u);
    EXPECT_EQ(pages.pages[2].list.size(), 0u);
    EXPECT_EQ(pages.pages[3].list.path(pages.pages[3].list.entry(0)), "b/z");
  }
}

TEST(PagedList, AnotherOrderIsRefused) {
  const auto after_root = [](auto more) {
    Speech speech;
    speech.root();
    more(speech);
    return error_of(speech);
  };
  using S = Speech&;
  EXPECT_EQ(after_root([](S s) { s.list_of(9).end(); }), Errc::kProtocol) << "there is none";
  EXPECT_EQ(after_root([](S s) { s.list_of(0).end(); }), Errc::kProtocol) << "the root's has come";
  EXPECT_EQ(after_root([](S s) { s.list_of(2).end(); }), Errc::kProtocol) << "a is first";
  EXPECT_EQ(after_root([](S s) { s.list_of(1).end().list_of(1).end(); }), Errc::kProtocol) << "twice";
  EXPECT_EQ(after_root([](S s) { s.list_of(1).entry("a/c", kDirectory).end().list_of(2).end(); }),
            Errc::kProtocol)
      << "what is below a is first";
  EXPECT_EQ(after_root([](S s) { s.eof(); }), Errc::kProtocol) << "too early";
  EXPECT_EQ(after_root([](S s) { s.ndx(3); }), Errc::kProtocol) << "a reply to nothing";
  EXPECT_EQ(after_root([](S s) { s.ndx(kNdxDelStats); }), Errc::kProtocol);
  EXPECT_EQ(after_root([](S s) { s.ndx(kNdxDone); }), Errc::kDisconnected) << "it ends by itself";
  EXPECT_EQ(after_root([](S s) { s.list_of(1).end().list_of(2).end().eof(); }), Errc::kUsage)
      << "none is wrong";
  EXPECT_EQ(after_root([](S s) { s.list_of(1).end().list_of(2).end().list_of(3).end(); }), Errc::kProtocol)
      << "there is no end";
}

TEST(PagedList, NamesAreInTheirDirectory) {
  for (const char* name : {"x", "b/x", "a/c/x", "/a/x", "a/../x", "./a/x", "ab/x", "."}) {
    Speech speech;
    speech.root().list_of(1).entry(name, name[0] == '.' ? kDirectory : kFile).end();
    EXPECT_EQ(error_of(speech), Errc::kProtocol) << name;
  }
  Speech deep;
  deep.entry(".", kDirectory).entry("a/x").end();
  EXPECT_EQ(error_of(deep), Errc::kProtocol) << "in the first list";
}

TEST(PagedList, DirectoriesOfOneNameShareAList) {
  Speech speech;
  speech.entry(".", kDirectory).entry("a", kDirectory).entry("a", kDirectory).entry("b", kDirectory).end();
  speech.list_of(1).entry("a/y").end().list_of(3).end().eof();
  Pages pages;
  ASSERT_TRUE(pages.feed(speech.text()).ok());
  EXPECT_EQ(pages.directories(), (std::vector<std::string>{"", "a", "b"}));
}

std::string linked_entry(std::string_view path, std::optional<int> first, bool in_full) {
  Wire wire;
  wire.varint(kSameUid | kSameGid | kLongName | kLinked | (first ? 0 : kLinkFirst));
  wire.varint(static_cast<int64_t>(path.size())).raw(path);
  if (first) wire.varint(*first);
  if (in_full) wire.varlong(5, 3).varlong(1'700'000'000, 4).le32(kFile);
  return wire.text();
}

TEST(PagedList, HardLinksGoAcrossLists) {
  // The indices of the first list begin with 1, in the order of sending; between lists one is left out.
  Speech speech;
  speech.entry(".", kDirectory).raw(linked_entry("x", std::nullopt, true)).entry("a", kDirectory).end();
  speech.list_of(1).raw(linked_entry("a/y", 2, true)).raw(linked_entry("a/p", std::nullopt, true));
  speech.raw(linked_entry("a/q", 6, false)).end().eof();
  Pages pages;
  const auto fed = pages.feed(speech.text());
  ASSERT_TRUE(fed.ok()) << fed.error().message();
  const auto group = [&](size_t page, const char* path) {
    const FileList& list = pages.pages[page].list;
    return list.extra(list.entry(*list.find(path))).hlink_group;
  };
  EXPECT_NE(group(0, "x"), 0u);
  EXPECT_EQ(group(1, "a/y"), group(0, "x"));
  EXPECT_EQ(group(1, "a/q"), group(1, "a/p"));
  EXPECT_NE(group(1, "a/q"), group(0, "x"));
  const FileList& list = pages.pages[1].list;
  EXPECT_EQ(list.entry(*list.find("a/q")).size, 5u);

  Speech ahead;
  ahead.entry(".", kDirectory).entry("a", kDirectory).end();
  ahead.list_of(1).raw(linked_entry("a/y", 4, true)).end();
  EXPECT_EQ(error_of(ahead), Errc::kProtocol) << "to itself";
}

TEST(PagedList, ErrorsStayKnown) {
  Speech speech;
  speech.root().list_of(1).end(1).list_of(2).end(0).eof();
  Pages pages;
  ASSERT_TRUE(pages.feed(speech.text()).ok());
  EXPECT_EQ(pages.pages[0].list.io_error, 0u);
  EXPECT_EQ(pages.pages[1].list.io_error, 1u);
  // A server says so only once.
  EXPECT_EQ(pages.pages[2].list.io_error, 1u);
}

TEST(PagedList, NamesOfIdsStandWhereTheyAreFirstMet) {
  ListFormat format = paged_format();
  format.numeric_ids = false;
  Speech speech;
  speech.entry(".", kDirectory)
      .raw(Wire()
               .varint(kUserName | kGroupName | kSameTime | kSameMode)
               .name("a")
               .varlong(1, 3)
               .varint(7)
               .name("seven")
               .varint(8)
               .name("eight")
               .text())
      .end()
      .list_of(1)
      .end()
      .eof();
  Pages pages(format);
  const auto fed = pages.feed(speech.text());
  ASSERT_TRUE(fed.ok()) << fed.error().message();
  EXPECT_EQ(pages.pages[0].list.user_names.at(7), "seven");
  EXPECT_EQ(pages.pages[0].list.group_names.at(8), "eight");
  EXPECT_TRUE(pages.pages[1].list.user_names.empty());
}

TEST(PagedList, WhatIsKeptIsBounded) {
  // Directories without an end, each in the one before: their own names are all that is kept.
  Speech deep;
  std::string path = "d";
  deep.entry(".", kDirectory).entry(path, kDirectory).end();
  for (int i = 1; i < 500; ++i) {
    path += "/d";
    deep.list_of(i).entry(path, kDirectory).end();
  }
  EXPECT_EQ(error_of(deep), Errc::kUsage);
  // More side by side than may be kept.
  const ListLimits limits{.max_entries = 1'000, .max_bytes = 20'000};
  Speech wide;
  wide.entry(".", kDirectory);
  for (int i = 0; i < 100; ++i) wide.entry("some directory " + std::to_string(i), kDirectory);
  wide.end();
  EXPECT_EQ(error_of(wide, paged_format(), limits), Errc::kUsage);
  std::string in;
  int number = 0;
  for (int level = 0; level < 10; ++level) {
    in += (level == 0 ? "" : "/") + std::string("some directory 0");
    wide.list_of(++number);
    for (int i = 0; i < 100; ++i) wide.entry(in + "/some directory " + std::to_string(i), kDirectory);
    wide.end();
    number = 101 + level * 100 - 1;
  }
  EXPECT_EQ(error_of(wide, paged_format(), limits), Errc::kLimit);
}

TEST(PagedList, AttributesThatDifferEverywhereAreALimit) {
  ListFormat format = paged_format();
  format.xattrs = true;
  const auto with_attribute = [](std::string_view path, uint32_t mode, std::string_view value) {
    return plain_entry(path, mode) +
           Wire()
               .varint(0)
               .varint(1)
               .varint(7)
               .varint(static_cast<int>(value.size()))
               .raw("user.a")
               .u8(0)
               .text() +
           std::string(value);
  };
  Speech speech;
  speech.raw(with_attribute(".", kDirectory, "root")).raw(with_attribute("a", kDirectory, "a")).end();
  speech.list_of(1).raw(with_attribute("a/x", kFile, "x")).raw(plain_entry("a/y") + Wire().varint(1).text());
  speech.end().eof();
  Pages pages(format);
  const auto fed = pages.feed(speech.text());
  ASSERT_TRUE(fed.ok()) << fed.error().message();
  const FileList& list = pages.pages[1].list;
  ASSERT_EQ(list.xattr_sets.size(), 2u) << "its own, and the root's, which it refers to";
  const auto value = [&](const char* path) {
    return list.xattr_sets.at(static_cast<size_t>(list.extra(list.entry(*list.find(path))).xattrs))
        .at(0)
        .value;
  };
  EXPECT_EQ(value("a/x"), "x");
  EXPECT_EQ(value("a/y"), "root");
  EXPECT_EQ(error_of(speech, format, {.max_kept_bytes = 100}), Errc::kLimit);
}

// ---- a session ----

class PagingServer : public PullEvents {
 public:
  explicit PagingServer(bool paged = true) : session(config(paged), *this) {}
  static PullConfig config(bool paged) {
    PullConfig out = FakeServer::bare_config();
    out.paged = paged;
    return out;
  }
  static std::string opening(int compat) {
    return Wire().le32(32).varint(compat).vstring("xxh128 md5").le32(99).text();
  }
  Result<void> send(const std::string& bytes) { return session.receive(bytes_of(bytes)); }
  std::string sent() {
    const std::string out = text_of(session.output());
    session.output().clear();
    return out;
  }
  void on_list(const FileList& /*list*/) override { ++lists; }
  void on_page(ListPage page) override { pages.push_back(std::move(page)); }
  void on_pages_end() override { ended = true; }

  PullSession session;
  int lists = 0;
  std::vector<ListPage> pages;
  bool ended = false;
};

constexpr int kWithPages = 0x1ff;
constexpr int kWithoutPages = 0x1fe;

TEST(PagedSession, LetsTheServerGoOnByForgettingAllButTheNewestList) {
  PagingServer server;
  Speech first;
  first.root();
  ASSERT_TRUE(server.send(PagingServer::opening(kWithPages) + Wire().data(first.text()).text()).ok());
  EXPECT_EQ(server.session.state(), PullState::kPaging);
  ASSERT_EQ(server.pages.size(), 1u);
  server.sent();
  server.session.turn_pages();
  EXPECT_EQ(server.sent(), "") << "it is the newest";
  Speech more;
  more.list_of(1).end().list_of(2).end();
  ASSERT_TRUE(server.send(Wire().data(more.text()).text()).ok());
  server.session.turn_pages();
  EXPECT_EQ(server.sent(), Wire().data(std::string(2, '\0')).text());
  server.session.turn_pages();
  EXPECT_EQ(server.sent(), "") << "not twice";
  ASSERT_TRUE(server.send(Wire().data(std::string(2, '\0')).text()).ok()) << "the server repeats it";
  more = {};
  more.list_of(2).end();  // only for the state of the numbers
  Speech end;
  end.list_of(1).list_of(2);
  const size_t before = end.text().size();
  end.eof();
  ASSERT_TRUE(server.send(Wire().data(end.text().substr(before)).text()).ok());
  EXPECT_TRUE(server.ended);
  EXPECT_EQ(server.session.state(), PullState::kPaging);
  EXPECT_EQ(server.send(Wire().data("x").text()).error().code(), Errc::kProtocol);
}

TEST(PagedSession, AServerWithoutPagesListsAsAWhole) {
  PagingServer server;
  const std::string list = plain_entry("a") + end_of_list();
  ASSERT_TRUE(server.send(PagingServer::opening(kWithoutPages) + Wire().data(list).text()).ok());
  EXPECT_FALSE(server.session.paged());
  EXPECT_EQ(server.lists, 1);
  EXPECT_EQ(server.session.state(), PullState::kArmed);
}

TEST(PagedSession, PagesThatWereNotOfferedAreRefused) {
  PagingServer server(false);
  EXPECT_EQ(server.send(PagingServer::opening(kWithPages)).error().code(), Errc::kProtocol);
}

TEST(PagedSession, OfNothingIsNotFound) {
  PagingServer server;
  ASSERT_TRUE(server.send(PagingServer::opening(kWithPages) + Wire().data(end_of_list()).text()).ok());
  EXPECT_EQ(server.session.end_of_input().error().code(), Errc::kNotFound);
  EXPECT_TRUE(server.pages.empty());
}

TEST(PagedSession, OfPathsIsNoSession) {
  PullConfig config = PagingServer::config(true);
  config.paths = {"a"};
  FakeServer server(config);
  EXPECT_EQ(server.send("").error().code(), Errc::kUsage);
}

}  // namespace
}  // namespace rsyncfs
