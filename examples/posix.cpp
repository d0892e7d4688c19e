// Grants a function that uses files and printf one directory to read and a text to print to.
// Run: build/examples/posix
// SPDX-License-Identifier: MIT
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <stdlib.h>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "posix.guest.hpp"  // virtine-cc makes it of this file

VIRTINE(count_lines, (std::string_view path) -> int) {
  const std::string name(path);
  std::FILE* const file = std::fopen(name.c_str(), "r");
  if (file == nullptr) {
    std::printf("%s: %s\n", name.c_str(), std::strerror(errno));
    return -1;
  }
  int lines = 0;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) lines += c == '\n';
  std::fclose(file);
  std::printf("%s: %d lines\n", name.c_str(), lines);
  return lines;
}

VIRTINE(scribble, (std::string_view path) -> bool) {
  const std::string name(path);
  std::FILE* const file = std::fopen(name.c_str(), "w");
  if (file == nullptr) std::printf("%s: %s\n", name.c_str(), std::strerror(errno));
  return file != nullptr;
}

namespace {

namespace posix = virtine::posix;

// A directory with one file, which ends with the object.
class notes {
 public:
  notes() {
    char name[] = "/tmp/virtine-notes-XXXXXX";
    if (mkdtemp(name) != nullptr) path_ = name;
    std::ofstream(path_ / "today.txt") << "get milk\nfeed the cat\n";
  }
  notes(const notes&) = delete;
  notes& operator=(const notes&) = delete;
  ~notes() { std::filesystem::remove_all(path_); }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void run() {
  const notes folder;
  std::string said;
  auto policy = virtine::policy{
      posix::directory<"/notes">(folder.path(), posix::read_only), posix::output(said, 4096),
      posix::others_fail_with_enosys(),  // with ENOSYS, as on a system that lacks the call
  };

  virtine::virtine_fn count{count_lines, policy};
  count("/notes/today.txt");
  count("/etc/passwd");                    // the guest has no such directory
  count("/notes/../../../../etc/passwd");  // nor a way out of the one it has

  virtine::virtine_fn write{scribble, policy};
  write("/notes/today.txt");

  // What a guest prints is its word: show it, do not trust it.
  std::printf("%s\nThe policy grants:\n%s", said.c_str(), to_string(policy).c_str());
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// /notes/today.txt: 2 lines
// /etc/passwd: No such file or directory
// /notes/../../../../etc/passwd: No such file or directory
// /notes/today.txt: Read-only file system
//
// The policy grants:
// directory /notes: ..., read only
// standard output and error: taken, at most 4096 bytes a call
// everything else: fails with ENOSYS
