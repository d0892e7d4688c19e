# Turns the system calls of a C library into requests to the host: `syscall`, 0f 05, into
# `out 0xe8, eax`, e7 e8, which has the same length and leaves the same registers alone but for RCX
# and R11, which code around a system call takes for lost anyway.
# Must not know who answers. Only instructions are changed, never the same two bytes in others.
# SPDX-License-Identifier: MIT

import re
import struct

from . import elf
from .failure import Failure
from .tools import run

SYSCALL, OUT = b"\x0f\x05", b"\xe7\xe8"  # The port is virtine::x86::system_call_port.


def has_pair(item):
    return any(SYSCALL in item.content(section.number) for section in code_of(item))


def code_of(item):
    return [section for section in item.sections
            if section.flags & elf.SHF_EXECINSTR and section.size and section.type == 1]


def disassemble(objdump, paths):
    """Returns for each path its disassembled sections in order, as (name, instructions), each
    instruction as (address, size, text)."""
    said = run([objdump, "-d", *paths])
    if said.returncode != 0:
        raise Failure(f"the C library cannot be disassembled: {said.stderr.strip()}")
    files = {}
    sections = instructions = None
    for line in said.stdout.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+([0-9a-f]{2}(?: [0-9a-f]{2})*)\s*\t(.*)", line)
        if match:
            instructions.append((int(match[1], 16), len(match[2].split()), match[3].strip()))
            continue
        match = re.match(r"Disassembly of section (.*):$", line)
        if match:
            instructions = []
            sections.append((match[1], instructions))
            continue
        match = re.match(r"(.*):\s+file format ", line)
        if match:
            sections = files.setdefault(match[1], [])
    return files


def rewrite(toolchain, files):
    """Changes the objects in `files`, {path: Object}, where they are."""
    files = {path: item for path, item in files.items() if has_pair(item)}
    if not files:
        return
    found = disassemble(toolchain.objdump, files)
    for path, item in files.items():
        path.write_bytes(changed(item, path.read_bytes(), found.get(str(path), [])))


def changed(item, data, sections):
    """Returns `data`, the bytes of an object, with its system calls changed; `sections` is what
    disassemble() has of it."""
    code = code_of(item)
    if [section.name for section in code] != [name for name, _ in sections]:
        raise Failure(f"{item.name} cannot be disassembled as a whole")
    data = bytearray(data)
    for section, (_, instructions) in zip(code, sections):
        content = item.content(section.number)
        covered = {}  # of each byte, the instruction that it is a part of
        for address, size, text in instructions:
            for at in range(address, address + size):
                covered[at] = (address, text)
        at = content.find(SYSCALL)
        while at >= 0:
            parts = [covered.get(at), covered.get(at + 1)]
            if None in parts or any("unknown" in text or "(bad)" in text for _, text in parts):
                raise Failure(f"{item.name} has bytes in {section.name} at {at:#x} that may or may "
                              "not be a system call; such a library cannot be used in a guest")
            if parts[0] == parts[1] and parts[0][0] == at and parts[0][1].startswith("syscall"):
                struct.pack_into("2s", data, section.offset + at, OUT)
            at = content.find(SYSCALL, at + 1)
    return bytes(data)
