// SPDX-License-Identifier: GPL-3.0-or-later
// Files, directories and symbolic links that users made just now. What programs do by the thousand - make a
// small file, write it, set its attributes - goes to the journal and to memory only, and is recorded in the
// database later, many files in one transaction. Whatever else begins a transaction finds all of it recorded
// (Backlog), and whoever reads the database otherwise than by find() has settle() done first.
//
// One batch takes changes; another, which nobody changes any more, is being recorded, or there is none. Each
// has a journal file of its own, which begins anew when the batch is in the database.
//
// Locks, in this order: the Writer, filing_, mutex_.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/block_files.h"
#include "sync/replica/journal.h"
#include "sync/replica/journal_records.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/new_file_rows.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it. Any thread.
class NewFiles final : public Backlog {
 public:
  NewFiles(const StateDirectory& directory, Writer& writer, ReadPool& reads, BlockFiles& blocks)
      : directory_(directory), writer_(writer), reads_(reads), blocks_(blocks) {}
  ~NewFiles() override { finish(); }

  // Before it is used: records what a killed process left. `same_boot`: the journal is what it wrote.
  Result<void> recover(bool same_boot);
  // From now on it takes changes.
  void start();
  // Records all, and takes no more.
  void finish();

  // As the methods of LocalChanges. nullopt: it is not for us, and go the long way; after settle() if has().
  std::optional<Node> create(NodeId parent, std::string_view name, const NewNode& wanted);
  std::optional<Node> write(NodeId file, uint64_t offset, std::span<const std::byte> data);
  std::optional<Node> change_attributes(NodeId node, const AttributeChange& change);

  // nullopt: the database has it, if there is such a node.
  std::optional<Node> find(NodeId node) const;
  // The same of a name; `nowhere`: it does not exist, and the database need not be asked.
  std::optional<Node> find(NodeId parent, std::string_view name, bool& nowhere) const;
  bool has(NodeId node) const;
  // The database has all that there was at the call. With a transaction there is nothing that it has not.
  Result<void> settle();

  Result<void> close() override;
  void open() override;

 private:
  using Batch = NewFileBatch;

  // ---- with mutex_ ----
  bool takes(size_t bytes) const;
  bool takes_another();
  bool has_room() const;
  NewFile* changeable(NodeId node);
  const NewFile* known(NodeId node) const;
  // Null: there is none in which something could be made.
  const Node* directory(NodeId id);
  bool is_free(NodeId parent, std::string_view name) const;
  // To the journal, then to memory. False: neither.
  bool note(const JournalRecord& record);
  Result<void> perform(const JournalRecord& record);
  Result<void> perform(const MadeRecord& made);
  Result<void> perform(const WrittenRecord& written);
  Result<void> perform(const AttributesRecord& attributes);
  // recording_ becomes what was taken up to now.
  void pass_on();
  void call();

  // ---- recording; `held`: the writer is, and the backlog is closed ----
  void run();
  Result<void> replay();
  Result<void> set_aside(uint64_t recovered);
  Result<std::unique_ptr<Transaction>> begin(bool held);
  Result<void> take_numbers(bool held);
  Result<void> file_bytes();       // with filing_
  Result<void> record(bool held);  // with the writer if `held`
  bool has_work(bool all);

  const StateDirectory& directory_;
  Writer& writer_;
  ReadPool& reads_;
  BlockFiles& blocks_;
  std::mutex filing_;  // held by the one who makes the block files of recording_, or records it
  std::atomic<bool> something_{false};  // there is something to be found here
  mutable std::mutex mutex_;
  std::array<std::optional<JournalFile>, 2> journal_;  // guarded by mutex_
  size_t taking_journal_ = 0;                          // guarded by mutex_
  Batch taking_;                                       // guarded by mutex_
  Batch recording_;  // guarded by mutex_; while it is not empty, only its block files change, with filing_
  // Directories in which something was made, as they are now. Good while nobody else changes any.
  std::unordered_map<NodeId, Node> directories_;  // guarded by mutex_
  bool started_ = false;                          // guarded by mutex_
  bool closed_ = false;                           // guarded by mutex_
  bool ending_ = false;                           // guarded by mutex_
  bool work_ = false;                             // guarded by mutex_
  uint64_t next_entry_ = 1;                       // guarded by mutex_
  // Numbers that are ours, and that the database knows to be taken.
  NumberRange node_ids_;     // guarded by mutex_
  NumberRange block_files_;  // with filing_
  std::condition_variable work_wanted_;
  std::thread thread_;
};

}  // namespace rsyncfs
