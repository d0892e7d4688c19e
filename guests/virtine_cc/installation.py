# Where virtine's own files are.
# Must not know what they are used for.
# SPDX-License-Identifier: MIT

import pathlib
import re

from .failure import Failure


class Installation:
    """Where our own files are: beside the program in the source tree, or below its prefix."""

    def __init__(self, program):
        self.program = program
        self.modules = sorted(pathlib.Path(__file__).parent.glob("*.py"))
        here = program.parent
        self.include = here.parent / "include"
        self.runtime = here / "runtime"
        if not self.runtime.is_dir():
            self.runtime = here.parent / "share" / "virtine" / "runtime"
        for needed in (self.runtime / "user64.ld", self.include / "virtine" / "version.hpp"):
            if not needed.is_file():
                raise Failure(f"{needed} is missing; install virtine again, or run virtine-cc "
                              "where it was installed to")

    def version(self):
        text = (self.include / "virtine" / "version.hpp").read_text()
        number = int(re.search(r"#define VIRTINE_VERSION (\d+)", text)[1])
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
