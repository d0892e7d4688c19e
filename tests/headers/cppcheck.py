#!/usr/bin/python3
# Has cppcheck look at each header by itself: it gives up where it cannot read one, and with it all
# that include that one.
# SPDX-License-Identifier: MIT
"""usage: cppcheck.py SOURCE_ROOT"""

import pathlib
import shutil
import subprocess
import sys


def main(root):
    if not shutil.which("cppcheck"):
        print("skipped: there is no cppcheck (apt-get install cppcheck)")
        return 0
    root = pathlib.Path(root)
    headers = sorted((root / "include").rglob("*.hpp"))
    arguments = root / "tests" / "headers" / "cppcheck.txt"
    return subprocess.run([
        "cppcheck", "-q", "-j2", "--language=c++", "--std=c++20", "--error-exitcode=1",
        "--enable=warning,performance,portability,information", f"--suppressions-list={arguments}",
        "--template={file}:{line}: {severity}: {message} [{id}]", *headers], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
