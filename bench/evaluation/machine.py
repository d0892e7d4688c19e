# This machine: what the doctor says of it, how busy it is, and when.
# SPDX-License-Identifier: MIT

import datetime
import json
import os
import pathlib
import subprocess

from evaluation.failure import Failure


def examine(build):
    """Returns the doctor's JSON, or raises Failure. Says in `works` whether virtines work."""
    doctor = build / "guests" / "virtine-doctor"
    try:
        done = subprocess.run([doctor, "--json"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout)
    except OSError:
        raise Failure(f"{doctor} is not built: meson compile -C {build} virtine-doctor") from None
    except ValueError:
        raise Failure(f"{doctor} --json wrote no JSON") from None


def why_not(doctor):
    """Returns why virtines do not work, in one line."""
    device = doctor.get("device", {})
    said = ", ".join(f"{name}: {value}" for name, value in device.items())
    return f"virtines do not work on this machine ({said}); virtine-doctor says what to do"


def load():
    return os.getloadavg()[0]


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def describe(doctor, quick, emulated):
    return {
        "doctor": doctor,
        "date": now(),
        "processors": os.cpu_count(),
        "load_at_begin": load(),
        "governor": governor(),
        "quick": quick,
        "emulated": emulated,
    }


def governor():
    file = pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return file.read_text().strip() if file.exists() else "unknown"
