# Relocatable x86-64 objects, archives of them and what is linked of them, read as far as one asks.
# Written by hand rather than with pyelftools because a library's hundreds of members have to be gone
# through in no time, and because pyelftools takes longer to load than a small guest takes to link.
# Must not know what they are for.
# SPDX-License-Identifier: MIT

import collections
import contextlib
import re
import struct

from .failure import Failure

SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_INIT_ARRAY, SHT_GROUP = 2, 4, 8, 14, 17
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_LINK_ORDER, SHF_TLS = 0x1, 0x2, 0x4, 0x80, 0x400
SHF_MERGE, SHF_STRINGS = 0x10, 0x20
SHN_UNDEF, SHN_LORESERVE = 0, 0xff00
STB_LOCAL, STB_WEAK = 0, 2
STT_NOTYPE, STT_FUNC, STT_SECTION, STT_FILE = 0, 2, 3, 4
GRP_COMDAT = 1
MARKERS = ".virtine.markers"  # of a file in which VIRTINE marks functions


class Section:
    """A section's header, with its name and number."""

    __slots__ = ("name", "type", "flags", "address", "offset", "size", "link", "info", "piece_size",
                 "number")

    def __init__(self, fields, number):
        (self.name, self.type, self.flags, self.address, self.offset, self.size, self.link, self.info,
         _, self.piece_size) = fields
        self.number = number


class Symbol:
    """A symbol's name, binding, kind, and the number of its section."""

    __slots__ = ("name", "binding", "kind", "section", "value", "size")

    def __init__(self, name, info, section, value, size):
        self.name, self.binding, self.kind = name, info >> 4, info & 15
        self.section, self.value, self.size = section, value, size


def text_at(data, offset):
    end = data.find(b"\0", offset)
    if end < 0:
        raise ValueError("a name is beyond the end")
    return data[offset:end].decode("utf-8", "replace")


@contextlib.contextmanager
def reading(name):
    """Says which file it is that has wrong numbers."""
    try:
        yield
    except (struct.error, ValueError, IndexError, OverflowError) as why:
        raise Failure(f"{name} is damaged: {why}; make it again") from why


def read_sections(data):
    """Returns where the table of sections is, and the Sections."""
    headers = struct.unpack_from("<Q", data, 40)[0]
    count, names = struct.unpack_from("<HH", data, 60)
    if count == 0:
        count = struct.unpack_from("<Q", data, headers + 32)[0]
    if names == 0xffff:
        names = struct.unpack_from("<I", data, headers + 40)[0]
    table = data[headers:headers + 64 * count]
    if len(table) < 64 * count or names >= count:
        raise ValueError("its table of sections is not whole")
    sections = [Section(fields, number) for number, fields
                in enumerate(struct.iter_unpack("<IIQQQQIIQQ", table))]
    base = sections[names].offset
    for section in sections:
        section.name = text_at(data, base + section.name)
    return headers, sections


