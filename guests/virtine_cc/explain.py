# What an image consists of and why, as --explain prints it.
# Must not know how the image is linked.
# SPDX-License-Identifier: MIT

import collections

from . import elf
from .chains import brief, join
from .reach import Definition, owner, symbols_of
from .tools import readable

SOURCES, RUNTIME, ARCHIVES = "your files", "virtine's runtime", "your archives"
LIBRARIES = {"libc.a": "libc", "libstdc++.a": "libstdc++", "libgcc.a": "libgcc",
             "libgcc_eh.a": "libgcc"}
PC_RELATIVE = {2, 4, 9, 41, 42}  # Relocations of 32 bits that count from their own end.


def origin_of(item, sources):
    """Returns which part of an image an object is of."""
    archive, member, _ = item.name.partition("(")
    if item.name in sources:
        return SOURCES
    if member:
        return LIBRARIES.get(archive, ARCHIVES)
    return RUNTIME


def piece_at(item, section, offset):
    """Returns the constant or text that an offset of a section of such is in."""
    content, size = item.content(section.number), section.piece_size
    if size == 0:
        return content  # which a linker does not take apart either
    begin = offset // size * size
    end = begin + size
    if section.flags & elf.SHF_STRINGS:
        while begin > 0 and any(content[begin - size:begin]):
            begin -= size
        while end < len(content) and any(content[end - size:end]):
            end += size
    return content[begin:end]


def merged_sizes(reach):
    """Returns how much is linked of the live sections of texts and constants: what live code and
    data refer to, and that once, whichever objects have it."""
    sizes, known = collections.Counter(), set()
    for item, section in reach.sections():
        if not section.flags & elf.SHF_ALLOC:
            continue
        for kind, symbol, _, addend in item.relocations(section.number):
            where = reach.definitions.get(symbol.name) or Definition(item, symbol)
            key = where.object, where.symbol.section
            if symbol.section >= elf.SHN_LORESERVE or key not in reach.live:
                continue
            merged = key[0].sections[key[1]]
            if merged.flags & elf.SHF_MERGE:
                offset = where.symbol.value
                if symbol.kind == elf.STT_SECTION:
                    offset += addend + (4 if kind in PC_RELATIVE else 0)
                piece = piece_at(key[0], merged, offset)
                if (merged.name, piece) not in known:
                    known.add((merged.name, piece))
                    sizes[key] += len(piece)
    return sizes


def explain(reach, image, options):
    """Returns a text with the sizes of the image, in all, by origin and by symbol, and for each
    symbol how an exported function comes to need it."""
    origins, symbols, whys = collections.Counter(), collections.Counter(), {}
    merged = merged_sizes(reach)
    for (item, number), why in reach.live.items():
        section = item.sections[number]
        if not section.flags & elf.SHF_ALLOC:
            continue
        size, name, others = section.size, owner(item, number), 0
        if section.flags & elf.SHF_MERGE:
            size, name = merged[item, number], section.name
        else:
            others = len({symbol.value for symbol in symbols_of(item, number)}) - 1
        if size:
            key = (name, item, max(others, 0))
            symbols[key] += size
            whys.setdefault(key, why)
            origins[origin_of(item, options.given.sources)] += size
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
