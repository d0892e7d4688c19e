# What an image consists of and why, as --explain prints it.
# Must not know how the image is linked.
# SPDX-License-Identifier: MIT

import collections

from . import elf
from .chains import brief, join
from .reach import owner, symbols_of
from .tools import readable

SOURCES, RUNTIME, ARCHIVES = "your files", "virtine's runtime", "your archives"
LIBRARIES = {"libc.a": "libc", "libstdc++.a": "libstdc++", "libgcc.a": "libgcc",
             "libgcc_eh.a": "libgcc"}


def origin_of(item, sources):
    """Returns which part of an image an object is of."""
    archive, member, _ = item.name.partition("(")
    if item.name in sources:
        return SOURCES
    if member:
        return LIBRARIES.get(archive, ARCHIVES)
    return RUNTIME


def explain(reach, image, options):
    """Returns a text with the sizes of the image, in all, by origin and by symbol, and for each
    symbol how an exported function comes to need it."""
    origins, symbols, whys = collections.Counter(), collections.Counter(), {}
    for (item, number), why in reach.live.items():
        section = item.sections[number]
        if section.flags & elf.SHF_ALLOC and section.size:
            others = len({symbol.value for symbol in symbols_of(item, number)}) - 1
            key = (owner(item, number), item, others if others > 0 else 0)
            symbols[key] += section.size
            whys.setdefault(key, why)
            origins[origin_of(item, options.given.sources)] += section.size
    total = sum(segment.size for segment in image.segments) - image.heap
    origins["alignment and tables of exceptions"] = total - sum(origins.values())
    lines = [f"guests::{options.name}: {total} bytes", ""]
    lines += [f"{size:9}  {origin}" for origin, size in origins.most_common()]
    lines += ["", "    bytes  what, of what, and the way to it"]
    order = sorted(symbols.items(), key=lambda pair: (-pair[1], pair[0][0]))
    ways = [[owner(step.object, step.section, step.offset) for step in reach.way(whys[key])]
            for key, _ in order]
    mangled = list(dict.fromkeys([symbol for (symbol, *_), _ in order] + sum(ways, [])))
    plain = dict(zip(mangled, readable(mangled)))
    for ((symbol, item, others), size), way in zip(order, ways):
        names = join([plain[name] for name in way], [""] * len(way))
        more = f" and {others} more" if others else ""
        lines.append(f"{size:9}  {brief(plain[symbol])}{more}, {item.name}"
                     + (f": {names}" if names else ""))
    return "\n".join(lines) + "\n"
