# Functions that an ordinary host file marks with VIRTINE: what stands for the image's header while
# the image is being made, and what the header says of the file.
# Must not know what the functions are.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re

from .elf import MARKERS
from .failure import Failure
from .literals import literal

DIGITS = 16  # of each of the numbers that virtine::detail::marker_record writes


def stand_in(source, options, directory):
    """Returns the folder in which a file that includes the header of the image it is a source of
    finds something in its place, or None if it does not include it."""
    out = pathlib.Path(options.given.out).absolute()
    text = source.read_text(encoding="utf-8", errors="replace")
    included = re.findall(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', text, re.MULTILINE)
    names = [name for name in map(pathlib.PurePath, included)
             if name.parts == out.parts[-len(name.parts):]]
    if not names:
        return None
    for name in names:
        if name.is_absolute():
            raise Failure(f"{source} includes its header by the path {name}; include it by its name, "
                          f"\"{name.name}\"")
    # So deep that no ".." of a name leads out of the directory, which is removed.
    deep = max(name.parts.count("..") for name in names)
    folder = directory.joinpath("stand_in", *["in"] * deep)
    folder.mkdir(parents=True, exist_ok=True)
    sources = dict.fromkeys(pathlib.PurePath(path).name for path in options.given.sources)
    files = "".join(f"""
template <>
struct virtine::detail::source_image<virtine::detail::source_key({literal(os.fsencode(name))})> {{
  using image = ::guests::{options.name};
}};
""" for name in sources)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"""#pragma once
#include <virtine/source_image.hpp>
namespace guests {{
struct {options.name} : ::virtine::detail::stand_in_image {{
  using image = {options.name};
}};
}}
{files}""".encode())
    return folder


def read_markers(objects):
    """Returns {number of a source file: (number of its time, names of the functions marked
    there)}."""
    files = {}
    for item in objects:
        words = b"".join(item.content(section.number) for section in item.sections
                         if section.name == MARKERS).split(b"\0")[:-1]
        for name, numbers in zip(words[::2], words[1::2]):
            if not re.fullmatch(rb"\w+", name) or not re.fullmatch(rb"[0-9a-f]{%d}" % (2 * DIGITS),
                                                                   numbers):
                raise Failure(f"{item.name} has a damaged {MARKERS} section; compile it again")
            source, changed = (int(numbers[at:at + DIGITS][::-1], 16) for at in (0, DIGITS))
            origin, _, names = files.setdefault(source, (item, changed, []))
            if origin is not item:
                raise Failure("two sources with marked functions have one file name; rename one")
            names.append(name.decode())
    return {source: (changed, names) for source, (_, changed, names) in files.items()}


def marked_names(markers):
    return {name for _, names in markers.values() for name in names}


def render_markers(markers, image, entry_types):
    """Returns what the image's header says to the files whose functions are marked, where
    `entry_types` has the generated type of each export."""
    out = []
    for source, (changed, names) in markers.items():
        functions = "".join(f"    using {name} = {entry_types[name]};\n" for name in names)
        out.append(f"""
template <>
struct virtine::detail::source_image<{source:#x}> {{
  using image = {image};
  static constexpr ::std::uint64_t changed = {changed:#x};
  struct functions {{
{functions}  }};
}};
""")
    return "".join(out)
