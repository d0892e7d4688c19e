# The guest's halves that objects carry, for images that need what other files have: those are made
# when the program is linked, of the other halves and, for files without one, of the program's objects.
# Must not know how a half or an image is made.
# SPDX-License-Identifier: MIT

import json
import os
import struct
import zlib

from virtine_cc import elf
from virtine_cc.constructors import is_variable
from virtine_cc.explain import PC_RELATIVE
from virtine_cc.failure import Failure
from virtine_cc.literals import literal
from virtine_cc.reach import owner

SECTION = ".virtine_guest"  # which linkers leave out of programs, and keep in objects
HEAD = struct.Struct("<QI")  # the size of all of it, and that of the facts
WAITING = "virtine_link_with_vcc_"  # what an object without its image asks the linker for
SHN_COMMON = 0xfff2
# Whoever has one of his own has one that does the same.
STANDARD = set("malloc calloc realloc free aligned_alloc memcpy memmove memset memcmp memchr strlen strcmp strncmp "
               "strcpy strncpy strchr strrchr strstr abort exit".split())


def record(facts, item, is_whole):
    """Returns what an object carries of its guest's half; of one that is not whole no lines."""
    left_out = [] if is_whole else [each for each in item.sections if each.name.startswith(".debug_")]
    data = bytearray(item.without(lambda section: section in left_out, lambda name: False))
    for section in left_out:
        data[section.offset:section.offset + section.size] = bytes(section.size)
    head = json.dumps(facts, sort_keys=True).encode()
    content = zlib.compress(bytes(data))
    return HEAD.pack(HEAD.size + len(head) + len(content), len(head)) + head + content


def taken_from_libc(items, archives):
    """Returns the names that Objects use and neither they nor `archives` have."""
    names = {symbol.name for item in items for symbol in item.symbols if symbol.section == elf.SHN_UNDEF}
    names -= {symbol.name for item in items for symbol in item.symbols if symbol.section != elf.SHN_UNDEF}
    for path in archives:
        names -= set(elf.Archive(path).index)
    return sorted(names - {""})


def c_text(data):
    """Returns the C text that puts a record into an object."""
    lines = [f".pushsection {SECTION},\"e\",@progbits"]
    lines += [f".ascii {literal(data[at:at + 512])}" for at in range(0, len(data), 512)]
    lines.append(".popsection")
    return "__asm__(" + "\n".join(literal(f"{line}\n".encode()) for line in lines) + ");"


class Half:
    """The guest's half of one file."""

    def __init__(self, facts, data):
        # source, names, private, own, debug, libc: what is taken from there; waiting: the id, or None
        self.facts = facts
        # Its entries are no other image's.
        self.item = elf.Object(facts["source"], data)
        self.as_supply = elf.Object(facts["source"], data, rename=lambda name: f"virtine_unused_{name}"
                                    if name.startswith("virtine_entry_") else name)


def defines(symbol):
    return symbol.binding != elf.STB_LOCAL and symbol.section != elf.SHN_UNDEF


def halves_of(item):
    """Returns the Halves that an object carries: several, if it was linked of several."""
    found = []
    for section in item.sections:
        if section.name != SECTION:
            continue
        data, at = item.content(section.number), 0
        while at < len(data):
            with elf.reading(item.name):
                size, length = HEAD.unpack_from(data, at)
                facts = json.loads(data[at + HEAD.size:at + HEAD.size + length])
                content = zlib.decompress(data[at + HEAD.size + length:at + size])
            found.append(Half(facts, content))
            at += size
    return found


