// Images that are known at run time only: loading image files, and the functions of these.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <virtine/abi/frame.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/call/callable.hpp>
#include <virtine/call/caller.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call/value_marshal.hpp>
#include <virtine/dynamic_function.hpp>
#include <virtine/image.hpp>
#include <virtine/loader/file_bytes.hpp>
#include <virtine/loader/image_file.hpp>
#include <virtine/loader/loaded_data.hpp>
#include <virtine/os/file_error.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/policy.hpp>
#include <virtine/pool.hpp>
#include <virtine/result.hpp>
#include <virtine/session.hpp>
#include <virtine/value.hpp>
#include <virtine/virtine_fn.hpp>

namespace virtine {

template <class Machine>
class loaded_pool;

/// A function of a loaded image: a virtine_fn like any other.
template <class Sig, class Policy = deny_all, class Machine = detail::machine>
using loaded_fn = virtine_fn<Sig, detail::loaded_entry<Machine>, Policy>;

namespace detail {

/// Stands for a session that there cannot be.
class refused_session final : public callee<value, std::span<value>> {
 public:
  result<value> call(const call_options&, const std::span<value>&) override {
    return error{.code = errc::image_refused,
                 .operation = "an image for bare machines has no sessions"};
  }
};

/// Opens a session of the dynamic function whose target this is.
template <class Machine, class Policy>
std::shared_ptr<callee<value, std::span<value>>> open_dynamic_session(
    const std::shared_ptr<async_callee<value, std::span<value>>>& target,
    const call_options& opening) {
  if constexpr (std::is_same_v<Machine, machine>) {
    using called = caller<value(std::span<value>), dynamic_entry<Machine>, Policy>;
    // Sound: what makes the function makes both, of the same types.
    return std::make_shared<session_target<called, value, std::span<value>>>(
        std::static_pointer_cast<called>(target), opening);
  } else {
    return std::make_shared<refused_session>();
  }
}

}  // namespace detail

/// An image that was loaded, by load_image() or load_bare_image(). This is a handle: copies are
/// cheap and share the image, which is gone when the last of them and of its functions, pools and
/// errors is destroyed. There is no empty one, so that one that was moved from is still the image.
/// Any number of threads may use it.
template <class Machine>
class basic_loaded_image {
 public:
  basic_loaded_image(const basic_loaded_image&) = default;
  basic_loaded_image& operator=(const basic_loaded_image&) = default;
  ~basic_loaded_image() = default;

  // Of the functions that load. Fails with errc::image_refused if `read` is for other machines.
  static result<basic_loaded_image> of(const detail::keeper& read) {
    constexpr bool is_bare = std::is_same_v<Machine, bare_machine>;
    const basic_loaded_image made(read);
    if ((made.description().mode != x86::cpu_mode::user64) == is_bare) return made;
    return error{.code = errc::image_refused,
                 .operation = is_bare
                                  ? "the image is not for bare machines: load it by load_image()"
                                  : "the image is for bare machines: load it by load_bare_image()"};
  }

  [[nodiscard]] const image_description& description() const { return data().description(); }

  /// Returns the functions of the image, in the order of their names.
  [[nodiscard]] std::span<const exported_function> exports() const { return data().exports(); }

  /// Returns the function `name`, of type Sig, with a pool of its own as a virtine_fn has it. Calls
  /// cost what those of an image that is compiled in do. Fails with errc::image_refused if the
  /// image has no such function, if its signature is another, or if it can make a hypercall that
  /// the policy does not allow; the error's text says what the image has.
  template <class Sig, class Policy = deny_all>
  [[nodiscard]] result<loaded_fn<Sig, Policy, Machine>> function(std::string_view name,
                                                                 Policy policy = {},
                                                                 pool_options options = {}) const {
    return made<Sig>(name, std::move(policy), std::in_place, *this, options);
  }

