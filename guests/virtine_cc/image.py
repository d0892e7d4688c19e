# What was linked, read back and checked.
# Must not know how it was linked or is written down.
# SPDX-License-Identifier: MIT

import collections

from .elf import SHF_EXECINSTR, STB_LOCAL, STT_FUNC, STT_NOTYPE, Executable
from .failure import Failure
from .lines import read_lines
from .options import PAGE
from .tools import printable, readable

STACK_GUARD = 64 << 10  # virtine::layout::guard_size
IMPORTS = ".virtine.imports"  # the hypercalls that are made
ENTRY_PREFIX = "virtine_entry_"
FLUSHING_PREFIX = "virtine_flushing_"  # entries of images that have stdio
THREAD = "virtine_thread"  # of runtime/thread.c
INIT_ENTRY = "virtine_init"  # of runtime/init.cpp

PT_LOAD, PT_TLS = 1, 7
PF_X, PF_W, PF_R = 1, 2, 4
RELOCATIONS = (4, 9, 19)     # SHT_RELA, SHT_REL, SHT_RELR
NEEDS_LOADER = (6, 11, 14)   # SHT_DYNAMIC, SHT_DYNSYM, SHT_INIT_ARRAY

Segment = collections.namedtuple("Segment", "address size content writable executable")
Symbol = collections.namedtuple("Symbol", "address size name")


def import_numbers(data):
    """Returns the numbers, in order, of the hypercalls that records of imports name."""
    return sorted({int.from_bytes(data[at:at + 4], "little") for at in range(0, len(data), 4)})


class Image:
    """What was linked, read back and checked."""

    def __init__(self, path, exports, options, heap=0):
        self.heap = heap
        elf = Executable(path.read_bytes())
        self.check_sections(elf)
        self.segments = self.read_segments(elf, options)
        self.imports = self.read_imports(elf)
        self.entries, self.init, self.symbols = self.read_symbols(elf, exports)
        self.init = 0 if options.bare else self.init
        self.lines = read_lines(path, self.segments) if options.given.debug else []
        self.thread_pointer = 0 if options.bare else self.read_thread_pointer(elf)
        self.entry_imports = {name: self.imports for name in exports}
        self.end = max(segment.address + segment.size for segment in self.segments)
        self.check_size(options)

    @staticmethod
    def check_sections(elf):
        for section in elf.sections:
            if section.type in RELOCATIONS and section.size:
                raise Failure("the image has relocations left to do, and a guest has no loader")
            if section.type in NEEDS_LOADER:
                raise Failure(f"the image has a {section.name} section, which a guest cannot use")

    @staticmethod
    def read_segments(elf, options):
        allowed = (7,) if options.bare else (PF_R | PF_X, PF_R, PF_R | PF_W)
        segments, end, last = [], options.mode_traits.base, -1
        for header in elf.segments:
            if header.type == PT_TLS:
                continue
            if header.type != PT_LOAD:
                raise Failure(f"the image has a segment of type {header.type:#x}, which a guest "
                              "cannot use")
            if header.size == 0:
                continue
            flags, address = header.flags, header.address
            if flags not in allowed or allowed.index(flags) <= last:
                raise Failure(f"the image's segment at {address:#x} has wrong rights or order")
            if address < end or not options.bare and address % PAGE != 0:
                raise Failure(f"the image's segment at {address:#x} is not where it should be")
            last, end = allowed.index(flags), address + header.size
            segments.append(Segment(address, header.size, header.content, bool(flags & PF_W),
                                    bool(flags & PF_X)))
        return segments

    @staticmethod
    def read_imports(elf):
        data = next((elf.content(section) for section in elf.sections if section.name == IMPORTS), b"")
        if len(data) % 4 != 0:
            raise Failure("the image's .virtine.imports section is damaged; compile its objects "
                          "again")
        return import_numbers(data)

    def read_symbols(self, elf, exports):
        code = {section.number: section.address + section.size for section in elf.sections
                if section.flags & SHF_EXECINSTR}
        entries, found, init = {}, {}, 0
        for symbol in elf.symbols:
            kind, name = symbol.kind, symbol.name
            if symbol.section not in code or kind not in (STT_FUNC, STT_NOTYPE):
                continue
            # nasm's local labels, which have a dot, are within functions.
            if not name or kind == STT_NOTYPE and "." in name:
                continue
            if name in ("virtine_code_begin", "virtine_code_end"):
                continue
            # A static function can have any name.
            is_global = symbol.binding != STB_LOCAL
            if name == INIT_ENTRY and is_global:
                init = symbol.value
            for prefix in (ENTRY_PREFIX, FLUSHING_PREFIX) if is_global else ():
                if name.startswith(prefix) and name[len(prefix):] in exports:
                    name = name[len(prefix):]
                    if prefix == FLUSHING_PREFIX or name not in entries:
                        entries[name] = symbol.value
            # Of several names for one place, the one of a function, then the first in order.
            rank = (kind != STT_FUNC, name)
            at, end = symbol.value, code[symbol.section]
            size = min(symbol.size or end - at, end - at)
            if size > 0 and (at not in found or rank < found[at][0]):
                found[at] = (rank, Symbol(at, size, name))
        for name in exports:
            if name not in entries:
                raise Failure(f"'{name}' is exported, but its entry {ENTRY_PREFIX}{name} is not "
                              "defined as code")
        symbols = [symbol for _, (_, symbol) in sorted(found.items())]
        # A function without a size, as assembly has them, goes on to the next.
        symbols = [symbol._replace(size=min(symbol.size, after.address - symbol.address))
                   for symbol, after in zip(symbols, [*symbols[1:], Symbol(1 << 64, 0, "")])]
        names = readable([symbol.name for symbol in symbols])
        # Hosts print them, and an object can have any.
        symbols = [symbol._replace(name=printable(name, lines=False))
                   for symbol, name in zip(symbols, names)]
        return entries, init, symbols

    @staticmethod
    def read_thread_pointer(elf):
        """Returns where the thread pointer of the image leads to; 0 if it has none."""
        found = [symbol for symbol in elf.symbols
                 if symbol.name == THREAD and symbol.binding != STB_LOCAL]
        if not found:
            return 0
        variables = next(header for header in elf.segments if header.type == PT_TLS)
        align = max(variables.align, 1)
        end = variables.address + (variables.size + align - 1) // align * align
        if found[0].value != end:
            raise Failure("the image has a thread_local variable that is aligned to more than 64 "
                          "bytes, for which there is no place; align it less")
        return end

    def check_size(self, options):
        if options.bare:
            if self.end > options.memory:
                raise Failure(f"the image ends at byte {self.end} of the guest's memory, which "
                              f"has {options.memory} bytes; give it more with --memory")
            return
        # Above the image: arguments, guard, stack, trap stack, page tables; as layout.hpp has it.
        end = (self.end + PAGE - 1) // PAGE * PAGE + options.arguments + STACK_GUARD
        end += options.stack + PAGE
        end += ((end >> 21) + (end >> 30) + (end >> 39) + 4) * PAGE
        if end > options.memory:
            heap = f" of which heap {self.heap}" if self.heap else ""
            raise Failure(f"the guest needs {end} bytes (image {self.end}{heap}, arguments "
                          f"{options.arguments}, stack {options.stack}), but is limited to "
                          f"{options.memory}; raise the limit with --memory")
