// Many calls of one function in one stay in the guest: how the elements of a range become
// arguments, and how their frames lie in argument memory, linked for the loop of x86/loops.hpp.
// Knows nothing of how a machine runs.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/loops.hpp>

namespace virtine::detail {

/// Returns `why` as the failure of job `index`.
inline error of_job(error why, std::optional<std::size_t> index) {
  why.job = index;
  return why;
}

template <class Job>
concept tuple_like = requires {
  std::tuple_size<std::remove_cvref_t<Job>>::value;
};

template <class Job, class Indices, class... A>
inline constexpr bool holds_arguments = false;
template <class Job, std::size_t... I, class... A>
inline constexpr bool holds_arguments<Job, std::index_sequence<I...>, A...> =
    (std::is_convertible_v<decltype(std::get<I>(std::declval<Job>())), A> && ...);

/// Says whether a Job is the single argument of a function of A....
template <class Job, class... A>
inline constexpr bool is_argument = sizeof...(A) == 1 && (std::is_convertible_v<Job, A> && ...);

template <class Job, class... A>
constexpr bool is_job() {
  if constexpr (is_argument<Job, A...>) {
    return true;
  } else if constexpr (tuple_like<Job>) {
    if constexpr (std::tuple_size_v<std::remove_cvref_t<Job>> == sizeof...(A)) {
      return holds_arguments<Job, std::index_sequence_for<A...>, A...>;
    } else {
      return false;
    }
  } else {
    return false;
  }
}

template <class Job>
struct not_a_job {
  static_assert(never<Job>,
                "virtine [V123]: an element of the jobs is not what the function takes. Pass a "
                "range of its argument if it has one, else of std::tuple with all of them.");
};

/// Checks the element type of a range of jobs for a function of A... by being instantiated.
template <class Job, class... A>
struct check_job : std::conditional_t<is_job<Job, A...>(), std::type_identity<accepted>,
                                      std::type_identity<not_a_job<Job>>>::type {};

/// Returns `call(arguments...)` with what a job holds; conversions live until it returns.
template <class... A, class Job, class Call>
auto with_arguments(Job&& job, Call&& call) {
  if constexpr (is_argument<Job, A...>) {
    return call(std::forward<Job>(job));
  } else if constexpr (is_job<Job, A...>()) {
    return std::apply(call, std::forward<Job>(job));
  } else {
    return decltype(call(std::declval<const A&>()...))(error{});  // check_job has said why.
  }
}

/// The results of jobs in order; of jobs without a result only their number.
template <class R>
class replies {
 public:
  using taken = std::vector<R>;

  result<void> reserve(std::size_t count) {
    return os::or_out_of_memory([&]() -> result<void> {
      values_.reserve(count);
      return {};
    });
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

  /// Adds a reply; one that failed is returned with the number of its job.
  result<void> add(result<R> reply) {
    if (!reply) return of_job(reply.error(), size());
    return os::or_out_of_memory([&]() -> result<void> {
      values_.push_back(*std::move(reply));
      return {};
    });
  }

  result<taken> take() && { return std::move(values_); }

 private:
  taken values_;
};
template <>
class replies<void> {
 public:
  using taken = void;

  static result<void> reserve(std::size_t) { return {}; }
  [[nodiscard]] std::size_t size() const { return count_; }

  result<void> add(const result<void>& reply) {
    if (!reply) return of_job(reply.error(), size());
    ++count_;
    return {};
  }

  result<void> take() && { return {}; }

 private:
  std::size_t count_ = 0;
};

/// Says whether guests of Image find the loops in the trampoline's page, as all but bare ones do.
template <class Image>
inline constexpr bool has_loops = std::is_same_v<machine_of<Image>, machine>;

template <class Image>
struct bare_image {
  static_assert(never<Image>,
                "virtine [V124]: batches and sessions run in a loop that bare images lack. Build "
                "the image without --mode, or use each().");
};
template <class Image>
struct check_loop : std::conditional_t<has_loops<Image>, std::type_identity<accepted>,
                                       std::type_identity<bare_image<Image>>>::type {};

template <class Sig>
class batch;

/// One batch in argument memory: an x86::batch_header, then for each job an x86::batch_link and
/// its frame with what that refers to. The jobs are walked twice, with one marshaller each: written
/// with add() before the stay, read with take() after it.
template <class R, class... A>
class batch<R(A...)> {
  template <class T>
  static constexpr std::size_t alignment_of() {
    if constexpr (std::is_void_v<T>) {
      return 1;
    } else if constexpr (refers_to_elements<T>) {
      return alignof(sequence_element_t<T>);
    } else {
      return wire<T>::alignment;
    }
  }

