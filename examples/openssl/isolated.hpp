// A cipher context whose key is in guests only, in two forms: each operation a call of its own, or
// all of them in one session.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <guests/cipher.hpp>
#include <guests/cipher/cipher.hpp>
#include <virtine/virtine.hpp>

namespace isolated {

using bytes = std::span<std::byte>;
using cipher::operation;
using cipher::sealed_state;

/// The most text of one operation: what the image has room for, besides the rest of a call.
inline constexpr std::size_t text_max = 64 << 10;

/// What all contexts of a provider share. The pool holds the snapshot, and with it the key that
/// opens sealed states, for as long as this lives.
struct machines {
  virtine::pool<guests::cipher> pool{{.max = 1024}};
  virtine::virtine_fn<sealed_state(sealed_state, operation, bytes), guests::cipher::step_sealed>
      step_sealed{pool};
  virtine::virtine_fn<void(operation, bytes), guests::cipher::step> step{pool};
};

class context {
 public:
  explicit context(std::shared_ptr<machines> uses) : machines_(std::move(uses)) {}
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  virtual ~context() = default;

  /// Does an operation on `text`, of text_max bytes at most.
  virtual virtine::result<void> run(operation what, bytes text) = 0;

  /// Returns another context that is as this one is.
  virtual virtine::result<std::unique_ptr<context>> copy() = 0;

 protected:
  std::shared_ptr<machines> machines_;
};

/// Each operation finds a fresh machine. Between two of them, the context is nowhere but here,
/// sealed, and the only machines that can open it are those of these `machines`.
class by_calls final : public context {
 public:
  using context::context;

  virtine::result<void> run(operation what, bytes text) override {
    auto next = machines_->step_sealed.try_call(state_, what, text);
    if (!next) return next.error();
    state_ = *next;
    return {};
  }

  virtine::result<std::unique_ptr<context>> copy() override {
    auto made = std::make_unique<by_calls>(machines_);
    made->state_ = state_;
    return std::unique_ptr<context>(std::move(made));
  }

 private:
  sealed_state state_;
};

/// One machine has the context to itself, until it is wiped with the context.
class in_session final : public context {
 public:
  explicit in_session(std::shared_ptr<machines> uses)
      : context(std::move(uses)), step_(machines_->step) {}

  virtine::result<void> run(operation what, bytes text) override {
    return step_.try_call(what, text);
  }

  virtine::result<std::unique_ptr<context>> copy() override {
    std::array<sealed_state, 1> state;
    const bytes text = std::as_writable_bytes(std::span(state));
    if (auto sealed = run(operation::seal, text); !sealed) return sealed.error();
    auto made = std::make_unique<in_session>(machines_);
    if (auto done = made->run(operation::unseal, text); !done) return done.error();
    return std::unique_ptr<context>(std::move(made));
  }

 private:
  virtine::session<void(operation, bytes), guests::cipher::step> step_;
};

}  // namespace isolated
