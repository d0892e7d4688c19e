#!/usr/bin/python3
# Tests that docs/libraries.md has what the suite builds, line by line. Usage: check.py DOCUMENT
# NAME=OPTIONS...
# SPDX-License-Identifier: MIT

import pathlib
import re
import sys

document, *built = sys.argv[1:]
text = pathlib.Path(document).read_text(encoding="utf-8")
rows = re.findall(r"(?m)^\| ([\w-]+) \| `?([\w.-]+)`? \| (?:`([^`]+)`|none) \|", text)
said = {name: options for name, _, options in rows}
wanted = dict(each.split("=", 1) for each in built)
for name in sorted(said.keys() | wanted.keys()):
    if said.get(name) != wanted.get(name):
        sys.exit(f"{document} has {said.get(name)!r} for {name}, and the suite builds it with "
                 f"{wanted.get(name)!r}")
