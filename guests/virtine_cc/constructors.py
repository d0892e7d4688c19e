# Which of a host file's constructors its guest runs. Most are the host's own affair, so of a file
# with marked functions only those run that make or change what the guest uses.
# Must not know what the variables are.
# SPDX-License-Identifier: MIT

import re

from . import elf

R_X86_64_PLT32 = 4
PIECES = ".init"  # pieces of one function that all objects put together, as assembly does
STARTUP = ".text.startup"  # where clang puts the code that makes variables


def is_constructor(section):
    """Says whether a section is a table of constructors, or code that runs before them."""
    return section.size and (section.type == elf.SHT_INIT_ARRAY or section.name == PIECES
                             or section.name.startswith(".init_array"))


def is_variable(section):
    return section.flags & elf.SHF_WRITE and not section.name.startswith(".data.rel.ro")


# Instructions that read a variable at an address of 32 bits: prefixes, opcode, ModRM, perhaps SIB.
READING = re.compile(
    rb"(?:[\x66\xf2\xf3]?[\x40-\x4f]?(?:[\x03\x0b\x13\x1b\x23\x2b\x33\x38\x39\x3a\x3b\x63\x84\x85\x8a\x8b]"
    rb"|\x0f[\x10\x12\x14-\x16\x28\x2a\x2c-\x2f\x40-\x4f\x51-\x6f\xaf\xb6\xb7\xbe\xbf]))"
    rb"(?:[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]|[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25)\Z", re.DOTALL)
COMPARING = re.compile(rb"[\x80\x81\x83](?:\x3d|\x3c\x25)\Z", re.DOTALL)  # with a constant


def only_reads(code, offset):
    """Says whether the instruction whose address is at an offset of code does no more than read what
    is there. Of one that it does not know it says no."""
    before = code[max(offset - 8, 0):offset]
    return bool(READING.search(before) or COMPARING.search(before))


def made_by(item, table):
    """Returns the sections of variables that the constructors in a table make."""
    variables, seen, pending = [], {table}, [table]
    while pending:
        user = pending.pop()
        code = item.content(user)
        for _, symbol, offset, _ in item.relocations(user):
            number = symbol.section
            if number in seen or not 0 < number < len(item.sections):
                continue
            section = item.sections[number]
            if is_variable(section) and only_reads(code, offset):
                continue
            seen.add(number)
            if is_variable(section):
                variables.append(number)
            elif section.name.startswith(STARTUP):
                pending.append(number)
    return variables


def is_call(kind, code, offset):
    return kind == R_X86_64_PLT32 or code[offset - 1:offset] in (b"\xe8", b"\xe9")


def changed_by(item, table, definitions, objects):
    """Returns the (object, section) of the variables of `objects` that the constructors in a table,
    and what they call, may change: such as a registry that they enter themselves in."""
    changed, seen, pending = [], {(item, table)}, [(item, table)]
    while pending:
        user, number = pending.pop()
        code = user.content(number)
        for kind, symbol, offset, _ in user.relocations(number):
            known = None if symbol.binding == elf.STB_LOCAL else definitions.get(symbol.name)
            key = (known.object, known.symbol.section) if known else (user, symbol.section)
            if key in seen or key[0] not in objects or not 0 < key[1] < len(key[0].sections):
                continue
            section = key[0].sections[key[1]]
            if is_variable(section) and not only_reads(code, offset):
                seen.add(key)
                changed.append(key)
            elif section.flags & elf.SHF_EXECINSTR and (number == table
                                                        or is_call(kind, code, offset)):
                seen.add(key)
                pending.append(key)
    return changed