  /// The same on machines of `pool`, which must be one of this image and outlive the function.
  template <class Sig, class Policy = deny_all>
  [[nodiscard]] result<loaded_fn<Sig, Policy, Machine>> function(std::string_view name,
                                                                 loaded_pool<Machine>& pool,
                                                                 Policy policy = {}) const {
    if (auto own = check_pool(pool); !own) return own.error();
    return made<Sig>(name, std::move(policy), pool);
  }

  /// Returns the function `name`, whatever its type, to be called with values. Otherwise as
  /// function(). Fails with errc::image_refused, too, if there is a long double in its signature,
  /// or if that is none, as a file can have any text there.
  template <class Policy = deny_all>
  [[nodiscard]] result<dynamic_function> dynamic(std::string_view name, Policy policy = {},
                                                 pool_options options = {}) const {
    return made_dynamic(name, std::move(policy), std::in_place, *this, options);
  }

  /// The same on machines of `pool`, which must be one of this image and outlive the function.
  template <class Policy = deny_all>
  [[nodiscard]] result<dynamic_function> dynamic(std::string_view name, loaded_pool<Machine>& pool,
                                                 Policy policy = {}) const {
    if (auto own = check_pool(pool); !own) return own.error();
    return made_dynamic(name, std::move(policy), pool);
  }

 private:
  explicit basic_loaded_image(const detail::keeper& data) : data_(data) {}

  // Sound: whoever loads keeps nothing else there.
  [[nodiscard]] const detail::loaded_data& data() const {
    return static_cast<const detail::loaded_data&>(*data_.get());
  }

  template <class Sig, class Policy, class... Pool>
  result<loaded_fn<Sig, Policy, Machine>> made(std::string_view name, Policy policy,
                                               Pool&&... pool) const {
    using fn = loaded_fn<Sig, Policy, Machine>;
    return os::or_out_of_memory([&]() -> result<fn> {
      auto found = data().find(name);
      if (!found) return found.error();
      if (auto same = data().check_signature(**found, detail::signature<Sig>); !same)
        return same.error();
      if (auto fits = check(**found, detail::frame<Sig>::size, policy); !fits) return fits.error();
      return fn(typename fn::of_entry(), {(*found)->address}, std::move(policy),
                std::forward<Pool>(pool)...);
    });
  }

  template <class Policy, class... Pool>
  result<dynamic_function> made_dynamic(std::string_view name, Policy policy,
                                        Pool&&... pool) const {
    using caller = detail::caller<value(std::span<value>), detail::dynamic_entry<Machine>, Policy>;
    return os::or_out_of_memory([&]() -> result<dynamic_function> {
      auto found = data().find(name);
      if (!found) return found.error();
      auto types = data().types_of(**found);
      if (!types) return types.error();
      if (auto fits = check(**found, types->size, policy); !fits) return fits.error();
      return dynamic_function(
          std::shared_ptr<caller>(new caller({(*found)->address, (*found)->name, *std::move(types)},
                                             std::move(policy), std::forward<Pool>(pool)...),
                                  detail::delete_unless_abandoned<caller>),
          (*found)->signature, detail::open_dynamic_session<Machine, Policy>);
    });
  }

  /// Checks that calls of a function have room, and that the policy allows its hypercalls.
  template <class Policy>
  [[nodiscard]] result<void> check(const exported_function& of, std::size_t frame,
                                   const Policy& policy) const {
    if (auto fits = data().check_frame(of, frame); !fits) return fits;
    for (const std::uint32_t number : of.imports) {
      if (!policy.allows(number)) return detail::loaded_data::denied(of.name, number);
    }
    return {};
  }

  [[nodiscard]] result<void> check_pool(const loaded_pool<Machine>& pool) const {
    if (&pool.image() == &description()) return {};
    return error{.code = errc::image_refused, .operation = "the pool is one of another image"};
  }

