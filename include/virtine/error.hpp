// What can go wrong, as plain values: a closed list of codes, one error record, one exception.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <virtine/fault.hpp>

#include <virtine/error/granting.hpp>

namespace virtine {

/// Names every way a call can fail. docs/errors.md has a heading for each.
enum class errc : std::uint8_t {
  // The host could not.
  no_kvm = 1,       ///< /dev/kvm is missing, not permitted, or lacks what this library needs.
  os_error,         ///< A system call of the host's failed, an ioctl of KVM's or another.
  machine_failure,  ///< KVM gave an exit that no guest action explains; a host problem.
  host_unfit,       ///< The processor failed on a new machine before the guest's first instruction.
  // The caller asked for what does not fit.
  arguments_too_large,  ///< The arguments need more room than the image reserves.
  out_of_range,         ///< An address range lies outside the guest's memory.
  session_in_use,       ///< A session was called while another call of it was under way.
  snapshot_refused,     ///< A saved snapshot is damaged, or of another image, version or host.
  bad_argument,         ///< A value that a function is called with is not of its type.
  image_refused,        ///< An image file is damaged, too large, or has no such function.
  bad_grant,            ///< A policy cannot have this grant, or not beside another of its grants.
  // The guest did.
  guest_fault,         ///< The guest raised a processor exception; see error::fault.
  hypercall_denied,    ///< The guest made a hypercall that the policy does not allow.
  hypercall_rejected,  ///< The guest passed a hypercall arguments that cannot be accepted.
  bad_reply,           ///< The guest's result is not a value of its type.
  system_call_denied,  ///< The guest made a system call that the policy does not grant.
  exited,              ///< The guest ended itself, by exit(); error::detail is the status.
  // A limit was reached.
  timed_out,        ///< The deadline passed.
  cancelled,        ///< The caller's stop_token was triggered.
  hypercall_limit,  ///< The guest made more hypercalls and system calls than the call allows.
  cpu_limit,        ///< The call used more CPU time than it may.
  pool_exhausted,   ///< Every machine of the pool is in use.
};

/// Whose doing a failure is, and so who can repair it.
enum class blame : std::uint8_t {
  host,    ///< The machine or the system: no other call would do better here.
  caller,  ///< The program that calls: it asked for what cannot be.
  guest,   ///< The guest, by mistake or on purpose.
  limit,   ///< Nobody: a limit that the caller set was reached.
};

/// Returns whose doing a failure with `code` is.
constexpr blame blame_of(errc code) {
  switch (code) {
    case errc::no_kvm:
    case errc::os_error:
    case errc::machine_failure:
    case errc::host_unfit:
      return blame::host;
    case errc::arguments_too_large:
    case errc::out_of_range:
    case errc::session_in_use:
    case errc::snapshot_refused:
    case errc::bad_argument:
    case errc::image_refused:
    case errc::bad_grant:
      return blame::caller;
    case errc::guest_fault:
    case errc::hypercall_denied:
    case errc::hypercall_rejected:
    case errc::bad_reply:
    case errc::system_call_denied:
    case errc::exited:
      return blame::guest;
    case errc::timed_out:
    case errc::cancelled:
    case errc::hypercall_limit:
    case errc::cpu_limit:
    case errc::pool_exhausted:
      return blame::limit;
  }
  return blame::host;
}

/// Returns the code's name as it is spelled in the source.
constexpr const char* name(errc code) {
  switch (code) {
    case errc::no_kvm:
      return "no_kvm";
    case errc::os_error:
      return "os_error";
    case errc::machine_failure:
      return "machine_failure";
    case errc::host_unfit:
      return "host_unfit";
    case errc::arguments_too_large:
      return "arguments_too_large";
    case errc::out_of_range:
      return "out_of_range";
    case errc::session_in_use:
      return "session_in_use";
    case errc::snapshot_refused:
      return "snapshot_refused";
    case errc::bad_argument:
      return "bad_argument";
    case errc::image_refused:
      return "image_refused";
    case errc::bad_grant:
      return "bad_grant";
    case errc::guest_fault:
      return "guest_fault";
    case errc::hypercall_denied:
      return "hypercall_denied";
    case errc::hypercall_rejected:
      return "hypercall_rejected";
    case errc::bad_reply:
      return "bad_reply";
    case errc::system_call_denied:
      return "system_call_denied";
    case errc::exited:
      return "exited";
    case errc::timed_out:
      return "timed_out";
    case errc::cancelled:
      return "cancelled";
    case errc::hypercall_limit:
      return "hypercall_limit";
    case errc::cpu_limit:
      return "cpu_limit";
    case errc::pool_exhausted:
      return "pool_exhausted";
  }
  return "unknown";
}

namespace detail {

/// Something that is kept as long as a `keeper` of it exists.
class kept {
 public:
  kept(const kept&) = delete;
  kept& operator=(const kept&) = delete;
  virtual ~kept() = default;

