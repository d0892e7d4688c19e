#!/usr/bin/python3
# Checks what compilers cannot: that texts which belong together say the same.
# Must not know how any of it is built.
# SPDX-License-Identifier: MIT
"""Check codes, versions and soundness comments throughout the source tree."""

import argparse
import pathlib
import re
import subprocess
import sys

DANGEROUS = re.compile(r"(?<!\w)(?:ioctl|mmap|munmap|mprotect)\s*\(|\breinterpret_cast\b")


def enumerators(text, name):
    body = re.search(rf"enum class {name}\b[^{{]*{{(.*?)}};", text, re.DOTALL)[1]
    body = re.sub(r"//.*", "", body)
    return re.findall(r"(\w+)\s*(?:=[^,}]*)?(?:,|$)", body.strip())


def compare(what, needed, there, where):
    for missing in sorted(needed - there):
        yield f"{what} {missing} is missing from {where}"
    for stale in sorted(there - needed):
        yield f"{what} {stale} is in {where} but does not exist"


def check_codes(headers, errors_md, mistakes):
    """Every code has a heading in docs/errors.md; every V-code has a file that provokes it."""
    text = "\n".join(headers.values())
    headings = re.findall(r"^###+ (.*)$", errors_md, re.MULTILINE)
    codes = set(re.findall(r"\[(V\d{3})\]", text))
    documented = {match[0] for match in (re.match(r"V\d{3}\b", line) for line in headings) if match}
    yield from compare("code", codes, documented, "docs/errors.md")
    tested = {name[:4].upper() for name in mistakes if re.match(r"v\d{3}_", name)}
    for code in sorted(codes - tested):
        yield f"code {code} has no file in tests/compile_fail"
    for kind in ("errc", "fault_kind"):
        values = {f"{kind}::{name}" for name in enumerators(text, kind)}
        found = {match[0] for match in (re.match(rf"{kind}::\w+", line) for line in headings)
                 if match}
        yield from compare("value", values, found, "docs/errors.md")


def check_versions(root, headers):
    """All places that give a version agree."""
    build = re.search(r"^\s*version: '([^']+)'", (root / "meson.build").read_text(), re.MULTILINE)
    version = build[1]
    number = int(re.search(r"#define VIRTINE_VERSION (\d+)", headers["version.hpp"])[1])
    found = {"include/virtine/version.hpp":
             f"{number // 10000}.{number // 100 % 100}.{number % 100}"}
    said = subprocess.run([sys.executable, root / "guests" / "virtine-cc", "--version"],
                          stdout=subprocess.PIPE, encoding="utf-8", check=False).stdout
    found["guests/virtine-cc --version"] = said.strip().removeprefix("virtine-cc ")
    changelog = root / "docs" / "changelog.md"
    if changelog.is_file():
        newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", changelog.read_text(), re.MULTILINE)
        found["docs/changelog.md"] = newest[1] if newest else "no version"
    for where, what in found.items():
        if what != version:
            yield f"{where} says {what}, but meson.build says {version}"
    writer = (root / "guests" / "virtine_cc" / "header.py").read_text()
    formats = (re.search(r"^IMAGE_FORMAT = (\d+)", writer, re.MULTILINE)[1],
               re.search(r"\bimage_format = (\d+)", headers["image.hpp"])[1])
    if formats[0] != formats[1]:
        yield f"virtine-cc writes image format {formats[0]}, image.hpp reads {formats[1]}"


def is_sound(lines, at):
    """Says whether the statement at line `at` has a comment with `Sound:` right above it."""
    while at > 0 and not re.search(r"[;{}]$|^public:|^private:", lines[at - 1].split("//")[0].strip()):
        at -= 1
        if lines[at].strip().startswith("//"):
            break
    # The line found is within the statement, or a comment; an initialiser may have opened a brace.
    for opened in range(3):
        above = at if lines[at].strip().startswith("//") else at - 1
        while above >= 0 and lines[above].strip().startswith("//"):
            if "Sound:" in lines[above]:
                return True
            above -= 1
        if opened == 2 or above < 0 or not re.search(r"[\w>)]\s*\{$", lines[above].strip()) or \
                re.search(r"^(if|for|while|else|switch|namespace|class|struct)\b|\)\s*(const)?\s*"
                          r"(noexcept)?\s*\{$", lines[above].strip()):
            return False
        at = above
    return False


