# What a guest cannot have although C or C++ has it, and what to do instead.
# Must not know how an image comes to ask for it.
# SPDX-License-Identifier: MIT

import collections
import re

from .chains import chain, constructor_advice
from .explain import ARCHIVES, SOURCES, origin_of
from .failure import Failure

# `names` are the mangled names of functions and variables.
Thing = collections.namedtuple("Thing", "what names instead")

THINGS = [
    Thing("a thread", r"_ZNSt6thread(15_M_start_thread|4join|6detach)\w*|pthread_(create|join)"
          r"|thrd_(create|join)",
          "call directly, or let the host make several calls; std::async works with "
          "std::launch::deferred"),
    Thing("a condition variable", r"_ZNSt18condition_variable\d*4wait\w*"
          r"|pthread_cond_(timed)?wait|cnd_(timed)?wait",
          "it has one thread, and nobody would wake it"),
    Thing("std::{0}", r"_ZSt\d(w?(?:cin|cout|cerr|clog))",
          "return the text, give it to the host by a hypercall, or use std::printf"),
    Thing("a file stream of C++", r"_ZN\w*13basic_filebuf\w*",
          "use std::fopen, under a policy that grants files"),
    Thing("a socket", r"socket|socketpair|connect|bind|listen|accept4?|getaddrinfo|gethostbyname",
          "let the host send and receive, by a hypercall"),
    Thing("another process", r"v?fork|_Fork|exec(l|le|lp|v|ve|vp|vpe)|fexecve|posix_spawnp?|system"
          r"|popen|daemon", "let the host start it, by a hypercall"),
    Thing("a shared library", r"dlopen|dlsym",
          "link what is needed into the image: give virtine-cc its .o or .a file"),
    Thing("signals", r"signal|bsd_signal|sigaction|sigprocmask|pthread_sigmask|kill|raise|alarm"
          r"|setitimer|timer_create|sigwait|sigsuspend|pause",
          "a fault ends the call and reaches the host as an error, and the host limits its time"),
]


def check_available(reach, sources):
    """Fails if something that is alive asks for what no guest can have, of several such things for
    the one that is nearest to an exported function."""
    found = []
    for name, why in reach.referenced.items():
        known = reach.definitions.get(name)
        if known and origin_of(known.object, sources) in (SOURCES, ARCHIVES):
            continue  # The user's own of that name.
        for rank, thing in enumerate(THINGS):
            match = re.fullmatch(thing.names, name)
            if match:
                found.append((len(reach.way(why)), rank, name, why, match))
    if not found:
        return
    _, rank, name, why, match = min(found, key=lambda each: each[:3])
    thing = THINGS[rank]
    what = thing.what.format(*match.groups()) if match.groups() else thing.what
    raise Failure(f"a guest cannot have {what}: {chain(reach, why, name)}; {thing.instead}"
                  f"{constructor_advice(reach, why)}")
