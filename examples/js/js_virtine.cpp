// js-virtine: evaluates a JavaScript file in a virtual machine: JSON from the standard input, JSON
// to the standard output. `log(text)` writes to the standard error, `get(key)` reads what --set
// gave; a script can reach nothing else.
// Run: echo '[1, 2, 3]' | build/examples/js/js-virtine examples/js/squares.js
// SPDX-License-Identifier: MIT
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "evaluator.hpp"
#include "functions.hpp"
#include "harmless.hpp"

namespace {

constexpr const char* usage =
    "usage: js-virtine [--timeout MS] [--set KEY=VALUE]... SCRIPT.js < INPUT.json > OUTPUT.json\n"
    "       js-virtine [--timeout MS] [--set KEY=VALUE]... --repl\n"
    "A VALUE has 4000 bytes at most.\n";

constexpr int skipped = 77;  // There is no KVM.
constexpr std::size_t text_max = 256 << 10;
constexpr std::size_t arguments_max = 1 << 20;  // That the image has room for: guests/meson.build.

struct options {
  std::chrono::milliseconds timeout{1000};
  std::map<std::string, decltype(js::found::text), std::less<>> values;
  bool repl = false;
  std::string script;
};

std::optional<options> parse(int argc, char** argv) {
  options given;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--repl") {
      given.repl = true;
    } else if (word == "--timeout" && i + 1 < argc) {
      const std::string_view number = argv[++i];
      unsigned milliseconds = 0;
      const auto read = std::from_chars(number.begin(), number.end(), milliseconds);
      if (read.ec != std::errc{} || read.ptr != number.end()) return {};
      given.timeout = std::chrono::milliseconds(milliseconds);
    } else if (word == "--set" && i + 1 < argc) {
      const std::string_view pair = argv[++i];
      const std::size_t equals = pair.find('=');
      if (equals == pair.npos) return {};
      const auto value = decltype(js::found::text)::from(pair.substr(equals + 1));
      if (!value) return {};
      given.values.insert_or_assign(std::string(pair.substr(0, equals)), *value);
    } else if (!word.starts_with('-') && given.script.empty()) {
      given.script = word;
    } else {
      return {};
    }
  }
  if (given.repl == !given.script.empty()) return {};
  return given;
}

// What scripts may ask for. What comes from them is anything, so it is checked before it is used.
auto make_policy(const options& given) {
  return virtine::policy{
      virtine::allow<js::log>([](virtine::tainted<std::string_view> text) {
        std::cerr << js::harmless(text.unverified_because("it is made harmless")) << '\n';
      }),
      virtine::allow<js::get>([&given](virtine::tainted<std::string_view> key) {
        const auto at = given.values.find(key.unverified_because("it is only looked for"));
        if (at == given.values.end()) return js::found{};
        return js::found{.exists = 1, .text = at->second};
      })};
}

// Returns the program's exit status.
int report(const virtine::result<js::evaluated>& outcome) {
  if (!outcome) {
    const bool is_late = outcome.error().code == virtine::errc::timed_out;
    std::cerr << (is_late ? "timed_out: the script took longer than --timeout allows"
                          : virtine::to_string(outcome.error()))
              << '\n';
    return outcome.error().code == virtine::errc::no_kvm ? skipped : 2;
  }
  if (outcome->threw) {
    std::cerr << js::harmless(outcome->text);
    // The engine's texts of syntax errors name the line already.
    const bool says_line = outcome->text.find("(line ") != std::string::npos;
    if (outcome->line > 0 && !says_line) std::cerr << " (line " << outcome->line << ')';
    std::cerr << '\n';
    return 1;
  }
  if (!outcome->is_whole) {
    std::cerr << "the result is longer than " << outcome->text.size() << " bytes\n";
    return 2;
  }
  std::cout << outcome->text << std::endl;
  if (std::cout) return 0;
  std::cerr << "the standard output cannot be written\n";
  return 2;
}

// Returns all that there is to read, or enough to see that it is too much; nothing if that fails,
// as from a directory.
std::optional<std::string> read_all(std::istream& from) {
  std::string all;
  std::array<char, 4096> part;
  do {
    from.read(part.data(), part.size());
    all.append(part.data(), static_cast<std::size_t>(from.gcount()));
  } while (from && all.size() <= arguments_max);
  if (from.bad()) return {};
  return all;
}

// Evaluates line by line, on one engine until a line fails; then on a new one.
template <class Policy>
int run_debugger(js::evaluator<Policy>& evaluate, const virtine::call_options& limits) {
  std::optional<js::conversation<Policy>> engine;
  for (std::string line; std::cout << "> " << std::flush, std::getline(std::cin, line);) {
    if (!engine) engine.emplace(evaluate);
    const auto outcome = (*engine)(line, "null", {.limits = limits, .text_max = text_max});
    const int status = report(outcome);
    if (status == skipped) return status;
    if (!outcome) engine.reset();
  }
  return 0;
}

int run(const options& given) {
  js::evaluator evaluate(make_policy(given));
  const virtine::call_options limits{.timeout = given.timeout};
  if (given.repl) return run_debugger(evaluate, limits);
  std::ifstream file(given.script, std::ios::binary);
  const auto script = read_all(file);
  const auto input = read_all(std::cin);
  if (!file.is_open() || !script || !input) {
    std::cerr << (input ? given.script : "the standard input") << " cannot be read\n";
    return 2;
  }
  return report(evaluate(*script, input->empty() ? "null" : *input,
                         {.limits = limits, .text_max = text_max}));
}

}  // namespace

int main(int argc, char** argv) {
  const auto given = parse(argc, argv);
  if (!given) {
    std::cerr << usage;
    return 2;
  }
  return run(*given);
}
