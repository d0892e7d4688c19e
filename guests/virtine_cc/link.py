# From objects to one ELF file, and what a linker's complaints mean.
# Must not know what the objects are for.
# SPDX-License-Identifier: MIT

import re
import sys

from .chains import chain, constructor_advice
from .constructors import is_constructor
from .failure import Failure
from .rewrite import rewrite
from .tools import demangle_names, printable, run

LLD_FLAGS = """
    -static --no-dynamic-linker --gc-sections --orphan-handling=error --fatal-warnings
    --no-dependent-libraries --error-limit=0 --color-diagnostics=never -z noexecstack -z max-page-size=4096 --eh-frame-hdr
""".split()


class Undefined(Failure):
    """Nobody has what an image uses."""


def given_by(script):
    """Returns the names that the linker or its script defines."""
    return {"_GLOBAL_OFFSET_TABLE_", *re.findall(r"(?m)^ *(\w+) = \.;", script.read_text())}


def write_objects(program, compiler, given=None):
    """Writes the objects of a program, as they are to be linked, and returns their paths. `given`
    are names that no object defines; without it, the linker looks for what is missing."""
    directory = compiler.directory / "linked"
    directory.mkdir()
    reach, written, from_libc = program.reach, [], {}

    def missing(name):
        return given is not None and name not in reach.definitions and name not in given

    def unwanted(item, section):
        if section.name.startswith((".eh_frame", ".gcc_except_table")):
            return not program.unwinding
        if is_constructor(section):
            return item.is_host_file and (item, section.number) not in reach.live
        if section.name.startswith(".debug_"):
            return item.from_libc  # Its sources are not here.
        return section.name.startswith(".fini_array")

    for number, item in enumerate(reach.objects):
        path = directory / f"{number}_{re.sub(r'[^A-Za-z0-9_.]', '_', item.name)[-40:]}"
        path.write_bytes(item.without(lambda section, item=item: unwanted(item, section), missing))
        written.append(path)
        if item.from_libc:
            from_libc[path] = item
    rewrite(compiler.toolchain, from_libc)
    return written


def check_missing(reach, script):
    """Fails if something that is alive refers to what neither an object nor `script` defines."""
    names = sorted(set(reach.missing) - given_by(script))
    if not names:
        return
    said = []
    for name, plain in sorted(zip(names, demangle_names(names)), key=lambda pair: pair[1]):
        way = chain(reach, reach.missing[name])
        said.append(f"{plain} (by {way})" if way else plain)
    raise Undefined(f"these functions or variables are used but not defined: {', '.join(said)}; "
                    "neither the sources of the image nor its C and C++ library have them"
                    + constructor_advice(reach, reach.missing[names[0]]))


def link(lld, objects, roots, script, out, base, symbols=()):
    """Links `objects` into `out`. `symbols` are (name, value) pairs that the script uses."""
    command = [lld, *LLD_FLAGS, "-T", script, "-e", hex(base), "-o", out]
    command += [f"--defsym={name}={value}" for name, value in symbols]
    command += [f"-Map={out.with_suffix('.map')}"]
    for name in roots:
        command += ["-u", name]
    done = run(command + objects)
    if done.returncode == 0:
        return
    undefined = sorted(set(re.findall(r"undefined (?:\w+ )?symbol: (.*)", done.stderr)))
    if undefined:
        raise Failure("these functions or variables are used but not defined: "
                      f"{', '.join(undefined)}; a source of the image has to define them")
    if re.search(r"relocation R_X86_64_\w+ out of range", done.stderr):
        raise Failure("the image is larger than the 2 GiB that its code can reach; lower --heap, or "
                      "let variables and sections be smaller")
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
    sys.stderr.write(printable(done.stderr))
    raise Failure("the image does not link")
