# What the measurements of Vespid have in common: an installation with functions and a tenant without limits, and load
# on it. Must not know what is measured.
# SPDX-License-Identifier: MIT

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "examples" / "vespid" / "tests"))
from installation import Temporary, skip_unless_ready, vespid  # noqa: E402, F401

WORKLOAD = ROOT / "examples" / "js" / "workload.js"
BODIES = {"square": b"[7]", "fib": b"[20]", "base64": json.dumps("x" * 512).encode()}
# A tenant that may do as it likes: what is measured is not its limits.
FREE = {"rate": 1e9, "concurrency": 10000}


def end_orderly():
    """Has what `with` began end, whatever signal ends this program, and no second signal disturb that."""
    def end(*_):
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(1)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)


class Subject(Temporary):
    """An installation that has the functions square and fib, of this image, and base64, a script."""

    def __init__(self, image):
        super().__init__()
        self.image = image

    def __enter__(self):
        super().__enter__()
        self.gateway = self.tenant("bench", **FREE)
        for name in ("square", "fib"):
            self.deploy(name)
        vespid.deploy(self.gateway, "base64", "script", WORKLOAD.read_bytes(), {"concurrency": 1000})
        return self

    def deploy(self, name, entry=None):
        vespid.deploy(self.gateway, name, "image", self.image, {"entry": entry or name, "concurrency": 1000})

    def environment(self):
        return {**os.environ, "VESPID_TOKEN": self.gateway.token, "VESPID_PORT": str(self.port),
                "VESPID_NATS": json.loads(self.config.read_text())["nats"]["url"]}

    def load(self, name, *options):
        return load(self.port, f"/call/{name}", BODIES[name], *options, env=self.environment())

    def latency(self, *options):
        """Runs the benchmark program of one request at a time, with these options."""
        subprocess.run([vespid.find_program("vespid-latency"), *map(str, options)], check=True,
                       env=self.environment(), stdout=subprocess.DEVNULL)


def load(port, path, body, *options, env=None):
    """Returns what vespid-load reports."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [vespid.find_program("vespid-load"), "--port", str(port), "--path", path, "--body", file.name]
        out = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, check=False, env=env)
    try:
        return json.loads(out.stdout)
    except ValueError:
        raise vespid.Failure(f"vespid-load ended with {out.returncode}: {out.stderr.strip()}") from None
