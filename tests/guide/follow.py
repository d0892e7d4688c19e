#!/usr/bin/python3
# Does what a tutorial says: writes its files, runs its commands, compares what they print.
# Must not know what any of it does.
# SPDX-License-Identifier: MIT
"""Follow a document, block by block, in a folder of its own.

A block of code whose first line is a comment with a file's name is that file. Another block of code has to be part of
one of these files. A block of `sh` is run; a block without a language right after it is what it prints, in which
`...` stands for anything. After `<!-- needs KVM -->` it is run only where there is KVM.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import check  # noqa: E402

SKIPPED = 77
MARK = "<!-- needs KVM -->\n"
NAME = re.compile(r"(?://|#) ([\w.-]+)\n")


def matches(pattern, text):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), text, re.DOTALL)


def follow(text, folder, has_kvm):
    """Returns what is wrong with a document, and whether a block was left out for want of KVM."""
    found, skipped, files, printed = [], False, [], None
    lines = text.splitlines(keepends=True)
    for line, language, block in check.blocks(text):
        name = NAME.match(block)
        if language == "sh":
            if lines[line - 2] == MARK and not has_kvm:
                skipped, printed = True, None
                continue
            done = subprocess.run(["bash", "-ec", block], cwd=folder, encoding="utf-8", check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            printed = done.stdout
            if done.returncode != 0:
                found.append(f"line {line}: the command ended with {done.returncode}:\n{printed}")
                break
        elif language == "":
            if printed is not None and not matches(block, printed):
                found.append(f"line {line}: this was printed instead:\n{printed}")
            printed = None
        elif name:
            (folder / name[1]).write_text(block, encoding="utf-8")
            files.append(check.words(block))
        elif not any(check.words(block) in check.words(each) for _, _, each in check.blocks(text)
                     if NAME.match(each)):
            found.append(f"line {line}: this is in none of the document's files:\n{block}")
    if not files:
        found.append("there is no file in it")
    return found, skipped


def self_test():
    """Shows that each rule can fail."""
    def found(text, has_kvm=True):
        with tempfile.TemporaryDirectory() as folder:
            return follow(text, pathlib.Path(folder), has_kvm)

    file = "```cpp\n// a.txt\nint f();\n```\n"
    good = file + "```cpp\nint f( );\n```\n```sh\ncat a.txt; echo 3\n```\n```\n// a.txt\nint...\n3\n```\n"
    assert found(good) == ([], False)
    assert "in none" in found(file + "```cpp\nint g();\n```\n")[0][0]
    assert "instead" in found(file + "```sh\necho 1\n```\n```\n2\n```\n")[0][0]
    failing = file + MARK + "```sh\necho no; false\n```\n```\nyes\n```\n"
    assert "ended with 1:\nno" in found(failing)[0][0]
    assert found(failing, False) == ([], True)
    assert "no file" in found("```sh\ntrue\n```\n")[0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("--tools", required=True, type=pathlib.Path, help="the folder of virtine-cc")
    parser.add_argument("--headers", required=True, type=pathlib.Path,
                        help="the folder of virtine's headers")
    parser.add_argument("--pkgconfig", required=True, type=pathlib.Path,
                        help="the folder of virtine's pkg-config file")
    given = parser.parse_args()
    self_test()
    os.environ["PATH"] = f"{given.tools}:{os.environ['PATH']}"
    os.environ["PKG_CONFIG_PATH"] = str(given.pkgconfig)
    os.environ["CPLUS_INCLUDE_PATH"] = str(given.headers)
    with tempfile.TemporaryDirectory(prefix="virtine-tutorial-") as folder:
        found, skipped = follow(given.document.read_text(encoding="utf-8"), pathlib.Path(folder),
                                os.access("/dev/kvm", os.R_OK | os.W_OK))
    print(*found, sep="\n")
    if skipped and not found:
        print("skipped: what needs KVM; all else is as the document says")
        return SKIPPED
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
