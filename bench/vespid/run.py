#!/usr/bin/env python3
# Measures Vespid on this machine, all on loopback: what a request takes beside its floor, load, cold starts, many
# functions, more workers, and a bursty load beside processes. Prints Markdown, and writes JSON if asked to.
# Judges nothing.
# SPDX-License-Identifier: MIT
"""usage: run.py FUNCTIONS.virtine [--json FILE] [--only PART...] [--short]

The programs are in the folders of $VESPID_PROGRAMS: build/examples/vespid:build/bench."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "examples" / "vespid" / "tests"))
from installation import Temporary, skip_unless_ready, vespid  # noqa: E402

BASE64 = (ROOT / "examples" / "js" / "workload.js").read_bytes()
IMAGE = b""
BODIES = {"square": b"[7]", "fib": b"[20]", "base64": json.dumps("x" * 512).encode()}
# A tenant that may do as it likes: what is measured is not its limits.
FREE = {"rate": 1e9, "concurrency": 10000}


class Bench(Temporary):
    def __enter__(self):
        super().__enter__()
        self.gateway = self.tenant("bench", **FREE)
        for name in ("square", "fib"):
            self.deploy(name)
        vespid.deploy(self.gateway, "base64", "script", BASE64, {"concurrency": 1000})
        return self

    def deploy(self, name, entry=None):
        vespid.deploy(self.gateway, name, "image", IMAGE, {"entry": entry or name, "concurrency": 1000})

    def environment(self):
        return {**os.environ, "VESPID_TOKEN": self.gateway.token, "VESPID_PORT": str(self.port),
                "VESPID_NATS": json.loads(self.config.read_text())["nats"]["url"]}

    def load(self, name, *options):
        return load(self.port, f"/call/{name}", BODIES[name], *options, env=self.environment())


def load(port, path, body, *options, env=None):
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [vespid.find_program("vespid-load"), "--port", str(port), "--path", path, "--body", file.name]
        out = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, check=False, env=env)
    return json.loads(out.stdout)


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(each) for each in row) + " |")
    print(flush=True)


def milliseconds(microseconds):
    return f"{microseconds / 1e3:.2f}"


def latency(short):
    """One request at a time, beside request and reply over NATS, in turn."""
    with Bench() as home, tempfile.NamedTemporaryFile() as out:
        command = [vespid.find_program("vespid-latency"), "--json", out.name] + (["--short"] if short else [])
        subprocess.run(command, check=True, env=home.environment(), stdout=subprocess.DEVNULL)
        rows = json.loads(pathlib.Path(out.name).read_text())["rows"]
    table(["row", "calls", "median us", "p99 us", "floor us", "ratio"],
          [(f"`{each['name']}`", each["n"], f"{each['median']:.1f}", f"{each['p99']:.1f}",
            "" if each["floor"] is None else f"{each['floor']:.1f}",
            "" if each["ratio"] is None else f"{each['ratio']:.2f}") for each in rows])
    return rows


def rising(short):
    """More and more clients that each wait for their answer."""
    rows = []
    with Bench() as home:
        for name in BODIES:
            home.load(name, "--clients", 8, "--seconds", 0.5)
            for clients in (1, 2, 4, 8, 16, 32, 64):
                got = home.load(name, "--clients", clients, "--seconds", 0.3 if short else 3)
                rows.append({"function": name, "clients": clients, **got})
    table(["function", "clients", "per second", "p50 ms", "p99 ms", "p99.9 ms", "others than 200"],
          [(each["function"], each["clients"], f"{each['per_second']:.0f}", milliseconds(each["p50_us"]),
            milliseconds(each["p99_us"]), milliseconds(each["p999_us"]),
            sum(count for status, count in each["status"].items() if status != "200")) for each in rows])
    return rows


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


def many(short):
    """Functions that nobody calls, then the first call of each on a worker that knows none."""
    count = 50 if short else 1000
    with Bench() as home:
        home.kill("worker", 15)
        home.start_worker()
        before = resident(home.programs["worker"][0].pid)
        for i in range(count):
            home.deploy(f"f{i}", "square")
        home.kill("worker", 15)
        home.start_worker()
        time.sleep(1)
        idle = resident(home.programs["worker"][0].pid)
        # By one connection, as a new one for each would be measured with it.
        connection = vespid.http.client.HTTPConnection("127.0.0.1", home.port)
        times, warm = [], []
        for i in range(count):
            for to in (times, warm):
                begun = time.perf_counter()
                connection.request("POST", f"/call/f{i}", b"[7]", {"Authorization": f"Bearer {home.gateway.token}"})
                answer = connection.getresponse()
                text = answer.read()
                to.append(1e3 * (time.perf_counter() - begun))
                assert (answer.status, text) == (200, b"49"), (answer.status, text)
        called = resident(home.programs["worker"][0].pid)
    times.sort()
    out = {"functions": count, "empty_mib": before, "idle_mib": idle, "called_mib": called,
           "cold_p50_ms": statistics.median(times), "cold_p99_ms": times[len(times) * 99 // 100],
           "warm_p50_ms": statistics.median(warm)}
    table(["", ""], [("functions deployed", count), ("worker, without them", f"{before:.1f} MiB"),
                     ("worker, with all idle", f"{idle:.1f} MiB"),
                     ("worker, after a call of each", f"{called:.1f} MiB"),
                     ("first call, p50", f"{out['cold_p50_ms']:.2f} ms"),
                     ("first call, p99", f"{out['cold_p99_ms']:.2f} ms"),
                     ("second call, p50", f"{out['warm_p50_ms']:.2f} ms")])
    return out


def workers(short):
    rows = []
    with Bench() as home:
        running = 1
        for count in (1, 2, 4):
            for i in range(running, count):
                home.start_worker(f"worker{i}")
            running = count
            for name in ("square", "fib"):
                home.load(name, "--clients", 16, "--seconds", 0.5)
                got = home.load(name, "--clients", 16, "--seconds", 0.3 if short else 3)
                rows.append({"function": name, "workers": count, **got})
    table(["function", "workers", "per second", "p50 ms", "p99 ms"],
          [(each["function"], each["workers"], f"{each['per_second']:.0f}", milliseconds(each["p50_us"]),
            milliseconds(each["p99_us"])) for each in rows])
    return rows


def waves(short):
    """The paper's double wave of base64 in JavaScript, on Vespid and on processes, in turn."""
    top = 60
    wave = [2, 5, 10, 20, 40, top, top, 40, 20, 10, 5, 2]
    rates = ",".join(str(each) for each in (wave[:4] if short else wave + wave))
    rows = []
    node = shutil.which("node")
    with Bench() as home:
        home.load("base64", "--clients", 1, "--seconds", 0.2)
        ways = [("Vespid", home.port, "/call/base64", None)]
        others = []
        try:
            for way in ("process", "pool") if node else ():
                port = vespid.free_port()
                child = subprocess.Popen([node, str(ROOT / "bench/vespid/baseline.js"), str(port), way,
                                          str(ROOT / "examples/js/workload.js")], stdout=subprocess.PIPE)
                others.append(child)
                child.stdout.readline()
                name = "a node process for each request" if way == "process" else "a pool of node processes"
                ways.append((name, port, "/", None))
            for name, port, path, _ in ways:
                got = load(port, path, BODIES["base64"], "--rates", rates, "--clients", 128, env=home.environment())
                rows.append({"way": name, "rates": rates, **got})
        finally:
            for child in others:
                child.terminate()
                child.wait()
    table(["double wave, up to %d per second" % top, "answers", "p50 ms", "p99 ms", "worst second's p50 ms"],
          [(each["way"], each["ok"], milliseconds(each["p50_us"]), milliseconds(each["p99_us"]),
            milliseconds(max(second["p50_us"] for second in each["each_second"]))) for each in rows])
    return rows


PARTS = {"latency": latency, "rising": rising, "many": many, "workers": workers, "waves": waves}


def main():
    global IMAGE
    parser = argparse.ArgumentParser(usage=__doc__.removeprefix("usage: "))
    parser.add_argument("functions")
    parser.add_argument("--json")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    skip_unless_ready()
    # So that what `with` began ends, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    IMAGE = pathlib.Path(given.functions).read_bytes()
    out = {}
    for name in given.only:
        print(f"## {name}\n")
        out[name] = PARTS[name](given.short)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(out, indent=1))


main()
