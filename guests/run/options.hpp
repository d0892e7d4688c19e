// The command line of virtine-run. Knows nothing of images.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <virtine/posix.hpp>

namespace run {

inline constexpr const char* help =
    R"help(usage: virtine-run [OPTION]... IMAGE FUNCTION [ARGUMENT]...
       virtine-run [OPTION]... --json FILE IMAGE FUNCTION
       virtine-run --list IMAGE

Calls a function of an image file (virtine-cc plugin.cpp -o plugin.virtine) in a virtual machine
of its own, and prints its result as JSON; then, in lines of their own, what it left in spans
that it may write to. The function gets nothing of this machine but what options grant.

An ARGUMENT is a number, true or false as its parameter asks; for a text, characters or
virtine::bytes the word itself; for all else JSON: [1, 2, 3] for a span, array or tuple, null for
an optional, [0, 5] for alternative 0 of a variant, {"hex": "00ff"} for the bytes of a struct.

  --json FILE        take the arguments from FILE, a JSON array; - is standard input
  --raw              print texts and bytes as they are, without a line's end
  --list             print what the image has: "int square(int)"
  --complete         print the names of its functions, for the completion of shells

Limits (a call that reaches one fails):
  --timeout SECONDS  for the call, such as 0.5; default 10
  --hypercalls N     requests to this machine; default 1000000
  --memory SIZE      bytes of the machine at most, or with K, M or G; default 64M

Grants (without them a guest only computes):
  --allow-output     what it writes to standard output and error goes to our standard output
  --allow-input      it may read our standard input
  --read DIR[:AT]    it may read the files below DIR, which it has at AT, an absolute path;
                     default: the same path
  --write DIR[:AT]   the same, and write
  --clock            time, and sleeping
  --entropy          random bytes
  --env NAME[=VALUE] a variable of its environment; without VALUE as ours has it
  --others-fail      system calls that are not granted fail with ENOSYS, and do not end the call

  --help             write this
  --version          write the version

Exit status:
  0  the function returned
  1  the guest failed: a fault, a request that nothing grants, a bad result
  2  the command line, the arguments or the image file are wrong
  3  this machine cannot run it; virtine-doctor says more
  4  a limit was reached
)help";

struct options {
  enum class what : std::uint8_t { call, list, complete, tell_usage, tell_version };

  what action = what::call;
  std::string image;
  std::string function;
  std::vector<std::string> arguments;
  std::optional<std::string> json;  ///< The file that the arguments are in.
  bool raw = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  std::uint64_t hypercalls = 1'000'000;
  std::uint64_t memory = std::uint64_t{64} << 20;
  bool output = false;
  bool input = false;
  bool clock = false;
  bool entropy = false;
  bool others_fail = false;
  std::vector<virtine::posix::directory_entry> directories;
  std::vector<std::string> environment;
};

/// Reads the command line.
class parser {
 public:
  explicit parser(std::span<char* const> words) {
    for (const char* each : words) words_.emplace_back(each);
  }

