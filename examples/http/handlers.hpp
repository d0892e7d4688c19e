// Handlers for connections: each request, or each connection, in a virtine of its own. Must not
// know what requests and replies look like; only the guest does.
// SPDX-License-Identifier: MIT
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <virtine/virtine.hpp>

#include "connection.hpp"
#include "date.hpp"
#include "directory.hpp"
#include "http.hpp"
#include "server.hpp"

namespace http {

/// How long a request may take in its virtine.
inline constexpr std::chrono::seconds request_timeout{1};

/// Returns a piece of what a guest wrote; nothing if there is no such piece.
inline std::optional<std::string_view> find_piece(const reply& made, const piece& wanted) {
  if (wanted.size > made.room.size() || wanted.begin > made.room.size() - wanted.size) return {};
  return std::string_view(made.room.data() + wanted.begin, wanted.size);
}

/// Writes `text` to the blank of this width that begins at `at`. Returns false if there is none.
inline bool fill(std::string& to, std::uint32_t at, std::size_t width, std::string_view text) {
  if (at == 0) return true;
  if (width > to.size() || at > to.size() - width || text.size() > width) return false;
  to.replace(at + width - text.size(), text.size(), text);
  return true;
}

/// Fills in what the guest left blank about `file` at the time `now`. Returns false if that is not
/// possible.
inline bool fill_in(std::string& text, const reply& made, const file_info& file, std::int64_t now) {
  std::array<char, tag_width + 1> tag;
  std::snprintf(tag.data(), tag.size(), "%016llx-%016llx",
                static_cast<unsigned long long>(file.changed),
                static_cast<unsigned long long>(file.size));
  const date modified(last_modified(file, now));
  const piece& dropped = made.if_settled;
  if (!fill(text, made.size_at, size_width, std::to_string(file.size)) ||
      !fill(text, made.tag_at, tag_width, std::string_view(tag.data(), tag_width)) ||
      !fill(text, made.date_at, date_width, modified.view()) || dropped.size > text.size() ||
      dropped.begin > text.size() - dropped.size) {
    return false;
  }
  if (!is_settled(file, now)) text.erase(dropped.begin, dropped.size);
  return true;
}

/// Does what a guest's reply says that was made at the time `now`, as far as it may: it is about
/// this connection, and files below this directory. `file` is what was opened for the guest.
inline verdict carry_out(const reply& made, std::int64_t now, const directory& files,
                         opened_file file, connection& link) {
  if (made.consumed == 0) return verdict::incomplete;
  const auto text = find_piece(made, made.text);
  const auto path = find_piece(made, made.path);
  const auto otherwise = find_piece(made, made.otherwise);
  if (made.consumed > link.input().size() || !text || !path || !otherwise) return verdict::failed;

  link.consume(made.consumed);
  if (made.keeps_alive == 0) link.close_after();
  if (!path->empty()) {
    file = files.find(*path);
    if (!file.fd) {
      link.send(*otherwise);
      return verdict::answered;
    }
  }
  std::string sent(*text);
  if (!fill_in(sent, made, file.info, now)) return verdict::failed;
  const auto send_part = [&](std::uint64_t begin, std::uint64_t size) {
    if (begin < file.info.size) link.send_part(begin, std::min(size, file.info.size - begin));
  };
  std::string_view rest = sent;
  for (const insertion& each : made.parts) {
    if (each.size == 0) break;
    const std::size_t before = sent.size() - rest.size();
    if (each.at < before || each.at > sent.size()) return verdict::failed;
    link.send(rest.substr(0, each.at - before));
    rest = std::string_view(sent).substr(each.at);
    send_part(each.begin, each.size);
  }
  link.send(rest);
  if (made.file_size > 0) send_part(made.file_begin, made.file_size);
  link.take_file(std::move(file.fd));
  return verdict::answered;
}

/// Writes why a request failed; not to a pipe that is full, where the server would wait for whoever
/// is to read it.
inline void report(const virtine::error& why) {
  ::pollfd out{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return;
  std::fprintf(stderr, "a request failed: %s\n", virtine::to_string(why).c_str());
}

/// Answers for a guest that failed. Its connection ends; others do not notice.
inline verdict apologise(const virtine::error& why, connection& link) {
  report(why);
  if (link.has_output()) return verdict::failed;  // Nothing can follow half a reply.
  link.consume(link.input().size());
  link.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  link.close_after();
  return verdict::answered;
}

/// The host's half of open_file: the files below a directory, and where to keep the one opened.
struct opener {
  file_info operator()(virtine::tainted<std::string_view> path) const {
    *file = files->find(path.unverified_because("the kernel resolves it beneath a directory"));
    return file->info;
  }
  const directory* files;
  opened_file* file;
};

/// What answers a request. `Image` has the function `reply answer(std::string_view input,
/// std::int64_t now)`.
template <class Image>
using answer_fn = virtine::virtine_fn<reply(std::string_view, std::int64_t), Image,
                                      virtine::policy<virtine::allowed<open_file, opener>>>;

/// What a guest made of a request at the time `now`, and the file that was opened for it.
struct outcome_of_guest {
  virtine::result<reply> made;
  std::int64_t now;
  opened_file file;
};

/// Has a function of answer_fn, or a session of it, answer a request. `file` is its opener's.
template <class Answer>
outcome_of_guest ask_guest(const Answer& answer, opened_file& file, const connection& link) {
  file = {};
  const std::int64_t now = std::time(nullptr);
  auto made =
      answer.with({.timeout = request_timeout, .hypercalls = 1}).try_call(link.input(), now);
  return {std::move(made), now, std::move(file)};
}

inline verdict carry_out(outcome_of_guest& of, const directory& files, connection& link) {
  if (!of.made) return apologise(of.made.error(), link);
  return carry_out(*of.made, of.now, files, std::move(of.file), link);
}

/// Answers each request in a virtine, with one exit, the end of the call, or two if what is wanted
/// of a file depends on it.
template <class Image>
class isolated {
 public:
  /// `pool` and `files` must outlive this.
  isolated(virtine::pool<Image>& pool, const directory& files)
      : files_(files),
        answer_(pool, virtine::policy{virtine::allow<open_file>(opener{&files, file_.get()})}) {}

  using outcome = outcome_of_guest;
  using companion = no_companion;

  outcome operator()(const connection& link, companion&) {
    return ask_guest(answer_, *file_, link);
  }
  verdict operator()(outcome& of, connection& link) const { return carry_out(of, files_, link); }

 private:
  const directory& files_;
  std::unique_ptr<opened_file> file_ = std::make_unique<opened_file>();
  answer_fn<Image> answer_;
};

/// Answers the requests of a connection in a machine that is that connection's until it ends. A
/// request then costs an exit or, where it follows soon upon the last, none.
template <class Image>
class isolated_by_connection {
 public:
  /// `pool` and `files` must outlive this.
  isolated_by_connection(virtine::pool<Image>& pool, const directory& files)
      : pool_(pool), files_(files) {}

  using outcome = outcome_of_guest;

  /// A connection's machine; made for its first request, so that who only connects has none.
  class companion {
   public:
    static constexpr std::size_t descriptors = 8;  // Of the machine and its session, at most.

    outcome ask(const isolated_by_connection& of, const connection& link) {
      if (!guest_) guest_ = std::make_unique<guest>(of.pool_, of.files_);
      return ask_guest(guest_->session, guest_->file, link);
    }

   private:
    struct guest {
      guest(virtine::pool<Image>& pool, const directory& files)
          : session(answer_fn<Image>(
                pool, virtine::policy{virtine::allow<open_file>(opener{&files, &file})})) {}
      opened_file file;
      decltype(virtine::session(std::declval<const answer_fn<Image>&>())) session;
    };
    std::unique_ptr<guest> guest_;
  };

  outcome operator()(const connection& link, companion& kept) const {
    return kept.ask(*this, link);
  }
  verdict operator()(outcome& of, connection& link) const { return carry_out(of, files_, link); }

 private:
  virtine::pool<Image>& pool_;
  const directory& files_;
};

}  // namespace http
