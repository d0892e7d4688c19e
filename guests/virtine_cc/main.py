# The steps from a command line to an image's header.
# Must not know how any of them is done.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import signal
import sys
import tempfile

from .compile import Compiler, is_cxx
from .disassemble import disassemble
from .failure import Failure
from .files import depfile_text, keep, remove, write_atomically
from .header import render
from .image import ENTRY_PREFIX, INIT_ENTRY, Image
from .installation import Installation
from .link import link
from .objects import collect_exports
from .options import Options, make_parser
from .single_source import marked_names, read_markers


def build(options, installation):
    given = options.given
    with tempfile.TemporaryDirectory(prefix="virtine-cc-") as directory:
        compiler = Compiler(options, installation, pathlib.Path(directory))
        objects = [compiler.compile(source) for source in given.sources]
        markers = read_markers([path for path, source in zip(objects, given.sources)
                                if is_cxx(source)])
        exports, has_init = collect_exports(objects, given.sources, marked_names(markers), options)
        objects += compiler.runtime(has_init)
        roots = [ENTRY_PREFIX + name for name in exports] + ([INIT_ENTRY] if has_init else [])
        elf = compiler.directory / f"{options.name}.elf"
        script = installation.runtime / options.mode_traits.script
        link(objects + compiler.archives, roots, options, script, elf)
        text = render(Image(elf, exports, options), exports, markers, options,
                      installation.version())
        if given.keep:
            keep(given.keep, [elf, elf.with_suffix(".map"), *objects])
        if given.depfile:
            rule = depfile_text(given.out, [*compiler.dependencies, script])
            write_atomically(given.depfile, rule)
        write_atomically(given.out, text)
        if given.disassemble:
            disassemble(compiler.toolchain.objdump, elf, options)


def remove_stale(arguments):
    """Removes the outputs of an earlier run, so that none outlives a failure of this one."""
    outputs = {}
    for index, word in enumerate(arguments):
        match = re.fullmatch(r"(?s)-o(.+)|--depfile=(.+)", word)
        if match:
            outputs[index] = match[1] or match[2]
        elif word in ("-o", "--depfile") and index + 1 < len(arguments):
            outputs[index + 1] = arguments[index + 1]
    inputs = [word for index, word in enumerate(arguments)
              if index not in outputs and os.path.isfile(word)]
    for path in outputs.values():
        if os.path.isfile(path):
            if any(os.path.samefile(path, word) for word in inputs):
                raise Failure(f"{path} is both read and written; give the output another name")
            remove(path)


def stop(number, _frame):
    # An exit unwinds, and so removes what is temporary; the default action would not.
    sys.exit(128 + number)


def main(program, arguments):
    """Runs virtine-cc, which is the file `program`; returns its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        remove_stale(arguments)
        installation = Installation(program)
        given = make_parser(installation.version()).parse_args(arguments)
        build(Options(given), installation)
    except Failure as why:
        print(f"virtine-cc: error: {why}", file=sys.stderr)
        return 1
    except Exception as why:  # pylint: disable=broad-except
        # Whatever it is, a build has to see one line and a status, and no output.
        print(f"virtine-cc: error: {type(why).__name__}: {why}", file=sys.stderr)
        return 1
    return 0
