#!/usr/bin/env python3
# The paper's Figure 15: a function in JavaScript under a load that swells and ebbs twice, on Vespid, on a pool of node
# processes, and on a node process for each request. Writes what the benchmark programs write. Judges nothing.
# SPDX-License-Identifier: MIT
"""usage: waves.py FUNCTIONS.virtine [--json FILE] [--samples FILE] [--limit SECONDS] [--short]

The programs are in the folders of $VESPID_PROGRAMS: build/examples/vespid:build/bench."""

import argparse
import collections
import contextlib
import csv
import http.client
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from subject import BODIES, ROOT, WORKLOAD, Subject, end_orderly, load, skip_unless_ready, vespid  # noqa: E402

sys.path.insert(0, str(ROOT / "bench"))
from measured import lines_of, row_of  # noqa: E402

# Requests due in each second. The most is more than two processors can start processes of node for.
WAVE = [3, 12, 40, 60, 25, 6]
RATES = [*WAVE, *WAVE, 3]
FEW = [4, 8]
CLIENTS = 128


@contextlib.contextmanager
def node(way):
    """Runs baseline.js; the port that it listens on."""
    port = vespid.free_port()
    child = subprocess.Popen([shutil.which("node"), str(ROOT / "bench/vespid/baseline.js"), str(port), way,
                              str(WORKLOAD)], stdout=subprocess.PIPE)
    try:
        if child.stdout.readline() != b"ready\n":
            raise vespid.Failure(f"baseline.js {way} does not start")
        yield port
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def ask(port, path, token):
    """Returns how long one request takes, in us, and its answer."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, BODIES["base64"], {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    text = answer.read()
    took = 1e6 * (time.perf_counter() - begun)
    connection.close()
    if answer.status != 200:
        raise vespid.Failure(f"port {port}, {path}: status {answer.status}")
    return took, json.loads(text)


class Wave:
    """What one way of running the function did under the load."""

    def __init__(self, way, port, path, rates, environment):
        self.way = way
        self.first, self.answer = ask(port, path, environment["VESPID_TOKEN"])
        with tempfile.NamedTemporaryFile("r", newline="") as file:
            self.report = load(port, path, BODIES["base64"], "--rates", ",".join(map(str, rates)), "--clients", CLIENTS,
                               "--samples", file.name, env=environment)
            self.by_second = collections.defaultdict(list)
            for line in csv.DictReader(file):
                self.by_second[int(line["second"])].append(float(line["us"]))
        if not self.by_second:
            raise vespid.Failure(f"{way} answered none of {sum(rates)} requests: {self.report['status']}")
        self.failed = sum(rates) - self.report["ok"]

    def samples(self):
        return [value for _, values in sorted(self.by_second.items()) for value in values]


def measure(home, rates):
    """Returns the waves of all ways, one after the other."""
    environment = home.environment()
    waves = [Wave("vespid", home.port, "/call/base64", rates, environment)]
    for way in ("pool", "process") if shutil.which("node") else ():
        with node(way) as port:
            waves.append(Wave(way, port, "/", rates, environment))
    for each in waves:
        if each.answer != waves[0].answer:
            raise vespid.Failure(f"{each.way} and vespid answer differently")
    return waves


def rows_of(waves, rates, floor):
    """Yields (row, lines of its samples)."""
    def one(name, first, samples, floor=None, unit="us"):
        return row_of(name, samples, floor, unit), lines_of(name, first, samples, unit)

    yield one("vespid.waves.rate", rates[0], rates, unit="requests")
    for wave in waves:
        name = f"vespid.waves.{wave.way}"
        yield one(name, wave.first, wave.samples(), floor)
        yield one(f"{name}.failed", wave.failed, [wave.failed], unit="requests")
        for second, samples in sorted(wave.by_second.items()):
            yield one(f"{name}.{second}", samples[0], samples, floor)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.removeprefix("usage: "))
    parser.add_argument("functions", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--samples", type=pathlib.Path)
    parser.add_argument("--limit", default="3", help="of the requests one at a time; the waves have their own time")
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    skip_unless_ready()
    end_orderly()
    rates = FEW if given.short else RATES
    with Subject(given.functions.read_bytes()) as home, tempfile.TemporaryDirectory() as folder:
        one, samples = pathlib.Path(folder) / "one.json", pathlib.Path(folder) / "one.csv"
        waves = measure(home, rates)
        home.latency("--json", one, "--samples", samples, "--limit", given.limit, *["--short"] * given.short)
        report, lines = json.loads(one.read_text()), samples.read_text()
    floor = next(row["median"] for row in report["rows"] if row["name"] == "vespid.nats")
    for row, text in rows_of(waves, rates, floor):
        report["rows"].append(row)
        lines += text
        print(f"{row['name']:32} {row['n']:6} {row['median']:12.1f} {row['p99']:12.1f} ({row['unit']})")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    if given.samples:
        given.samples.write_text(lines)


if __name__ == "__main__":
    try:
        main()
    except vespid.Failure as why:
        sys.exit(f"waves.py: {why}")
