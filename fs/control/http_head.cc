// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/http_head.h"

namespace rsyncfs {

std::string_view http_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Service Unavailable";
  }
}

HttpRequest parse_http_request(std::string_view head) {
  std::string_view line = head.substr(0, head.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return {.refusal = 400};
  const std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view protocol = line.substr(last + 1);
  if (!protocol.starts_with("HTTP/")) return {.refusal = 400};
  if (!protocol.starts_with("HTTP/1.")) return {.refusal = 505};
  if (method != "GET" && method != "HEAD") return {.refusal = 405};
  target = target.substr(0, target.find('?'));
  if (target != "/metrics") return {.refusal = 404, .head_only = method == "HEAD"};
  return {.head_only = method == "HEAD"};
}

std::string http_answer(int status, std::string_view content_type, std::string_view body, bool head_only) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(http_reason(status)).append("\r\nContent-Type: ").append(content_type);
  out.append("\r\nContent-Length: ").append(std::to_string(body.size()));
  if (status == 405) out.append("\r\nAllow: GET, HEAD");
  out.append("\r\nConnection: close\r\n\r\n");
  if (!head_only) out.append(body);
  return out;
}

}  // namespace rsyncfs