 protected:
  kept() = default;

 private:
  friend class keeper;
  std::atomic<std::size_t> keepers_{0};
};

/// Keeps what the texts of an error belong to; nothing, if they are static. Not a shared_ptr, which
/// no constant expression can have.
class keeper {
 public:
  constexpr keeper() noexcept = default;
  constexpr explicit keeper(kept* what) noexcept : what_(what) {
    if (what_ != nullptr) what_->keepers_.fetch_add(1, std::memory_order_relaxed);
  }
  constexpr keeper(const keeper& other) noexcept : keeper(other.what_) {}
  constexpr keeper(keeper&& other) noexcept : what_(std::exchange(other.what_, nullptr)) {}
  constexpr keeper& operator=(keeper other) noexcept {
    std::swap(what_, other.what_);
    return *this;
  }
  constexpr ~keeper() {
    if (what_ == nullptr || what_->keepers_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    delete what_;
  }

  [[nodiscard]] constexpr kept* get() const noexcept { return what_; }

  /// Never destroys what this keeps.
  void keep_for_good() noexcept { what_ = nullptr; }

 private:
  kept* what_ = nullptr;
};

}  // namespace detail

/// One failure: its code and what is known of it. Copying it allocates nothing, so that it can be
/// returned from the hot path.
struct error {
  errc code{};
  int os_error = 0;                 ///< errno of a failed system call, else 0.
  const char* operation = nullptr;  ///< The ioctl's kernel name, or what was attempted.
  std::uint64_t detail = 0;         ///< A number that belongs to the code; see docs/errors.md.
  virtine::fault fault{};           ///< For errc::guest_fault and errc::host_unfit.
  /// The job of a batch that ran, from 0. Only a hint: it is read from the guest's memory.
  std::optional<std::size_t> job = std::nullopt;
  detail::keeper texts = {};  ///< Keeps the texts above, which live as long as a copy of this does.
};

namespace detail {

/// A text that an error keeps.
struct kept_text final : kept {
  explicit kept_text(std::string its) : text(std::move(its)) {}
  const std::string text;
};

/// Returns `why` with `text` for its operation.
inline error told(error why, std::string text) {
  auto* const made = new kept_text(std::move(text));
  why.texts = keeper(made);
  why.operation = made->text.c_str();
  return why;
}

inline void append_hex(std::string& out, std::uint64_t value) {
  std::array<char, 16> digits{};
  auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  out += "0x";
  out.append(digits.data(), end);
}

inline void append_fault(std::string& out, const fault& f) {
  if (f.kind == fault_kind::unavailable_function && f.symbol != nullptr) {
    out += std::string("the guest called ") + f.symbol + ", which guests do not have";
    return;
  }
  out += name(f.kind);
  if (f.access != access::none) {
    out += f.access == access::write  ? " writing "
           : f.access == access::read ? " reading "
                                      : " executing ";
    append_hex(out, f.address);
  }
  out += " at ";
  append_hex(out, f.instruction);
  if (f.symbol != nullptr) {
    out += " in ";
    out += f.symbol;
    out += '+';
    append_hex(out, f.offset);
  }
  if (f.file != nullptr) {
    out += " (";
    out += f.file;
    out += ':' + std::to_string(f.line) + ')';
  }
}
}  // namespace detail

/// Renders an error in one line: the code, what happened, and what to do if the host is the cause.
inline std::string to_string(const error& e) {
  if (e.job) {
    error rest = e;
    rest.job.reset();
    return to_string(rest) + ", in job " + std::to_string(*e.job);
  }
  std::string out = name(e.code);
  out += ": ";
  bool described = true;
  switch (e.code) {
    case errc::guest_fault:
      detail::append_fault(out, e.fault);
      break;
    case errc::host_unfit:
      out += "the processor cannot be made ready for a call on this host: ";
      detail::append_fault(out, e.fault);
      out += ", exception " + std::to_string(e.fault.vector) + ", error code ";
      detail::append_hex(out, e.fault.error_code);
      out += "; run virtine-doctor and report what it says";
      break;
    case errc::arguments_too_large:
      out += "the arguments need " + std::to_string(e.detail) + " bytes, ";
      if (e.operation == nullptr)
        return out + "more than the image reserves; rebuild it with a larger --arguments";
      return out + "and " + e.operation + "; build the image with a larger --arguments";
    case errc::hypercall_denied:
      out += "the guest made hypercall " + std::to_string(e.detail) +
             ", which the policy does not allow";
      break;
    case errc::hypercall_limit:
      out += "the guest made more than " + std::to_string(e.detail) +
             (e.detail == 1 ? " hypercall" : " hypercalls");
      if (e.operation == nullptr) out += " (call_options::hypercalls)";
      break;
    case errc::system_call_denied:
      out += "the guest made system call ";
      if (e.operation != nullptr) {
        out += e.operation;
        out += " (number " + std::to_string(e.detail) + ')';
      } else {
        out += std::to_string(e.detail);
      }
      out += ", which the policy does not grant; ";
      if (const char* const grants = detail::granting(e.detail)) {
        return out + "grant it with " + grants;
      }
      return out + "no grant is about it, but posix::others_fail_with_enosys() lets it fail";
    case errc::exited:
      out += "the guest ended itself with status " + std::to_string(e.detail);
      break;
    case errc::session_in_use:
      return out + "a session was called while another call of it was under way";
    case errc::timed_out:
      out += "the call was not done at its deadline";
      if (e.operation == nullptr) out += " (call_options::timeout)";
      break;
    case errc::cpu_limit:
      return out + "the call used more CPU time than it may (call_options::cpu_time)";
    case errc::cancelled:
      out += "the call was asked to stop";
      break;
    case errc::pool_exhausted:
      if (e.operation != nullptr) return out + e.operation;
      out += e.detail == 1 ? "the only machine of the pool is in use"
                           : "all " + std::to_string(e.detail) + " machines of the pool are in use";
      break;
    case errc::bad_grant:
      if (e.operation != nullptr) out += e.operation;
      if (e.detail != 0) out += " (entry " + std::to_string(e.detail) + ')';
      return out;
    case errc::no_kvm:
    case errc::os_error:
    case errc::machine_failure:
    case errc::out_of_range:
    case errc::snapshot_refused:
    case errc::bad_argument:
    case errc::image_refused:
    case errc::hypercall_rejected:
    case errc::bad_reply:
      described = false;
      break;
  }
  if (described) {
    if (e.operation != nullptr) {
      out += " (";
      out += e.operation;
      out += ')';
    }
    return out;
  }
  if (e.operation != nullptr) out += e.operation;
  if (e.os_error != 0) {
    if (e.operation != nullptr) out += ": ";
    out += std::strerror(e.os_error);
  }
  if (e.detail != 0) {
    out += " (";
    detail::append_hex(out, e.detail);
    out += ')';
  }
  return out;
}

/// The exception of the throwing calls; carries the error that try_call would have returned.
class failure : public std::runtime_error {
 public:
  explicit failure(const virtine::error& why) : failure(why, text_of(why)) {}

  /// Returns what went wrong.
  [[nodiscard]] const virtine::error& error() const noexcept { return error_; }

  /// Returns to_string(error()), or a shorter text if there was no memory for it.
  [[nodiscard]] const char* what() const noexcept override {
    const char* const text = std::runtime_error::what();
    if (*text != '\0') return text;
    return error_.operation != nullptr ? error_.operation : name(error_.code);
  }

 private:
  // An empty text takes no memory.
  failure(const virtine::error& why, const std::runtime_error& text)
      : std::runtime_error(text), error_(why) {}

  static std::runtime_error text_of(const virtine::error& why) {
#ifdef __cpp_exceptions
    try {
      return std::runtime_error(to_string(why));
    } catch (const std::bad_alloc&) {
      return std::runtime_error("");
    }
#else
    return std::runtime_error(to_string(why));
#endif
  }

  virtine::error error_;
};

}  // namespace virtine
