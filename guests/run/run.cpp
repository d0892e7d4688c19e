// Calls any function of any image file, with arguments of the command line or of JSON.
// Run: virtine-run plugin.virtine square 3 (in the build directory: guests/virtine-run)
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/dynamic_policy.hpp>
#include <virtine/entropy.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/posix.hpp>
#include <virtine/version.hpp>

#include "json.hpp"
#include "options.hpp"

namespace {

using virtine::value;
using virtine::detail::shape;
using virtine::detail::shape_kind;

enum status : int { success = 0, guest_failed = 1, misused = 2, host_unfit = 3, limited = 4 };

int fail(int with, const std::string& why) {
  std::fprintf(stderr, "virtine-run: %s\n", why.c_str());
  return with;
}

int fail(const virtine::error& why) {
  constexpr auto status_of = [](virtine::blame whose) {
    switch (whose) {
      case virtine::blame::host:
        return host_unfit;
      case virtine::blame::caller:
        return misused;
      case virtine::blame::guest:
        return guest_failed;
      case virtine::blame::limit:
        return limited;
    }
    return host_unfit;
  };
  return fail(status_of(virtine::blame_of(why.code)), to_string(why));
}

std::string declaration(const virtine::exported_function& of) {
  const std::string type = virtine::signature_as_cpp(of.signature);
  // A file can have any text there.
  if (type == of.signature) return std::string(of.name) + ", without a signature: " + type;
  const std::size_t bracket = type.find('(');
  return type.substr(0, bracket) + ' ' + std::string(of.name) + type.substr(bracket);
}

bool is_characters(const shape& type) {
  switch (type.kind) {
    case shape_kind::text:
    case shape_kind::bytes:
      return true;
    case shape_kind::span:
      return type.parts[0].room.size == 1 && (type.parts[0].kind == shape_kind::integer ||
                                              type.parts[0].kind == shape_kind::natural);
    default:
      return false;
  }
}

/// Returns a word of the command line as what its parameter asks for; or says what is wrong.
std::optional<value> read_word(const shape& type, const std::string& word, std::string& why) {
  if (is_characters(type) && !word.starts_with("{\"hex\"")) return value(word);
  if (type.kind == shape_kind::floating) {
    double number = 0;
    const auto read = std::from_chars(word.data(), word.data() + word.size(), number);
    if (read.ec == std::errc() && read.ptr == word.data() + word.size()) return value(number);
  }
  json::reader reader(word);
  auto out = reader.read();
  if (!out) {
    const bool is_word = type.kind == shape_kind::boolean || type.kind == shape_kind::integer ||
                         type.kind == shape_kind::natural || type.kind == shape_kind::floating;
    why = is_word ? word + " is not " + virtine::detail::cpp_of(type)
                  : word + ": " + reader.problem();
  }
  return out;
}

std::optional<std::vector<value>> read_words(const virtine::exported_function& function,
                                             const std::vector<std::string>& words,
                                             std::string& why) {
  const auto types = virtine::detail::read_signature(function.signature);
  std::vector<value> out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    // What is one too many is told when the function is called.
    const shape& type = types && i < types->arguments.size() ? types->arguments[i] : shape{};
    auto one = read_word(type, words[i], why);
    if (!one) {
      why = "argument " + std::to_string(i + 1) + " of " + std::string(function.name) + ": " + why;
      return std::nullopt;
    }
    out.push_back(*std::move(one));
  }
  return out;
}

std::optional<std::vector<value>> read_json(const std::string& path, std::string& why) {
  std::string text;
  std::FILE* const file = path == "-" ? stdin : std::fopen(path.c_str(), "rbe");
  std::array<char, 4096> part;
  std::size_t got = 0;
  while (file != nullptr && (got = std::fread(part.data(), 1, part.size(), file)) > 0) {
    text.append(part.data(), got);
  }
  const bool failed = file == nullptr || std::ferror(file) != 0;
  if (file != nullptr && file != stdin) std::fclose(file);
  if (failed) {
    why = path + " cannot be read";
    return std::nullopt;
  }
  json::reader reader(text);
  auto read = reader.read();
  const auto list = read ? read->as<std::span<const value>>() : std::nullopt;
  if (!list) {
    why = path + ": " + (read ? "the arguments are to be an array" : reader.problem());
    return std::nullopt;
  }
  return std::vector<value>(list->begin(), list->end());
}