def check_sound(headers):
    """Every call and cast that only an argument makes right has that argument above it."""
    for name, text in headers.items():
        lines = text.splitlines()
        for at, line in enumerate(lines):
            code = line.split("//")[0]
            if DANGEROUS.search(code) and not is_sound(lines, at):
                yield f"include/virtine/{name}:{at + 1} has no `// Sound:` above it: {line.strip()}"


def check_calls(header, document):
    """The system calls of the filter in examples are those of the tables in docs/hardening.md."""
    lists = re.findall(r"^inline constexpr rule (\w+)\[\] = \{$(.*?)^\};$", header,
                       re.MULTILINE | re.DOTALL)
    for name, text in lists:
        text = re.sub(r"//.*", "", text)
        needed = {*re.findall(r"\bSYS_(\w+)", text),
                  *re.findall(r"\b(?:PROT|CLONE|F)_\w+", text)}
        ioctls = re.findall(r"\ban_ioctl\((\w+)\)", text)
        needed |= {"KVM_" + ioctl.removeprefix("KVM_").upper() for ioctl in ioctls}
        table = re.search(rf"<!-- system calls: {name} -->\n((?:\|.*\n)*)", document)
        rows = re.findall(r"^\| [^|]+ \|(.*)\|$", table[1] if table else "", re.MULTILINE)
        told = {*re.findall(r"`(\w+)`", " ".join(rows)),
                *re.findall(r"\b(?:KVM|PROT|CLONE|F)_\w+", " ".join(rows))} - {"ioctl"}
        yield from compare("system call", needed, told, f"docs/hardening.md ({name})")
    if not lists:
        yield "examples/calls_only.hpp has no list"


def check_floors(header, document):
    """virtine-doctor asks for the kernels that docs/hardening.md names."""
    body = re.search(r"kernel_floors\{(.*?)\};", header, re.DOTALL)[1]
    needed = {".".join(version) for version in
              re.findall(r"kernel_version\{(\d+), (\d+), (\d+)\}", body)}
    told = set(re.findall(r"^\| \d+\.\d+ \| (\d+\.\d+\.\d+) \|$", document, re.MULTILINE))
    yield from compare("kernel", needed, told, "docs/hardening.md")


def check_cited(titles, documents):
    """The tests that documents name exist. `titles` has those of each program/file.cpp."""
    numbers = [m[1] for found in titles.values() for t in found if (m := re.match(r"(H\d+):", t))]
    attacks = set(numbers)
    for attack in sorted(attacks):
        if numbers.count(attack) > 1:
            yield f"{numbers.count(attack)} tests are {attack}"
    for name, text in documents.items():
        for source, title in re.findall(r"`(\w+/\w+\.cpp) \"(.*?)\"`", text):
            if sum(each.startswith(title) for each in titles.get(source, [])) != 1:
                yield f'{name}: {source} has no one test "{title}"'
        for attack in sorted(set(re.findall(r"\bH\d+\b", text)) - attacks):
            yield f"{name} names {attack}, which does not exist"


def test_titles(root):
    case = re.compile(r'TEST_CASE(?:_METHOD)?\(\s*(?:\w+,\s*)?"((?:[^"\\]|\\.)*)"')
    return {f"{path.parent.name}/{path.name}": case.findall(path.read_text(encoding="utf-8"))
            for path in sorted((root / "tests").glob("*/*.cpp"))}


