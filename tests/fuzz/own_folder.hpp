// A folder of the host's that nobody else looks into, where that can be had.
// SPDX-License-Identifier: MIT
#pragma once

#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "input.hpp"

/// A temporary folder. For root it is a file system of its own, in memory, which only this thread
/// and those that it starts see: files take no disk, and no other process can open one.
class own_folder {
 public:
  own_folder() {
    path_ = (std::filesystem::temp_directory_path() / "virtine-fuzz-XXXXXX").string();
    require(::mkdtemp(path_.data()) != nullptr);
    is_mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
                  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  ::mount("virtine-fuzz", path_.c_str(), "tmpfs", 0, "size=64m") == 0;
  }
  own_folder(const own_folder&) = delete;
  own_folder& operator=(const own_folder&) = delete;
  ~own_folder() {
    if (is_mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool is_mounted_ = false;
};
