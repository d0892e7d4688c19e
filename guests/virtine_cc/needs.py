# What a user64 image is linked from: the objects that its roots reach, and the parts of the runtime
# that these make necessary without naming them.
# Must not know how it is linked.
# SPDX-License-Identifier: MIT

import collections
import re

from . import elf
from .constructors import PIECES, is_constructor
from .failure import Failure
from .reach import Reach, owner

# The standard streams, whose construction is worth linking only for those who use them.
STREAMS = [f"_ZSt{len(name)}{name}" for name in
           "cin cout cerr clog wcin wcout wcerr wclog".split()]

# An absolute address below FS: 64, perhaps a prefix and an opcode byte, ModRM and SIB for a disp32.
# What this takes for one by mistake costs no more than the start of the C library.
THREAD_ACCESS = re.compile(
    rb"\x64[\x40-\x4f\x66]?\x0f?.[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25....", re.DOTALL)

# What runs around the functions of an image, as far as it is alive.
HOOKS = """
    virtine_init virtine_start_libc virtine_warm_heap virtine_flush virtine_gather_output
    virtine_drop_output virtine_ask_for_environment virtine_thread virtine_pieces_begin
    virtine_pieces_end
""".split()

Program = collections.namedtuple("Program", "reach unwinding")


def choose(objects, roots, suppliers):
    """Returns the Program of `objects` and of what their `roots` need besides.

    Handlers of exceptions and streams bring much code that few images need, so both are left out
    first, and taken in if what is alive turns out to use them.
    """
    unwinding = streams = False
    while True:
        reach = Reach(suppliers.of(unwinding, streams), unwinding)
        for item in objects:
            reach.add(item)
        for name in roots:
            reach.need(name)
        reach.run()
        while reach.construct(objects) or add_hooks(reach):
            reach.run()
        now = unwinding or catches(reach), streams or any(map(reach.is_live, STREAMS))
        if now == (unwinding, streams):
            return Program(reach, unwinding)
        unwinding, streams = now


def check_own_names(reach, is_foreign):
    """Fails if an object that `is_foreign` says is not of the runtime defines what the runtime
    does: what sets up a guest would be another's."""
    for name in HOOKS:
        known = reach.definitions.get(name)
        if known is not None and is_foreign(known.object):
            raise Failure(f"{known.object.name} defines {name}, which is a name of virtine's own; "
                          "rename it")


def add_hooks(reach):
    """Makes roots of what has to run around a call; returns whether there were any new ones."""
    before = len(reach.live)
    if any(uses_thread(item, section) for item, section in reach.sections()):
        reach.need("virtine_thread")
    # What asks for the thread itself, rather than for errno in it, finds there what musl put there.
    if reach.is_live("__libc") or reach.is_live("virtine_thread") and any(
            uses_thread(item, section) and owner(item, section.number) != "__errno_location"
            and item.from_libc for item, section in reach.sections()):
        reach.need("virtine_start_libc")
    if reach.is_live("__malloc_context") or reach.is_live("__simple_malloc"):
        reach.need("virtine_warm_heap")
    if reach.is_live("__stdout_FILE") or reach.is_live("__ofl_add"):
        reach.need("virtine_flush")
        reach.need("virtine_gather_output")
        reach.need("virtine_drop_output")
    if any(section.name == PIECES for _, section in reach.sections()):
        reach.need("virtine_pieces_begin")
        reach.need("virtine_pieces_end")
    if (any(reach.is_live(name) for name in
            ("virtine_initialiser", "virtine_start_libc", "virtine_warm_heap",
             "virtine_gather_output"))
            or any(is_constructor(section) for _, section in reach.sections())):
        reach.need("virtine_init")
    return len(reach.live) != before


def uses_thread(item, section):
    if section.flags & elf.SHF_TLS:
        return section.size != 0
    return section.flags & elf.SHF_EXECINSTR and THREAD_ACCESS.search(
        item.content(section.number)) is not None


def catches(reach):
    """Returns whether anything that is alive does more with an exception than pass it on."""
    for item, section in reach.sections():
        if not section.flags & elf.SHF_EXECINSTR:
            continue
        calls = collections.Counter(symbol.name for _, symbol, _, _
                                    in item.relocations(section.number))
        begun, passed_on = calls["__cxa_begin_catch"], calls["__cxa_rethrow"]
        # A handler that always ends in `throw;` leaves by one __cxa_end_catch, which only the
        # unwinder comes to; one that sometimes does not has another.
        if begun > passed_on or begun and calls["__cxa_end_catch"] > begun:
            if owner(item, section.number) != "__clang_call_terminate":
                return True
        if calls["_ZSt17current_exceptionv"] or calls["_ZSt18uncaught_exceptionv"]:
            return True
    return False