  /// Returns the options. If there are none, problem() says why.
  std::optional<options> parse() {
    while (problem_.empty() && at_ < words_.size() && words_[at_].starts_with("--")) {
      const std::string word = words_[at_++];
      if (word == "--") break;
      const std::size_t equals = word.find('=');
      name_ = word.substr(0, equals);
      attached_.reset();
      if (equals != word.npos) attached_ = word.substr(equals + 1);
      if (!read_option()) fails(name_ + " is unknown");
      if (attached_) fails(name_ + " takes no value");
    }
    if (!problem_.empty()) return std::nullopt;
    if (out_.action == options::what::tell_usage || out_.action == options::what::tell_version)
      return out_;
    return take_words() ? std::optional(out_) : std::nullopt;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  bool fails(std::string why) {
    if (problem_.empty()) problem_ = std::move(why);
    return false;
  }

  bool take_words() {
    std::vector<std::string> rest(words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end());
    if (!rest.empty() && rest[0].size() > 1 && rest[0].starts_with('-')) {
      return fails(rest[0] + " is unknown");
    }
    const std::size_t least = out_.action == options::what::call ? 2 : 1;
    if (rest.size() < least) {
      return fails(rest.empty() ? "no image file is given" : "no function is given");
    }
    const bool has_arguments = out_.action == options::what::call && !out_.json;
    if (rest.size() > least && !has_arguments) {
      return fails(rest[least] + " is one word too many");
    }
    out_.image = rest[0];
    if (least == 2) {
      out_.function = rest[1];
      out_.arguments.assign(rest.begin() + 2, rest.end());
    }
    return true;
  }

  /// Returns the value of the option, the next word if none is attached.
  std::string value() {
    if (attached_) return *std::exchange(attached_, std::nullopt);
    if (at_ < words_.size()) return words_[at_++];
    fails(name_ + " needs a value");
    return {};
  }

  bool read_option() {
    const auto is = [&](std::string_view name) { return name_ == name; };
    if (is("--help")) {
      out_.action = options::what::tell_usage;
    } else if (is("--version")) {
      out_.action = options::what::tell_version;
    } else if (is("--list")) {
      out_.action = options::what::list;
    } else if (is("--complete")) {
      out_.action = options::what::complete;
    } else if (is("--json")) {
      out_.json = value();
    } else if (is("--raw")) {
      out_.raw = true;
    } else if (is("--timeout")) {
      read_timeout(value());
    } else if (is("--hypercalls")) {
      out_.hypercalls = read_number(value(), 1, "a number");
    } else if (is("--memory")) {
      read_memory(value());
    } else if (is("--allow-output")) {
      out_.output = true;
    } else if (is("--allow-input")) {
      out_.input = true;
    } else if (is("--read")) {
      read_directory(value(), virtine::posix::read_only);
    } else if (is("--write")) {
      read_directory(value(), virtine::posix::read_write);
    } else if (is("--clock")) {
      out_.clock = true;
    } else if (is("--entropy")) {
      out_.entropy = true;
    } else if (is("--env")) {
      read_variable(value());
    } else if (is("--others-fail")) {
      out_.others_fail = true;
    } else {
      return false;
    }
    return true;
  }

  template <class T>
  static std::optional<T> number_of(std::string_view text) {
    T out{};
    const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
    return out;
  }

  std::uint64_t read_number(std::string_view text, std::uint64_t factor, const char* what) {
    const auto number = number_of<std::uint64_t>(text);
    if (number && *number <= UINT64_MAX / factor) return *number * factor;
    fails(name_ + ' ' + std::string(text) + " is not " + what);
    return 0;
  }

  void read_memory(std::string_view text) {
    constexpr std::string_view units = "KMG";
    const std::size_t unit = text.empty() ? units.npos : units.find(text.back());
    const std::uint64_t factor = unit == units.npos ? 1 : std::uint64_t{1024} << (10 * unit);
    if (unit != units.npos) text.remove_suffix(1);
    out_.memory = read_number(text, factor, "a size; write bytes, or a number with K, M or G");
  }

  void read_timeout(std::string_view text) {
    const auto seconds = number_of<double>(text);
    constexpr double most = 1e9;
    // Also if it is no number at all.
    if (!seconds || !(*seconds > 0 && *seconds <= most)) {
      fails(name_ + ' ' + std::string(text) + " is not a number of seconds");
      return;
    }
    out_.timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(*seconds * 1e9));
  }

  void read_directory(const std::string& text, virtine::posix::rights allowed) {
    const std::size_t colon = text.rfind(":/");
    std::string host = text.substr(0, colon);
    std::string guest;
    if (colon != text.npos) {
      guest = text.substr(colon + 1);
    } else {
      std::error_code why;
      guest = std::filesystem::canonical(host, why).string();
      if (why) {
        fails(name_ + ' ' + host + ": " + why.message());
        return;
      }
    }
    std::error_code why;
    if (!std::filesystem::is_directory(host, why)) {
      fails(name_ + ' ' + host + ": " + (why ? why.message() : "this is no directory"));
      return;
    }
    out_.directories.push_back(
        {.guest_path = std::move(guest), .host_path = std::move(host), .allowed = allowed});
  }

  void read_variable(const std::string& text) {
    if (text.empty() || text.starts_with('=')) {
      fails(name_ + ' ' + text + " does not name a variable");
    } else if (text.find('=') != text.npos) {
      out_.environment.push_back(text);
    } else if (const char* const ours = std::getenv(text.c_str())) {
      out_.environment.push_back(text + '=' + ours);
    }
  }

  std::vector<std::string> words_;
  std::size_t at_ = 0;
  std::string name_;
  std::optional<std::string> attached_;
  std::string problem_;
  options out_;
};

}  // namespace run
