// What stands behind <virtine/c/virtine.h>. Include it in one C++ source of a program that does not
// link libvirtine. Lets no exception out, and trusts no pointer more than it has to.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/c/virtine.h>
#include <virtine/allow_entropy.hpp>
#include <virtine/call/value_marshal.hpp>
#include <virtine/call_options.hpp>
#include <virtine/dynamic_function.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/loader/file_bytes.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/posix/grants.hpp>
#include <virtine/result.hpp>
#include <virtine/value.hpp>
#include <virtine/value/shape.hpp>
#include <virtine/version.hpp>

namespace virtine::detail {

/// What each handle begins with, until it is freed: which kind it is.
class handle {
 public:
  explicit handle(std::uint64_t kind) : kind_(kind) {}
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  // Volatile, or the compiler would leave out a store that nothing can see.
  ~handle() { *const_cast<volatile std::uint64_t*>(&kind_) = 0; }

  [[nodiscard]] bool is(std::uint64_t kind) const { return kind_ == kind; }

 private:
  std::uint64_t kind_;
};

}  // namespace virtine::detail

struct virtine_image : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'696d'6167;
  template <class Loaded>
  explicit virtine_image(Loaded its) : handle(kind), loaded(std::move(its)) {}

  std::variant<virtine::loaded_image, virtine::loaded_bare_image> loaded;
};

struct virtine_policy : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'706f'6c69;
  virtine_policy() : handle(kind) {}

  virtine::dynamic_policy grants;
};

struct virtine_function : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'6675'6e63;
  virtine_function(std::string its_name, virtine::dynamic_function its)
      : handle(kind),
        name(std::move(its_name)),
        callable(std::move(its)),
        types(*virtine::detail::read_signature(callable.signature())) {}

  std::string name;
  virtine::dynamic_function callable;
  virtine::detail::call_shape types;
};

namespace virtine::detail {

/// Returns the number that a code has in C, for good.
constexpr virtine_code code_in_c(errc code) {
  switch (code) {
    case errc::no_kvm:
      return VIRTINE_NO_KVM;
    case errc::os_error:
      return VIRTINE_OS_ERROR;
    case errc::machine_failure:
      return VIRTINE_MACHINE_FAILURE;
    case errc::host_unfit:
      return VIRTINE_HOST_UNFIT;
    case errc::arguments_too_large:
      return VIRTINE_ARGUMENTS_TOO_LARGE;
    case errc::out_of_range:
      return VIRTINE_OUT_OF_RANGE;
    case errc::session_in_use:
      return VIRTINE_SESSION_IN_USE;
    case errc::snapshot_refused:
      return VIRTINE_SNAPSHOT_REFUSED;
    case errc::image_refused:
      return VIRTINE_IMAGE_REFUSED;
    case errc::bad_grant:
      return VIRTINE_BAD_GRANT;
    case errc::bad_argument:
      return VIRTINE_BAD_ARGUMENT;
    case errc::guest_fault:
      return VIRTINE_GUEST_FAULT;
    case errc::hypercall_denied:
      return VIRTINE_HYPERCALL_DENIED;
    case errc::hypercall_rejected:
      return VIRTINE_HYPERCALL_REJECTED;
    case errc::bad_reply:
      return VIRTINE_BAD_REPLY;
    case errc::system_call_denied:
      return VIRTINE_SYSTEM_CALL_DENIED;
    case errc::exited:
      return VIRTINE_EXITED;
    case errc::timed_out:
      return VIRTINE_TIMED_OUT;
    case errc::cancelled:
      return VIRTINE_CANCELLED;
    case errc::hypercall_limit:
      return VIRTINE_HYPERCALL_LIMIT;
    case errc::pool_exhausted:
      return VIRTINE_POOL_EXHAUSTED;
  }
  return VIRTINE_MACHINE_FAILURE;
}

/// A failure as C has it.
struct c_failure {
  virtine_code code = VIRTINE_OK;
  virtine::error why = {};
  const char* misuse = "";  ///< For VIRTINE_MISUSE.

