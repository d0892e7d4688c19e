# Functions that an ordinary host file marks with VIRTINE: what stands for the image's header while
# the image is being made, and what the header says of the file.
# Must not know what the functions are.
# SPDX-License-Identifier: MIT

import hashlib
import os
import pathlib
import re

from .elf import MARKERS
from .failure import Failure
from .literals import literal


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
    files = "".join(specialise(os.fsencode(source), f"  using image = ::guests::{options.name};\n")
                    for source in sources)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"""#pragma once
#include <virtine/call/source_image.hpp>
namespace guests {{
struct {options.name} : ::virtine::detail::stand_in_image {{
  using image = {options.name};
}};
}}
{files}""".encode())
    return folder


def read_markers(objects):
    """Returns {path of a source: names of the functions marked there}, as bytes."""
    files, origins = {}, {}
    for item in objects:
        content = b"".join(item.content(section.number) for section in item.sections
                           if section.name == MARKERS)
        # Compilers align longer texts, so that there are zeros between them.
        words = [word for word in content.split(b"\0") if word]
        if len(words) % 2 != 0 or not all(re.fullmatch(rb"\w+", name) for name in words[::2]):
            raise Failure(f"{item.name} has a damaged {MARKERS} section; compile it again")
        for name, path in zip(words[::2], words[1::2]):
            if origins.setdefault(os.path.basename(path), item) is not item:
                raise Failure("two sources with marked functions have one file name; rename one, or "
                              "make an image of each")
            files.setdefault(path, []).append(name.decode())
    return files


def marked_names(markers):
    return {name for names in markers.values() for name in names}


def specialise(path, members):
    """Returns what a header says of the source at `path`, in bytes."""
    return f"""
template <>
struct virtine::detail::source_image<virtine::detail::this_unit,
                                     virtine::detail::source_key({literal(path)})> {{
{members}}};
"""


def render_markers(markers, image, entry_types):
    """Returns what the image's header says to the files whose functions are marked, where
    `entry_types` has the generated type of each export."""
    out = []
    for path, names in markers.items():
        functions = "".join(f"    using {name} = {entry_types[name]};\n" for name in names)
        out.append(specialise(path, f"""  using image = {image};
  static constexpr ::std::string_view file = {literal(path)};
  struct functions {{
{functions}  }};
"""))
    return "".join(out)


def image_macro(text):
    """Returns the macro whose definition tells the host's compiler that the header `text` is of the
    sources as they are now."""
    return f"VIRTINE_IMAGE_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def demand(macro):
    """Returns what makes a header refuse a compiler that is not told so."""
    return f"""
#ifndef {macro}
#error "virtine [V118]: this image can be of an older state of its file. Compile the file by the \
command that makes the image, virtine-cc ... --host COMPILER ..., or have a build keep the two in \
step that reads what virtine-cc --depfile writes."
#endif
"""
