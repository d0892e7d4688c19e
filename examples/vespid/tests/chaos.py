#!/usr/bin/env python3
# Breaks an installation while it works, and counts what came of it. Takes some minutes; not in `meson test`.
# Ends with a verdict for each way of breaking it. Prints times, and judges none.
# SPDX-License-Identifier: MIT
"""usage: chaos.py FUNCTIONS.virtine [CASE...]"""

import collections
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from installation import Temporary, await_result, call, skip_unless_ready, vespid

FUNCTIONS = b""
SETTINGS = {"store": {"redelivery_milliseconds": 3000}}


def put(gateway, name, export=None, **options):
    options["entry"] = export or name
    return vespid.deploy(gateway, name, "image", FUNCTIONS, options)


class Load:
    """Clients that call all the time, and notes what they got."""

    def __init__(self, gateway, name, body, clients=4):
        self.gateway, self.path, self.body = gateway, f"/call/{name}", body
        self.statuses, self.longest, self.wrong = collections.Counter(), 0.0, 0
        self.times = []
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        while not self.ends.is_set():
            begun = time.monotonic()
            try:
                status, _, text = self.gateway.raw("POST", self.path, self.body, timeout=30)
            except (vespid.Failure, OSError, ValueError, vespid.http.client.HTTPException):
                status, text = 0, b""
                time.sleep(0.02)
            took = time.monotonic() - begun
            self.times.append(took)
            self.longest = max(self.longest, took)
            self.statuses[status] += 1
            if status == 200 and text != b"6765":
                self.wrong += 1

    def __enter__(self):
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for each in self.threads:
            each.join()


def enqueue(gateway, count):
    """Returns the ids of durable calls that were accepted."""
    out = {}
    for i in range(count):
        for _ in range(200):  # A client that repeats what was not answered, with the same key.
            try:
                status, _, text = gateway.raw("POST", "/async/square", json.dumps([i]).encode(),
                                              {"Idempotency-Key": f"chaos-{i}"})
            except (vespid.Failure, OSError, vespid.http.client.HTTPException):
                status = 0
            if status == 202:
                out[i] = json.loads(text)["id"]
                break
            time.sleep(0.05)
    return out


def check_results(gateway, accepted):
    marked = 0
    for i, identity in accepted.items():
        status, headers, text = await_result(gateway, identity)
        assert (status, text) == (200, str(i * i).encode()), (i, status, text)
        marked += int(headers["Vespid-Deliveries"]) > 1
    return f"{len(accepted)} durable calls, all with their result, {marked} given to a worker more than once"


def under_load(home, act, count=150):
    """Returns what came of calls while `act` happened. No call is wrong, and none outlives its deadline."""
    owner = home.owner()
    put(owner, "fib", timeout_ms=1000)
    put(owner, "square")
    with Load(owner, "fib", b"[20]") as load:
        accepted = {}
        caller = threading.Thread(target=lambda: accepted.update(enqueue(owner, count)))
        caller.start()
        act()
        caller.join()
        time.sleep(1)
        before = load.statuses[200]
        time.sleep(2)
        assert load.statuses[200] > before, "calls do not succeed again"
    assert len(accepted) == count, f"{len(accepted)} of {count} were accepted"
    assert load.wrong == 0, f"{load.wrong} answers were wrong"
    # Its timeout, the second of the gateway's, and what a machine under load takes.
    assert load.longest < 10, f"a call took {load.longest:.1f} s"
    return f"{check_results(owner, accepted)}; calls by status {dict(load.statuses)}, the longest {load.longest:.2f} s"


def worker_killed():
    with Temporary(SETTINGS) as home:
        home.start_worker("second")

        def act():
            for i in range(6):
                time.sleep(0.4)
                name = ("worker", "second")[i % 2]
                home.kill(name)
                home.start_worker(name)

        return under_load(home, act)


def nats_restarted():
    with Temporary(SETTINGS) as home:
        def act():
            for number in (15, 9):
                time.sleep(0.7)
                home.kill("nats", number)
                time.sleep(0.3)
                home.start_nats()

        return under_load(home, act)


def gateway_restarted():
    with Temporary(SETTINGS) as home:
        home.port = vespid.free_port()

        def act():
            for number in (15, 9):
                time.sleep(0.7)
                home.kill("gateway", number)
                home.start_gateway()

        home.kill("gateway", 15)
        config = json.loads(home.config.read_text())
        config["gateway"]["port"] = home.port
        home.config.write_text(json.dumps(config))
        home.start_gateway()
        return under_load(home, act)


