// What it costs to isolate an evaluation of JavaScript: examples/js, and the same with parts of it
// done otherwise, beside the same engine called natively. All rows encode the same text in Base64.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <examples/js/arena.hpp>
#include <examples/js/engine.hpp>
#include <examples/js/evaluator.hpp>
#include <examples/js/functions.hpp>
#include <guests/empty.hpp>
#include <guests/js_variants.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

constexpr std::size_t text_size = 512;
constexpr std::size_t memory_size = 16 << 20;
constexpr std::size_t reply_size = 16 << 10;

std::string read_script(const char* path) {
  std::ifstream file(path);
  std::string script{std::istreambuf_iterator<char>(file), {}};
  bench::check(!script.empty(), "the script cannot be read");
  return script;
}

// The text that is encoded, and, in JSON like it, what has to come of it.
std::string make_text() {
  std::string text;
  for (std::size_t i = 0; i < text_size; ++i) text += static_cast<char>('!' + i * 31 % 90);
  return text;
}

std::string encode(std::string_view text) {
  constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k > text.size() ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// One evaluation, checked, by anything that is called as the guest's functions are.
class workload {
 public:
  template <class Evaluate>
  void run(Evaluate&& evaluate) {
    const js::reply reply = evaluate(script_, input_, out_);
    bench::check(reply.what == js::outcome::value, "the script threw");
    bench::check(std::string_view(out_.data(), reply.size) == expected_, "Base64");
  }

  // And as users do.
  template <class Policy>
  void run(js::evaluator<Policy>& evaluate) {
    const auto done = evaluate(script_, input_);
    bench::check(done.has_value() && done->text == expected_, "Base64");
  }

 private:
  std::string script_ = read_script(WORKLOAD);
  std::string input_ = quoted(make_text());
  std::string expected_ = quoted(encode(make_text()));
  std::vector<char> out_ = std::vector<char>(reply_size);
};

// Memory for a native engine.
class native_heap {
 public:
  js::arena& fresh() { return arena_ = js::arena(memory_); }

 private:
  std::vector<std::byte> memory_ = std::vector<std::byte>(memory_size);
  js::arena arena_{{}};
};

template <class Entry>
using variant =
    virtine::virtine_fn<js::reply(std::string_view, std::string_view, std::span<char>), Entry>;

void measure(bench::program& program) {
  workload work;

  native_heap kept_heap;
  duk_context* kept = js::make_engine(kept_heap.fresh());
  native_heap rebuilt_heap;

  variant<guests::js_variants::rebuild_and_destroy> rebuild_and_destroy;
  variant<guests::js_variants::rebuild> rebuild;
  variant<guests::js_variants::destroy> destroy;
  js::evaluator evaluate(virtine::policy{
      virtine::allow<js::log>([](virtine::tainted<std::string_view>) {}),
      virtine::allow<js::get>([](virtine::tainted<std::string_view>) { return js::found{}; })});
  const bench::floor_exit exit;

  bench::group rows({.samples = 1000});
  rows.row("js.exit", [&] { exit(); });
  rows.floor("js.native.rebuilt", [&] {
    duk_context* engine = js::make_engine(rebuilt_heap.fresh());
    work.run([&](auto&... arguments) { return js::evaluate(engine, arguments...); });
    duk_destroy_heap(engine);
  });
  rows.row("js.rebuild", [&] { work.run(rebuild_and_destroy); });
  rows.row("js.rebuild.left", [&] { work.run(rebuild); });
  rows.floor("js.native.kept", [&] {
    work.run([&](auto&... arguments) { return js::evaluate(kept, arguments...); });
  });
  rows.row("js.destroyed", [&] { work.run(destroy); });
  rows.row("js.warm", [&] { work.run(evaluate); });
  program.measure(std::move(rows));
  duk_destroy_heap(kept);

  // The first evaluation on a new machine, while its siblings' writes are known, beside the first
  // call of a guest that does nothing.
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;
  bench::check(nothing.try_call().has_value(), "nothing()");
  bench::group first({.samples = 300, .burst = 1});
  first.floor("js.first.cold", [&] {
    nothing.pool().trim(0);
    bench::check(nothing.try_call().has_value(), "nothing()");
  });
  first.row("js.first", [&] {
    evaluate.pool().trim(0);
    work.run(evaluate);
  });
  program.measure(std::move(first));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("js", argc, argv);
  measure(program);
  return program.finish();
}
