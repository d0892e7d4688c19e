// Fuzzes the host's side of the example that evaluates JavaScript: what an engine answers that a
// script has broken, and what it asks of the host. An input is a byte that says which of the two,
// and what the guest has in its memory.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/allow.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/policy.hpp>

#include "../../examples/js/evaluated.hpp"
#include "../../examples/js/functions.hpp"
#include "../../examples/js/harmless.hpp"
#include "input.hpp"
#include "plain_guest.hpp"

namespace {

using namespace virtine;

/// Says whether a terminal takes something of a text in UTF-8 for a command.
bool has_commands(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : ' ');
    if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && next >= 0x80 && next < 0xa0)) return true;
  }
  return false;
}

/// An engine that leaves the input in its frame.
class broken_engine {
 public:
  explicit broken_engine(std::span<const std::byte> left) : left_(left) {}

  broken_engine& with(const call_options&) { return *this; }

  result<js::reply> try_call(std::string_view script, std::string_view input, std::int64_t now,
                             std::span<char> text) {
    const detail::marshaller<js::detail::signature> call(script, input, now, text);
    std::vector<std::byte> frame(call.used());
    require(call.write(frame, guest_address{plain_guest::base}).has_value());
    std::copy_n(left_.begin(), std::min(left_.size(), frame.size()), frame.begin());
    std::memcpy(&outcome_, frame.data() + detail::frame<js::detail::signature>::result_offset,
                sizeof outcome_);
    return call.read(frame);
  }

  [[nodiscard]] bool gave_outcome() const { return outcome_ <= 1; }

 private:
  std::span<const std::byte> left_;
  std::uint32_t outcome_ = 0;
};

void evaluate(std::size_t text_max, std::span<const std::byte> left) {
  broken_engine engine(left);
  const auto done = js::detail::evaluate_by(engine, "input", "[1]", {.text_max = text_max});
  require(done.has_value() == engine.gave_outcome());
  if (!done) return require(done.error().code == errc::bad_reply);
  require(done->text.size() <= text_max && (done->is_whole || done->text.size() == text_max));
  require(!has_commands(js::harmless(done->text)));
}

/// What the host was asked by the last hypercall.
std::optional<std::string> asked;

auto& rules() {
  static policy made{allow<js::log>([](tainted<std::string_view> text) {
                       asked = js::harmless(text.unverified_because("it is made harmless"));
                     }),
                     allow<js::get>([](tainted<std::string_view> key) {
                       asked = key.unverified_because("it is only looked at");
                       return asked->size() % 2 == 0
                                  ? js::found{}
                                  : js::found{.exists = 1, .text = bytes<4000>("blue")};
                     })};
  return made;
}

void ask(std::uint64_t number, std::span<const std::byte> content) {
  plain_guest guest(content);
  asked.reset();
  const auto served = rules().serve(number, guest, guest_address{plain_guest::base});
  require(served || (served.error().code == errc::hypercall_rejected && guest.written == 0));
  if (!asked) return require(!served);
  require(asked->size() <= content.size());
  if (number == js::log::number) {
    require(!has_commands(*asked));
    require(served && guest.written == 0);
  } else {
    // Which needs room for all of it.
    constexpr std::size_t size = detail::wire<js::found>::size;
    require(served.has_value() == (content.size() >= size) && guest.written % size == 0);
    if (served) require(guest.bytes()[0] <= std::byte{1});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto what = input.take<std::uint8_t>();
  constexpr std::array<std::size_t, 4> rooms{0, 1, 16, 300};
  // The guest's memory is larger than an input.
  const std::size_t more = (what & 2) != 0 ? 5000 : 0;
  std::vector<std::byte> content(input.rest().begin(), input.rest().end());
  content.resize(content.size() + more);
  if (what % 2 == 0) {
    evaluate(rooms[what / 4 % 4], content);
  } else {
    ask(what / 4 % 2 == 0 ? js::log::number : js::get::number, content);
  }
  return 0;
}