  c_failure() = default;
  c_failure(virtine::error its)  // NOLINT(google-explicit-constructor)
      : code(code_in_c(its.code)), why(std::move(its)) {}
  static c_failure misused(const char* how) {
    c_failure out;
    out.code = VIRTINE_MISUSE;
    out.misuse = how;
    return out;
  }
};

/// Writes a text that ends with a zero byte, cut off if `size` is too small.
inline void copy_text(std::string_view text, char* to, std::size_t size) {
  if (size == 0) return;
  const std::size_t used = std::min(text.size(), size - 1);
  std::copy_n(text.data(), used, to);
  to[used] = '\0';
}

/// Tells a failure, unless `to` is null; returns its code.
inline int tell(const c_failure& failure, virtine_error* to) {
  if (to == nullptr) return failure.code;
  *to = {sizeof *to, failure.code, 0, 0, 0, 0, ""};
  if (failure.code == VIRTINE_OK) return VIRTINE_OK;
  if (failure.code == VIRTINE_MISUSE) {
    copy_text("misuse: ", to->text, sizeof to->text);
    const std::size_t used = std::strlen(to->text);
    copy_text(failure.misuse, to->text + used, sizeof to->text - used);
    return failure.code;
  }
  to->os_error = failure.why.os_error;
  to->detail = failure.why.detail;
  to->fault_instruction = failure.why.fault.instruction;
  to->fault_address = failure.why.fault.address;
#ifdef __cpp_exceptions
  try {
    copy_text(to_string(failure.why), to->text, sizeof to->text);
  } catch (const std::exception&) {
    copy_text(name(failure.why.code), to->text, sizeof to->text);
  }
#else
  copy_text(to_string(failure.why), to->text, sizeof to->text);
#endif
  return failure.code;
}

/// Returns what `body` returns, a c_failure, as C has it.
template <class Body>
int guarded(virtine_error* error, const Body& body) {
  if (error != nullptr && error->size != sizeof *error) return VIRTINE_MISUSE;
#ifdef __cpp_exceptions
  try {
    return tell(body(), error);
  } catch (const std::bad_alloc&) {
    return tell(os::out_of_memory(), error);
  } catch (const std::exception&) {
    return tell(c_failure::misused("a handler, or the C++ library, threw an exception"), error);
  }
#else
  return tell(body(), error);
#endif
}

template <class Handle>
bool is_handle(const Handle* of) {
  return of != nullptr && of->is(Handle::kind);
}

/// Destroys a handle unless it is none.
template <class Handle>
void free_handle(Handle* of) {
  if (is_handle(of)) delete of;
}

/// Returns the options, all defaults if there are none; nothing if their size is unknown.
template <class Options>
std::optional<Options> options_of(const Options* given) {
  if (given == nullptr) return Options{};
  if (given->size != sizeof *given) return std::nullopt;
  return *given;
}
inline c_failure unknown_size() {
  return c_failure::misused("the size of the options is not that of this version");
}

inline std::chrono::nanoseconds nanoseconds_of(std::uint64_t number) {
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(number, INT64_MAX)));
}

inline constexpr int max_list_depth = 64;

/// Returns a value of C's as one of the library's, which refers to what it refers to; nothing if it
/// is none.
inline std::optional<value> value_of(const virtine_value& from, int depth = 0) {
  const auto bytes = [](const void* data, std::size_t size) {
    // Sound: the caller says that so many bytes are there.
    return std::span(static_cast<const std::byte*>(data), size);
  };
  switch (from.kind) {
    case VIRTINE_NONE:
      return value();
    case VIRTINE_BOOL:
      if (from.as.boolean > 1) return std::nullopt;
      return value(from.as.boolean == 1);
    case VIRTINE_INT:
      return value(from.as.integer);
    case VIRTINE_UINT:
      return value(from.as.natural);
    case VIRTINE_DOUBLE:
      return value(from.as.floating);
    case VIRTINE_TEXT:
      if (from.as.bytes.data == nullptr && from.as.bytes.size != 0) return std::nullopt;
      return value(std::span(static_cast<const char*>(from.as.bytes.data), from.as.bytes.size));
    case VIRTINE_BYTES:
      if (from.as.bytes.data == nullptr && from.as.bytes.size != 0) return std::nullopt;
      return value(bytes(from.as.bytes.data, from.as.bytes.size));
    case VIRTINE_BUFFER:
      if (from.as.buffer.data == nullptr && from.as.buffer.size != 0) return std::nullopt;
      // Sound: as above.
      return value(std::span(static_cast<std::byte*>(from.as.buffer.data), from.as.buffer.size));
    case VIRTINE_LIST: {
      if (depth >= max_list_depth || (from.as.list.items == nullptr && from.as.list.count != 0)) {
        return std::nullopt;
      }
      std::vector<value> out;
      for (std::size_t i = 0; i < from.as.list.count; ++i) {
        auto one = value_of(from.as.list.items[i], depth + 1);
        if (!one) return std::nullopt;
        out.push_back(*std::move(one));
      }
      return value(std::move(out));
    }
    default:
      return std::nullopt;
  }
}

