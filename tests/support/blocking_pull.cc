// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/blocking_pull.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tests/support/setup_failure.h"

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

BlockingPull::~BlockingPull() {
  close();
}

void BlockingPull::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::unique_ptr<BlockingPull> BlockingPull::over_tcp(uint16_t port, PullConfig config,
                                                     BlockingPullOptions options) {
  std::unique_ptr<BlockingPull> pull(new BlockingPull(std::move(config), std::move(options)));
  pull->fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (pull->fd_ < 0 || connect(pull->fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    fail_setup_errno("connecting to 127.0.0.1:" + std::to_string(port));
  }
  fcntl(pull->fd_, F_SETFL, O_NONBLOCK);
  return pull;
}

std::unique_ptr<BlockingPull> BlockingPull::over_pipe(const std::string& program, PullConfig config,
                                                      BlockingPullOptions options) {
  config.peer = PeerKind::kShell;
  std::vector<std::string> argv = {program};
  for (std::string& argument : shell_arguments(config)) argv.push_back(std::move(argument));
  if (options.edit_arguments) options.edit_arguments(argv);
  std::unique_ptr<BlockingPull> pull(new BlockingPull(std::move(config), std::move(options)));
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) fail_setup_errno("socketpair");
  ProcessOptions process;
  process.stdin_fd = fds[1];
  process.stdout_fd = fds[1];
  pull->fd_ = fds[0];
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  pull->server_ = std::make_unique<ChildProcess>(argv, process);
  ::close(fds[1]);
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

void BlockingPull::on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) {
  xattrs[ndx] = std::move(values);
}

Result<void> BlockingPull::send_some() {
  ByteQueue& output = session_->output();
  while (!output.empty()) {
    const auto bytes = output.readable();
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    // The peer's last words may still be there to be read.
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      output.consume(output.size());
      return {};
    }
    if (sent < 0) return Error::os(errno, "send");
    bytes_sent += static_cast<uint64_t>(sent);
    output.consume(static_cast<size_t>(sent));
  }
  return {};
}

Result<void> BlockingPull::receive_some() {
  std::vector<std::byte> buffer(256 * 1024);
  const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (size <= 0) {
    at_end_ = true;
    return session_->end_of_input();
  }
  std::span<const std::byte> data(buffer.data(), static_cast<size_t>(size));
  bytes_received += data.size();
  if (options_.record != nullptr)
    options_.record->append(reinterpret_cast<const char*>(data.data()), data.size());
  while (!data.empty()) {
    const auto piece = data.first(std::min(data.size(), options_.read_size));
    data = data.subspan(piece.size());
    if (auto received = session_->receive(piece); !received.ok()) return received;
  }
  return {};
}

Result<void> BlockingPull::pump_until(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + options_.limit;
  while (!condition()) {
    if (at_end_ || fd_ < 0) return Error(Errc::kDisconnected, "the connection has ended");
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error(Errc::kTimedOut, "the server did not answer in time");
    if (auto sent = send_some(); !sent.ok()) return sent;
    pollfd poll_fd{fd_, static_cast<short>(session_->output().empty() ? POLLIN : POLLIN | POLLOUT), 0};
    poll(&poll_fd, 1, static_cast<int>(left.count()));
    if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    if (auto received = receive_some(); !received.ok()) return received;
  }
  return send_some();
}

Result<void> BlockingPull::wait_for_list() {
  return pump_until([this] { return listed; });
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
  auto pumped = pump_until([this] { return at_end_; });
  if (!pumped.ok()) return pumped;
  if (session_->state() != PullState::kEnded)
    return Error(Errc::kProtocol, "the session did not end in order");
  return {};
}

}  // namespace rsyncfs::support
