// SPDX-License-Identifier: GPL-3.0-or-later
// Files of the store that were cut, lost or overwritten: an Error, or contents that count as absent; never a
// crash.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/database.h"
#include "tests/replica/replica_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int kFiles = 200;

struct Stored {
  NodeId node;
  std::vector<std::byte> bytes;
};

// A store with small and large contents; a partial one is the last.
std::vector<Stored> make_store(const std::string& directory) {
  const auto store = open_store(directory);
  Listing listing;
  for (int i = 0; i < kFiles; ++i)
    listing.file("file" + std::to_string(1000 + i), i % 10 == 0 ? 100000 : 3000);
  std::vector<Stored> out;
  for (const NodeId node : apply(*store, kRootNode, listing).nodes) {
    out.push_back({node, known_bytes(node, must(store->node(node)).attr.size)});
    if (out.size() < kFiles) store_content(*store, node, out.back().bytes);
  }
  out.back().bytes = known_bytes(99, 100000);
  auto writer = must(store->create_content(out.back().node, 100000));
  must(writer->write(0, std::span(out.back().bytes).subspan(0, 50000)));
  must(writer->commit_partial());
  return out;
}

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// What is there has the right bytes; returns how many contents are not.
size_t absent(Replica& store, const std::vector<Stored>& all) {
  size_t out = 0;
  for (const Stored& one : all) {
    const auto content = store.content(one.node);
    EXPECT_TRUE(content.ok()) << content.error().message();
    if (!content || *content == nullptr) {
      ++out;
      continue;
    }
    for (const auto& range : (*content)->extents().ranges()) {
      const auto view = (*content)->view(range.begin, range.end - range.begin);
      EXPECT_TRUE(
          std::equal(view->begin(), view->end(), one.bytes.begin() + static_cast<int64_t>(range.begin)));
    }
  }
  return out;
}

// Everything can be fetched again, and then is there.
void refetch(Replica& store, const std::vector<Stored>& all) {
  for (const Stored& one : all) {
    const auto content = must(store.content(one.node));
    if (content == nullptr || !content->complete()) store_content(store, one.node, one.bytes);
  }
  EXPECT_EQ(absent(store, all), 0U);
  must(store.check());
}

TEST(Damage, CutSlabsAreFetchedAgain) {
  const TemporaryDirectory tmp;
  const auto all = make_store(tmp.path());
  for (const auto& file : files_in(tmp.path() + "/slabs")) std::filesystem::resize_file(file, 100000);
  const auto store = open_store(tmp.path());
  EXPECT_GT(absent(*store, all), 100U);
  refetch(*store, all);
}

TEST(Damage, LostSlabsAreFetchedAgain) {
  const TemporaryDirectory tmp;
  const auto all = make_store(tmp.path());
  for (const auto& file : files_in(tmp.path() + "/slabs")) std::filesystem::remove(file);
  auto store = open_store(tmp.path());
  EXPECT_EQ(absent(*store, all), 179U);
  refetch(*store, all);
  store.reset();
  store = open_store(tmp.path());
  EXPECT_EQ(absent(*store, all), 0U);
}

TEST(Damage, CutAndLostBlockFilesAreFetchedAgain) {
  const TemporaryDirectory tmp;
  const auto all = make_store(tmp.path());
  const auto files = files_in(tmp.path() + "/blocks");
  ASSERT_EQ(files.size(), 21U);
  for (size_t i = 0; i < files.size(); ++i) {
    if (i % 2 == 0) {
      std::filesystem::resize_file(files[i], 10000);
    } else {
      std::filesystem::remove(files[i]);
    }
  }
  auto store = open_store(tmp.path());
  // A partial one is not gone on with.
  EXPECT_TRUE(must(store->resume_content(all.back().node, 100000))->extents().ranges().empty());
  EXPECT_EQ(absent(*store, all), 21U);
  refetch(*store, all);
}