 public:
  /// What the frames are aligned to.
  static constexpr std::size_t alignment =
      std::max({std::size_t{16}, alignment_of<R>(), alignment_of<A>()...});

  using job = marshaller<R(A...)>;

  /// Begins a batch of calls of the guest's `function` in `area`, which the guest has at `base`.
  batch(std::span<std::byte> area, guest_address base, std::uint64_t function)
      : area_(area), base_(to_number(base)), function_(function) {}

  /// Writes job number `index`. Fails with errc::arguments_too_large, and the batch is as before,
  /// if there is no room left for it.
  result<void> add(const job& one, std::size_t index) {
    const std::size_t at = place();
    if (!fits(at, one.used())) {
      // Behind another job it is no failure, but where this batch ends.
      if (count_ > 0) return error{.code = errc::arguments_too_large, .job = index};
      return of_job(too_large(at + one.used(), area_.size()), index);
    }
    if (auto written = one.write(area_.subspan(at), guest_address{base_ + at}); !written) {
      return written;
    }
    put(at - sizeof(x86::batch_link), x86::batch_link{.next = 0, .index = index});
    // What precedes the first frame is its link; what precedes the header is nothing.
    if (count_ == 0) {
      put(0, x86::batch_header{.function = function_, .frame = base_ + at});
    } else {
      put(last_ - sizeof(x86::batch_link) + offsetof(x86::batch_link, next), base_ + at);
    }
    last_ = at;
    end_ = at + one.used();
    used_ = std::max(used_, end_);
    ++count_;
    return {};
  }

  [[nodiscard]] std::size_t count() const { return count_; }

  /// Returns how many bytes of argument memory the batch takes.
  [[nodiscard]] std::size_t used() const { return used_; }

  /// Fails with errc::bad_reply unless the last job has returned, as far as the guest tells: one
  /// that ends by an `out` of its own takes the rest of its batch with it.
  [[nodiscard]] result<void> check_completed() const {
    if (header().frame == 0) return {};
    return error{.code = errc::bad_reply,
                 .operation = "the guest ended a batch before its last job returned"};
  }

  /// Returns the index of the job that runs, as the guest's memory tells it, if it is one of the
  /// batch, the first of which is `first`.
  [[nodiscard]] std::optional<std::size_t> running(std::size_t first) const {
    const guest_memory memory(guest_address{base_}, area_);
    const auto link =
        memory.read<x86::batch_link>(guest_address{header().frame - sizeof(x86::batch_link)});
    if (!link || link->index < first || link->index - first >= count_) return std::nullopt;
    return static_cast<std::size_t>(link->index);
  }

  /// Goes back to the first job, to take() all of them again.
  void rewind() { end_ = sizeof(x86::batch_header); }

  /// Reads the reply of the next job; fails as marshaller::read does, and with errc::out_of_range
  /// if a handler has changed how large the job is.
  result<R> take(const job& one) {
    const std::size_t at = place();
    if (!fits(at, one.used())) {
      return error{.code = errc::out_of_range, .operation = "a job that changed while it ran"};
    }
    end_ = at + one.used();
    return one.read(area_.subspan(at));
  }

 private:
  /// Returns where the frame goes that follows what ends at end_.
  [[nodiscard]] std::size_t place() const {
    return align_up(end_ + sizeof(x86::batch_link), alignment);
  }

  [[nodiscard]] bool fits(std::size_t at, std::size_t size) const {
    return size <= area_.size() && at <= area_.size() - size;
  }

  [[nodiscard]] x86::batch_header header() const {
    x86::batch_header found;
    std::memcpy(&found, area_.data(), sizeof found);
    return found;
  }

  template <class T>
  void put(std::size_t at, const T& value) {
    std::memcpy(area_.data() + at, &value, sizeof value);
  }

  std::span<std::byte> area_;
  std::uint64_t base_;
  std::uint64_t function_;
  std::size_t end_ = sizeof(x86::batch_header);  // Of the last job.
  std::size_t last_ = 0;                         // The frame of the last job.
  std::size_t used_ = 0;
  std::size_t count_ = 0;
};

}  // namespace virtine::detail
