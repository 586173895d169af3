// SPDX-License-Identifier: GPL-3.0-or-later
// A callable that is moved, never copied: completions and replies own what they capture.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "io/base/result.h"

namespace rsyncfs {

template <class Signature>
class UniqueFunction;

// Calling an empty one is a programmer error and aborts.
template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  UniqueFunction(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)
  template <class F>
  requires(!std::is_same_v<F, UniqueFunction> && std::is_invocable_r_v<R, F&, Args...>)
      UniqueFunction(F callable)  // NOLINT(google-explicit-constructor)
      : callable_(std::make_unique<Holder<F>>(std::move(callable))) {}

  explicit operator bool() const { return callable_ != nullptr; }
  R operator()(Args... args) {
    RSYNCFS_CHECK(callable_ != nullptr);
    return callable_->call(std::forward<Args>(args)...);
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual R call(Args... args) = 0;
  };
  template <class F>
  struct Holder final : Base {
    explicit Holder(F&& callable) : f(std::move(callable)) {}
    R call(Args... args) override { return f(std::forward<Args>(args)...); }
    F f;
  };
  std::unique_ptr<Base> callable_;
};

}  // namespace rsyncfs
