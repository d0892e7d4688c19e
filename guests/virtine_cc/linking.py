# From objects to an image, in the two ways that there are.
# Must not know where the objects come from, or how the image is written down.
# SPDX-License-Identifier: MIT

from .elf import Object
from .explain import ARCHIVES, explain, origin_of
from .failure import Failure
from .image import ENTRY_PREFIX, FLUSHING_PREFIX, Image
from .imports import imports_of
from .link import check_missing, given_by, link, write_objects
from .needs import HOOKS, Program, check_own_names, choose
from .reach import Reach
from .suppliers import Suppliers
from .tools import printable
from .unavailable import check_available, stand_ins


def script_of(compiler):
    script = compiler.installation.runtime / compiler.options.mode_traits.script
    compiler.dependencies.append(script)
    return script


def link_bare(compiler, objects, exports, elf):
    if compiler.options.given.boot:
        objects = [*objects, Object("boot.asm", compiler.runtime("boot.asm").read_bytes())]
    program = Program(Reach([], unwinding=False), unwinding=False)
    program.reach.objects.extend(objects)
    link(compiler.toolchain.lld, write_objects(program, compiler),
         [ENTRY_PREFIX + name for name in exports], script_of(compiler), elf,
         compiler.options.mode_traits.base)
    return Image(elf, exports, compiler.options)


def link_user64(compiler, objects, archives, exports, roots, elf, check=None):
    """Returns the Image of `objects`, which is linked to the file `elf`; `check` is given the Reach of
    it before."""
    roots = roots + [ENTRY_PREFIX + name for name in exports]
    program = choose(objects, roots, Suppliers(compiler, archives))
    reach = program.reach
    sources = compiler.options.given.sources
    check_own_names(reach, lambda item: item in objects or origin_of(item, sources) == ARCHIVES)
    check_available(reach, sources)
    for name in exports:
        if ENTRY_PREFIX + name in reach.missing:
            raise Failure(f"'{name}' is exported, but its entry {ENTRY_PREFIX}{name} is not "
                          "defined")
    check_missing(reach, script_of(compiler))
    if check:
        check(reach)
    hooks = [name for name in HOOKS if reach.is_live(name)]
    if "virtine_flush" in hooks:
        entries = compiler.flushing_entries(exports)
        reach.add(Object("flushing_entries.s", entries.read_bytes()))
        hooks += [FLUSHING_PREFIX + name for name in exports]
    heap = compiler.options.heap if reach.is_live("__mmap") else 0
    link(compiler.toolchain.lld, write_objects(program, compiler, given_by(script_of(compiler))),
         roots + hooks, script_of(compiler), elf, compiler.options.mode_traits.base,
         [("virtine_heap_size", heap)])
    image = Image(elf, exports, compiler.options, heap)
    if image.imports:
        image.entry_imports = imports_of(reach, exports)
    if compiler.options.given.explain:
        print(printable(explain(reach, image, compiler.options)), end="")
        lacking = stand_ins(reach)
        if lacking:
            print(printable("\nguests do not have, so that a call of it fails:\n"
                            + "\n".join(lacking)))
    return image
