// SPDX-License-Identifier: MIT
#include "decoder.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <guests/decode.hpp>
#include <virtine/virtine.hpp>

#include "shared.hpp"

namespace decoder {

namespace {

// What the rows of one call make up. Everything that comes is the guest's word.
class canvas {
 public:
  explicit canvas(const limits& within) : within_(within) {}

  virtine::answer<bool> begin(virtine::tainted<std::uint32_t> width,
                              virtine::tainted<std::uint32_t> height) {
    const auto size = [](std::uint32_t given) { return std::uint64_t{given}; };
    const std::uint64_t wide = width.verify(size), high = height.verify(size);
    if (begun_ || wide == 0 || high == 0) return virtine::reject{};
    begun_ = true;
    if (wide > within_.max_pixels / high) return false;
    made_.width = static_cast<std::uint32_t>(wide);
    made_.height = static_cast<std::uint32_t>(high);
    made_.pixels.reserve(wide * high * 3);
    return true;
  }

  virtine::answer<void> rows(virtine::tainted<std::span<const std::byte>> given) {
    const std::size_t room = size() - made_.pixels.size();
    const auto fitting = given.verify([&](std::span<const std::byte> bytes) {
      return bytes.size() <= room ? std::optional(bytes) : std::nullopt;
    });
    if (!fitting) return virtine::reject{};
    made_.pixels.insert(made_.pixels.end(), fitting->begin(), fitting->end());
    return {};
  }

  [[nodiscard]] bool is_whole() const { return size() > 0 && made_.pixels.size() == size(); }
  picture take() && { return std::move(made_); }

 private:
  [[nodiscard]] std::size_t size() const { return std::size_t{made_.width} * made_.height * 3; }

  const limits& within_;
  picture made_;
  bool begun_ = false;
};

refusal refuse(refusal::kind what, std::string text) {
  return {what, std::move(text)};
}

refusal why_failed(const virtine::error& error) {
  const bool is_limit = error.code == virtine::errc::arguments_too_large;
  const auto kind = is_limit                                       ? refusal::kind::too_large
                    : blame_of(error.code) == virtine::blame::host ? refusal::kind::no_machine
                                                                   : refusal::kind::stopped;
  return refuse(kind, to_string(error));
}

refusal why_refused(const reply& given) {
  // The guest's words: printable characters up to the first zero byte.
  const auto end = std::find(given.why.begin(), given.why.end(), '\0');
  std::string text(given.why.begin(), end);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  switch (given.what) {
    case outcome::unknown:
      return refuse(refusal::kind::damaged, "neither PNG nor JPEG");
    case outcome::no_memory:
      return refuse(refusal::kind::too_large, "the decoder's memory is full");
    case outcome::unwanted:
      return refuse(refusal::kind::too_large, "more pixels than the limit");
    case outcome::damaged:
    case outcome::decoded:
      break;
  }
  return refuse(refusal::kind::damaged, text.empty() ? "the rows are not all there" : text);
}

virtine::pool<guests::decode>& machines() {
  static virtine::pool<guests::decode> pool;
  return pool;
}

}  // namespace

std::variant<picture, refusal> decode(std::span<const std::byte> file, const limits& within) {
  canvas made(within);
  virtine::policy policy{virtine::allow<begin_picture>(
                             [&](auto width, auto height) { return made.begin(width, height); }),
                         virtine::allow<take_rows>([&](auto pixels) { return made.rows(pixels); })};
  const virtine::virtine_fn<reply(std::span<const std::byte>), guests::decode, decltype(policy)>
      call{machines(), policy};
  const auto done = call.with({.timeout = within.timeout}).try_call(file);
  if (!done) return why_failed(done.error());
  if (done->what != outcome::decoded || !made.is_whole()) return why_refused(*done);
  return std::move(made).take();
}

}  // namespace decoder