/// Fills `to` with a value that owns what it refers to. Returns false if there is no memory.
inline bool give_value(const value& from, virtine_value& to) {
  to = VIRTINE_VALUE_INIT;
  if (const auto flag = from.as<bool>()) {
    to = virtine_of_bool(*flag);
  } else if (const auto* const number = std::get_if<wide_integer>(&from.held())) {
    to = number->negative ? virtine_of_int(static_cast<std::int64_t>(number->bits))
                          : virtine_of_uint(number->bits);
  } else if (const auto floating = from.as<double>()) {
    to = virtine_of_double(*floating);
  } else if (const auto bytes = from.as<std::span<const std::byte>>()) {
    void* const copy = std::malloc(std::max<std::size_t>(bytes->size(), 1));
    if (copy == nullptr) return false;
    if (!bytes->empty()) std::memcpy(copy, bytes->data(), bytes->size());
    to = virtine_of_bytes(copy, bytes->size());
    to.owned = 1;
  } else if (const auto list = from.as<std::span<const value>>()) {
    auto* const items = static_cast<virtine_value*>(
        std::calloc(std::max<std::size_t>(list->size(), 1), sizeof(virtine_value)));
    if (items == nullptr) return false;
    to = virtine_of_list(items, list->size());
    to.owned = 1;
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (!give_value((*list)[i], items[i])) return false;
    }
  }
  return true;
}

/// Answers a hypercall by a handler in C.
class c_handler {
 public:
  c_handler(virtine_handler handler, void* context, const call_shape& types)
      : handler_(handler), context_(context) {
    for (const shape& each : types.arguments) outputs_.push_back(each.is_output);
  }

  std::optional<value> operator()(std::span<value> given) const {
    std::vector<virtine_value> arguments(given.size(), virtine_value(VIRTINE_VALUE_INIT));
    std::vector<std::vector<virtine_value>> kept;
    for (std::size_t i = 0; i < given.size(); ++i) {
      arguments[i] = lend(given[i], outputs_[i], kept);
    }
    virtine_value result = VIRTINE_VALUE_INIT;
    if (handler_(context_, arguments.data(), arguments.size(), &result) != 0) return std::nullopt;
    return value_of(result);
  }

 private:
  /// Returns a value that refers to `of`; lists are in `kept`.
  static virtine_value lend(value& of, bool is_output,
                            std::vector<std::vector<virtine_value>>& kept) {
    if (const auto text = of.as<std::string_view>()) {
      return virtine_of_text(text->data(), text->size());
    }
    if (auto* const bytes = std::get_if<std::vector<std::byte>>(&of.held())) {
      return is_output ? virtine_of_buffer(bytes->data(), bytes->size())
                       : virtine_of_bytes(bytes->data(), bytes->size());
    }
    if (auto* const list = std::get_if<std::vector<value>>(&of.held())) {
      std::vector<virtine_value> items;
      for (value& each : *list) items.push_back(lend(each, false, kept));
      kept.push_back(std::move(items));
      return virtine_of_list(kept.back().data(), kept.back().size());
    }
    virtine_value out = VIRTINE_VALUE_INIT;
    static_cast<void>(give_value(of, out));
    return out;
  }

  virtine_handler handler_;
  void* context_;
  std::vector<bool> outputs_;
};

