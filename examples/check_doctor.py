#!/usr/bin/env python3
# Checks that virtine-doctor's verdict and its exit status agree, and that it looks at everything.
# Must not expect the machine to be healthy.
# SPDX-License-Identifier: MIT
"""usage: check_doctor.py PROGRAM capability.hpp"""

import pathlib
import re
import subprocess
import sys

ADVICE = re.compile(r"^(no_kvm|kvm_call|machine_failure): .{20,}", re.MULTILINE)


def examine(program, capabilities, *arguments):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, encoding="utf-8",
                          check=False)
    print(done.stdout)
    for title in ("host", "device", "capabilities", "limits", "self test"):
        assert re.search(f"^{title}$", done.stdout, re.MULTILINE), f"no section {title}"
    last = done.stdout.splitlines()[-1]
    if done.returncode == 0:
        assert last == "virtines work on this machine.", last
        for name in capabilities:
            assert name in done.stdout, f"{name} is not listed"
    else:
        assert done.returncode == 1, f"exit status {done.returncode}"
        assert last == "virtines do not work on this machine.", last
        assert ADVICE.search(done.stdout), "it does not say what to do"
    return done.returncode


def main(program, header):
    capabilities = set(re.findall(r'"(KVM_CAP_\w+)"', pathlib.Path(header).read_text()))
    assert len(capabilities) > 5, capabilities
    examine(program, capabilities)
    for path in ("/no/such/device", "/dev/null"):
        assert examine(program, capabilities, path) == 1, f"{path} passes for KVM"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