  detail::keeper data_;
};

/// A pool of machines of a loaded image, which it keeps.
template <class Machine>
class loaded_pool : detail::keeper, public basic_pool<Machine> {
 public:
  explicit loaded_pool(const basic_loaded_image<Machine>& image, pool_options options = {})
      : detail::keeper(image.description().owner),
        basic_pool<Machine>(image.description(), options) {}
  ~loaded_pool() {
    // The calls that nobody waits for go on with the image.
    if (os::abandoned()) this->keep_for_good();
  }
};

namespace detail {
template <class Machine>
struct pool_for<loaded_type<Machine>> {
  using type = loaded_pool<Machine>;
};
}  // namespace detail

using loaded_image = basic_loaded_image<detail::machine>;
using loaded_bare_image = basic_loaded_image<bare_machine>;
/// An image of either kind; std::visit() does the same with both.
using any_loaded_image = std::variant<loaded_image, loaded_bare_image>;

namespace detail {

/// Loads an image of the type Image, which is one of the three above.
template <class Image>
result<Image> load_from(const file_bytes& file, const load_options& options) {
  auto read = os::or_out_of_memory([&]() -> result<keeper> {
    auto contents = image_reader::read(file, options);
    if (!contents) return contents.error();
    return keeper(new loaded_data(*std::move(contents), options.initialiser_timeout));
  });
  if (!read) return read.error();
  if constexpr (std::is_same_v<Image, any_loaded_image>) {
    if (auto bare = loaded_bare_image::of(*read)) return Image(*bare);
    return loaded_image::of(*read).transform([](const auto& its) { return Image(its); });
  } else {
    return Image::of(*read);
  }
}
template <class Image>
result<Image> load_from(int descriptor, const load_options& options) {
  const auto file = file_bytes::of(descriptor);
  if (!file) return file.error();
  return load_from<Image>(*file, options);
}
template <class Image>
result<Image> load_from(const std::string& path, const load_options& options) {
  const auto file = open_to_read(path);
  if (!file) return os::of_file(file.error(), path);
  return os::of_file(load_from<Image>(file->get(), options), path);
}

}  // namespace detail

/// Loads the image file at `path`, as `virtine-cc plugin.cpp -o plugin.virtine` makes them. Nothing
/// in it is trusted: it is copied once, and the copy is checked before any of it is used, so that
/// neither a damaged nor a hostile file, nor one that changes meanwhile, can do more than be
/// refused. Fails with errc::image_refused, or with errc::os_error if the file cannot be read.
inline result<loaded_image> load_image(const std::string& path, const load_options& options = {}) {
  return detail::load_from<loaded_image>(path, options);
}

/// The same of the file that is open as `descriptor`, which stays open.
inline result<loaded_image> load_image(int descriptor, const load_options& options = {}) {
  return detail::load_from<loaded_image>(descriptor, options);
}

/// The same of a file that is in memory as `bytes`, which are not needed afterwards.
inline result<loaded_image> load_image(std::span<const std::byte> bytes,
                                       const load_options& options = {}) {
  return detail::load_from<loaded_image>(detail::file_bytes(bytes), options);
}

/// Loads an image for bare machines, one that was built with `--mode`. Otherwise as load_image().
inline result<loaded_bare_image> load_bare_image(const std::string& path,
                                                 const load_options& options = {}) {
  return detail::load_from<loaded_bare_image>(path, options);
}

/// Loads an image of either kind, as its file says. Otherwise as load_image().
inline result<any_loaded_image> load_any_image(const std::string& path,
                                               const load_options& options = {}) {
  return detail::load_from<any_loaded_image>(path, options);
}

/// The same of a file that is in memory as `bytes`, which are not needed afterwards.
inline result<any_loaded_image> load_any_image(std::span<const std::byte> bytes,
                                               const load_options& options = {}) {
  return detail::load_from<any_loaded_image>(detail::file_bytes(bytes), options);
}

}  // namespace virtine
