#!/usr/bin/env python3
# Measures Vespid on this machine, all on loopback: what a request takes beside its floor, load, cold starts, many
# functions, more workers, and a bursty load beside processes. Prints Markdown, and writes JSON if asked to.
# Judges nothing.
# SPDX-License-Identifier: MIT
"""usage: run.py FUNCTIONS.virtine [--json FILE] [--only PART...] [--short]

The programs are in the folders of $VESPID_PROGRAMS: build/examples/vespid:build/bench."""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import waves as double_wave  # noqa: E402
from subject import BODIES, Subject, end_orderly, skip_unless_ready, vespid  # noqa: E402


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(each) for each in row) + " |")
    print(flush=True)


def milliseconds(microseconds):
    return f"{microseconds / 1e3:.2f}"


def latency(image, short):
    """One request at a time, beside request and reply over NATS, in turn."""
    with Subject(image) as home, tempfile.NamedTemporaryFile() as out:
        home.latency("--json", out.name, *["--short"] * short)
        rows = json.loads(pathlib.Path(out.name).read_text())["rows"]
    table(["row", "calls", "median us", "p99 us", "floor us", "ratio"],
          [(f"`{each['name']}`", each["n"], f"{each['median']:.1f}", f"{each['p99']:.1f}",
            "" if each["floor"] is None else f"{each['floor']:.1f}",
            "" if each["ratio"] is None else f"{each['ratio']:.2f}") for each in rows])
    return rows


def rising(image, short):
    """More and more clients that each wait for their answer."""
    rows = []
    with Subject(image) as home:
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


def many(image, short):
    """Functions that nobody calls, then the first call of each on a worker that knows none."""
    count = 50 if short else 1000
    with Subject(image) as home:
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


def workers(image, short):
    rows = []
    with Subject(image) as home:
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


def waves(image, short):
    """The double wave of the paper's Figure 15, on Vespid and on processes of node."""
    rates = double_wave.FEW if short else double_wave.RATES
    with Subject(image) as home:
        measured = double_wave.measure(home, rates)
    table([f"double wave, up to {max(rates)} per second", "answers", "failed", "p50 ms", "p99 ms",
           "worst second's p50 ms"],
          [(each.way, each.report["ok"], each.failed, milliseconds(each.report["p50_us"]),
            milliseconds(each.report["p99_us"]), milliseconds(max(map(statistics.median, each.by_second.values()))))
           for each in measured])
    return [{"way": each.way, "rates": rates, "each_second": each.by_second, **each.report} for each in measured]


PARTS = {"latency": latency, "rising": rising, "many": many, "workers": workers, "waves": waves}


def main():
    parser = argparse.ArgumentParser(usage=__doc__.removeprefix("usage: "))
    parser.add_argument("functions")
    parser.add_argument("--json")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    skip_unless_ready()
    end_orderly()
    image = pathlib.Path(given.functions).read_bytes()
    out = {}
    for name in given.only:
        print(f"## {name}\n")
        out[name] = PARTS[name](image, given.short)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
