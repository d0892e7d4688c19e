// Looks at everything that virtines need of a machine, says what is missing and what to do, and
// writes down what a bug report needs.
// Run: virtine-doctor (in the build directory: guests/virtine-doctor)
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string>
#include <string_view>

#include <virtine/version.hpp>

#include "host.hpp"
#include "kvm.hpp"
#include "processor.hpp"
#include "report.hpp"

namespace {

constexpr const char* help =
    "usage: virtine-doctor [--json] [DEVICE]\n"
    "\n"
    "Says whether virtines work on this machine, and what of it matters to them. The\n"
    "exit status is 0 if they do and 1 if not. DEVICE is used instead of /dev/kvm\n"
    "where the device alone is looked at.\n"
    "\n"
    "  --json   write one JSON object of the same sections, names and values\n"
    "  --help   write this\n";

std::string version() {
  return std::to_string(VIRTINE_VERSION / 10000) + '.' +
         std::to_string(VIRTINE_VERSION / 100 % 100) + '.' + std::to_string(VIRTINE_VERSION % 100);
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  const char* path = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--help") {
      std::fputs(help, stdout);
      return 0;
    }
    if (word == "--json" && !json) {
      json = true;
    } else if (!word.starts_with('-') && path == nullptr) {
      path = argv[i];
    } else {
      std::fputs(help, stderr);
      return 2;
    }
  }
  if (path == nullptr) path = "/dev/kvm";

  doctor::report report;
  doctor::examine_processor(report);
  doctor::examine_extended_state(report);
  doctor::examine_host(report);
  doctor::examine_limits(report);
  doctor::examine_device(report, path);
  doctor::examine_safety(report, path);
  doctor::examine_side_channels(report);
  doctor::examine_capabilities(report, path);
  const auto system = virtine::kvm::system::open(path);
  if (system) doctor::examine_guest_cpu(report, *system);
  const bool works = doctor::test_guests(report, system);
  if (json) {
    report.write_json(version(), works);
  } else {
    report.write_text(version(), works);
  }
  return works ? 0 : 1;
}
