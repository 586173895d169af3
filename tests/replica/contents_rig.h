// SPDX-License-Identifier: GPL-3.0-or-later
// A store for the tests of contents, and the disk space that its files take.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {

constexpr uint64_t kLarge = 1'000'003;

// Files in a part of the state directory, and the disk space that they take.
struct Usage {
  size_t files = 0;
  uint64_t allocated = 0;
};
inline Usage usage(const std::string& directory) {
  Usage out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat status {};
    if (!entry.is_regular_file() || stat(entry.path().c_str(), &status) != 0) continue;
    ++out.files;
    out.allocated += static_cast<uint64_t>(status.st_blocks) * 512;
  }
  return out;
}

// The housekeeper removes in its own time.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class Contents : public testing::Test {
 protected:
  void TearDown() override {
    if (store_) must(store_->check());
  }
  NodeId add_file(uint64_t size) {
    Listing listing;
    listing.file("f" + std::to_string(++files_), size);
    return only_node(apply(*store_, kRootNode, listing, false));
  }
  void reopen() {
    store_.reset();
    store_ = open_store(tmp_.path());
  }
  std::string slabs() const { return tmp_.path() + "/slabs"; }
  std::string blocks() const { return tmp_.path() + "/blocks"; }
  static std::vector<Replica::FinishedContent> finished(NodeId node, std::unique_ptr<ContentWriter> writer,
                                                        uint64_t size) {
    std::vector<Replica::FinishedContent> out(1);
    out[0].node = node;
    out[0].writer = std::move(writer);
    out[0].size = size;
    return out;
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  int files_ = 0;
};

}  // namespace rsyncfs