TEST(Damage, MeaninglessRowsAreFetchedAgain) {
  const TemporaryDirectory tmp;
  const auto all = make_store(tmp.path());
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(
        db->execute("UPDATE contents SET extents=x'ffffff' WHERE node%5=0;"
                    "UPDATE contents SET position=67108864 WHERE slab<>0 AND node%5=1;"
                    "UPDATE contents SET slab=77 WHERE slab<>0 AND node%5=2;"
                    "UPDATE contents SET size=size+1000000000000 WHERE node%5=3;"));
  }
  auto store = open_store(tmp.path());
  size_t expected = 0;
  for (const Stored& one : all) {
    const bool in_slab = one.bytes.size() == 3000;
    expected += one.node % 5 == 0 || one.node % 5 == 3 || (one.node % 5 != 4 && in_slab);
  }
  EXPECT_EQ(absent(*store, all), expected);
  for (const Stored& one : all) {
    const auto content = must(store->content(one.node));
    if (content == nullptr || !content->complete()) store_content(*store, one.node, one.bytes);
  }
  EXPECT_EQ(absent(*store, all), 0U);
}

TEST(Damage, ACutDatabaseIsAnError) {
  const TemporaryDirectory tmp;
  make_store(tmp.path());
  const std::string file = tmp.path() + "/store.db";
  const auto whole = std::filesystem::file_size(file);
  const std::string copy = tmp.path() + "/copy";
  std::filesystem::copy_file(file, copy);
  for (uintmax_t size = 0; size < whole; size += whole / 17 + 1) {
    std::filesystem::copy_file(copy, file, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(file, size);
    auto store = Replica::open({.directory = tmp.path(), .source = "rsync://test/module"});
    if (size == 0) {
      // Nothing is as good as new.
      EXPECT_TRUE(store.ok());
      continue;
    }
    if (!store) {
      EXPECT_EQ(store.error().code(), Errc::kCorrupt) << store.error().message();
      continue;
    }
    EXPECT_FALSE((*store)->check().ok()) << size;
  }
}

// Whatever the bytes of the database are: answers or Errors.
TEST(Damage, AnOverwrittenDatabaseNeverCrashes) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  const TemporaryDirectory original;
  const auto all = make_store(original.path());
  const TemporaryDirectory tmp;
  const std::string file = tmp.path() + "/store.db";
  size_t errors = 0;
  uint64_t touched = 0;
  for (int round = 0; round < 24; ++round) {
    for (const auto& entry : std::filesystem::directory_iterator(tmp.path())) {
      std::filesystem::remove_all(entry);
    }
    std::filesystem::copy(original.path(), tmp.path(), std::filesystem::copy_options::recursive);
    {
      std::fstream bytes(file, std::ios::binary | std::ios::in | std::ios::out);
      const auto size = std::filesystem::file_size(file);
      for (uint64_t i = 1 + random() % (round % 2 == 0 ? 5 : 200); i > 0; --i) {
        bytes.seekp(static_cast<std::streamoff>(random() % size));
        bytes.put(static_cast<char>(random()));
      }
    }
    auto opened = Replica::open({.directory = tmp.path(), .source = "rsync://test/module"});
    if (!opened) {
      ++errors;
      continue;
    }
    Replica& store = **opened;
    errors += !store.check().ok();
    for (const Stored& one : all) {
      errors += !store.node(one.node).ok();
      errors += !store.content_state(one.node).ok();
      errors += !store.path_of(one.node).ok();
      static_cast<void>(store.xattrs(one.node));
      const auto content = store.content(one.node);
      if (content && *content != nullptr) {
        // The bytes may be those of another place, but they are there.
        const auto view = (*content)->view(0, (*content)->size());
        for (size_t i = 0; view && i < view->size(); i += 512)
          touched += std::to_integer<uint64_t>((*view)[i]);
      }
    }
    errors += !store.list(kRootNode, [](std::string_view, const Node&) {}).ok();
    Listing listing;
    for (int i = 0; i < kFiles; i += 2) listing.file("file" + std::to_string(1000 + i), 5);
    auto batch = store.begin();
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    if (batch && (*batch)->apply_directory(kRootNode, listing.take(), true, groups, nodes)) {
      static_cast<void>((*batch)->commit());
    }
    if (batch) batch->reset();
    static_cast<void>(store.purge_orphans(1000));
  }
  EXPECT_GT(errors, 0U);
  EXPECT_GT(touched, 0U);
}

}  // namespace
}  // namespace rsyncfs