def self_test():
    """Shows that each check can fail."""
    header = ("enum class errc : int {\n  a = 1,  ///< b, c\n  d,\n};\n"
              "enum class fault_kind { e };\n[V101]\n")
    assert enumerators(header, "errc") == ["a", "d"]
    good = "### errc::a\n### errc::d\n### fault_kind::e\n### V101: x\n"
    assert not list(check_codes({"error.hpp": header}, good, ["v101_x"]))
    assert len(list(check_codes({"error.hpp": header}, "", []))) == 5
    assert len(list(check_codes({"error.hpp": header}, good + "### V102: y\n", ["v101_x"]))) == 1
    sound = ["// Sound: x.\n a = reinterpret_cast<b>(c);", "// Sound: x\n// y.\n::ioctl(a,\n b);",
             "// Sound: x.\nconst region r{\n .a = 1,\n .b = reinterpret_cast<c>(d)};"]
    naked = ["a = reinterpret_cast<b>(c);", "// x.\na = reinterpret_cast<b>(c);",
             "// Sound: x.\ne();\n::mmap(f);", "// Sound: x.\nvoid f() {\n ::munmap(g);"]
    for text in sound:
        assert not list(check_sound({"x": text})), text
    for text in naked:
        assert len(list(check_sound({"x": text}))) == 1, text
    rules = ("inline constexpr rule a[] = {\n    {SYS_b},\n    an_ioctl(KVM_C),\n"
             "    an_ioctl(d),\n    {SYS_e, 2, PROT_F, 0},  // SYS_g\n};\n")
    table = "<!-- system calls: a -->\n| | |\n|---|---|\n| x | `ioctl` KVM_C, KVM_D; `b`, `e` PROT_F |\n"
    assert not list(check_calls(rules, table))
    assert len(list(check_calls(rules, table.replace("`b`", "`i`")))) == 2
    assert len(list(check_calls(rules, table.replace("KVM_D", "")))) == 1
    assert len(list(check_calls(rules, ""))) == 5
    assert list(check_calls("", table))
    floors = "kernel_floors{\n    kernel_version{5, 15, 2}, kernel_version{6, 1, 3},\n};"
    assert not list(check_floors(floors, "| 5.15 | 5.15.2 |\n| 6.1 | 6.1.3 |\n"))
    assert len(list(check_floors(floors, "| 5.15 | 5.15.2 |\n| 6.1 | 6.1.4 |\n"))) == 2
    tests = {"a/b.cpp": ["H1: x", "H12: y", "z"]}
    assert not list(check_cited(tests, {"d": 'H1, H12, `a/b.cpp "H1:"`, `a/b.cpp "z"`'}))
    assert len(list(check_cited(tests, {"d": 'H2, `a/b.cpp "H1"`, `a/c.cpp "z"`'}))) == 3
    assert len(list(check_cited({"a/b.cpp": ["H1: x"], "c/d.cpp": ["H1: y"]}, {}))) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path, help="of the source tree")
    root = parser.parse_args().root
    self_test()
    include = root / "include" / "virtine"
    headers = {path.relative_to(include).as_posix(): path.read_text(encoding="utf-8")
               for path in sorted(include.rglob("*.hpp"))}
    errors_md = (root / "docs" / "errors.md").read_text(encoding="utf-8")
    mistakes = [path.name for path in (root / "tests" / "compile_fail").glob("*.cpp")]
    hardening = (root / "docs" / "hardening.md").read_text(encoding="utf-8")
    calls_only = (root / "examples" / "calls_only.hpp").read_text(encoding="utf-8")
    safety = (root / "guests" / "doctor" / "safety.hpp").read_text(encoding="utf-8")
    found = [*check_codes(headers, errors_md, mistakes), *check_versions(root, headers),
             *check_sound(headers), *check_calls(calls_only, hardening),
             *check_floors(safety, hardening),
             *check_cited(test_titles(root),
                          {path.name: path.read_text(encoding="utf-8")
                           for path in sorted((root / "docs").glob("*.md"))})]
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
