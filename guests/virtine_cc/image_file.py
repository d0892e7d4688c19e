# The image file that an image becomes: the ELF file that was linked, and a note.
# Must not know how the image was made. docs/guest-abi.md has the format.
# SPDX-License-Identifier: MIT

import struct

from .failure import Failure
from .options import MODES

NOTE_FORMAT = 1  # virtine::detail::image_note::expected_format
OWNER = b"virtine\0"
HEAD = struct.Struct("<2I6Q6IQ")  # virtine::detail::image_note
MAX_TEXT = 4096  # virtine::detail::image_note::max_text
PROGRAM_HEADER = struct.Struct("<2I6Q")
PT_LOAD, PT_NOTE, PT_TLS = 1, 4, 7


class Texts:
    """Texts by their offsets; each is there once, and cut where it is too long for a report."""

    def __init__(self):
        self.bytes = bytearray()
        self.places = {}

    def add(self, text):
        if text not in self.places:
            self.places[text] = len(self.bytes)
            self.bytes += text.encode("ascii", "backslashreplace")[:MAX_TEXT] + b"\0"
        return self.places[text]


def note(image, exports, options):
    """Returns the note of `image`."""
    texts = Texts()
    name = texts.add(options.name)
    imports = list(image.imports)
    exported = b""
    for export in sorted(exports):
        numbers = image.entry_imports[export]
        exported += struct.pack("<Q4I", image.entries[export], texts.add(export),
                                texts.add(exports[export]), len(imports), len(numbers))
        imports += numbers
    symbols = b"".join(struct.pack("<3Q", symbol.address, symbol.size, texts.add(symbol.name))
                       for symbol in image.symbols)
    lines = b"".join(struct.pack("<Q2I", at.address, texts.add(at.file) if at.file else 0xffffffff,
                                 at.line or 0) for at in image.lines)
    texts.bytes += bytes(-len(texts.bytes) % 8)
    head = HEAD.pack(NOTE_FORMAT, list(MODES).index(options.mode), options.arguments, options.stack,
                     options.memory if options.bare else 0,
                     options.mode_traits.base if options.given.boot else 0, image.init,
                     image.thread_pointer, name, len(exports), len(imports), len(image.imports),
                     len(image.symbols), len(image.lines), len(texts.bytes))
    contents = (head + exported + struct.pack(f"<{len(imports)}I", *imports) + symbols + lines
                + texts.bytes)
    return struct.pack("<3I", len(OWNER), len(contents), 1) + OWNER + contents


def image_file(elf, image, exports, options):
    """Returns `elf`, the bytes of what was linked, with the image's note behind it, and program
    headers that have it."""
    offset, size, count = (int.from_bytes(elf[at:at + length], "little")
                           for at, length in ((32, 8), (54, 2), (56, 2)))
    if size != PROGRAM_HEADER.size:
        raise Failure("the linker wrote an ELF file of another kind")
    headers = elf[offset:offset + count * size]
    made = bytearray(elf)
    made += bytes(-len(made) % 8)
    at, content = len(made), note(image, exports, options)
    made += content + bytes(-len(content) % 8)
    made[32:40] = len(made).to_bytes(8, "little")
    made[56:58] = (count + 1).to_bytes(2, "little")
    made += headers + PROGRAM_HEADER.pack(PT_NOTE, 4, at, 0, 0, len(content), len(content), 4)
    return bytes(made)
