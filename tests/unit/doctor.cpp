// What virtine-doctor warns of, from texts and numbers as hosts have them.
// SPDX-License-Identifier: MIT
#include "../../guests/doctor/safety.hpp"

#include "../catch.hpp"

#include <optional>
#include <string>

using namespace doctor;

TEST_CASE("a kernel's version is what kernel.org calls it, or not known", "[doctor]") {
  const auto version = [](const char* release, const char* build, const char* signature = "") {
    const auto found = version_of(release, build, signature);
    return found ? to_string(*found) : "not known";
  };
  CHECK(version("6.18.44", "#1 SMP PREEMPT_DYNAMIC @0") == "6.18.44");
  CHECK(version("6.18.44-local", "#1 SMP") == "6.18.44");
  CHECK(version("6.1.0-41-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)") ==
        "6.1.158");
  CHECK(version("6.8.0-88-generic", "#89-Ubuntu SMP", "Ubuntu 6.8.0-88.89-generic 6.8.12") ==
        "6.8.12");
  CHECK(version("7.2.0", "#1 SMP") == "7.2.0");
  // These add repairs of their own, and do not say which.
  CHECK(version("5.14.0-570.12.1.el9_6.x86_64", "#1 SMP PREEMPT_DYNAMIC") == "not known");
  CHECK(version("6.8.0-88-generic", "#89-Ubuntu SMP") == "not known");
  CHECK(version("7.2", "#1") == "not known");
  CHECK(version("6.x.1", "#1") == "not known");
  CHECK(version("", "") == "not known");
}

TEST_CASE("a kernel without the repairs is told which one has them", "[doctor]") {
  const auto told = [](unsigned major, unsigned minor, unsigned patch) {
    return warn_of_kernel(kernel_version{major, minor, patch});
  };
  CHECK(warn_of_kernel(std::nullopt).empty());
  for (const kernel_version& floor : kernel_floors) {
    CHECK(warn_of_kernel(floor).empty());
    const kernel_version before{floor.major, floor.minor, floor.patch - 1};
    CHECK(warn_of_kernel(before).find("use " + to_string(floor) + " or later") !=
          std::string::npos);
  }
  CHECK(told(6, 1, 10000).empty());
  // Series that ended before the repairs: the next one that has them.
  CHECK(told(4, 19, 325).find("use 5.15.222 ") != std::string::npos);
  CHECK(told(6, 8, 12).find("use 6.12.101 ") != std::string::npos);
  CHECK(told(7, 0, 99).find("use 7.1.6 ") != std::string::npos);
  CHECK(told(7, 2, 0).empty());
  CHECK(told(8, 0, 1).empty());
}

TEST_CASE("nested virtualisation is told of where it is on", "[doctor]") {
  CHECK(warn_of_nested("kvm_amd", "1").find("kvm_amd nested=0") != std::string::npos);
  CHECK(warn_of_nested("kvm_intel", "Y").find("kvm_intel nested=0") != std::string::npos);
  for (const char* off : {"0", "N", ""}) CHECK(warn_of_nested("kvm_intel", off).empty());
}

TEST_CASE("a device that others may open is told of", "[doctor]") {
  for (const unsigned open : {0666U, 0664U, 0662U, 0020666U}) {
    CHECK_FALSE(warn_of_rights(open).empty());
  }
  for (const unsigned closed : {0660U, 0600U, 0661U, 0020660U}) {
    CHECK(warn_of_rights(closed).empty());
  }
}