class Object:
    """One relocatable object. `name` is for messages; `from_libc` says that its system calls are
    to become requests to the host; `rename` returns what a function or variable that it defines is
    called in the image."""

    def __init__(self, name, data, from_libc=False, rename=None):
        self.name, self.data, self.from_libc, self.rename = name, data, from_libc, rename
        self.renamed = {}  # by the symbol's number
        with reading(name):
            self.read()

    def read(self):
        data = self.data
        if data[:4] == b"BC\xc0\xde":
            raise Failure(f"{self.name} is LLVM's bitcode, as -flto makes it; compile it without -flto")
        if data[:6] != b"\x7fELF\x02\x01":
            raise Failure(f"{self.name} is not an object file for x86-64")
        kind, machine = struct.unpack_from("<HH", data, 16)
        if kind in (2, 3) and machine == 62:
            raise Failure(f"{self.name} is a program or a shared library, which cannot be a part of a "
                          "guest; give its objects or its static library")
        if kind != 1 or machine != 62:
            raise Failure(f"{self.name} is not an x86-64 object file")
        self.headers, self.sections = read_sections(data)
        for section in self.sections:
            self.check_section(section)
        self.symbols = self.read_symbols()
        self.relocations_of = {section.info: section for section in self.sections
                               if section.type == SHT_RELA}
        self.is_host_file = any(section.name == MARKERS for section in self.sections)
        self.dependents = {}  # section number: those that live if it does
        for section in self.sections:
            if section.flags & SHF_LINK_ORDER:
                self.dependents.setdefault(section.link, []).append(section.number)

    def check_section(self, section):
        """Checks what is relied on when the section is used."""
        refers = []  # to other sections
        if section.type == SHT_RELA:
            refers = [section.info]
        elif section.type == SHT_SYMTAB or section.flags & SHF_LINK_ORDER:
            refers = [section.link]
        if any(number >= len(self.sections) for number in refers):
            raise ValueError(f"the section {section.name} refers to one that is not there")
        if section.type not in (0, SHT_NOBITS) and section.offset + section.size > len(self.data):
            raise ValueError(f"the section {section.name} ends beyond the end of the file")
        each = {SHT_RELA: 24, SHT_SYMTAB: 24, SHT_GROUP: 4}.get(section.type, 1)
        if section.size % each != 0:
            raise ValueError(f"the section {section.name} does not have the size of a table")

    def read_symbols(self):
        table = next((section for section in self.sections if section.type == SHT_SYMTAB), None)
        if table is None:
            return []
        names = self.sections[table.link].offset
        extended = next((self.content(section.number) for section in self.sections
                         if section.type == 18), None)
        symbols = []
        for number, (name, info, _, section, value, size) in enumerate(
                struct.iter_unpack("<IBBHQQ", self.content(table.number))):
            if section == 0xffff:
                section = struct.unpack_from("<I", extended or b"", 4 * number)[0]
            if len(self.sections) <= section < SHN_LORESERVE:
                raise ValueError("a symbol is in a section that is not there")
            name = text_at(self.data, names + name)
            if name == "__gnu_lto_slim":
                raise Failure(f"{self.name} has no machine code, as -flto makes it; compile it without "
                              "-flto, or with -ffat-lto-objects")
            if self.rename and section != SHN_UNDEF and info >> 4 != STB_LOCAL:
                own, name = name, self.rename(name)
                if name != own:
                    self.renamed[number] = name
            symbols.append(Symbol(name, info, section, value, size))
        return symbols

    def content(self, number):
        section = self.sections[number]
        if section.type == SHT_NOBITS:
            return b""
        return self.data[section.offset:section.offset + section.size]

    def groups(self):
        """Yields the signature and the sections of each COMDAT group."""
        for section in self.sections:
            if section.type == SHT_GROUP:
                with reading(self.name):
                    flags, *members = struct.unpack(f"<{section.size // 4}I",
                                                    self.content(section.number))
                    symbol = self.symbols[section.info]
                    name = (self.sections[symbol.section].name if symbol.kind == STT_SECTION
                            else symbol.name)
                if flags & GRP_COMDAT:
                    yield name, members

    def relocations(self, number):
        """Yields the type, symbol, offset and addend of each relocation of a section."""
        table = self.relocations_of.get(number)
        if table is not None:
            for offset, info, addend in struct.iter_unpack("<QQq", self.content(table.number)):
                if info >> 32 >= len(self.symbols):
                    raise Failure(f"{self.name} is damaged: the section {table.name} refers to a "
                                  "symbol that is not there; make it again")
                yield info & 0xffffffff, self.symbols[info >> 32], offset, addend

    def without(self, unwanted, is_missing):
        """Returns the object's bytes as if the sections that `unwanted` accepts were not there, nor
        any need of the names that `is_missing` accepts: what refers to them is not alive."""
        data = bytearray(self.data)
        for section in self.sections:
            named = self.sections[section.info] if section.type == SHT_RELA else section
            if unwanted(named):
                # SHT_NULL; nothing else of the header counts then.
                struct.pack_into("<I", data, self.headers + 64 * section.number + 4, 0)
        symbols = next((section for section in self.sections if section.type == SHT_SYMTAB), None)
        for number, symbol in enumerate(self.symbols):
            if (symbol.section == SHN_UNDEF and symbol.binding not in (STB_LOCAL, STB_WEAK)
                    and is_missing(symbol.name)):
                data[symbols.offset + 24 * number + 4] = STB_WEAK << 4 | symbol.kind
        if self.renamed:
            self.write_names(data, symbols)
        return bytes(data)

    def only(self, *names):
        """Returns the object with `names` as the only global symbols that it defines."""
        data = bytearray(self.data)
        table = next(section for section in self.sections if section.type == SHT_SYMTAB)
        for number, symbol in enumerate(self.symbols):
            if symbol.binding != STB_LOCAL and symbol.name not in names:
                struct.pack_into("<H", data, table.offset + 24 * number + 6, SHN_UNDEF)
        return Object(self.name, bytes(data))

    def write_names(self, data, table):
        """Changes the names in the object's bytes: a longer table of texts follows them."""
        texts = bytearray(self.content(table.link))
        for number, name in self.renamed.items():
            struct.pack_into("<I", data, table.offset + 24 * number, len(texts))
            texts += name.encode() + b"\0"
        struct.pack_into("<QQ", data, self.headers + 64 * table.link + 24, len(data), len(texts))
        data += texts