/// Adds to a policy what `make` returns, a grant or a result of one.
template <class Make>
int add_grant(virtine_policy* policy, virtine_error* error, const Make& make) {
  return guarded(error, [&]() -> c_failure {
    if (!is_handle(policy)) return c_failure::misused("this is no policy");
    auto made = make();
    if constexpr (is_result<decltype(made)>) {
      if (!made) return made.error();
      auto added = policy->grants.add(*std::move(made));
      return added ? c_failure() : added.error();
    } else {
      auto added = policy->grants.add(std::move(made));
      return added ? c_failure() : added.error();
    }
  });
}

/// Loads an image by `load`, for the one kind of machine or, by `load_bare`, for the other.
template <class Load, class LoadBare>
int load_in_c(const Load& load, const LoadBare& load_bare, const virtine_load_options* options,
              virtine_image** image, virtine_error* error) {
  return guarded(error, [&]() -> c_failure {
    const auto given = options_of(options);
    if (!given) return unknown_size();
    load_options limits;
    if (given->max_memory != 0) limits.max_memory = given->max_memory;
    if (given->max_stack != 0) limits.max_stack = given->max_stack;
    if (given->max_arguments != 0) limits.max_arguments = given->max_arguments;
    if (given->max_symbols != 0) limits.max_symbols = given->max_symbols;
    if (given->initialiser_timeout != 0) {
      limits.initialiser_timeout = nanoseconds_of(given->initialiser_timeout);
    }
    auto loaded = load(limits);
    if (loaded) {
      *image = new virtine_image(*std::move(loaded));
      return {};
    }
    auto bare = load_bare(limits);
    if (!bare) return loaded.error();
    *image = new virtine_image(*std::move(bare));
    return {};
  });
}

}  // namespace virtine::detail

