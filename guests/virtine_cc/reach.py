# Which sections of which objects the roots of an image reach, by which references, and which
# members of archives and parts of the runtime that takes. The linker's own garbage collection
# would link whatever code needs that is itself never reached: its constructors, its demands.
# Must not know what the symbols mean.
# SPDX-License-Identifier: MIT

import collections

from . import elf
from .constructors import changed_by, is_constructor, made_by

# A reference: the section that makes it, the name that it goes by, and where in the section it is.
# Of what is reached by itself the section is None.
Reference = collections.namedtuple("Reference", "object section symbol offset", defaults=(0,))
Definition = collections.namedtuple("Definition", "object symbol")


class Reach:
    """The objects of an image and what of them is alive.

    `suppliers` are asked in order for an object that defines a name, by a call with the name, and
    return one or None. Unless `unwinding`, tables of exceptions are as if they were not there.
    """

    def __init__(self, suppliers, unwinding):
        self.suppliers, self.unwinding = suppliers, unwinding
        self.objects = []
        self.definitions = {}  # name: Definition
        self.missing = {}      # name: the first Reference to it
        self.live = {}         # (object, section number): the first Reference to it
        self.referenced = {}   # name: the first Reference to it
        self.groups = set()
        self.dropped = set()   # sections of COMDAT groups that another object has
        self.pending = collections.deque()
        self.touched = {}      # (object, table of constructors): what these make or change

    def add(self, item):
        """Takes in an object, and what of it is alive by itself."""
        self.objects.append(item)
        for name, members in item.groups():
            if name in self.groups:
                self.dropped.update((item, member) for member in members)
            self.groups.add(name)
        for symbol in item.symbols:
            if symbol.binding != elf.STB_LOCAL and symbol.section != elf.SHN_UNDEF:
                self.define(item, symbol)
        for section in item.sections:
            if is_constructor(section) and not item.is_host_file:
                self.mark(item, section.number, Reference(item, None, section.name))
            if self.unwinding and section.name.startswith((".eh_frame", ".gcc_except_table")):
                self.mark_tables(item, section)

    def mark_tables(self, item, section):
        # As the linker does: personalities are alive, and tables that belong to no one function.
        why = Reference(item, None, section.name)
        if section.name.startswith(".eh_frame"):
            for _, symbol, _, _ in item.relocations(section.number):
                if symbol.kind != elf.STT_SECTION and not self.is_code(item, symbol):
                    self.follow(item, symbol, why)
        elif not section.flags & elf.SHF_LINK_ORDER:
            self.mark(item, section.number, why)

    @staticmethod
    def is_code(item, symbol):
        return (0 < symbol.section < len(item.sections)
                and item.sections[symbol.section].flags & elf.SHF_EXECINSTR)

    def define(self, item, symbol):
        if (item, symbol.section) in self.dropped:
            return
        known = self.definitions.get(symbol.name)
        if known is None or (known.symbol.binding == elf.STB_WEAK
                             and symbol.binding != elf.STB_WEAK):
            self.definitions[symbol.name] = Definition(item, symbol)
            self.missing.pop(symbol.name, None)
            # Those that were pointed to a weaker definition meant this one.
            if symbol.name in self.referenced:
                self.mark(item, symbol.section, self.referenced[symbol.name])

    def need(self, name):
        """Makes `name` a root."""
        self.follow_name(name, Reference(None, None, name), weak=False)

    def mark(self, item, number, why):
        key = (item, number)
        if (number >= len(item.sections) or number == elf.SHN_UNDEF or key in self.live
                or key in self.dropped):
            return
        self.live[key] = why
        self.pending.append(key)

    def follow(self, item, symbol, why):
        if symbol.binding == elf.STB_LOCAL:
            self.mark(item, symbol.section, why)
        elif symbol.name:
            self.follow_name(symbol.name, why, symbol.binding == elf.STB_WEAK)

    def follow_name(self, name, why, weak):
        self.referenced.setdefault(name, why)
        if name not in self.definitions and not weak:
            for supply in self.suppliers:
                found = supply(name)
                if found is not None:
                    self.add(found)
                    break
        known = self.definitions.get(name)
        if known is not None:
            self.mark(known.object, known.symbol.section, why)
        elif not weak:
            self.missing.setdefault(name, why)

    def run(self):
        """Follows all references from what is alive, the nearest to the roots first."""
        while self.pending:
            item, number = self.pending.popleft()
            section = item.sections[number]
            if not section.flags & elf.SHF_ALLOC:
                continue
            for other in item.dependents.get(number, ()):
                self.mark(item, other, Reference(item, number, item.sections[other].name))
            if section.name.startswith(".eh_frame"):
                continue
            for _, symbol, offset, _ in item.relocations(number):
                self.follow(item, symbol, Reference(item, number, symbol.name, offset))

    def construct(self, sources):
        """Makes alive the constructors of host files that make or change a variable which is, of the
        objects `sources`; returns whether there were any. What the others do is the host's affair."""
        before = len(self.live)
        for item in self.objects:
            for section in item.sections if item.is_host_file else ():
                if is_constructor(section) and (item, section.number) not in self.live:
                    key = item, section.number
                    if key not in self.touched:
                        self.touched[key] = [(item, number) for number in made_by(*key)] + changed_by(
                            *key, self.definitions, sources)
                    used = next((one for one in self.touched[key] if one in self.live), None)
                    if used is not None:
                        self.mark(item, section.number, Reference(*used, section.name))
        return len(self.live) != before

    def sections(self):
        """Yields the object and the header of each live section."""
        for item, number in self.live:
            yield item, item.sections[number]

    def is_live(self, name):
        """Returns whether what defines `name` is alive."""
        known = self.definitions.get(name)
        return known is not None and (known.object, known.symbol.section) in self.live

    def way(self, why):
        """Returns the references from a root to the reference `why`, one of the shortest ways."""
        way = []
        while why is not None and why.object is not None and why.section is not None:
            way.append(why)
            why = self.live.get((why.object, why.section))
        return way[::-1]


def symbols_of(item, number):
    """Returns the functions and variables that a section holds."""
    return [symbol for symbol in item.symbols if symbol.section == number and symbol.kind in (1, 2)]


def owner(item, number, offset=0):
    """Returns the name of the function or variable that a section holds, of several the one that
    `offset` is in."""
    symbols = symbols_of(item, number)
    for symbol in symbols:
        if symbol.value <= offset < symbol.value + symbol.size:
            return symbol.name
    return symbols[0].name if symbols else item.sections[number].name