Segment = collections.namedtuple("Segment", "type flags address size align content")


class Executable:
    """What a linker made of objects, as it just wrote it."""

    def __init__(self, data):
        self.data = data
        with reading("the image"):
            _, self.sections = read_sections(data)
            offset, = struct.unpack_from("<Q", data, 32)
            size, count = struct.unpack_from("<HH", data, 54)
            self.segments = []
            for number in range(count):
                kind, flags, at, address, _, length, memory, align = struct.unpack_from(
                    "<IIQQQQQQ", data, offset + number * size)
                self.segments.append(Segment(kind, flags, address, memory, align,
                                             data[at:at + length]))
            table = next(section for section in self.sections if section.type == SHT_SYMTAB)
            names = self.sections[table.link].offset
            self.symbols = [
                Symbol(text_at(data, names + name), info, section, value, size)
                for name, info, _, section, value, size in struct.iter_unpack(
                    "<IBBHQQ", self.content(table))]

    def content(self, section):
        return b"" if section.type == SHT_NOBITS else self.data[
            section.offset:section.offset + section.size]


class Archive:
    """An archive with a symbol table, as ar makes it. `rename` is as for Object."""

    def __init__(self, path, is_libc=False, rename=None):
        self.path, self.is_libc, self.rename = path, is_libc, rename
        self.data = path.read_bytes()
        if self.data[:8] != b"!<arch>\n":
            script = self.data.lstrip()[:2] == b"/*" or re.match(rb"(GROUP|INPUT)\b", self.data)
            raise Failure(f"{path} is not an archive of objects"
                          + ("; it is a linker's script, so give the archives that it names" if script
                             else "; thin archives name files that are elsewhere, so make one without T"
                             if self.data[:8] == b"!<thin>\n" else ""))
        self.long_names = b""
        self.index = {}
        with reading(path):
            self.read_index()

    def read_index(self):
        at = 8
        while at + 60 <= len(self.data):
            name, size = self.header(at)
            if name == "/":
                count = struct.unpack_from(">I", self.data, at + 60)[0]
                offsets = struct.unpack_from(f">{count}I", self.data, at + 64)
                names = self.data[at + 64 + 4 * count:at + 60 + size].split(b"\0")
                for symbol, offset in zip(names, offsets):
                    symbol = symbol.decode("utf-8", "replace")
                    self.index.setdefault(self.rename(symbol) if self.rename else symbol, offset)
            elif name == "//":
                self.long_names = self.data[at + 60:at + 60 + size]
            else:
                break
            at += 60 + size + (size & 1)
        if not self.index and at + 60 <= len(self.data):
            raise Failure(f"{self.path} has no table of symbols; run ranlib on it")

    def header(self, at):
        size = int(self.data[at + 48:at + 58])
        if size < 0:
            raise ValueError("a member's size is negative")  # It would lead back for ever.
        return self.data[at:at + 16].decode("utf-8", "replace").rstrip(" "), size

    def member(self, offset):
        """Returns the object at an offset that the index has."""
        with reading(self.path):
            name, size = self.header(offset)
            if name[0] == "/":
                start = int(name[1:])
                name = self.long_names[start:self.long_names.index(b"\n", start)].decode(
                    "utf-8", "replace")
        data = self.data[offset + 60:offset + 60 + size]
        return Object(f"{self.path.name}({name.rstrip('/')})", data, self.is_libc, self.rename)
