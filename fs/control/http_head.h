// SPDX-License-Identifier: GPL-3.0-or-later
// As much of HTTP/1.1 as the metrics page needs. Source: RFC 9112.
#pragma once

#include <string>
#include <string_view>

namespace rsyncfs {

// What is asked for, from the head of a request.
struct HttpRequest {
  int refusal = 0;  // the status to refuse it with; 0: it is to be answered
  bool head_only = false;
};
// `head`: all before the empty line.
HttpRequest parse_http_request(std::string_view head);
std::string_view http_reason(int status);  // "OK", "Not Found", ...
// With its header; `body` is left out where `head_only`, not its length.
std::string http_answer(int status, std::string_view content_type, std::string_view body, bool head_only);

}  // namespace rsyncfs
