# Which hypercalls each exported function can come to make.
# Must not know what they are.
# SPDX-License-Identifier: MIT

from . import elf
from .constructors import is_constructor
from .image import ENTRY_PREFIX, IMPORTS, import_numbers
from .needs import HOOKS
from .objects import INITIALISER


def reachable(reach, start):
    """Returns those of the live sections (object, number) that can be reached from `start`."""
    seen, pending = set(start), list(start)
    while pending:
        item, number = pending.pop()
        found = {(item, other) for other in item.dependents.get(number, ())}
        for _, symbol, _, _ in item.relocations(number):
            if symbol.binding == elf.STB_LOCAL:
                found.add((item, symbol.section))
            elif symbol.name in reach.definitions:
                known = reach.definitions[symbol.name]
                found.add((known.object, known.symbol.section))
        found = {key for key in found - seen if key in reach.live}
        seen |= found
        pending += found
    return seen


def imports_of(reach, exports):
    """Returns {exported function: numbers of the hypercalls that its calls can come to make}, where
    what runs before the snapshot can have set up any function for any other to call."""
    def defined(names):
        known = [reach.definitions[name] for name in names if name in reach.definitions]
        return {(each.object, each.symbol.section) for each in known}

    tables = {(item, section.number) for item, section in reach.sections()
              if is_constructor(section)}
    common = reachable(reach, tables | (defined([*HOOKS, INITIALISER]) & set(reach.live)))
    # Records that are tied to no function count for all.
    common |= {(item, section.number) for item in reach.objects for section in item.sections
               if section.name == IMPORTS and not section.flags & elf.SHF_LINK_ORDER}
    found = {}
    for name in exports:
        data = b"".join(item.content(number)
                        for item, number in reachable(reach, defined([ENTRY_PREFIX + name])) | common
                        if item.sections[number].name == IMPORTS)
        found[name] = import_numbers(data)
    return found