def files_of(path):
    """Yields (name, bytes) of an object, or of each member of an archive."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] not in (b"!<arch>\n", b"!<thin>\n"):
        yield path, data
        return
    is_thin, at, long_names = data[:8] == b"!<thin>\n", 8, b""
    while at + 60 <= len(data):
        name, size = data[at:at + 16].decode("latin-1").rstrip(), int(data[at + 48:at + 58])
        is_own = name in ("/", "//", "/SYM64/")
        content = data[at + 60:at + 60 + size]
        at += 60 + (0 if is_thin and not is_own else size + (size & 1))
        if name == "//":
            long_names = content
        if is_own:
            continue
        if name[0] == "/":
            start = int(name[1:])
            name = long_names[start:long_names.index(b"\n", start)].decode("utf-8", "replace")
        name = name.rstrip("/")
        if is_thin:
            with open(os.path.join(os.path.dirname(path), name), "rb") as file:
                content = file.read()
        yield f"{path}({os.path.basename(name)})", content


class Supply:
    """What the objects and archives of a command line have for guests."""

    def __init__(self, paths):
        self.waiting, self.closed = [], []  # (Half, whether it is of an archive)
        self.private = set()
        self.defined = {}  # name: the Object that has it, halves first
        self.unreadable = []
        objects = []
        for path in paths:
            for name, data in files_of(path):
                try:
                    item = elf.Object(name, data)
                except Failure as why:
                    self.unreadable.append(str(why))
                    continue
                halves = halves_of(item)
                for half in halves:
                    self.private |= set(half.facts["private"])
                    if half.facts["waiting"]:
                        self.waiting.append((half, name != path))
                    else:
                        self.closed.append(half)
                    self.define(half.as_supply)
                objects.append((item, bool(halves)))
        of_halves = set(self.defined)
        for item, has_halves in objects:
            if has_halves:
                # Linked of several, it can have the code of files without marked functions, too.
                names = {symbol.name for symbol in item.symbols if defines(symbol)} - of_halves
                item = item.only(*names) if names else None
            if item is not None:
                self.define(item)

    def define(self, item):
        for symbol in item.symbols:
            if defines(symbol):
                self.defined.setdefault(symbol.name, item)

    def taken_otherwise(self):
        """Yields what to say of functions of the program's that guests have from their C library."""
        for half in self.closed:
            for name in half.facts["libc"]:
                other = self.defined.get(name)
                if other is not None and name not in STANDARD:
                    yield (f"{half.facts['source']}: in virtual machines {name}() is the C library's, and the program "
                           f"has its own in {other.name}; if marked functions are to call that, name its file by "
                           "-fvirtine-sources=FILE.c when you compile them")

    def of(self, half, given):
        """Returns the Objects that define what a half needs, and the Objects `given` do not."""
        found = []
        has = {symbol.name for item in (half.item, *given) for symbol in item.symbols
               if symbol.section != elf.SHN_UNDEF}
        pending = [half.item, *given]
        while pending:
            for symbol in pending.pop().symbols:
                other = self.defined.get(symbol.name)
                if symbol.section == elf.SHN_UNDEF and symbol.name not in has and other is not None \
                        and other not in found and other.name != half.item.name:
                    found.append(other)
                    pending.append(other)
        return found

    def check_variables(self, reach, supplied):
        """Fails if code of the Objects `supplied` that is in an image can use variables of theirs, which
        the program and each call would have one of each."""
        found = {}
        for item, number in reach.live:
            if item not in supplied:
                continue
            for kind, symbol, offset, addend in item.relocations(number):
                name = self.variable(reach, supplied, item, (kind, symbol, addend))
                if name and name.split(".")[0] not in self.private:
                    found.setdefault(name.split(".")[0], (item, owner(item, number, offset)))
        if found:
            name, (item, user) = sorted(found.items(), key=lambda each: each[0])[0]
            raise Failure(f"'{name}' is a variable that outlives calls, and {user}() in {item.name} can use it: "
                          "the program and each call would have one of their own. Make it const or give it as an "
                          "argument. If the marked functions do not use it, compile the file with "
                          "-ffunction-sections; if each call is to have its own, mark it virtine_private and name "
                          "its file by -fvirtine-sources=FILE.c")

    @staticmethod
    def variable(reach, supplied, item, reference):
        """Returns the name of the variable that a relocation refers to, or None."""
        kind, symbol, addend = reference
        if symbol.binding != elf.STB_LOCAL:
            known = reach.definitions.get(symbol.name)
            if known is None:
                return None
            item, symbol = known.object, known.symbol
        if item not in supplied:
            return None
        if symbol.section == SHN_COMMON:
            return symbol.name
        if not 0 < symbol.section < len(item.sections):
            return None
        section = item.sections[symbol.section]
        if not is_variable(section) or not section.flags & elf.SHF_ALLOC:
            return None
        if symbol.kind != elf.STT_SECTION:
            return symbol.name
        return owner(item, symbol.section, symbol.value + addend + (4 if kind in PC_RELATIVE else 0))


def assembly(images):
    """Returns the assembly of the images {id: path}, as the objects that wait for them expect it."""
    out = []
    for name, path in images.items():
        out.append(f"""
.section .rodata.{WAITING}{name}, "a", @progbits
.balign 16
.globl {WAITING}{name}
.hidden {WAITING}{name}
.type {WAITING}{name}, @object
{WAITING}{name}:
.quad 2f - 1f, 0
1:
.incbin "{path}"
2:
.size {WAITING}{name}, . - {WAITING}{name}""")
    return "\n".join(out) + '\n.section .note.GNU-stack, "", @progbits\n'
