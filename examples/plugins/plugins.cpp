// Offers each image file of a folder as a command, and follows what becomes of the folder: a new
// file is a new command, a changed one replaces the old while its calls go on, and what is broken
// or hostile is told of and harms nobody.
// Run: build/examples/plugins/plugins FOLDER, then write lines: the command's name and a text
// SPDX-License-Identifier: MIT
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <virtine/bytes.hpp>
#include <virtine/function.hpp>
#include <virtine/loaded_image.hpp>

namespace {

using reply = virtine::bytes<4096>;
using command = virtine::function<reply(std::string_view)>;

constexpr virtine::load_options limits{.max_memory = 16 << 20,
                                       .initialiser_timeout = std::chrono::seconds(1)};

void say(const std::string& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

/// What comes from a guest may not steer a terminal.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& each : out) {
    if (each < ' ' || each > '~') each = '?';
  }
  return out;
}

class commands {
 public:
  explicit commands(std::string folder) : folder_(std::move(folder)) {
    std::error_code unreadable;
    for (const auto& each : std::filesystem::directory_iterator(folder_, unreadable)) {
      load(each.path().filename());
    }
  }

  /// Takes up what the file is now. Calls of what it was before end on that.
  void load(const std::string& file) {
    const std::string name = std::filesystem::path(file).stem();
    if (!file.ends_with(".virtine") || name.empty() || name.front() == '.') return;
    auto image = virtine::load_image(folder_ + '/' + file, limits);
    auto run = image.and_then([](const virtine::loaded_image& loaded) {
      return loaded.function<reply(std::string_view)>("run");
    });
    if (!run) return say(name + " is not taken: " + to_string(run.error()));
    const bool is_new = known_.insert_or_assign(name, command(*run)).second;
    say(name + (is_new ? " is there" : " is another now"));
  }

  void remove(const std::string& file) {
    const std::string name = std::filesystem::path(file).stem();
    if (known_.erase(name) > 0) say(name + " is gone");
  }

  /// Begins what a line asks for.
  void start(std::string_view line) {
    const std::size_t space = line.find(' ');
    const std::string name(line.substr(0, space));
    const auto found = known_.find(name);
    if (found == known_.end()) return say("there is no command " + name);
    const std::string_view text = space == line.npos ? "" : line.substr(space + 1);
    calls_.emplace_back(name, std::string(text), found->second);
  }

  /// Adds what becomes readable when a call is done.
  void watch(std::vector<pollfd>& watched) {
    for (call& each : calls_) {
      if (auto event = each.result.event_fd()) watched.push_back({*event, POLLIN, 0});
    }
  }

  void finish() {
    calls_.remove_if([](call& each) {
      if (!each.result.ready()) return false;
      const auto got = each.result.try_get();
      say(each.name + ": " + (got ? printable(got->text()) : to_string(got.error())));
      return true;
    });
  }

  [[nodiscard]] bool idle() const { return calls_.empty(); }

 private:
  struct call {
    call(std::string its_name, std::string its_text, command called)
        : name(std::move(its_name)),
          text(std::move(its_text)),
          function(std::move(called)),
          result(function.with({.timeout = std::chrono::seconds(1)}).async(text)) {}

    const std::string name;
    const std::string text;  // What is given to async() must live until the call is done.
    const command function;  // So that an old one stays as long, and is not waited for.
    virtine::pending<reply> result;
  };

  std::string folder_;
  std::map<std::string, command, std::less<>> known_;
  std::list<call> calls_;
};

/// Tells `all` what has happened to files since the last time.
void follow(int notices, commands& all) {
  alignas(inotify_event) std::array<char, 4096> buffer;
  ssize_t size = 0;
  while ((size = ::read(notices, buffer.data(), buffer.size())) > 0) {
    for (char* at = buffer.data(); at < buffer.data() + size;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(at);
      const bool gone = (event.mask & (IN_DELETE | IN_MOVED_FROM)) != 0;
      if (event.len > 0) gone ? all.remove(event.name) : all.load(event.name);
      at += sizeof event + event.len;
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "usage: plugins FOLDER\n"), 2;
  const virtine::os::fd notices(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (::inotify_add_watch(notices.get(), arguments[1],
                          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0) {
    return std::perror(arguments[1]), 1;
  }
  commands all(arguments[1]);
  std::string lines;
  for (bool open = true; open || !all.idle();) {
    std::vector<pollfd> watched{{notices.get(), POLLIN, 0}, {open ? STDIN_FILENO : -1, POLLIN, 0}};
    all.watch(watched);
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return 1;
    follow(notices.get(), all);
    if (watched[1].revents != 0) {
      std::array<char, 4096> some;
      const ssize_t got = ::read(STDIN_FILENO, some.data(), some.size());
      open = got > 0;
      if (open) lines.append(some.data(), static_cast<std::size_t>(got));
      for (std::size_t end; (end = lines.find('\n')) != lines.npos; lines.erase(0, end + 1)) {
        all.start(std::string_view(lines).substr(0, end));
      }
    }
    all.finish();
  }
  return 0;
}
