# Which of a host file's constructors its guest runs. Most are the host's own affair, so of a file
# with marked functions only those run that make what the guest uses.
# Must not know what the variables are.
# SPDX-License-Identifier: MIT

from . import elf

STARTUP = ".text.startup"  # where clang puts the code that makes variables


def is_constructor(section):
    """Says whether a section is a table of constructors."""
    return section.size and (section.type == elf.SHT_INIT_ARRAY
                             or section.name.startswith(".init_array"))


def made_by(item, table):
    """Returns the sections of variables that the constructors in a table refer to."""
    variables, seen, pending = [], {table}, [table]
    while pending:
        for _, symbol, _, _ in item.relocations(pending.pop()):
            number = symbol.section
            if number in seen or not 0 < number < len(item.sections):
                continue
            seen.add(number)
            section = item.sections[number]
            if section.flags & elf.SHF_WRITE:
                variables.append(number)
            elif section.name.startswith(STARTUP):
                pending.append(number)
    return variables
