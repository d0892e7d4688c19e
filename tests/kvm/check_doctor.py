#!/usr/bin/env python3
# Checks that virtine-doctor's verdict, its exit status, its text and its JSON agree, and that it
# looks at everything. Must not expect the machine to be healthy.
# SPDX-License-Identifier: MIT
"""usage: check_doctor.py PROGRAM capability.hpp"""

import json
import pathlib
import re
import subprocess
import sys

SECTIONS = {
    "processor": ("vendor", "family", "model", "stepping", "microcode", "hypervisor", "leaf_7"),
    "extended_state": ("xsave", "osxsave"),
    "host": ("kernel", "kvm_module", "container", "user"),
    "limits": ("file_descriptors", "file_size", "seccomp", "processors_allowed", "group_memory"),
    "device": ("path", "exists"),
    "safety": ("kernel_repairs", "nested_virtualisation"),
    "side_channels": ("indirect_branch_barrier", "l1d_flush", "core_scheduling", "threads_share_cores"),
    "capabilities": ("api_version",),
    "self_test": ("opening_kvm",),
}
IF_WORKING = {
    "guests": ("state_can_be_wiped", "xcr0", "wiped_by", "task_state"),
    "self_test": ("compiled_function", "bare_machine", "deadline"),
}
ADVICE = re.compile(r"(no_kvm|os_error|machine_failure): .{20,}")
# What may change between two runs; leaf 1 has the number of the processor that was asked.
UNSTEADY = ("mib_available", "leaf_1", "kvm_leaf_1_0")


def run(program, *arguments):
    return subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)


def label(name):
    """Returns how the text writes a name."""
    return name if name[0].isupper() or "." in name else name.replace("_", " ")


def sections_of(text):
    """Returns the text's sections: title -> {label: what follows it}."""
    found = {}
    for line in text.splitlines():
        if line.startswith("Warning: "):
            continue
        if line.startswith("  "):
            # Two blanks, the label padded to 24 letters, a blank, the value.
            name = line[2:26].rstrip() if line[26:27] in ("", " ") else line[2:].split(" ")[0]
            found[title][name] = line[2 + max(24, len(name)):].strip()
        elif line:
            title = line
            found[title] = {}
    return found


def compare(told, text):
    """Checks that each value of the JSON is in the text, and that the text has nothing else."""
    sections = sections_of(text)
    for title, values in told.items():
        if not isinstance(values, dict):
            continue
        shown = sections[label(title)]
        assert set(shown) == set(map(label, values)), (title, set(shown) ^ set(map(label, values)))
        for name, value in values.items():
            written = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            if name not in UNSTEADY:
                assert re.match(re.escape(written.strip()) + " *(: |$)", shown[label(name)]), name


def examine(program, capabilities, *arguments):
    """Returns the exit status and what the JSON says."""
    done = run(program, "--json", *arguments)
    told = json.loads(done.stdout)
    assert done.returncode in (0, 1), f"exit status {done.returncode}"
    shown = run(program, *arguments)
    assert shown.returncode == done.returncode, "with and without --json the exit status differs"
    text = shown.stdout.decode(errors="replace")
    print(text)

    for names in [SECTIONS] if done.returncode else [SECTIONS, IF_WORKING]:
        for title, wanted in names.items():
            missing = set(wanted) - set(told[title])
            assert not missing, f"{title} lacks {missing}"
    texts = [(name, value) for section in told.values() if isinstance(section, dict)
             for name, value in section.items() if isinstance(value, str)]
    numbers = [pair for pair in texts if re.fullmatch(r"0|[1-9]\d*", pair[1])]  # Not 0666, rights.
    assert not numbers, f"numbers as texts: {numbers}"
    assert told["works"] is (done.returncode == 0), told["works"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["virtine"]), told["virtine"]

    if told["device"]["exists"]:
        open_to_all = int(told["device"]["rights"], 8) & 0o6 != 0
        assert told["safety"]["who_may_open_kvm"].startswith("every user") is open_to_all, \
            told["safety"]
    warnings = [line for line in text.splitlines() if line.startswith("Warning: ")]
    fine = ("nothing known is missing", "not known", "not offered", "its owner and its group")
    found = [text for text in told["safety"].values() if not text.startswith(fine)]
    assert [f"Warning: {text}." for text in found] == warnings, warnings

    last = text.splitlines()[-1]
    results = told["self_test"].values()
    if told["works"]:
        assert last == "virtines work on this machine.", last
        assert capabilities <= set(told["capabilities"]), capabilities - set(told["capabilities"])
        assert all(result == "works" or result.startswith("not tried") for result in results)
    else:
        assert last == "virtines do not work on this machine.", last
        assert any(map(ADVICE.match, results)), "it does not say what to do"
    if not any(b"\n" in argument for argument in arguments):
        compare(told, text)
    return done.returncode, told


def main(program, header):
    capabilities = set(re.findall(r'"(KVM_CAP_\w+)"', pathlib.Path(header).read_text()))
    assert len(capabilities) > 5, capabilities
    examine(program, capabilities)
    for path in (b"/no/such/device", b"/dev/null", b'/no "such"\\device', b"/no\n\x01such\xff\x7f"):
        status, told = examine(program, capabilities, path)
        assert status == 1, f"{path} passes for KVM"
        assert told["device"]["path"].encode("latin-1") == path, told["device"]
    helped = run(program, "--help")
    assert helped.returncode == 0 and b"--json" in helped.stdout, helped
    for words in (["--yaml"], ["--json", "--json"], ["/dev/kvm", "/dev/kvm"]):
        wrong = run(program, *words)
        assert wrong.returncode == 2 and b"usage" in wrong.stderr and not wrong.stdout, words
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
