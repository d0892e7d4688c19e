# The code of an image in words.
# Must not know how the image was made.
# SPDX-License-Identifier: MIT

import sys

from .failure import Failure
from .tools import printable, run

TRIPLES = {"real16": "i386-unknown-unknown-code16", "protected32": "i386-unknown-unknown"}


def disassemble(objdump, elf, options):
    """Prints the code of `elf`, with its functions and, if it was built so, its source lines."""
    command = [objdump, "--disassemble", "--demangle", "--no-show-raw-insn"]
    command += ["--source"] if options.given.debug else []
    if options.mode in TRIPLES:
        command += ["--triple", TRIPLES[options.mode]]
    done = run([*command, elf])
    if done.returncode != 0:
        raise Failure(f"the image cannot be disassembled: {done.stderr.strip()}")
    # What comes before says where the file was while this ran.
    sys.stdout.write(printable(done.stdout[done.stdout.find("Disassembly"):]))
