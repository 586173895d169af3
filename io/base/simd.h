// SPDX-License-Identifier: GPL-3.0-or-later
// Functions that exist once for each vector unit, beside a scalar twin that says what is right.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "io/base/log.h"

namespace rsyncfs {

// `variants`: what this processor can run, the fastest first and the scalar twin last. A Variant has a
// `name`. `agrees` compares one with the twin on fixed data. A processor that computes one of them wrongly is
// trusted with none: then the twin is used, and a warning says so.
template <typename Variant>
const Variant& choose_variant(std::string_view what, std::span<const Variant* const> variants,
                              bool (*agrees)(const Variant& variant, const Variant& twin)) {
  const Variant& twin = *variants.back();
  for (const Variant* variant : variants.first(variants.size() - 1)) {
    if (agrees(*variant, twin)) continue;
    log_warn(std::string(what) + ": this processor computes wrong sums with " + variant->name +
             "; the scalar code is used instead");
    return twin;
  }
  return *variants.front();
}

}  // namespace rsyncfs
