# What is in an image file, for people: its exports as C++ signatures, its imports, its memory.
# Must not trust the file, nor know how it was made.
# SPDX-License-Identifier: MIT

import argparse
import pathlib
import re
import struct

from .failure import Failure
from .image_file import HEAD, NOTE_FORMAT, OWNER, PROGRAM_HEADER, PT_LOAD, PT_NOTE
from .options import MODES
from .tools import printable

EXPORT = struct.Struct("<Q4I")
MAX_NOTE = 1 << 30
SCALARS = {
    "v": "void", "b": "bool", "s": "std::string_view",
    "i1": "signed char", "i2": "short", "i4": "int", "i8": "long",
    "u1": "unsigned char", "u2": "unsigned short", "u4": "unsigned", "u8": "unsigned long",
    "f4": "float", "f8": "double", "f16": "long double",
}


class Signature:
    """Reads a signature id; as virtine::signature_as_cpp(), which tests compare it with."""

    def __init__(self, text):
        self.text = text
        self.at = 0

    def skip(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def expect(self, pattern):
        found = self.skip(pattern)
        if not found:
            raise ValueError(self.text)
        return found

    def list(self, end):
        out = []
        if not self.skip(end):
            out.append(self.type())
            while self.skip(","):
                out.append(self.type())
            self.expect(end)
        return ", ".join(out)

    def type(self):
        scalar = self.skip("[vbs]|[iu][1248]|f4|f8|f16")
        if scalar:
            return SCALARS[scalar[0]]
        if self.skip("e"):
            return "enum : " + self.type()
        if self.skip(r"\["):
            constant = "" if self.skip("=") else "const "
            element = self.type()
            self.expect("]")
            return f"std::span<{constant}{element}>"
        found = self.skip("y([0-9]+)")
        if found:
            return f"virtine::bytes<{found[1]}>"
        if self.skip("o"):
            return f"std::optional<{self.type()}>"
        if self.skip(r"<(?=\|)"):
            out = []
            while self.skip(r"\|"):
                out.append(self.type())
            self.expect(">")
            return f"std::variant<{', '.join(out)}>"
        if self.skip("<"):
            return f"std::tuple<{self.list('>')}>"
        found = self.skip(r"\{([0-9]+)\.([0-9]+)\}")
        if found:
            return f"struct of {found[1]} bytes" + (
                f" aligned to {found[2]}" if found[2] != "1" else "")
        count = self.expect(r"([0-9]+)\*")[1]
        return f"std::array<{self.type()}, {count}>"

    def function(self):
        result = self.type()
        self.expect(r"\(")
        arguments = self.list(r"\)")
        if self.at != len(self.text):
            raise ValueError(self.text)
        return f"{result}({arguments})"


def as_cpp(text):
    """Returns the signature id as C++, or as it is if it is none."""
    try:
        return Signature(text[:256]).function() if len(text) <= 256 else text
    except (ValueError, RecursionError):
        return text


def declaration(name, signature):
    cpp = as_cpp(signature)
    if cpp == signature:  # A file can have any text there.
        return f"{name}, without a signature: {cpp}"
    result, bracket, arguments = cpp.partition("(")
    return f"{result} {name}{bracket}{arguments}"


def find_note(path, elf):
    """Returns the note, and how much memory the segments take."""
    damaged = Failure(f"{path} is not an image file")
    if len(elf) < 64 or elf[:4] != b"\x7fELF":
        raise damaged
    offset, count = (int.from_bytes(elf[at:at + length], "little")
                     for at, length in ((32, 8), (56, 2)))
    headers = elf[offset:offset + count * PROGRAM_HEADER.size]
    notes, memory = [], 0
    for header in PROGRAM_HEADER.iter_unpack(headers[:len(headers) // PROGRAM_HEADER.size
                                                     * PROGRAM_HEADER.size]):
        kind, start, size = header[0], header[2], header[5]
        if kind == PT_NOTE:
            notes.append(elf[start:start + min(size, MAX_NOTE)])
        if kind == PT_LOAD:
            memory += header[6]
    if not notes or notes[0][12:12 + len(OWNER)] != OWNER:
        raise damaged
    return notes[0][12 + len(OWNER):], memory


def show(path):
    """Returns what is in the image file at `path`, as lines."""
    note, memory = find_note(path, pathlib.Path(path).read_bytes())
    if len(note) < HEAD.size:
        raise Failure(f"{path} is damaged: its note is too short")
    (form, mode, arguments, stack, bare_memory, _boot, init, _thread, name, exports, imports,
     image_imports, symbols, lines, texts) = HEAD.unpack_from(note)
    if form != NOTE_FORMAT:
        raise Failure(f"{path} is of another version of virtine-cc; build it again")
    at = HEAD.size
    numbers_at = at + exports * EXPORT.size
    if mode >= len(MODES) or len(note) < numbers_at + 4 * imports + texts:
        raise Failure(f"{path} is damaged: its note is too short")
    numbers = struct.unpack_from(f"<{imports}I", note, numbers_at)
    text_bytes = note[numbers_at + 4 * imports + 24 * symbols + 16 * lines:]

    def text(offset):
        return text_bytes[offset:].split(b"\0", 1)[0].decode("ascii", "backslashreplace")

    def hypercalls(some):
        return "hypercalls " + ", ".join(map(str, some)) if some else "no hypercalls"

    out = [f"{text(name)}: {list(MODES)[mode]}, {hypercalls(numbers[:image_imports])}",
           f"  code, constants and data: {memory} bytes",
           f"  arguments: {arguments} bytes", f"  stack: {stack} bytes"]
    if bare_memory:
        out.append(f"  memory: {bare_memory} bytes")
    if init:
        out.append("  an initialiser runs before the snapshot")
    out.append(f"  {symbols} symbols, {lines} source lines")
    for _address, its_name, signature, first, count in EXPORT.iter_unpack(
            note[at:numbers_at]):
        some = numbers[first:first + count]
        out.append(declaration(text(its_name), text(signature)) + ";"
                   + (f"  // {hypercalls(some)}" if some else ""))
    return out


class Show(argparse.Action):
    """Prints what is in an image file, and ends."""

    def __call__(self, parser, _namespace, values, _option=None):
        print(printable("\n".join(show(values))))
        parser.exit()
