# Which source lines the code of an image comes from, as its DWARF has it.
# Must not know how it was compiled.
# SPDX-License-Identifier: MIT

import collections
import posixpath

from .failure import Failure
from .tools import import_elftools, printable

class UnreadableLines(Failure):
    """The debug information is damaged, or of a kind that pyelftools does not know."""


Line = collections.namedtuple("Line", "address file line")


def file_name(program, number):
    """Returns a file of a line program by the name that the compiler was given."""
    # Since DWARF 5 both lists begin with what was implied before.
    first = 0 if program["version"] >= 5 else 1
    entry = program["file_entry"][number - first]
    folder = b""
    if entry.dir_index > 0:
        folder = program["include_directory"][entry.dir_index - first]
    return printable(posixpath.join(folder, entry.name).decode("utf-8", "replace"), lines=False)


def read_sequences(dwarf):
    """Yields the rows of each contiguous piece of code."""
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        rows = []
        for entry in program.get_entries() if program else []:
            state = entry.state
            if state is None:
                continue
            # Code that no line stands for goes on with the line before.
            if state.end_sequence:
                rows.append(Line(state.address, None, 0))
                yield rows
                rows = []
            elif state.line:
                rows.append(Line(state.address, file_name(program, state.file), state.line))


def read_lines(path, segments):
    """Returns the lines of the code in `segments` of an ELF file, ascending; one without a file ends
    another."""
    ELFFile = import_elftools()
    found = {}
    try:
        with open(path, "rb") as file:
            elf = ELFFile(file)
            sequences = list(read_sequences(elf.get_dwarf_info())) if elf.has_dwarf_info() else []
        for rows in sequences:
            # Of functions that were not linked, the linker leaves the lines and no address.
            if not any(segment.executable and segment.address <= rows[0].address and
                       rows[-1].address <= segment.address + segment.size
                       for segment in segments):
                continue
            for row in rows[:-1]:
                found[row.address] = row
            found.setdefault(rows[-1].address, rows[-1])
    except Exception as why:  # what a damaged file makes pyelftools raise is not a closed list
        raise UnreadableLines(f"the image's debug information cannot be read: {why}; build its objects "
                              "without") from why
    lines = []
    for _, row in sorted(found.items()):
        if not lines or lines[-1][1:] != row[1:]:
            lines.append(row)
    return lines