class Cluster(Temporary):
    """Three servers, and the users and rights of deploy/nats.conf but for TLS."""

    def start_nats(self):
        sample = (pathlib.Path(__file__).resolve().parent.parent / "deploy" / "nats.conf").read_text()
        sample = "\n".join(line for line in sample.splitlines() if not line.startswith("tls "))
        clients, routes = ([vespid.free_port() for _ in range(3)] for _ in range(2))
        for i in range(3):
            text = sample.replace("0.0.0.0:4222", f"127.0.0.1:{clients[i]}")
            text = text.replace("0.0.0.0:6222", f"127.0.0.1:{routes[i]}")
            text = text.replace("/var/lib/nats", str(self.directory / f"store{i}"))
            others = [port for port in routes if port != routes[i]]
            for variable, value in {"$NAME": f"n{i}", "$ROUTE_PASSWORD": "route", "$GATEWAY_PASSWORD": "gate",
                                    "$WORKER_PASSWORD": "work",
                                    "$ROUTE_1": f'"nats://route:route@127.0.0.1:{others[0]}"',
                                    "$ROUTE_2": f'"nats://route:route@127.0.0.1:{others[1]}"'}.items():
                text = text.replace(variable, value)
            path = self.directory / f"nats{i}.conf"
            path.write_text(text)
            self.start(f"nats{i}", ["nats-server", "-c", str(path)])
        self.configs = {}
        for user, password in (("gateway", "gate"), ("worker", "work")):
            config = json.loads(self.config.read_text())
            config["nats"]["url"] = ",".join(f"nats://{user}:{password}@127.0.0.1:{port}" for port in clients)
            config.setdefault("store", {})["replicas"] = 3
            self.configs[user] = self.directory / f"{user}.json"
            self.configs[user].write_text(json.dumps(config))

    def start_gateway(self):
        self.config = self.configs["gateway"]
        for _ in range(100):  # Until the servers have a leader.
            try:
                return super().start_gateway()
            except vespid.Failure:
                time.sleep(0.2)
        raise AssertionError((self.directory / "gateway.log").read_text())

    def start_worker(self, name="worker"):
        self.config = self.configs["worker"]
        super().start_worker(name)


def cluster_server_killed():
    with Cluster(SETTINGS) as home:
        owner = home.owner()
        put(owner, "count", grants=["kv"])
        counts = [call(owner, "count", "k") for _ in range(2)]
        assert counts == [(200, 1), (200, 2)], counts
        # Any server may be asked for an image, just after one has stored it.
        with concurrent.futures.ThreadPoolExecutor(8) as many:
            list(many.map(lambda i: put(owner, f"square{i % 8}", "square"), range(200)))
        denied = (home.directory / "worker.log").read_text() + (home.directory / "nats0.log").read_text()
        assert "ermissions Violation" not in denied, denied

        def act():
            time.sleep(0.7)
            home.kill("nats1")

        return under_load(home, act)


def fill_store(owner, size, most, refused=None):
    """Makes durable calls of `size` bytes until that many were refused, at most `most`. Some are accepted and some not.
    Returns how many had which status, and the identities of those accepted, by argument."""
    statuses, accepted = collections.Counter(), {}
    while statuses.total() < most and (refused is None or statuses[503] < refused):
        i = statuses.total()
        status, _, text = owner.raw("POST", "/async/square", json.dumps([i]).encode() + b" " * size)
        statuses[status] += 1
        if status == 202:
            accepted[i] = json.loads(text)["id"]
    assert set(statuses) == {202, 503}, statuses
    return statuses, accepted


def store_full():
    """The stream of durable calls at its limit, while no worker takes any."""
    with Temporary({"store": {**SETTINGS["store"], "durable_max": 2_000_000}}) as home:
        owner = home.owner()
        put(owner, "square")
        home.kill("worker")
        statuses, accepted = fill_store(owner, 200_000, most=30)
        home.start_worker()
        return f"durable calls by status {dict(statuses)}; then {check_results(owner, accepted)}"


