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

  virtine::answer<void> rows(virtine::tainted<std::uint32_t> width,
                             virtine::tainted<std::uint32_t> height,
                             virtine::tainted<std::span<const std::byte>> given) {
    const auto number = [](std::uint32_t word) { return word; };
    if (!has_size(width.verify(number), height.verify(number))) return virtine::reject{};
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
  // Whether the picture has this size, which the first rows decide.
  bool has_size(std::uint32_t width, std::uint32_t height) {
    if (size() > 0) return width == made_.width && height == made_.height;
    const std::uint64_t pixels = std::uint64_t{width} * height;
    if (pixels == 0 || pixels > within_.max_pixels) return false;
    made_.width = width;
    made_.height = height;
    made_.pixels.reserve(size());
    return true;
  }
  [[nodiscard]] std::size_t size() const { return std::size_t{made_.width} * made_.height * 3; }

  const limits& within_;
  picture made_;
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
  virtine::policy policy{virtine::allow<take_rows>(
      [&](auto width, auto height, auto pixels) { return made.rows(width, height, pixels); })};
  const virtine::virtine_fn<reply(std::span<const std::byte>, std::uint64_t), guests::decode,
                            decltype(policy)>
      call{machines(), policy};
  const auto done = call.with({.timeout = within.timeout}).try_call(file, within.max_pixels);
  if (!done) return why_failed(done.error());
  if (done->what != outcome::decoded || !made.is_whole()) return why_refused(*done);
  return std::move(made).take();
}

}  // namespace decoder