extern "C" {

const char* virtine_code_name(int code) {
  if (code == VIRTINE_OK) return "ok";
  if (code == VIRTINE_MISUSE) return "misuse";
  for (int i = 1; i <= static_cast<int>(virtine::errc::pool_exhausted); ++i) {
    const auto each = static_cast<virtine::errc>(i);
    if (virtine::detail::code_in_c(each) == code) return name(each);
  }
  return "unknown";
}

uint32_t virtine_version(void) {
  return VIRTINE_VERSION;
}

void virtine_value_clear(virtine_value* value) {
  if (value == nullptr) return;
  if (value->owned == 1 && value->kind == VIRTINE_LIST) {
    // Sound: the library made it, of memory that it may write to.
    auto* const items = const_cast<virtine_value*>(value->as.list.items);
    for (std::size_t i = 0; i < value->as.list.count; ++i) virtine_value_clear(&items[i]);
    std::free(items);
  } else if (value->owned == 1 && value->kind == VIRTINE_BYTES) {
    std::free(const_cast<void*>(value->as.bytes.data));
  }
  *value = VIRTINE_VALUE_INIT;
}

int virtine_load(const char* path, const virtine_load_options* options, virtine_image** image,
                 virtine_error* error) {
  using virtine::detail::c_failure;
  if (path == nullptr || image == nullptr) {
    return virtine::detail::guarded(
        error, [] { return c_failure::misused("virtine_load() is given no path or no image"); });
  }
  return virtine::detail::load_in_c(
      [&](const auto& limits) { return virtine::load_image(std::string(path), limits); },
      [&](const auto& limits) { return virtine::load_bare_image(path, limits); }, options, image,
      error);
}

int virtine_load_bytes(const void* bytes, size_t size, const virtine_load_options* options,
                       virtine_image** image, virtine_error* error) {
  using virtine::detail::c_failure;
  if (bytes == nullptr || image == nullptr) {
    return virtine::detail::guarded(error, [] {
      return c_failure::misused("virtine_load_bytes() is given no bytes or no image");
    });
  }
  // Sound: the caller says that so many bytes are there.
  const std::span from(static_cast<const std::byte*>(bytes), size);
  return virtine::detail::load_in_c(
      [&](const auto& limits) { return virtine::load_image(from, limits); },
      [&](const auto& limits) {
        return virtine::loaded_bare_image::load(virtine::detail::file_bytes(from), limits);
      },
      options, image, error);
}

void virtine_image_free(virtine_image* image) {
  virtine::detail::free_handle(image);
}

size_t virtine_export_count(const virtine_image* image) {
  if (!virtine::detail::is_handle(image)) return 0;
  return std::visit([](const auto& loaded) { return loaded.exports().size(); }, image->loaded);
}

int virtine_export_at(const virtine_image* image, size_t index, virtine_export* found,
                      virtine_error* error) {
  using virtine::detail::c_failure;
  return virtine::detail::guarded(error, [&]() -> c_failure {
    if (found == nullptr || found->size != sizeof *found) {
      return c_failure::misused("virtine_export_at() is given nothing to fill, or of another size");
    }
    if (index >= virtine_export_count(image)) {
      return c_failure::misused("this is no image, or it has fewer functions");
    }
    std::visit(
        [&](const auto& loaded) {
          const virtine::exported_function& each = loaded.exports()[index];
          // Sound: the texts of an image end with a zero byte.
          found->name = each.name.data();
          found->signature = each.signature.data();
        },
        image->loaded);
    return {};
  });
}

size_t virtine_signature_as_cpp(const char* signature, char* into, size_t size) {
  std::size_t length = 0;
  static_cast<void>(virtine::detail::guarded(nullptr, [&]() -> virtine::detail::c_failure {
    const std::string text =
        signature != nullptr ? virtine::signature_as_cpp(signature) : std::string();
    if (into != nullptr) virtine::detail::copy_text(text, into, size);
    length = text.size();
    return {};
  }));
  return length;
}

int virtine_policy_create(virtine_policy** policy, virtine_error* error) {
  using virtine::detail::c_failure;
  return virtine::detail::guarded(error, [&]() -> c_failure {
    if (policy == nullptr) return c_failure::misused("virtine_policy_create() is given no policy");
    *policy = new virtine_policy();
    return {};
  });
}

void virtine_policy_free(virtine_policy* policy) {
  virtine::detail::free_handle(policy);
}

int virtine_policy_add_output(virtine_policy* policy, virtine_output output, void* context,
                              uint64_t most, virtine_error* error) {
  using virtine::detail::c_failure;
  if (output == nullptr) {
    return virtine::detail::guarded(
        error, [] { return c_failure::misused("virtine_policy_add_output() is given no output"); });
  }
  return virtine::detail::add_grant(policy, error, [&] {
    return virtine::posix::output(
        [=](std::string_view text) { output(context, text.data(), text.size()); }, most);
  });
}

int virtine_policy_add_directory(virtine_policy* policy, const char* host_path,
                                 const char* guest_path, uint64_t most, virtine_error* error) {
  using virtine::detail::c_failure;
  if (host_path == nullptr || guest_path == nullptr) {
    return virtine::detail::guarded(error, [] {
      return c_failure::misused("virtine_policy_add_directory() is given no path");
    });
  }
  return virtine::detail::add_grant(policy, error, [&] {
    namespace posix = virtine::posix;
    return posix::try_directories({{.guest_path = guest_path,
                                    .host_path = host_path,
                                    .allowed = most != 0 ? posix::read_write : posix::read_only,
                                    .most = most}});
  });
}

int virtine_policy_add_descriptor(virtine_policy* policy, int guest, int host, int rights,
                                  virtine_error* error) {
  return virtine::detail::add_grant(policy, error, [&] {
    // What is none is refused there.
    const auto allowed =
        static_cast<virtine::posix::rights>(rights >= 1 && rights <= 3 ? rights : 0);
    return virtine::posix::try_descriptors({{guest, host, allowed}});
  });
}

int virtine_policy_add_clock(virtine_policy* policy, virtine_error* error) {
  return virtine::detail::add_grant(policy, error, [] { return virtine::posix::clock(); });
}

int virtine_policy_add_entropy(virtine_policy* policy, virtine_error* error) {
  return virtine::detail::add_grant(policy, error, [] { return virtine::allow_entropy(); });
}

int virtine_policy_add_environment(virtine_policy* policy, const char* const* strings, size_t count,
                                   virtine_error* error) {
  using virtine::detail::c_failure;
  if (strings == nullptr || std::count(strings, strings + count, nullptr) != 0) {
    return virtine::detail::guarded(error, [] {
      return c_failure::misused("virtine_policy_add_environment() is given a string that is NULL");
    });
  }
  return virtine::detail::add_grant(policy, error, [&] {
    return virtine::posix::environment(std::vector<std::string>(strings, strings + count));
  });
}

int virtine_policy_add_others_fail(virtine_policy* policy, virtine_error* error) {
  return virtine::detail::add_grant(policy, error,
                                    [] { return virtine::posix::others_fail_with_enosys(); });
}

int virtine_policy_add_hypercall(virtine_policy* policy, uint32_t number, const char* signature,
                                 virtine_handler handler, void* context, virtine_error* error) {
  using virtine::detail::c_failure;
  return virtine::detail::guarded(error, [&]() -> c_failure {
    if (!virtine::detail::is_handle(policy) || signature == nullptr || handler == nullptr) {
      return c_failure::misused("this is no policy, or there is no signature or no handler");
    }
    const auto types = virtine::detail::read_signature(signature);
    auto added =
        policy->grants.allow(number, signature,
                             virtine::detail::c_handler(
                                 handler, context, types ? *types : virtine::detail::call_shape()));
    return added ? c_failure() : added.error();
  });
}

int virtine_function_create(const virtine_image* image, const char* name,
                            const virtine_policy* policy, const virtine_function_options* options,
                            virtine_function** function, virtine_error* error) {
  using virtine::detail::c_failure;
  return virtine::detail::guarded(error, [&]() -> c_failure {
    if (!virtine::detail::is_handle(image) || name == nullptr || function == nullptr ||
        (policy != nullptr && !virtine::detail::is_handle(policy))) {
      return c_failure::misused("this is no image or no policy, or there is no name");
    }
    const auto given = virtine::detail::options_of(options);
    if (!given) return virtine::detail::unknown_size();
    virtine::pool_options pool;
    if (given->max_machines != 0) pool.max = given->max_machines;
    pool.warm = given->warm;
    auto made = std::visit(
        [&](const auto& loaded) {
          return loaded.dynamic(
              name, policy != nullptr ? policy->grants : virtine::dynamic_policy(), pool);
        },
        image->loaded);
    if (!made) return made.error();
    *function = new virtine_function(name, *std::move(made));
    return {};
  });
}

void virtine_function_free(virtine_function* function) {
  virtine::detail::free_handle(function);
}

int virtine_call(const virtine_function* function, const virtine_value* arguments, size_t count,
                 virtine_value* result, const virtine_call_options* options, virtine_error* error) {
  using virtine::detail::c_failure;
  return virtine::detail::guarded(error, [&]() -> c_failure {
    if (!virtine::detail::is_handle(function) || (arguments == nullptr && count != 0)) {
      return c_failure::misused("this is no function, or there are no arguments");
    }
    const auto given = virtine::detail::options_of(options);
    if (!given) return virtine::detail::unknown_size();
    const auto wrong = [&](std::size_t i, const char* why) {
      return virtine::detail::told(
          {.code = virtine::errc::bad_argument},
          "argument " + std::to_string(i + 1) + " of " + function->name + ": " + why);
    };
    const auto& types = function->types.arguments;
    // Before any is looked at, as there may be no more than the function takes.
    if (count != types.size()) {
      return virtine::detail::wrong_count(function->name, types.size(), count);
    }
    std::vector<virtine::value> values;
    for (std::size_t i = 0; i < count; ++i) {
      auto one = virtine::detail::value_of(arguments[i]);
      if (!one) return wrong(i, "this is no virtine_value");
      if (types[i].is_output && arguments[i].kind != VIRTINE_BUFFER) {
        return wrong(i, "the function writes to this span; give it a VIRTINE_BUFFER");
      }
      values.push_back(*std::move(one));
    }
    virtine::call_options limits;
    if (given->timeout != 0) limits.timeout = virtine::detail::nanoseconds_of(given->timeout);
    if (given->hypercalls != 0) limits.hypercalls = given->hypercalls;
    auto reply = function->callable.with(limits).try_call(std::span(values));
    if (!reply) return reply.error();
    if (result == nullptr) return {};
    virtine_value out = VIRTINE_VALUE_INIT;
    if (!virtine::detail::give_value(*reply, out)) {
      virtine_value_clear(&out);
      return virtine::os::out_of_memory();
    }
    *result = out;
    return {};
  });
}

}  // extern "C"
