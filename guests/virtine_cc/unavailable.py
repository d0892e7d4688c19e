# What a guest cannot have although C or C++ has it, and what to do instead. Of code that its user
# writes for guests it is an error; what archives and objects of others name is linked to functions
# that fail (runtime/unavailable.cpp), since most of a library's users never come to call them.
# Must not know how an image comes to ask for it.
# SPDX-License-Identifier: MIT

import collections
import re

from . import elf
from .chains import chain, constructor_advice
from .constructors import is_constructor
from .explain import ARCHIVES, SOURCES, origin_of
from .failure import Failure
from .objects import EXPORTS
from .reach import Reach, Reference, owner

# What <iostream> puts into each file that includes it, whether or not it uses a stream.
INCLUDED = {"_ZNSt8ios_base4InitC1Ev", "_ZNSt8ios_base4InitC2Ev"}
STAND_INS = "unavailable.cpp"
ENDING = b"\x0f\xb9\x80"  # of abort_reason.hpp

# `names` are the mangled names of functions and variables.
Thing = collections.namedtuple("Thing", "what names instead")

THINGS = [
    Thing("a thread", r"_ZNSt6thread(15_M_start_thread|4join|6detach)\w*|pthread_(create|join)"
          r"|thrd_(create|join)",
          "call directly, or let the host make several calls; std::async works with "
          "std::launch::deferred"),
    Thing("a condition variable", r"_ZNSt18condition_variable\d*4wait\w*"
          r"|pthread_cond_(wait|timedwait|clockwait)|cnd_(timed)?wait",
          "it has one thread, and nobody would wake it"),
    Thing("std::{0}", r"_ZSt\d(w?(?:cin|cout|cerr|clog))",
          "return the text, give it to the host by a hypercall, or use std::printf under "
          "posix::output()"),
    Thing("a file stream of C++", r"_ZN\w*13basic_filebuf\w*",
          "use std::fopen under posix::directory()"),
    Thing("a socket", r"socket|socketpair|connect|bind|listen|accept4?|getaddrinfo"
          r"|gethostby(name2?|addr)",
          "let the host send and receive, by a hypercall"),
    Thing("another process", r"v?fork|_Fork|exec(l|le|lp|v|ve|vp|vpe)|fexecve|posix_spawnp?|system"
          r"|popen|daemon|wait|waitpid", "let the host start it, by a hypercall"),
    Thing("a shared library", r"dlopen|dlsym",
          "link what is needed into the image: give virtine-cc its .o or .a file"),
    Thing("{0}(), which only glibc has", r"(backtrace(?:_symbols(?:_fd)?)?|error(?:_at_line)?"
          r"|argp_(?:parse|usage|error|failure|help|state_help)|register_printf_\w+"
          r"|parse_printf_format|gnu_get_libc_(?:version|release))",
          "its C library is musl, so let the host do that"),
    Thing("signals", r"(?:bsd_|__sysv_)?signal|sigaction|sigprocmask|pthread_sigmask|kill|raise|alarm"
          r"|setitimer|timer_create|sigwait|sigsuspend|pause",
          "a fault ends the call and reaches the host as an error, and the host limits its time"),
]


def is_own(item, sources):
    """Says whether an object is its user's code for guests: one that is compiled for the image, or
    has exports in it."""
    origin = origin_of(item, sources)
    if origin == SOURCES and item.name.endswith(".o"):
        return any(section.name == EXPORTS for section in item.sections)
    return origin == SOURCES


class OwnWalk:
    """What is alive by ways that do not lead through objects and archives of others."""

    way = Reach.way

    def __init__(self, reach, sources):
        self.reach, self.sources = reach, sources
        self.live = {}        # (object, section number): the first Reference to it
        self.referenced = {}  # name: the first Reference to it
        self.pending = collections.deque()
        constructors = []
        for (item, number), why in reach.live.items():
            if is_constructor(item.sections[number]):
                constructors.append((item, number, why))
            elif why.section is None:
                self.enter(item, number, why)
        before = None
        while len(self.live) != before:
            before = len(self.live)
            self.run()
            entered = {item for item, _ in self.live}
            for item, number, why in constructors:
                if (item in entered or is_own(item, sources)) and (
                        why.section is None or (why.object, why.section) in self.live):
                    self.enter(item, number, why)

    def enter(self, item, number, why):
        key = item, number
        if key not in self.reach.live or key in self.live:
            return
        if origin_of(item, self.sources) in (SOURCES, ARCHIVES) and not is_own(item, self.sources):
            return
        self.live[key] = why
        self.pending.append(key)

    def run(self):
        while self.pending:
            item, number = self.pending.popleft()
            for other in item.dependents.get(number, ()):
                self.enter(item, other, Reference(item, number, item.sections[other].name))
            if item.sections[number].name.startswith(".eh_frame"):
                continue
            for _, symbol, offset, _ in item.relocations(number):
                why = Reference(item, number, symbol.name, offset)
                known = self.reach.definitions.get(symbol.name)
                if symbol.binding == elf.STB_LOCAL:
                    self.enter(item, symbol.section, why)
                elif (known or symbol.binding != elf.STB_WEAK) and symbol.name not in INCLUDED:
                    self.referenced.setdefault(symbol.name, why)
                    if known:
                        self.enter(known.object, known.symbol.section, why)


def check_available(reach, sources):
    """Fails if its user's own code asks for what no guest can have, of each such thing for the way
    that is nearest to an exported function."""
    walk, found = OwnWalk(reach, sources), {}
    for name, why in walk.referenced.items():
        known = reach.definitions.get(name)
        if known and origin_of(known.object, sources) in (SOURCES, ARCHIVES):
            continue  # The user's own of that name.
        for thing in THINGS:
            match = re.fullmatch(thing.names, name)
            if match:
                what = thing.what.format(*match.groups())
                found.setdefault(what, []).append((len(walk.way(why)), name, why, thing))
    said = []
    for what, each in found.items():
        length, name, why, thing = min(each, key=lambda one: one[:2])
        said.append((length, f"a guest cannot have {what}: {chain(walk, why, name)}; {thing.instead}"
                     + ("" if name.startswith("_Z") else
                        f"; a function {name} of your own takes its place")
                     + constructor_advice(walk, why)))
    if said:
        raise Failure(*[text for _, text in sorted(said)])


def stand_ins(reach):
    """Returns a line for each function that is linked and stands for one that no guest has."""
    lines = []
    for (item, number), why in reach.live.items():
        if item.name == STAND_INS and item.sections[number].flags & elf.SHF_EXECINSTR:
            ends = " (ends the call)" if ENDING in item.content(number) else ""
            name = owner(item, number)
            lines.append(f"    {name}{ends}: {chain(reach, why, name)}")
    return sorted(lines)
