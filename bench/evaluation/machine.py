# This machine: what the doctor says of it, how busy it is, and when.
# SPDX-License-Identifier: MIT

import datetime
import json
import os
import pathlib
import subprocess

from evaluation.failure import Failure


def doctor(build):
    """Returns the path of the doctor, or raises Failure."""
    path = build / "guests" / "virtine-doctor"
    if not path.exists():
        raise Failure(f"{path} is not built: meson compile -C {build} virtine-doctor")
    return path


def examine(build):
    """Returns the doctor's JSON, or raises Failure. Says in `works` whether virtines work."""
    return parse(build, subprocess.run([doctor(build), "--json"], capture_output=True, text=True, check=False).stdout)


def parse(build, text):
    try:
        return json.loads(text)
    except ValueError:
        raise Failure(f"{doctor(build)} --json wrote no JSON") from None


def why_not(findings):
    """Returns why virtines do not work, in one line."""
    device = findings.get("device", {})
    said = ", ".join(f"{name}: {value}" for name, value in device.items())
    return f"virtines do not work on this machine ({said}); virtine-doctor says what to do"


def load():
    return os.getloadavg()[0]


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def describe(findings, quick, emulated):
    """Returns what is kept of the machine: what the doctor has found there, and how it is measured."""
    return {
        "doctor": findings,
        "date": now(),
        "processors": findings.get("limits", {}).get("processors_online", os.cpu_count()),
        "load_at_begin": load(),
        "governor": governor(),
        "quick": quick,
        "emulated": emulated,
    }


def governor():
    file = pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return file.read_text().strip() if file.exists() else "unknown"
