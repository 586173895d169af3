// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/auth.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include <openssl/evp.h>

#include "io/base/text.h"
#include "sync/rsync/md4.h"

namespace rsyncfs {

namespace {

constexpr std::string_view kPrefix = "@RSYNCD: ";
constexpr std::array<std::string_view, 5> kDigests = {"sha512", "sha256", "sha1", "md5", "md4"};
constexpr int kMinProtocol = 30;
constexpr int kMaxBelievableProtocol = 100;

std::string base64_unpadded(std::span<const unsigned char> data) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const unsigned char byte : data) {
    bits = bits << 8 | byte;
    count += 8;
    while (count >= 6) {
      count -= 6;
      out += kAlphabet[bits >> count & 0x3f];
    }
  }
  if (count > 0) out += kAlphabet[bits << (6 - count) & 0x3f];
  return out;
}

bool take_number(std::string_view& text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

}  // namespace

Result<DaemonGreeting> parse_daemon_greeting(std::string_view line) {
  const auto bad = [&](const char* what) {
    return Error(Errc::kProtocol, std::string(what) + ": \"" + escape_control(line.substr(0, 200)) + "\"");
  };
  if (!line.starts_with(kPrefix)) return bad("not an rsync daemon's greeting");
  std::string_view rest = line.substr(kPrefix.size());
  DaemonGreeting greeting;
  if (!take_number(rest, greeting.protocol) || greeting.protocol < 0)
    return bad("no protocol in the daemon's greeting");
  if (greeting.protocol > kMaxBelievableProtocol)
    return bad("an impossible protocol in the daemon's greeting");
  if (greeting.protocol < kMinProtocol) {
    return Error(Errc::kUnsupported, "the server speaks rsync protocol " + std::to_string(greeting.protocol) +
                                         "; 30 (rsync 3.0) or later is needed");
  }
  if (!rest.starts_with('.')) return bad("no subprotocol in the daemon's greeting");
  rest.remove_prefix(1);
  if (!take_number(rest, greeting.subprotocol)) return bad("no subprotocol in the daemon's greeting");
  if (rest.starts_with(' ')) {
    greeting.names_digests = true;
    greeting.digests = split_words(rest);
  } else if (!rest.empty()) {
    return bad("not an rsync daemon's greeting");
  }
  return greeting;
}

std::string client_greeting(int protocol) {
  std::string out(kPrefix);
  out += std::to_string(protocol) + ".0";
  for (const std::string_view digest : kDigests) {
    out += ' ';
    out += digest;
  }
  return out + "\n";
}

int negotiated_protocol(const DaemonGreeting& server, int max_protocol) {
  if (max_protocol < server.protocol) return max_protocol;
  return server.subprotocol == 0 ? server.protocol : server.protocol - 1;
}

Result<std::string_view> choose_auth_digest(const DaemonGreeting& server) {
  if (!server.names_digests) return std::string_view("md5");
  for (const std::string_view ours : kDigests) {
    if (std::find(server.digests.begin(), server.digests.end(), ours) != server.digests.end()) return ours;
  }
  return Error(Errc::kUnsupported, "the server accepts none of our login digests");
}

Result<std::string> auth_response(std::string_view digest, std::string_view password,
                                  std::string_view challenge) {
  const std::string text = std::string(password) + std::string(challenge);
  if (digest == "md4") {
    Md4 md4;
    md4.update(std::as_bytes(std::span(text.data(), text.size())));
    const auto raw = md4.finish();
    return base64_unpadded({reinterpret_cast<const unsigned char*>(raw.data()), raw.size()});
  }
  const EVP_MD* md = digest == "sha512"   ? EVP_sha512()
                     : digest == "sha256" ? EVP_sha256()
                     : digest == "sha1"   ? EVP_sha1()
                     : digest == "md5"    ? EVP_md5()
                                          : nullptr;
  if (md == nullptr) return Error(Errc::kUnsupported, "unknown login digest \"" + std::string(digest) + "\"");
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), raw.data(), &size, md, nullptr) != 1) {
    return Error(Errc::kUnsupported, "OpenSSL cannot compute " + std::string(digest));
  }
  return base64_unpadded(std::span(raw.data(), size));
}

}  // namespace rsyncfs