virtine::result<virtine::dynamic_policy> policy_of(const run::options& given) {
  namespace posix = virtine::posix;
  virtine::dynamic_policy out;
  virtine::result<void> added;
  const auto add = [&](auto grant) {
    if (added) added = out.add(std::move(grant));
  };
  if (given.output) {
    add(posix::output(
        [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); },
        UINT64_MAX));
  }
  if (given.input) {
    auto input = posix::try_descriptors({{0, STDIN_FILENO, posix::read_only}});
    if (!input) return input.error();
    add(*std::move(input));
  }
  if (!given.directories.empty()) {
    auto directories = posix::try_directories(given.directories);
    if (!directories) {
      virtine::error why = directories.error();
      if (why.code == virtine::errc::os_error) why.detail = 0;  // Which it is the path says.
      return why;
    }
    add(*std::move(directories));
  }
  if (given.clock) add(posix::clock());
  if (given.entropy) add(virtine::allow_entropy());
  if (!given.environment.empty()) add(posix::environment(given.environment));
  if (given.others_fail) add(posix::others_fail_with_enosys());
  if (!added) return added.error();
  return out;
}

void print(const value& it, bool raw) {
  const auto bytes = it.as<std::span<const std::byte>>();
  if (raw && bytes) {
    std::fwrite(bytes->data(), 1, bytes->size(), stdout);
    return;
  }
  std::string text;
  json::append(text, it);
  std::puts(text.c_str());
}

template <class Image>
int call(const Image& image, const run::options& given) {
  constexpr std::span<const std::uint32_t> none;
  const auto exports = image.exports();
  const auto found = std::find_if(exports.begin(), exports.end(),
                                  [&](const auto& each) { return each.name == given.function; });
  auto policy = policy_of(given);
  if (!policy) return fail(policy.error());
  for (const std::uint32_t number : found != exports.end() ? found->imports : none) {
    if (policy->allows(number)) continue;
    const bool is_entropy = number == virtine::entropy::number;
    return fail(misused, is_entropy
                             ? given.function + " asks for random bytes; grant them by --entropy"
                             : given.function + " can make hypercall " + std::to_string(number) +
                                   ", which only a program with a handler for it can answer");
  }
  auto function = image.dynamic(given.function, *std::move(policy));
  if (!function) return fail(function.error());

  std::string why;
  auto arguments =
      given.json ? read_json(*given.json, why) : read_words(*found, given.arguments, why);
  if (!arguments) return fail(misused, why);
  const auto result = function->with({.timeout = given.timeout, .hypercalls = given.hypercalls})
                          .try_call(std::span<value>(*arguments));
  if (!result) {
    std::fflush(stdout);
    return fail(result.error());
  }
  const auto types = virtine::detail::read_signature(found->signature);
  if (types->result.kind != shape_kind::nothing) print(*result, given.raw);
  for (std::size_t i = 0; i < arguments->size(); ++i) {
    if (types->arguments[i].is_output) print((*arguments)[i], given.raw);
  }
  return success;
}

template <class Image>
int act_on(const Image& image, const run::options& given) {
  if (given.action == run::options::what::call) return call(image, given);
  for (const virtine::exported_function& each : image.exports()) {
    const bool whole = given.action == run::options::what::list;
    std::puts(whole ? declaration(each).c_str() : std::string(each.name).c_str());
  }
  return success;
}

int act(const run::options& given) {
  const virtine::load_options limits{.max_memory = given.memory,
                                     .initialiser_timeout = given.timeout};
  const auto image = virtine::load_any_image(given.image, limits);
  if (!image) return fail(misused, to_string(image.error()));
  return std::visit([&](const auto& loaded) { return act_on(loaded, given); }, *image);
}

}  // namespace

int main(int argc, char** argv) {
  run::parser parser(std::span(argv, static_cast<std::size_t>(argc)).subspan(argc > 0 ? 1 : 0));
  const auto given = parser.parse();
  if (!given) return fail(misused, parser.problem() + "; see virtine-run --help");
  int status = success;
  if (given->action == run::options::what::tell_usage) {
    std::fputs(run::help, stdout);
  } else if (given->action == run::options::what::tell_version) {
    std::printf("virtine-run %d.%d.%d\n", VIRTINE_VERSION / 10000, VIRTINE_VERSION / 100 % 100,
                VIRTINE_VERSION % 100);
  } else {
    status = act(*given);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return fail(host_unfit, "standard output cannot be written to");
  }
  return status;
}
