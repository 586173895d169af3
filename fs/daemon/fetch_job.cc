// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/fetch_job.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {
namespace {

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

// A part of one directory's names.
struct FetchJob::Page {
  Directory directory;
  bool last = false;
  std::vector<File> missing;
  std::vector<Directory> directories;
  uint64_t present_files = 0;
  uint64_t present_bytes = 0;
};

FetchJob::FetchJob(Loop& loop, WalkContext context, std::vector<std::string> paths,
                   std::shared_ptr<ControlReply> reply)
    : loop_(loop), context_(context), paths_(paths.begin(), paths.end()), reply_(std::move(reply)) {}

void FetchJob::start() {
  reply_->on_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->abandon();
  });
  show_progress_later();
  pump();
}

void FetchJob::pump() {
  if (pumping_) return;  // an answer that came at once: the loop below goes on with it
  pumping_ = true;
  while (reply_ && in_flight_.size() < kMaxInFlight && !queued_.empty()) {
    File file = std::move(queued_.front());
    queued_.pop_front();
    fetch(std::move(file));
  }
  pumping_ = false;
  if (!reply_ || expanding_ || queued_.size() >= kMaxQueuedFiles) return;
  if (!directories_.empty()) return expand_next_directory();
  if (!paths_.empty()) return walk_next_path();
  if (queued_.empty() && in_flight_.empty()) end();
}

void FetchJob::walk_next_path() {
  expanding_ = true;
  std::string path = std::move(paths_.front());
  paths_.pop_front();
  walk_ = std::make_shared<PathWalk>(context_, path, /*follow_last=*/true,
                                     [self = shared_from_this(), path](Result<Node> node) {
                                       self->walk_ = nullptr;
                                       self->expanding_ = false;
                                       if (!node) {
                                         self->fail(path, node.error());
                                       } else if (S_ISDIR(node->attr.mode)) {
                                         self->directories_.push_back({node->id, path, "", false});
                                       } else if (S_ISREG(node->attr.mode)) {
                                         self->add_file({node->id, node->attr.size, path});
                                       } else {
                                         self->fail(path, Error(Errc::kUsage, "not a file or directory"));
                                       }
                                       self->pump();
                                     });
  walk_->start();
}

void FetchJob::expand_next_directory() {
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
        if (!self->reply_) return;
        const auto done = [self, directory](const Result<void>& listed) {
          self->listing_ = 0;
          if (!self->reply_) return;
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

void FetchJob::read_page(Directory directory) {
  const std::string path = directory.path;
  context_.offload.run(
      [context = context_, directory = std::move(directory)] { return page_of(context, directory); },
      [self = shared_from_this(), path](Result<Page> page) {
        if (!self->reply_) return;
        self->expanding_ = false;
        if (page) {
          self->on_page(std::move(page.value()));
        } else {
          self->fail(path, page.error());
        }
        self->pump();
      });
}

Result<FetchJob::Page> FetchJob::page_of(const WalkContext& context, Directory directory) {
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
    if (state->complete || node.attr.size == 0) {
      ++page.present_files;
      page.present_bytes += node.attr.size;
    } else {
      page.missing.push_back({node.id, node.attr.size, path});
    }
  }
  page.directory = std::move(directory);
  return page;
}

void FetchJob::on_page(Page page) {
  if (!page.last) directories_.push_back(std::move(page.directory));
  for (Directory& directory : page.directories) directories_.push_back(std::move(directory));
  progress_.files_total += page.present_files;
  progress_.files_done += page.present_files;
  progress_.bytes_total += page.present_bytes;
  progress_.bytes_done += page.present_bytes;
  for (File& file : page.missing) add_file(std::move(file));
}

void FetchJob::add_file(File file) {
  ++progress_.files_total;
  progress_.bytes_total += file.size;
  queued_.push_back(std::move(file));
}

void FetchJob::fetch(File file) {
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

void FetchJob::on_fetched(uint64_t ticket, const File& file, const Result<void>& outcome) {
  in_flight_.erase(ticket);
  if (const auto path = in_flight_paths_.find(file.path);
      path != in_flight_paths_.end() && --path->second == 0) {
    in_flight_paths_.erase(path);
  }
  if (!reply_) return;
  if (outcome) {
    ++progress_.files_done;
    progress_.bytes_done += file.size;
  } else {
    fail(file.path, outcome.error());
  }
  pump();
}

void FetchJob::fail(const std::string& path, const Error& error) {
  if (++progress_.files_failed > kMaxReportedFailures || !reply_) return;
  reply_->send({.kind = ControlAnswer::Kind::kFailedPath, .path = path, .reason = error.message()});
}

void FetchJob::show_progress_later() {
  loop_.run_after(kProgressInterval, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->reply_) return;
    self->context_.syncer.status([self](const SyncerStatus& status) { self->show_progress(status); });
  });
}

void FetchJob::show_progress(const SyncerStatus& status) {
  if (!reply_) return;
  JobProgress now = progress_;
  for (const TransferStatus& transfer : status.transfers) {
    if (in_flight_paths_.contains(transfer.path)) now.bytes_done += transfer.done_bytes;
  }
  now.counting = expanding_ || !directories_.empty() || !paths_.empty();
  reply_->send({.kind = ControlAnswer::Kind::kProgress, .progress = now});
  show_progress_later();
}

void FetchJob::end() {
  const std::shared_ptr<ControlReply> reply = std::move(reply_);
  reply->finish({.kind = ControlAnswer::Kind::kDone, .progress = progress_});
}

void FetchJob::abandon() {
  reply_ = nullptr;
  if (walk_) walk_->cancel();
  walk_ = nullptr;
  if (listing_ != 0) context_.syncer.cancel(listing_);
  for (const auto& [ticket, request] : in_flight_) context_.syncer.cancel(request);
}

}  // namespace rsyncfs
