# The steps from a command line to an image's header or file.
# Must not know how any of them is done.
# SPDX-License-Identifier: MIT

import argparse
import contextlib
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from .compile import Compiler
from .disassemble import disassemble
from .elf import Object
from .failure import Failure
from .files import check_arguments, check_depfile, check_unchanged, depfile_text
from .header import render
from .image_file import image_file
from .installation import Installation
from .linking import link_bare, link_user64
from .objects import INITIALISER, collect_exports
from .options import Options, make_parser
from .outputs import Outputs, keep
from .process import open_standard_streams, stop
from .show import Show
from .single_source import demand, image_macro, marked_names, read_markers
from .tools import printable


def write_results(compiler, content, out, depfile):
    check_unchanged(compiler.dependencies, compiler.since)
    if depfile:
        depfile.write(depfile_text(out.path, compiler.dependencies))
    out.write(content)


def compile_only(compiler, _outputs, out, depfile):
    """Writes the object of one source, from which images can be built later."""
    given = compiler.options.given
    if len(given.sources) != 1:
        raise Failure(f"-c compiles one source, but {len(given.sources)} are given")
    made = compiler.compile(given.sources[0])
    write_results(compiler, made.read_bytes(), out, depfile)
    return 0


def build(compiler, outputs, out, depfile):
    options, given = compiler.options, compiler.options.given
    paths = [compiler.compile(source) for source in given.sources]
    sources = [source for source, path in zip(given.sources, paths) if path.suffix != ".a"]
    archives = [path for path in paths if path.suffix == ".a"] + compiler.archives
    archives += compiler.libraries()
    objects = [Object(source, path.read_bytes())
               for source, path in zip(given.sources, paths) if path.suffix != ".a"]
    markers = read_markers(objects)
    exports, has_initialiser = collect_exports(objects, sources, marked_names(markers), options)
    elf = compiler.directory / f"{options.name[:40]}.elf"
    if options.bare:
        image = link_bare(compiler, objects, exports, elf)
    else:
        roots = [INITIALISER] if has_initialiser else []
        image = link_user64(compiler, objects, archives, exports, roots, elf)
    if options.writes_file:
        content = image_file(elf.read_bytes(), image, exports, options)
    else:
        text = render(image, exports, markers, options, compiler.installation.version())
        macro = image_macro(text)
        if markers and not given.depfile:
            text += demand(macro)
        content = text.encode()
    if given.keep:
        made = [path for path in paths if compiler.directory in path.parents]
        keep(given.keep, [elf, elf.with_suffix(".map"), *made], outputs)
    write_results(compiler, content, out, depfile)
    if given.disassemble:
        disassemble(compiler.toolchain.objdump, elf, options)
    return compile_host(compiler, macro) if given.host else 0


def compile_host(compiler, macro):
    """Runs the command that compiles the host; returns its exit status."""
    sys.stdout.flush()
    command = [*compiler.options.given.host, f"-D{macro}"]
    try:
        status = subprocess.run(command, check=False).returncode
    except OSError as why:
        raise Failure(f"--host {command[0]} cannot be run: {why.strerror}") from why
    check_unchanged(compiler.dependencies, compiler.since)
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def workspace():
    """Yields a folder for what is between sources and outputs, which nobody else can look into."""
    try:
        made = tempfile.TemporaryDirectory(prefix="virtine-cc-")
    except OSError as why:
        raise Failure(f"there is no folder for temporary files: {why.strerror}; name one by TMPDIR"
                      ) from why
    with made as directory:
        if printable(directory, lines=False) != directory:
            raise Failure("the folder for temporary files has control characters in its name; name "
                          "another by TMPDIR")
        yield pathlib.Path(directory)


def own_arguments(arguments):
    """Returns what is not the host's compiler's."""
    return arguments[:arguments.index("--host")] if "--host" in arguments else arguments


def remove_stale(arguments):
    """Removes the outputs of an earlier run, so that none outlives a failure of this one, also of
    one whose command line is wrong."""
    given = argparse.Namespace(out=None, depfile=None)
    with contextlib.suppress(Failure):
        make_parser("").read(arguments, given)
    words = own_arguments(arguments)
    inputs = [word for before, word in zip(["", *words], words)
              if before not in ("-o", "--depfile")]
    for path in filter(None, (given.out, given.depfile)):
        with contextlib.suppress(Failure):
            Outputs(inputs).add(path)


def run(program, arguments):
    """Returns the exit status."""
    since = time.time_ns()
    installation = Installation(program)
    given = make_parser(installation.version(), Show).read(arguments)
    check_arguments(own_arguments(arguments))
    options = Options(given)
    with Outputs(given.sources) as outputs:
        out = outputs.add(given.out)
        depfile = outputs.add(given.depfile) if given.depfile else None
        if depfile and depfile.is_file:
            check_depfile(given.depfile, given.out)
        with workspace() as directory:
            compiler = Compiler(options, installation, directory, since)
            status = (compile_only if given.compile_only else build)(compiler, outputs, out, depfile)
            # Here rather than at the end of Python, where it is too late to say what went wrong.
            sys.stdout.flush()
            return status


def main(program, arguments):
    """Runs virtine-cc, which is the file `program`; returns its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    open_standard_streams()
    try:
        return run(program, arguments)
    except Failure as why:
        said = why.args
    except OSError as why:
        said = [f"{why.filename or 'what was made'} cannot be read or written: {why.strerror}"]
    except Exception as why:  # pylint: disable=broad-except
        # Whatever it is, a build has to see one line and a status, and no output.
        at = traceback.extract_tb(why.__traceback__)[-1]
        said = [f"internal error: {type(why).__name__}: {why} (at {pathlib.Path(at.filename).name}:"
                f"{at.lineno}); this is a fault of virtine-cc: please report it, with the command "
                "and its sources"]
    remove_stale(arguments)
    for line in said:
        print("virtine-cc: error:", printable(line, lines=False), file=sys.stderr)
    return 1