class SmallDisk(Temporary):
    """The store is on a file system of 16 MiB, which the server's processes alone see."""

    def __init__(self, settings):
        super().__init__(settings)
        self.store = self.directory / "store"
        self.space = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c",
             'mkdir "$0" && mount -t tmpfs -o size=16m tmpfs "$0" && echo ready && exec sleep infinity', self.store],
            stdout=subprocess.PIPE)
        assert self.space.stdout.readline() == b"ready\n", "no file system can be mounted: it takes root"

    def inside(self, *command):
        return ["nsenter", "-t", str(self.space.pid), "-m", *command]

    def start(self, name, command, event=None):
        return super().start(name, self.inside(*command) if name == "nats" else command, event)

    def __exit__(self, *_):
        super().__exit__()
        self.space.kill()
        self.space.wait()


def disk_full():
    """The disk of the store is full. Then it has room again, and the server is started again."""
    with SmallDisk(SETTINGS) as home:
        owner = home.owner()
        put(owner, "square")
        put(owner, "fib")
        assert call(owner, "fib", 20) == (200, 6765)
        home.kill("worker")
        statuses, accepted = fill_store(owner, 500_000, most=60, refused=2)
        home.start_worker()
        for _ in range(100):
            answer = call(owner, "fib", 20)
            if answer == (200, 6765):
                break
            time.sleep(0.05)
        assert answer == (200, 6765), f"calls do not go on: {answer}"
        subprocess.run(home.inside("mount", "-o", "remount,size=256m", home.store), check=True)
        home.kill("nats")  # With a full disk, it does not end when it is asked to.
        home.start_nats()
        return f"durable calls by status {dict(statuses)}; then {check_results(owner, accepted)}"


def greedy_tenant():
    """One tenant's burst beside the calls of another."""
    with Temporary(SETTINGS) as home:
        owner, greedy = home.owner(), home.tenant("greedy")
        put(owner, "fib")
        put(greedy, "spin", timeout_ms=500, concurrency=1000)
        put(greedy, "fib")

        def start(gateway, name, body, clients):
            text = home.directory / f"{name}.body"
            text.write_bytes(body)
            return subprocess.Popen(
                [vespid.find_program("vespid-load"), "--port", str(home.port), "--path", f"/call/{name}", "--body", text,
                 "--clients", str(clients), "--seconds", "6"],
                stdout=subprocess.PIPE, env={**os.environ, "VESPID_TOKEN": gateway.token})

        def measured(process):
            out = json.loads(process.communicate()[0])
            return out["status"], "{ok} answers, p50 {0:.1f} ms, p99 {1:.1f} ms".format(
                out["p50_us"] / 1e3, out["p99_us"] / 1e3, **out)

        _, alone = measured(start(owner, "fib", b"[20]", 1))
        crowd = [start(greedy, "spin", b"[]", 100), start(greedy, "fib", b"[20]", 20)]
        statuses, beside = measured(start(owner, "fib", b"[20]", 1))
        for each in crowd:
            each.communicate()
        assert set(statuses) == {"200"}, statuses
        return f"every call of the other tenant succeeds: alone {alone}; beside 120 clients of the greedy one {beside}"


def vanishing_clients():
    with Temporary(SETTINGS) as home:
        owner = home.owner()
        put(owner, "slow", "slow_first", timeout_ms=3000)
        put(owner, "square")
        request = (b"POST /call/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + home.token().encode() +
                   b"\r\nContent-Length: 3\r\n\r\n[1]")
        for _ in range(200):
            with vespid.socket.create_connection(("127.0.0.1", home.port)) as link:
                link.sendall(request)
        begun = time.monotonic()
        while call(owner, "square", 3) != (200, 9):
            assert time.monotonic() - begun < 60, "it does not recover"
            time.sleep(0.05)
        assert home.programs["gateway"][0].poll() is None
        return f"200 clients left before their answers; another was served after {time.monotonic() - begun:.1f} s"


CASES = (worker_killed, nats_restarted, gateway_restarted, cluster_server_killed, store_full, disk_full,
         greedy_tenant, vanishing_clients)


def main(functions, *wanted):
    global FUNCTIONS
    skip_unless_ready()
    FUNCTIONS = pathlib.Path(functions).read_bytes()
    # So that what `with` began ends, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = 0
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        try:
            print(f"{case.__name__}: ok: {case()}", flush=True)
        except AssertionError as why:
            failed += 1
            print(f"{case.__name__}: FAILED: {why}", flush=True)
    print("verdict:", "survived" if failed == 0 else f"{failed} FAILED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
