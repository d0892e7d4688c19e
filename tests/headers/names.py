#!/usr/bin/python3
# Checks that every name that users can use is in a document, since what is in none is internal.
# SPDX-License-Identifier: MIT
"""usage: names.py SOURCE_ROOT"""

import pathlib
import re
import sys

PUBLIC = {"virtine", "virtine::posix", "virtine::gdb"}
# Types that are only ever written `auto`: what a documented function returns.
UNNAMED = re.compile(r"allowed$|debugged_fn$|\w+_grant$")
NOT_DOCUMENTS = {"architecture.md", "changelog.md"}

TEMPLATE = r"(?:template <.*> ?)?(?:requires.*\) )?"
DECLARATIONS = [re.compile(TEMPLATE + pattern) for pattern in (
    r"(?:class|struct|enum class|concept|using) (?:\[\[\w+\]\] )?(\w+)\b(?!<)",
    r"inline constexpr [\w:<>, ]+? \*?(\w+)(?: =|\{|\[|;)",
    r"(?:inline |constexpr |\[\[nodiscard\]\] )*[\w:<>,&* ]+? [*&]*(\w+)\(",
)]


def names_of(text):
    """Returns what a header declares in namespaces that are public."""
    names, spaces = set(), []
    for line in text.splitlines():
        if opened := re.fullmatch(r"(?:inline )?namespace ([\w:]+) \{", line):
            spaces.append(opened[1])
        elif line.startswith("}  // namespace"):
            spaces.pop()
        elif "::".join(spaces) in PUBLIC and line[:1].isalpha():
            found = [m[1] for pattern in DECLARATIONS if (m := pattern.match(line))]
            names |= set(found[:1]) - {"static_assert", "requires", "operator"}
    return names


def main(root):
    root = pathlib.Path(root)
    documents = [root / "README.md", *(path for path in sorted((root / "docs").glob("*.md"))
                                       if path.name not in NOT_DOCUMENTS)]
    words = set(re.findall(r"\w+", "".join(path.read_text() for path in documents)))
    count, missing = 0, []
    for header in sorted((root / "include").rglob("*.hpp")):
        names = names_of(header.read_text())
        count += len(names)
        missing += [f"{header.relative_to(root)}: {name} is in no document: write of it in docs, or "
                    "move it into namespace virtine::detail" for name in sorted(names - words)
                    if not UNNAMED.match(name)]
    print(*missing, sep="\n")
    print(f"{count} public names")
    return 1 if missing or count < 80 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
