// How large images are: what is embedded of them in a program, and loaded into each machine's
// snapshot. The paper has 16 KiB for its smallest and 578 KiB for its JavaScript engine.
// Must not know what they do.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <string>
#include <utility>

#include <guests/echo.hpp>
#include <guests/echo32.hpp>
#include <guests/empty.hpp>
#include <guests/http.hpp>
#include <guests/math.hpp>
#include <guests/primes.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <virtine/image.hpp>

#if __has_include(<guests/inflate.hpp>)
#include <guests/inflate.hpp>
#endif
#if __has_include(<guests/js.hpp>)
#include <guests/js.hpp>
#endif

#include "harness.hpp"

namespace {

/// Returns the bytes that the image consists of, in KiB.
double kib(const virtine::image_description& image) {
  std::size_t bytes = 0;
  for (const virtine::segment& each : image.segments) bytes += each.content.size();
  return static_cast<double>(bytes) / 1024;
}

template <class Image>
void add(bench::group& rows, std::string name) {
  rows.row(std::move(name), [] { return kib(Image::description); });
}

}  // namespace

int main(int argc, char** argv) {
  bench::program program("size", argc, argv);
  // Not measured: what the paper says (EuroSys '22, sections 3 and 6).
  constexpr double smallest_of_paper = 16;
  constexpr double javascript_of_paper = 578;

  constexpr bench::group_options once{.samples = 1, .burst = 1, .unit = "KiB"};
  bench::group small(once);
  small.floor("size.paper.smallest", [] { return smallest_of_paper; });
  add<guests::empty>(small, "size.empty");
  add<guests::square>(small, "size.square");
  add<guests::math>(small, "size.math");
  add<guests::text>(small, "size.text");
  add<guests::primes>(small, "size.primes");
  add<guests::echo32>(small, "size.echo.bare");
  add<guests::echo>(small, "size.echo.user");
  add<guests::http>(small, "size.http");
#if __has_include(<guests/inflate.hpp>)
  add<guests::inflate>(small, "size.inflate");
#endif
  program.measure(std::move(small));

#if __has_include(<guests/js.hpp>)
  bench::group large(once);
  large.floor("size.paper.js", [] { return javascript_of_paper; });
  add<guests::js>(large, "size.js");
  program.measure(std::move(large));
#endif
  return program.finish();
}
