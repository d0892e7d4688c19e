// The handler of requests whose guest makes a hypercall for each step.
// Must not know what requests and replies look like.
// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string_view>

#include <virtine/virtine.hpp>

#include "connection.hpp"
#include "directory.hpp"
#include "handlers.hpp"
#include "seven.hpp"

namespace http {

/// Answers each request in a virtine that reads, sends and looks for files by itself. `Image` has
/// the function `ending answer(std::int64_t now)`.
template <class Image>
class isolated_with_seven {
 public:
  /// `pool` and `files` must outlive this.
  isolated_with_seven(virtine::pool<Image>& pool, const directory& files)
      : serves_(new state{files, nullptr, {}}), answer_(pool, allow_seven(*serves_)) {}

  using outcome = virtine::result<ending>;
  using companion = no_companion;

  outcome operator()(connection& link, companion&) {
    serves_->link = &link;
    auto made = answer_.with({.timeout = request_timeout, .hypercalls = most_hypercalls})
                    .try_call(std::time(nullptr));
    serves_->file = {};
    return made;
  }

  verdict operator()(const outcome& made, connection& link) const {
    if (!made) return apologise(made.error(), link);
    if (made->consumed == 0) return verdict::incomplete;
    if (made->consumed > link.input().size()) return verdict::failed;
    link.consume(made->consumed);
    if (made->keeps_alive == 0) link.close_after();
    return verdict::answered;
  }

 private:
  /// Enough for files of 16 MiB.
  static constexpr std::uint64_t most_hypercalls = 2100;

  struct state {
    const directory& files;
    connection* link = nullptr;
    opened_file file;
  };
  static constexpr const char path_reason[] = "the kernel resolves it beneath a directory";

  static auto allow_seven(state& on) {
    using path = virtine::tainted<std::string_view>;
    using buffer = virtine::guest_buffer<std::byte>;
    return virtine::policy{
        virtine::allow<read_input>([&on](buffer to) {
          return static_cast<std::uint32_t>(to.fill(std::as_bytes(std::span(on.link->input()))));
        }),
        virtine::allow<stat_file>([&on](path wanted) {
          return on.files.find(wanted.unverified_because(path_reason)).info;
        }),
        virtine::allow<open_for_reads>([&on](path wanted) {
          on.file = on.files.find(wanted.unverified_because(path_reason));
          return static_cast<bool>(on.file.fd);
        }),
        virtine::allow<read_file>([&on](virtine::tainted<std::uint64_t> at, buffer to) {
          std::array<std::byte, 16384> part;
          const auto got = ::pread(on.file.fd.get(), part.data(), std::min(part.size(), to.size()),
                                   static_cast<::off_t>(at.unverified_because("pread checks it")));
          const auto size = static_cast<std::size_t>(std::max<::ssize_t>(got, 0));
          return static_cast<std::uint32_t>(to.fill(std::span(part).first(size)));
        }),
        virtine::allow<write_output>([&on](virtine::tainted<std::span<const std::byte>> bytes) {
          const auto sent = bytes.unverified_because("it goes to the guest's own connection");
          // Sound: char may alias any object.
          on.link->send({reinterpret_cast<const char*>(sent.data()), sent.size()});
        }),
        virtine::allow<close_file>([&on] { on.file = {}; }),
    };
  }

  std::unique_ptr<state> serves_;
  virtine::virtine_fn<ending(std::int64_t), Image, decltype(allow_seven(std::declval<state&>()))>
      answer_;
};

}  // namespace http
