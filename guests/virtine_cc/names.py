# Which names the types of an image's header can have.
# Must not know what they name.
# SPDX-License-Identifier: MIT

import errno
import re
import signal

from .failure import Failure

# Names that generated types have themselves, and those that C and nasm allow but C++ does not.
MEMBERS = set("format description image only_entry name address signature imports".split())
KEYWORDS = set("""
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
    char32_t class compl concept const consteval constexpr constinit const_cast continue co_await
    co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public register reinterpret_cast requires return
    short signed sizeof static static_assert static_cast struct switch template this thread_local
    throw true try typedef typeid typename typeof union unsigned using virtual void volatile wchar_t
    while xor xor_eq linux unix
""".split())

# Those that stand for something else where a host includes the headers of C. Macros that take
# arguments, such as assert, leave a name alone that has none.
MACROS = {*errno.errorcode.values(), *signal.Signals.__members__, "EWOULDBLOCK"}
MACRO = re.compile(r"""errno|stdin|stdout|stderr|complex|I|NULL|W?EOF|BUFSIZ|INFINITY|NAN
    |HUGE_VAL[FL]?
    |\w+_(MAX|MIN|DIG|EPSILON|EXP|WIDTH|RADIX|LOCK_FREE|BIT)|MB_CUR_MAX|CLOCKS_PER_SEC|TIME_UTC
    |(SEEK|LC|FE|FP|SIG|EXIT|MATH)_[A-Z]\w*|(PRI|SCN)[a-zX]\w+|st_[acm]time|sa_(handler|sigaction)
    |si_(addr|value|pid|uid|status|fd|band)""", re.VERBOSE)


def check_identifier(name, what, members=MEMBERS):
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or "__" in name:
        raise Failure(f"{what} '{name}' cannot be the name of a C++ type; choose another name")
    if name in KEYWORDS:
        raise Failure(f"{what} '{name}' is a word with a meaning in C++; choose another name")
    if name in members:
        raise Failure(f"{what} '{name}' is what a member of the generated types is called; "
                      "choose another name")
    if name in MACROS or MACRO.fullmatch(name):
        raise Failure(f"{what} '{name}' has the name of a macro of the C library; choose another "
                      "name (VIRTINE_EXPORT_AS)")


def check_macros(names):
    """Returns what makes a header say that a name of it is a macro where it is included. Of names
    without small letters, as macros have: others take arguments, or are renamed everywhere."""
    return "".join(f"#ifdef {name}\n"
                   f'#error "virtine: {name} is a macro here; give the guest function or image '
                   f'another name"\n#endif\n'
                   for name in names if not re.search(r"[a-z]", name))
