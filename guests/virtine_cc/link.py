# From objects to one ELF file, and what a linker's complaints mean.
# Must not know what is in the objects.
# SPDX-License-Identifier: MIT

import re
import sys

from .failure import Failure
from .tools import find_tool, run, with_versions

LLD_FLAGS = """
    -static --no-dynamic-linker --gc-sections --orphan-handling=error --fatal-warnings
    --error-limit=0 --color-diagnostics=never -z noexecstack -z max-page-size=4096
""".split()


def link(objects, roots, options, script, out):
    lld = find_tool(with_versions("ld.lld"), "lld")
    command = [lld, *LLD_FLAGS, "-T", script, "-e", hex(options.mode_traits.base), "-o", out]
    command += [f"-Map={out.with_suffix('.map')}"]
    for name in roots:
        command += ["-u", name]
    done = run(command + objects)
    if done.returncode == 0:
        return
    undefined = sorted(set(re.findall(r"undefined (?:\w+ )?symbol: (.*)", done.stderr)))
    if undefined:
        raise Failure("these functions or variables are used but not defined: "
                      f"{', '.join(undefined)}; a guest has no C or C++ library, so a source of "
                      "the image has to define them")
    placed = sorted(set(re.findall(r":\(([^()]*)\) is being placed in", done.stderr)))
    if any(section.startswith(".rel") for section in placed):
        raise Failure("the image would have relocations left to do, as an ifunc does; a guest has "
                      "no loader, so call the function itself")
    if placed:
        raise Failure(f"an image has no place for the sections {', '.join(placed)}; use .text, "
                      ".rodata, .data or .bss")
    duplicate = sorted(set(re.findall(r"duplicate symbol: (.*)", done.stderr)))
    if duplicate:
        raise Failure(f"these functions or variables are defined twice: {', '.join(duplicate)}")
    sys.stderr.write(done.stderr)
    raise Failure("the image does not link")
