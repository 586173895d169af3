// SPDX-License-Identifier: GPL-3.0-or-later
// What somebody may have meant who typed a word that nobody knows.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rsyncfs {

// The known word that resembles it most; "" if none does.
std::string nearest_word(std::string_view word, std::span<const std::string_view> known);

}  // namespace rsyncfs
