# How a function came into an image, in words.
# Must not know why one asks.
# SPDX-License-Identifier: MIT

import pathlib
import re
import shutil
import tempfile

from .constructors import is_constructor, made_by
from .reach import owner
from .tools import readable, run

MOST_CHARACTERS = 60  # of a name, above which what stands in its brackets is left out
OPERATOR = re.compile(r"operator(?:<=>|<<=?|>>=?|<=?|>=?|->\*?|\(\))")


def brief(name):
    """Returns a readable name, of a long one without its parameters and template arguments."""
    if len(name) <= MOST_CHARACTERS:
        return name
    kept, depth, at = "", 0, 0
    while at < len(name):
        whole = OPERATOR.match(name, at)
        piece = whole[0] if whole else name[at]
        at += len(piece)
        if piece == ">" and depth:
            depth -= 1
            continue
        if piece == "<":
            depth += 1
            piece = "<...>" if depth == 1 else ""
        elif depth:
            continue
        kept += piece
    return re.split(r"(?<!operator)\((?!anonymous )", kept, maxsplit=1)[0]


def source_lines(way):
    """Returns, for each reference of a way, the "FILE:LINE" it stands in, or an empty text where
    there is no debug information."""
    tool = shutil.which("addr2line") or shutil.which("llvm-addr2line")
    lines, written = [], {}
    with tempfile.TemporaryDirectory(prefix="virtine-cc-") as directory:
        for step in way:
            item = step.object
            if not tool or not any(section.name == ".debug_line" for section in item.sections):
                lines.append("")
                continue
            if item not in written:
                written[item] = pathlib.Path(directory) / f"{len(written)}.o"
                written[item].write_bytes(item.data)
            said = run([tool, "-s", f"--section={item.sections[step.section].name}", "-e",
                        written[item], hex(step.offset)]).stdout
            found = re.match(r"[^?:\s]+:[1-9][0-9]*", said)
            lines.append(found[0] if found else "")
    return lines


def join(names, lines):
    """Returns the readable names of a chain as one text, each with the line from which it leads on
    where that is known."""
    words = []
    for name, line in zip(names, lines):
        name = brief(name)
        # An entry and the function that it calls have one name; a table of constructors has none.
        if words and words[-1].partition("(")[0].rstrip() == name.partition("(")[0]:
            words.pop()
        if not name.startswith(".init_array"):
            words.append(f"{name} (at {line})" if line else name)
    return " -> ".join(words)


def chain(reach, why, last=None):
    """Returns the functions from an exported one to the reference `why`, and `last` after them."""
    way = reach.way(why)
    names = readable([owner(step.object, step.section, step.offset) for step in way])
    lines = source_lines(way)
    return join(names + readable([last]), lines + [""]) if last else join(names, lines)


def constructor_advice(reach, why):
    """Returns what to do if the reference `why` is made by constructors, which the guest runs for
    variables that they make; otherwise an empty text."""
    for step in reach.way(why):
        if is_constructor(step.object.sections[step.section]):
            made = reach.live[step.object, step.section]
            if made.section is None:  # All constructors of what is no host's file run.
                return (f"; the constructors of {pathlib.Path(step.object.name).name} run before the "
                        "first call, so make what they construct static variables of functions, or "
                        "leave the file out")
            variable, = readable([owner(made.object, made.section)])
            said = f"; the constructors of {pathlib.Path(step.object.name).name} run in the guest because "
            if made.object is step.object and made.section in made_by(step.object, step.section):
                return (f"{said}it uses {variable}, so make that constinit or a static variable of a "
                        "function, or move it to a file of its own")
            return f"{said}they change {variable}, which it uses, so give one of the two a file of its own"
    return ""
