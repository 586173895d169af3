// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/blocking_pull.h"

namespace rsyncfs::support {

void MemorySink::add(uint64_t offset, std::span<const std::byte> bytes) {
  if (!any_) first_offset = offset;
  any_ = true;
  if (offset != first_offset + data.size()) gap = true;
  data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<void> MemorySink::literal(uint64_t offset, std::span<const std::byte> bytes) {
  if (fail_with) return *fail_with;
  literal_bytes += bytes.size();
  add(offset, bytes);
  return {};
}

Result<std::span<const std::byte>> MemorySink::copy(uint64_t offset, uint64_t basis_offset, uint32_t length) {
  if (basis_offset + length > basis_.size()) return Error(Errc::kCorrupt, "a copy beyond the basis");
  const auto bytes = std::as_bytes(std::span(basis_)).subspan(basis_offset, length);
  copied_bytes += length;
  add(offset, bytes);
  return bytes;
}

void MemorySink::done(FileEnd file_end) {
  RSYNCFS_CHECK(!end.has_value());
  end = std::move(file_end);
}

BlockingPull::BlockingPull(PullConfig config, BlockingPullOptions options) : options_(std::move(options)) {
  session_ = std::make_unique<PullSession>(std::move(config), *this, options_.limits);
}

void BlockingPull::attach(std::unique_ptr<PeerConnection> connection) {
  connection_ = std::move(connection);
  connection_->read_size = options_.read_size;
  connection_->record = options_.record;
}

std::unique_ptr<BlockingPull> BlockingPull::over_tcp(uint16_t port, PullConfig config,
                                                     BlockingPullOptions options) {
  std::unique_ptr<BlockingPull> pull(new BlockingPull(std::move(config), std::move(options)));
  pull->attach(PeerConnection::over_tcp(port));
  return pull;
}

std::unique_ptr<BlockingPull> BlockingPull::over_pipe(const std::string& program, PullConfig config,
                                                      BlockingPullOptions options) {
  config.peer = PeerKind::kShell;
  std::vector<std::string> argv = {program};
  for (std::string& argument : shell_arguments(config)) argv.push_back(std::move(argument));
  if (options.edit_arguments) options.edit_arguments(argv);
  std::unique_ptr<BlockingPull> pull(new BlockingPull(std::move(config), std::move(options)));
  pull->attach(PeerConnection::over_pipe(argv));
  return pull;
}

void without_negotiation(std::vector<std::string>& arguments) {
  for (std::string& argument : arguments) {
    const size_t at = argument.find("e.LsfxCIvu");
    if (at != std::string::npos) argument.replace(at, std::string::npos, "e.Lsf");
  }
  arguments.insert(arguments.begin() + 1, "--protocol=31");
}

void BlockingPull::on_list(const FileList& /*list*/) {
  RSYNCFS_CHECK(!listed);
  listed = true;
}

void BlockingPull::on_page(ListPage page) {
  pages.push_back(std::move(page));
  if (turn_at_once) session_->turn_pages();
}

void BlockingPull::on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) {
  xattrs[ndx] = std::move(values);
}

Result<void> BlockingPull::send_some() {
  return connection_->send_some(session_->output());
}

Result<void> BlockingPull::pump_for(std::chrono::milliseconds time) {
  const auto limit = std::exchange(options_.limit, time);
  auto pumped = pump_until([] { return false; });
  options_.limit = limit;
  return pumped;
}

Result<void> BlockingPull::pump_until(const std::function<bool()>& condition) {
  const SessionCalls calls{
      .output = [this]() -> ByteQueue& { return session_->output(); },
      .receive = [this](std::span<const std::byte> data) { return session_->receive(data); },
      .end_of_input = [this] { return session_->end_of_input(); },
  };
  auto pumped = connection_->pump_until(calls, condition, options_.limit);
  bytes_received = connection_->bytes_received;
  bytes_sent = connection_->bytes_sent;
  return pumped;
}

Result<void> BlockingPull::wait_for_list() {
  return pump_until([this] { return listed; });
}

Result<void> BlockingPull::wait_for_pages() {
  return pump_until([this] { return pages_ended; });
}

Result<MemorySink> BlockingPull::fetch(uint32_t ndx, const std::string& basis, uint32_t block_length) {
  MemorySink sink(basis);
  const BlockSums sums = make_block_sums(std::as_bytes(std::span(basis)), session_->checksum(),
                                         session_->checksum_seed(), block_length);
  session_->request_file(ndx, sums, sink);
  if (auto pumped = pump_until([&] { return sink.end.has_value(); }); !pumped.ok()) return pumped.error();
  return sink;
}

Result<MemorySink> BlockingPull::fetch(const std::string& path) {
  const auto ndx = list().find(path);
  if (!ndx) return Error(Errc::kNotFound, path + " is not in the list");
  return fetch(*ndx);
}

Result<std::vector<std::pair<std::string, std::string>>> BlockingPull::fetch_xattrs(uint32_t ndx) {
  xattrs.erase(ndx);
  if (!session_->request_xattrs(ndx)) return Error(Errc::kCanceled, "given before in this session");
  if (auto pumped = pump_until([&] { return xattrs.contains(ndx); }); !pumped.ok()) return pumped.error();
  return xattrs[ndx];
}

Result<void> BlockingPull::finish() {
  session_->finish();
  auto pumped = pump_until([this] { return connection_->at_end(); });
  if (!pumped.ok()) return pumped;
  if (session_->state() != PullState::kEnded)
    return Error(Errc::kProtocol, "the session did not end in order");
  return {};
}

}  // namespace rsyncfs::support
