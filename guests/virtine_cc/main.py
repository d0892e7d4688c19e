# The steps from a command line to an image's header.
# Must not know how any of them is done.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import signal
import sys
import tempfile

from .compile import Compiler
from .disassemble import disassemble
from .elf import Object
from .explain import explain
from .failure import Failure
from .files import depfile_text, keep, remove, write_atomically
from .header import render
from .image import ENTRY_PREFIX, FLUSHING_PREFIX, Image
from .imports import imports_of
from .installation import Installation
from .link import check_missing, link, write_objects
from .needs import HOOKS, Program, choose
from .objects import INITIALISER, collect_exports
from .options import Options, make_parser
from .reach import Reach
from .single_source import marked_names, read_markers
from .suppliers import Suppliers
from .unavailable import check_available


def compile_only(options, installation):
    """Writes the object of one source, from which images can be built later."""
    given = options.given
    if len(given.sources) != 1:
        raise Failure(f"-c compiles one source, but {len(given.sources)} are given")
    with tempfile.TemporaryDirectory(prefix="virtine-cc-") as directory:
        compiler = Compiler(options, installation, pathlib.Path(directory))
        made = compiler.compile(given.sources[0])
        if given.depfile:
            write_atomically(given.depfile, depfile_text(given.out, compiler.dependencies))
        write_atomically(given.out, made.read_bytes())


def build(options, installation):
    given = options.given
    with tempfile.TemporaryDirectory(prefix="virtine-cc-") as directory:
        compiler = Compiler(options, installation, pathlib.Path(directory))
        paths = [compiler.compile(source) for source in given.sources]
        sources = [source for source, path in zip(given.sources, paths) if path.suffix != ".a"]
        archives = [path for path in paths if path.suffix == ".a"] + compiler.archives
        objects = [Object(source, path.read_bytes())
                   for source, path in zip(given.sources, paths) if path.suffix != ".a"]
        markers = read_markers(objects)
        exports, has_initialiser = collect_exports(objects, sources, marked_names(markers),
                                                   options)
        elf = compiler.directory / f"{options.name}.elf"
        if options.bare:
            image = link_bare(compiler, objects, exports, elf)
        else:
            roots = [INITIALISER] if has_initialiser else []
            image = link_user64(compiler, objects, archives, exports, roots, elf)
        text = render(image, exports, markers, options, installation.version())
        if given.keep:
            keep(given.keep, [elf, elf.with_suffix(".map"),
                              *(path for path in paths if path.suffix != ".a")])
        if given.depfile:
            write_atomically(given.depfile, depfile_text(given.out, compiler.dependencies))
        write_atomically(given.out, text)
        if given.disassemble:
            disassemble(compiler.toolchain.objdump, elf, options)


def script_of(compiler):
    script = compiler.installation.runtime / compiler.options.mode_traits.script
    compiler.dependencies.append(script)
    return script


def link_bare(compiler, objects, exports, elf):
    if compiler.options.given.boot:
        objects = [*objects, Object("boot.asm", compiler.runtime("boot.asm").read_bytes())]
    program = Program(Reach([], unwinding=False), unwinding=False)
    program.reach.objects.extend(objects)
    link(compiler.toolchain.lld, write_objects(program, compiler),
         [ENTRY_PREFIX + name for name in exports], script_of(compiler), elf,
         compiler.options.mode_traits.base)
    return Image(elf, exports, compiler.options)


def link_user64(compiler, objects, archives, exports, roots, elf):
    roots = roots + [ENTRY_PREFIX + name for name in exports]
    program = choose(objects, roots, Suppliers(compiler, archives))
    reach = program.reach
    check_available(reach, compiler.options.given.sources)
    for name in exports:
        if ENTRY_PREFIX + name in reach.missing:
            raise Failure(f"'{name}' is exported, but its entry {ENTRY_PREFIX}{name} is not "
                          "defined")
    check_missing(reach, script_of(compiler))
    hooks = [name for name in HOOKS if reach.is_live(name)]
    if "virtine_flush" in hooks:
        entries = compiler.flushing_entries(exports)
        reach.add(Object("flushing_entries.s", entries.read_bytes()))
        hooks += [FLUSHING_PREFIX + name for name in exports]
    heap = compiler.options.heap if reach.is_live("__mmap") else 0
    link(compiler.toolchain.lld, write_objects(program, compiler), roots + hooks,
         script_of(compiler), elf, compiler.options.mode_traits.base,
         [("virtine_heap_size", heap)])
    image = Image(elf, exports, compiler.options, heap)
    if image.imports:
        image.entry_imports = imports_of(reach, exports)
    if compiler.options.given.explain:
        print(explain(reach, image, compiler.options), end="")
    return image


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
        given = make_parser(installation.version()).parse_intermixed_args(arguments)
        (compile_only if given.compile_only else build)(Options(given), installation)
    except Failure as why:
        print(f"virtine-cc: error: {why}", file=sys.stderr)
        return 1
    except Exception as why:  # pylint: disable=broad-except
        # Whatever it is, a build has to see one line and a status, and no output.
        print(f"virtine-cc: error: {type(why).__name__}: {why}", file=sys.stderr)
        return 1
    return 0
