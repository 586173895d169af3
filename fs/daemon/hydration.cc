// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/hydration.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {
namespace {

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

// A part of one directory's names.
struct Hydration::Page {
  Directory directory;
  bool last = false;
  std::vector<File> missing;
  std::vector<Directory> directories;
  uint64_t present_files = 0;
  uint64_t present_bytes = 0;
};

void Hydration::add_node(const Node& node, const std::string& path) {
  if (S_ISDIR(node.attr.mode)) {
    directories_.push_back({node.id, path, "", false});
  } else if (S_ISREG(node.attr.mode)) {
    add_file({node.id, node.attr.size, path});
  } else {
    fail(path, Error(Errc::kUsage, "not a file or directory"));
  }
}

void Hydration::pump() {
  if (pumping_) return;  // an answer that came at once: the loop below goes on with it
  pumping_ = true;
  while (!over_ && in_flight_.size() < max_in_flight_ && !queued_.empty()) {
    File file = std::move(queued_.front());
    queued_.pop_front();
    fetch(std::move(file));
  }
  pumping_ = false;
  if (over_ || expanding_ || queued_.size() >= kMaxQueuedFiles) return;
  if (!directories_.empty()) return expand_next_directory();
  if (!paths_.empty()) return walk_next_path();
  if (!queued_.empty() || !in_flight_.empty()) return;
  over_ = true;
  listener_.over(progress_);
}

void Hydration::walk_next_path() {
  expanding_ = true;
  std::string path = std::move(paths_.front());
  paths_.pop_front();
  walk_ = std::make_shared<PathWalk>(context_, path, /*follow_last=*/true,
                                     [self = shared_from_this(), path](Result<Node> node) {
                                       self->walk_ = nullptr;
                                       self->expanding_ = false;
                                       if (node) {
                                         self->add_node(*node, path);
                                       } else {
                                         self->fail(path, node.error());
                                       }
                                       self->pump();
                                     });
  walk_->start();
}

void Hydration::expand_next_directory() {
  expanding_ = true;
  Directory directory = std::move(directories_.back());
  directories_.pop_back();
  if (directory.listed) return read_page(std::move(directory));
  directory.listed = true;
  context_.offload.run(
      [context = context_, id = directory.node]() -> Result<bool> {
        const Result<Node> node = context.replica.node(id);
        if (!node) return node.error();
        return context.syncer.may_answer_listing(*node);
      },
      [self = shared_from_this(), directory](const Result<bool>& known) {
        if (self->over_) return;
        const auto done = [self, directory](const Result<void>& listed) {
          self->listing_ = 0;
          if (self->over_) return;
          if (listed) return self->read_page(directory);
          self->expanding_ = false;
          self->fail(directory.path, listed.error());
          self->pump();
        };
        if (!known) return done(known.error());
        if (*known) return done({});
        self->listing_ = self->context_.syncer.list_directory(directory.node, done);
      });
}

void Hydration::read_page(Directory directory) {
  const std::string path = directory.path;
  context_.offload.run(
      [context = context_, directory = std::move(directory)] { return page_of(context, directory); },
      [self = shared_from_this(), path](Result<Page> page) {
        if (self->over_) return;
        self->expanding_ = false;
        if (page) {
          self->on_page(std::move(page.value()));
        } else {
          self->fail(path, page.error());
        }
        self->pump();
      });
}

Result<Hydration::Page> Hydration::page_of(const WalkContext& context, Directory directory) {
  const auto names = context.replica.list_after(directory.node, directory.after, kPageEntries);
  if (!names) return names.error();
  Page page;
  page.last = names->size() < kPageEntries;
  for (const auto& [entry, node] : *names) {
    const std::string path = join(directory.path, entry.name);
    directory.after = entry.name;
    if (S_ISDIR(node.attr.mode)) page.directories.push_back({node.id, path, "", false});
    if (!S_ISREG(node.attr.mode)) continue;
    const Result<ContentState> state = context.replica.content_state(node.id);
    if (!state) return state.error();
    // What the source does not have is all here.
    if (state->complete || node.attr.size == 0 || (node.differences & kAbsentAtSource) != 0) {
      ++page.present_files;
      page.present_bytes += node.attr.size;
    } else {
      page.missing.push_back({node.id, node.attr.size, path});
    }
  }
  page.directory = std::move(directory);
  return page;
}

void Hydration::on_page(Page page) {
  if (!page.last) directories_.push_back(std::move(page.directory));
  for (Directory& directory : page.directories) directories_.push_back(std::move(directory));
  progress_.files_total += page.present_files;
  progress_.files_done += page.present_files;
  progress_.bytes_total += page.present_bytes;
  progress_.bytes_done += page.present_bytes;
  for (File& file : page.missing) add_file(std::move(file));
}

void Hydration::add_file(File file) {
  ++progress_.files_total;
  progress_.bytes_total += file.size;
  queued_.push_back(std::move(file));
}

void Hydration::fetch(File file) {
  const uint64_t ticket = ++last_ticket_;
  in_flight_[ticket] = 0;
  ++in_flight_paths_[file.path];
  const NodeId node = file.node;
  const RequestId request = context_.syncer.hydrate(
      node, [self = shared_from_this(), ticket, file = std::move(file)](const Result<void>& outcome) {
        self->on_fetched(ticket, file, outcome);
      });
  if (const auto entry = in_flight_.find(ticket); entry != in_flight_.end()) entry->second = request;
}

void Hydration::on_fetched(uint64_t ticket, const File& file, const Result<void>& outcome) {
  in_flight_.erase(ticket);
  if (const auto path = in_flight_paths_.find(file.path);
      path != in_flight_paths_.end() && --path->second == 0) {
    in_flight_paths_.erase(path);
  }
  if (over_) return;
  if (outcome) {
    ++progress_.files_done;
    progress_.bytes_done += file.size;
  } else {
    fail(file.path, outcome.error());
  }
  pump();
}

void Hydration::fail(const std::string& path, const Error& error) {
  ++progress_.files_failed;
  if (!over_) listener_.failed(path, error);
}

JobProgress Hydration::progress(const SyncerStatus& status) const {
  JobProgress now = progress_;
  for (const TransferStatus& transfer : status.transfers) {
    if (in_flight_paths_.contains(transfer.path)) now.bytes_done += transfer.done_bytes;
  }
  now.counting = expanding_ || !directories_.empty() || !paths_.empty();
  return now;
}

void Hydration::cancel() {
  over_ = true;
  if (walk_) walk_->cancel();
  walk_ = nullptr;
  if (listing_ != 0) context_.syncer.cancel(listing_);
  for (const auto& [ticket, request] : in_flight_) context_.syncer.cancel(request);
}

}  // namespace rsyncfs
