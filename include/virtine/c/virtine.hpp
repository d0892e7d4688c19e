// What stands behind <virtine/c/virtine.h>. Include it in one C++ source of a program that does not
// link libvirtine. Lets no exception out, and trusts no pointer more than it has to.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/c/virtine.h>
#include <virtine/allow_entropy.hpp>
#include <virtine/c/handle.hpp>
#include <virtine/c/values.hpp>
#include <virtine/call/value_marshal.hpp>
#include <virtine/call_options.hpp>
#include <virtine/dynamic_function.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/dynamic_session.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/posix/grants.hpp>
#include <virtine/result.hpp>
#include <virtine/value.hpp>
#include <virtine/value/shape.hpp>
#include <virtine/version.hpp>

struct virtine_image : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'696d'6167;
  explicit virtine_image(const virtine::any_loaded_image& its) : handle(kind), loaded(its) {}

  virtine::any_loaded_image loaded;
};

struct virtine_policy : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'706f'6c69;
  virtine_policy() : handle(kind) {}

  virtine::dynamic_policy grants;
};

struct virtine_function : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'6675'6e63;
  virtine_function(std::string its_name, const virtine::dynamic_function& its)
      : handle(kind),
        name(std::move(its_name)),
        callable(its),
        types(*virtine::detail::read_signature(callable.signature())) {}

  std::string name;
  virtine::dynamic_function callable;
  virtine::detail::call_shape types;
};

struct virtine_session : virtine::detail::handle {
  static constexpr std::uint64_t kind = 0x7669'7274'7365'7373;
  virtine_session(const virtine_function& of, const virtine::call_options& opening)
      : handle(kind),
        name(of.name),
        function(of.callable),
        types(*virtine::detail::read_signature(function.signature())),
        calls(function, opening) {}

  std::string name;
  virtine::dynamic_function function;  // The types refer to its signature.
  virtine::detail::call_shape types;
  virtine::dynamic_session calls;
};

namespace virtine::detail {

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

/// Loads an image of what `from` returns, a path or bytes.
template <class From>
int load_in_c(const From& from, const virtine_load_options* options, virtine_image** image,
              virtine_error* error) {
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
    auto loaded = load_any_image(from(), limits);
    if (!loaded) return loaded.error();
    *image = new virtine_image(*loaded);
    return {};
  });
}

/// Returns the limits of a call as C++ has them.
inline call_options limits_in_c(const virtine_call_options& given) {
  call_options limits;
  if (given.timeout != 0) limits.timeout = nanoseconds_of(given.timeout);
  if (given.hypercalls != 0) limits.hypercalls = given.hypercalls;
  limits.stop_if = given.stop_if;
  return limits;
}

/// Calls a function or a session whose types are known with values of C's.
template <class Callable>
c_failure call_in_c(const Callable& callable, const std::string& name, const call_shape& of,
                    const virtine_value* arguments, std::size_t count, virtine_value* result,
                    const virtine_call_options* options) {
  if (arguments == nullptr && count != 0) return c_failure::misused("there are no arguments");
  const auto given = options_of(options);
  if (!given) return unknown_size();
  const auto wrong = [&](std::size_t i, const char* why) {
    return told({.code = errc::bad_argument},
                "argument " + std::to_string(i + 1) + " of " + name + ": " + why);
  };
  const auto& types = of.arguments;
  // Before any is looked at, as there may be no more than the function takes.
  if (count != types.size()) return wrong_count(name, types.size(), count);
  std::vector<value> values;
  for (std::size_t i = 0; i < count; ++i) {
    auto one = value_of(arguments[i]);
    if (!one) return wrong(i, "this is no virtine_value, or one of too many values");
    if (types[i].is_output && arguments[i].kind != VIRTINE_BUFFER) {
      return wrong(i, "the function writes to this span; give it a VIRTINE_BUFFER");
    }
    values.push_back(*std::move(one));
  }
  auto reply = callable.with(limits_in_c(*given)).try_call(std::span(values));
  if (!reply) return reply.error();
  if (result == nullptr) return {};
  virtine_value out = VIRTINE_VALUE_INIT;
  if (!give_value(*reply, out)) {
    virtine_value_clear(&out);
    return os::out_of_memory();
  }
  *result = out;
  return {};
}

}  // namespace virtine::detail

// NOLINTBEGIN(misc-definitions-in-headers): one source includes this, so that C can link it.
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
  return virtine::detail::load_in_c([&] { return std::string(path); }, options, image, error);
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
  return virtine::detail::load_in_c([&] { return from; }, options, image, error);
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
    *function = new virtine_function(name, *made);
    return {};
  });
}

void virtine_function_free(virtine_function* function) {
  virtine::detail::free_handle(function);
}

int virtine_call(const virtine_function* function, const virtine_value* arguments, size_t count,
                 virtine_value* result, const virtine_call_options* options, virtine_error* error) {
  return virtine::detail::guarded(error, [&]() -> virtine::detail::c_failure {
    if (!virtine::detail::is_handle(function)) {
      return virtine::detail::c_failure::misused("this is no function");
    }
    return virtine::detail::call_in_c(function->callable, function->name, function->types,
                                      arguments, count, result, options);
  });
}

void virtine_ask_stop_if(void) {
  virtine::ask_stop_if();
}

void virtine_abandon_calls(void) {
  virtine::abandon_calls();
}

int virtine_session_create(const virtine_function* function, const virtine_call_options* opening,
                           virtine_session** session, virtine_error* error) {
  return virtine::detail::guarded(error, [&]() -> virtine::detail::c_failure {
    if (!virtine::detail::is_handle(function) || session == nullptr) {
      return virtine::detail::c_failure::misused("this is no function, or there is no session");
    }
    const auto given = virtine::detail::options_of(opening);
    if (!given) return virtine::detail::unknown_size();
    *session = new virtine_session(*function, virtine::detail::limits_in_c(*given));
    return {};
  });
}

void virtine_session_free(virtine_session* session) {
  virtine::detail::free_handle(session);
}

int virtine_session_call(virtine_session* session, const virtine_value* arguments, size_t count,
                         virtine_value* result, const virtine_call_options* options,
                         virtine_error* error) {
  return virtine::detail::guarded(error, [&]() -> virtine::detail::c_failure {
    if (!virtine::detail::is_handle(session)) {
      return virtine::detail::c_failure::misused("this is no session");
    }
    return virtine::detail::call_in_c(session->calls, session->name, session->types, arguments,
                                      count, result, options);
  });
}

}  // extern "C"
// NOLINTEND(misc-definitions-in-headers)
