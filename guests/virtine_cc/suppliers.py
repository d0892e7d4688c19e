# Who defines what the objects of an image need: its own archives, the runtime, libstdc++, libgcc and
# musl, in this order.
# Must not know what is needed, nor by whom.
# SPDX-License-Identifier: MIT

import functools
import re

from . import elf

# Sources of the runtime and the names that they define.
RUNTIME = {
    "ends.cpp": r"abort|__assert_fail|__cxa_(pure|deleted)_virtual|__stack_chk_fail|__chk_fail"
                r"|_ZSt21__glibcxx_assert_failPKciS0_S0_",
    "process.c": r"exit|atexit|__cxa_atexit|__cxa_thread_atexit_impl|__dso_handle"
                 r"|__libc_single_threaded",
    "environment.cpp": r"getenv",
    "heap.c": r"(__)?(mmap|munmap|mremap|madvise|mprotect)|mmap64",
    "start.c": r"virtine_start_libc|__init_tls|__set_thread_area",
    "init.cpp": r"virtine_init",
    "pieces.c": r"virtine_pieces_(begin|end)",
    "locale.c": r"(__)?((new|dup|free)locale|nl_langinfo(_l)?|isw\w+_l|tow(low|upp)er_l)"
                r"|__ctype_to(low|upp)er_loc",
    "memory.c": r"memcpy|memmove",
    "mutex.cpp": r"(__)?pthread_mutex_(lock|trylock|timedlock|unlock)"
                 r"|pthread_mutex_(init|destroy|clocklock|consistent)|__pthread_mutex_trylock_owner"
                 r"|mtx_(init|destroy|lock|trylock|timedlock|unlock)",
    "regex.c": r"reg(comp|exec)",
    "stdio.c": r"virtine_(flush|gather_output|drop_output)",
    "thread.c": r"virtine_thread",
    "warm.c": r"virtine_warm_heap",
    "glibc.cpp": r"__(mem(cpy|move|pcpy|set)|explicit_bzero|st[rp]n?cpy|strn?cat|v?(s|sn|f|as)?printf"
               r"|fgets|fread|read|pread(64)?|readlink(at)?|getcwd|realpath|poll|strl(cpy|cat)|mbstowcs"
               r"|wcstombs|wmem(cpy|set)|fdelt|longjmp|v?syslog)_chk|arc4random(_buf|_uniform)?"
               r"|__open(at)?(64)?_2|fcntl64|__mbrlen|__sysconf|canonicalize_file_name"
               r"|(__isoc23_)?(str|wcs)tou?(l|ll|imax|max)_l|__isoc23_((str|wcs)tou?(l|ll|max|imax)"
               r"|v?[fs]?scanf)|(get|set|swap|make)context|close_range|statx|__register_atfork"
               r"|pthread_rwlockattr_setkind_np|obstack_vprintf|_obstack_newchunk"
               r"|v?syslog|(open|close)log",
    "unavailable.cpp":
        r"pthread_(create|join|sigmask|cond_(wait|timedwait|clockwait))|thrd_(create|join)"
        r"|cnd_(timed)?wait|socket|socketpair|connect|bind|listen|accept4?|getaddrinfo"
        r"|gethostby(name2?|addr)|v?fork|_Fork|exec(l|le|lp|v|ve|vp|vpe)|fexecve|posix_spawnp?"
        r"|system|popen|daemon|wait|waitpid|(bsd_|__sysv_)?signal|sigaction|sigprocmask|kill"
        r"|setitimer|timer_create|alarm|raise|sigwait|sigsuspend|pause",
}
# Of which each function is taken by itself: any other can be one of a library's own.
TAKEN_SINGLY = {"unavailable.cpp"}
WITHOUT_STREAMS = {"streams.cpp": r"_ZNSt8ios_base4InitC1Ev"}
WITH_EXCEPTIONS = {
    "exceptions.cpp": r"_dl_find_object|dl_iterate_phdr|_ZN10__cxxabiv119__terminate_handlerE",
}
WITHOUT_EXCEPTIONS = {
    "no_exceptions.cpp":
        r"_Zn[wa]mRKSt9nothrow_t|_ZSt\d+__throw_\w+|_ZSt9terminatev|_Unwind_Resume|__gxx_personality_v0"
        r"|__cxa_(allocate_exception|free_exception|throw|rethrow|bad_cast|bad_typeid"
        r"|throw_bad_array_new_length|begin_catch|end_catch|get_exception_ptr)",
}

RUNTIME_NAMES = re.compile("|".join(RUNTIME.values()))


@functools.lru_cache(maxsize=None)
def name_in_libc(name):
    """Returns what a function of the C library is called in an image: one that the runtime has in
    its place has a name by which the runtime can call it."""
    return f"virtine_libc_{name}" if RUNTIME_NAMES.fullmatch(name) else name


class Suppliers:
    """The archives and the runtime, with what of them was taken."""

    def __init__(self, compiler, archives):
        self.compiler = compiler
        self.archives = [elf.Archive(path) for path in archives]
        self.compiled = {}  # source: Object
        self.found = {}     # name: Archive

    def of(self, unwinding, streams):
        """Returns the functions that supply an image, for one way to link it."""
        sources = {**RUNTIME, **(WITH_EXCEPTIONS if unwinding else WITHOUT_EXCEPTIONS),
                   **({} if streams else WITHOUT_STREAMS)}
        taken = set()
        suppliers = [self.from_archive(lambda archive=archive: archive, taken)
                     for archive in self.archives]
        suppliers.append(self.from_runtime(sources, taken))
        for name in ("libstdc++.a", "libgcc_eh.a", "libgcc.a", "libc.a"):
            suppliers.append(self.from_archive(lambda name=name: self.library(name), taken))
        return suppliers

    def library(self, name):
        if name not in self.found:
            toolchain = self.compiler.toolchain
            is_libc = name == "libc.a"
            path = toolchain.libc if is_libc else toolchain.library(name)
            self.compiler.dependencies.append(path)
            self.found[name] = elf.Archive(path, is_libc, name_in_libc if is_libc else None)
        return self.found[name]

    def from_runtime(self, sources, taken):
        def supply(name):
            for source, names in sources.items():
                if source not in taken and re.fullmatch(names, name):
                    if source in TAKEN_SINGLY:
                        return self.runtime(source).only(name)
                    taken.add(source)
                    return self.runtime(source)
            return None
        return supply

    def runtime(self, source):
        if source not in self.compiled:
            path = self.compiler.runtime(source)
            self.compiled[source] = elf.Object(source, path.read_bytes())
        return self.compiled[source]

    def from_archive(self, find, taken):
        def supply(name):
            archive = find()
            offset = archive.index.get(name)
            if offset is None or (archive, offset) in taken:
                return None
            taken.add((archive, offset))
            return archive.member(offset)
        return supply
