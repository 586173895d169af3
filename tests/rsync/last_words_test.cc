// SPDX-License-Identifier: GPL-3.0-or-later
// What a server's complaints say of a session's end, and what they do not.
#include <gtest/gtest.h>

#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

using support::MemorySink;

Errc code_of(const Result<void>& result) {
  return result.ok() ? Errc::kUsage : result.error().code();
}

TEST(LastWords, ErrorExitCarriesThem) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  const auto ended =
      server.send(Wire()
                      .frame(MuxTag::kError, "rsync: something, somewhere\n")
                      .frame(MuxTag::kError, "rsync error: protocol incompatibility (code 2) at io.c(1)\n")
                      .number(MuxTag::kErrorExit, 2));
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code(), Errc::kProtocol);
  EXPECT_EQ(ended.error().message(), "rsync: something, somewhere");
  EXPECT_EQ(server.messages.size(), 2u);
  FakeServer silent;
  ASSERT_TRUE(silent.send(FakeServer::opening_and_list()).ok());
  EXPECT_EQ(code_of(silent.send(Wire().number(MuxTag::kErrorExit, 30))), Errc::kTimedOut);
  FakeServer empty;
  ASSERT_TRUE(empty.send(FakeServer::opening_and_list()).ok());
  EXPECT_EQ(code_of(empty.send(Wire().frame(MuxTag::kErrorExit, ""))), Errc::kDisconnected);
}

constexpr std::string_view kUnreadable =
    "rsync: [sender] opendir \"/x\" (in m) failed: Permission denied (13)\n";

TEST(LastWords, AComplaintAboutOneFileIsNotWhyItEnded) {
  const auto open = [](const std::string& bytes) {
    auto server = std::make_unique<FakeServer>();
    EXPECT_TRUE(server->send(bytes).ok());
    EXPECT_TRUE(server->send(Wire().frame(MuxTag::kErrorXfer, kUnreadable)).ok());
    return server;
  };
  const std::string half_list = FakeServer::opening() + Wire().data(plain_entry("a")).text();
  for (const std::string& before : {half_list, FakeServer::opening_and_list()}) {
    EXPECT_EQ(code_of(open(before)->session->end_of_input()), Errc::kDisconnected);
    EXPECT_EQ(code_of(open(before)->send(Wire().number(MuxTag::kErrorExit, 20))), Errc::kDisconnected);
  }
  const auto declined = open(FakeServer::opening_and_list());
  MemorySink a;
  declined->session->request_file(0, {}, a);
  ASSERT_TRUE(declined->send(Wire().number(MuxTag::kNoSend, 0)).ok());
  EXPECT_EQ(a.end->reason.code(), Errc::kPermission);
  EXPECT_EQ(code_of(declined->session->end_of_input()), Errc::kDisconnected);
}

TEST(LastWords, AServerThatCannotEnterWhatItWasAskedForSaysWhy) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening()).ok());
  constexpr std::string_view kNoDirectory =
      "rsync: [sender] change_dir#3 \"/f\" failed: Not a directory (20)\n";
  const auto ended =
      server.send(Wire().frame(MuxTag::kErrorXfer, kNoDirectory).number(MuxTag::kErrorExit, 3));
  EXPECT_EQ(code_of(ended), Errc::kNotDirectory);
  EXPECT_NE(ended.error().message().find("Not a directory"), std::string::npos);
}

TEST(LastWords, HowTheConnectionEndedIsNoNewsAboutTheSource) {
  for (const auto& [exit_code, expected] : {std::pair(10, Errc::kDisconnected),
                                            {12, Errc::kDisconnected},
                                            {20, Errc::kDisconnected},
                                            {30, Errc::kTimedOut},
                                            {3, Errc::kPermission}}) {
    FakeServer server;
    ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
    const auto ended =
        server.send(Wire().frame(MuxTag::kError, kUnreadable).number(MuxTag::kErrorExit, exit_code));
    EXPECT_EQ(code_of(ended), expected) << exit_code;
    EXPECT_NE(ended.error().message().find("Permission denied"), std::string::npos);
  }
}

TEST(LastWords, AServerThatStopsByItselfSaysWhy) {
  const auto stopped = [](MuxTag tag, std::string_view text) {
    FakeServer server;
    EXPECT_TRUE(server.send(FakeServer::opening_and_list()).ok());
    const auto ended = server.send(Wire().frame(tag, text).data(std::string(3, '\0')));
    EXPECT_FALSE(ended.ok());
    return ended.error();
  };
  const Error hint = stopped(MuxTag::kErrorXfer, kUnreadable);
  EXPECT_EQ(hint.code(), Errc::kDisconnected);
  EXPECT_NE(hint.message().find("Permission denied"), std::string::npos) << hint.message();
  EXPECT_EQ(stopped(MuxTag::kError, "[sender] io timeout after 6 seconds -- exiting\n").code(),
            Errc::kTimedOut);
}

}  // namespace
}  // namespace rsyncfs
