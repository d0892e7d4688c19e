#!/usr/bin/python3
# Checks that the code in the documents is code that the tests compile and run.
# Must not know what any of it does.
# SPDX-License-Identifier: MIT
"""Find every block of code of some documents, word for word, in one of some sources."""

import argparse
import pathlib
import re
import sys

LANGUAGES = {"c", "cpp", "rust", "meson", "cmake"}
# What need not be code: commands and what programs print.
OTHERS = {"", "sh"}


def words(text):
    """Returns the text without its layout, so that words and signs are found whole."""
    return " " + " ".join(re.findall(r"\w+|[^\w\s]", text)) + " "


def blocks(text):
    """Yields the fenced blocks: the line each begins at, its language, its text."""
    fence = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for found in fence.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[1].strip(), found[2]


def problems(documents, sources):
    """Yields what is wrong with `documents`, given `sources`; both are {name: text}."""
    compiled = [words(text) for text in sources.values()]
    for name, text in documents.items():
        count = 0
        for line, language, block in blocks(text):
            if language in OTHERS:
                continue
            count += 1
            if language not in LANGUAGES:
                yield f"{name}:{line}: a block of {language}, which nothing checks"
            elif not any(words(block) in source for source in compiled):
                yield f"{name}:{line}: no source that is compiled has this:\n{block}"
        if count == 0:
            yield f"{name} has no code"


def self_test():
    """Shows that each rule can fail, and that layout does not matter."""
    def found(text, source="int f() {\n  return g(1);\n}\n"):
        return list(problems({"x.md": text}, {"x.cpp": source}))

    assert not found("a\n```cpp\nint f() { return g( 1 ); }\n```\nb\n```sh\nls\n```\n```\nout\n```\n")
    assert not found("```rust\nreturn g(1);\n```\n")
    for block in ("int f() { return g(2); }", "t f()", "return g(1)); }", "// int f() {"):
        assert len(found(f"```cpp\n{block}\n```\n")) == 1, block
    assert "which nothing checks" in found("```c++\nint f()\n```\n")[0]
    assert found("```cpp\nreturn 2;\n```\n")[0].startswith("x.md:1: no source")
    assert "has no code" in found("int f()\n")[0]
    assert "has no code" in found("```sh\nint f()\n```\n")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--document", action="append", required=True, type=pathlib.Path)
    parser.add_argument("source", nargs="+", type=pathlib.Path, help="that is compiled")
    given = parser.parse_args()
    self_test()
    documents, sources = ({path: path.read_text(encoding="utf-8") for path in paths}
                          for paths in (given.document, given.source))
    found = list(problems(documents, sources))
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
