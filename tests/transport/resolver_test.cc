// SPDX-License-Identifier: GPL-3.0-or-later
// Name look-ups that take as long as the test wants.
#include "sync/transport/resolver.h"

#include <atomic>

#include <gtest/gtest.h>

#include "tests/transport/transport_rig.h"

namespace rsyncfs::test {
namespace {

// Look-ups wait until it is opened. Shared with them: they may outlive the test.
struct Gate {
  std::promise<void> opening;
  std::shared_future<void> opened = opening.get_future().share();
  std::atomic<int> begun = 0;
  std::atomic<int> over = 0;
};

class ResolverTest : public TransportTest {
 protected:
  void make(const std::string& host) {
    auto slow = [gate = gate](const std::string&, uint16_t) -> Result<Addresses> {
      ++gate->begun;
      gate->opened.wait();
      ++gate->over;
      return Addresses(1);
    };
    on_loop([&] { resolver.emplace(loop(), host, 873, slow); });
  }
  void TearDown() override {
    if (loop_runs()) on_loop([this] { resolver.reset(); });
    TransportTest::TearDown();
  }
  Resolver::Request ask() {
    return on_loop([this] {
      return resolver->resolve([this](const Result<Addresses>& found) { answers.push_back(found); });
    });
  }
  bool answered(size_t count) {
    return eventually([this, count] { return answers.size() == count; });
  }

  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::optional<Resolver> resolver;
  std::vector<Result<Addresses>> answers;  // loop thread
};

TEST_P(ResolverTest, AddressesInNumbersAreNotLookedUp) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    make(host);
    ask();
    ASSERT_TRUE(answered(1));
    ASSERT_TRUE(answers[0].ok());
    EXPECT_EQ(answers[0]->size(), 1U);
    on_loop([this] { answers.clear(); });
  }
  EXPECT_EQ(gate->begun, 0);
}

TEST_P(ResolverTest, LocalNamesAreFound) {
  const auto found = look_up_host("localhost", 873);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_FALSE(found->empty());
}

TEST_P(ResolverTest, WhoAsksMeanwhileSharesTheLookUp) {
  make("slow.example");
  for (int i = 0; i < 3; ++i) ask();
  EXPECT_TRUE(eventually([this] { return gate->begun == 1; }));
  EXPECT_EQ(on_loop([this] { return answers.size(); }), 0U);
  gate->opening.set_value();
  EXPECT_TRUE(answered(3));
  EXPECT_EQ(gate->begun, 1);
  ask();
  EXPECT_TRUE(answered(4));
  EXPECT_EQ(gate->begun, 2) << "an answer is not kept";
}

TEST_P(ResolverTest, WhoGaveUpIsNotAnswered) {
  make("slow.example");
  const auto request = ask();
  ask();
  on_loop([&] { resolver->cancel(request); });
  gate->opening.set_value();
  EXPECT_TRUE(answered(1));
  on_loop([&] { resolver->cancel(request); });
  EXPECT_EQ(on_loop([this] { return answers.size(); }), 1U);
}

TEST_P(ResolverTest, WhoAsksFromInsideAnAnswerHasALookUpOfItsOwn) {
  make("slow.example");
  on_loop([this] {
    resolver->resolve([this](const Result<Addresses>&) {
      resolver->resolve([this](const Result<Addresses>& found) { answers.push_back(found); });
    });
  });
  gate->opening.set_value();
  EXPECT_TRUE(answered(1));
  EXPECT_EQ(gate->begun, 2);
}

TEST_P(ResolverTest, ItEndsWhileALookUpHangs) {
  make("slow.example");
  ask();
  ASSERT_TRUE(eventually([this] { return gate->begun == 1; }));
  on_loop([this] { resolver.reset(); });
  end_loop();
  gate->opening.set_value();
  EXPECT_TRUE(support::wait_until([this] { return gate->over == 1; }, kPatience));
  EXPECT_EQ(answers.size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, ResolverTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
