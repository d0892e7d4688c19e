# What the objects of an image say: exports, initialisers, sections that no image can have.
# Must not know how they were made or are linked.
# SPDX-License-Identifier: MIT

import re

from .elf import SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHN_UNDEF
from .failure import Failure
from .names import MEMBERS, check_identifier

EXPORTS = ".virtine.exports"  # what a source exports
INITIALISER = "virtine_initialiser"  # what a source names by VIRTINE_INIT


def parse_exports(data, source):
    """Returns the (name, signature) pairs of a .virtine.exports section."""
    words = [word.decode("utf-8", "replace") for word in data.split(b"\0") if word]
    if len(words) % 2 != 0:
        raise Failure(f"{source} has a damaged .virtine.exports section; compile it again")
    return list(zip(words[::2], words[1::2]))


def inspect_object(item, source, options):
    """Checks what the linker would not; returns what the object exports, and whether it names
    the initialiser."""
    initialises = any(symbol.name == INITIALISER and symbol.section != SHN_UNDEF
                      for symbol in item.symbols)
    exports, constructs = [], False
    for section in item.sections:
        name, flags = section.name, section.flags
        if name == EXPORTS:
            exports += parse_exports(item.content(section.number), source)
        if section.size == 0 or not flags & SHF_ALLOC:
            continue
        constructs = constructs or re.match(r"\.init_array\b", name) is not None
        if re.match(r"\.(preinit_array|fini_array|ctors|dtors)\b", name):
            raise Failure(f"{source} has a section {name}, which guests do not run; use an "
                          "initialiser (VIRTINE_INIT) or the constructor of a static object")
        if options.bare and flags & SHF_TLS:
            raise Failure(f"{source} has a thread_local variable, which needs --mode user64; a bare "
                          "guest has no thread pointer")
        if not options.bare and flags & SHF_WRITE and flags & SHF_EXECINSTR:
            raise Failure(f"{source}: section {name} is both writable and executable; keep code "
                          "and data in sections of their own")
    if options.bare and (initialises or constructs):
        raise Failure(f"{source} has an initialiser or a static constructor, which need --mode "
                      "user64; a bare image has its boot code")
    return exports, initialises


def collect_exports(objects, sources, marked, options):
    """Checks the objects, of whose functions those in `marked` are so by VIRTINE; returns their
    exports, {name: signature} in order, and whether one names an initialiser."""
    exports, origin, initialisers = {}, {}, []
    for item, source in zip(objects, sources):
        found, initialises = inspect_object(item, source, options)
        initialisers += [source] if initialises else []
        for name, signature in found:
            check_identifier(name, "the exported function", {*MEMBERS, "functions"})
            if name in exports:
                raise Failure(f"'{name}' is exported twice, by {origin[name]} and by {source}")
            exports[name], origin[name] = signature, source
    if not exports:
        archived = any(source.endswith(".a") for source in options.given.sources)
        raise Failure("no function is exported; mark one by VIRTINE in a C++ file of the host, or "
                      "write VIRTINE_EXPORT(function); in a C++ source of a guest, "
                      "virtine::export! in a Rust source or virtine_export in a nasm source"
                      + ("; exports in archives are not looked for, so give their .o files"
                         if archived else ""))
    # A marked function is found by its file, whatever its type in the image is called.
    clash = options.name in exports and len(exports) > 1
    if clash and (options.name not in marked or "entry" in exports):
        raise Failure(f"the function '{options.name}' has the name of the image, and is not its "
                      "only export; rename one of the two (--name)")
    if len(initialisers) > 1:
        raise Failure(f"the initialiser is named twice, by {initialisers[0]} and by "
                      f"{initialisers[1]}; write VIRTINE_INIT once, and call the other from there")
    return exports, bool(initialisers)
