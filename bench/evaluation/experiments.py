# What is measured, by which program, about how long it takes, and what it needs.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    name: str  # Also of its program, in bench/, unless programs.py says otherwise.
    what: str
    seconds: float  # On two cores with a software KVM.
    package: str = ""  # Without it the program is not built, or cannot run.
    files: tuple = ()  # What the program reads, in the source tree or the build directory.


EXPERIMENTS = [
    Experiment("contexts", "contexts of execution", 12, files=("/bin/true",)),
    Experiment("boot", "boot from real mode", 8, files=("bench/guests/boot.bin",)),
    Experiment("modes", "modes of the processor", 40),
    Experiment("echo", "echo", 12),
    Experiment("vcc", "fib", 40, "python3-clang-14"),
    Experiment("image", "sizes of images", 40),
    Experiment("http", "HTTP", 25),
    Experiment("openssl", "OpenSSL", 30, "libssl-dev", ("examples/openssl/virtine.so",)),
    Experiment("js", "JavaScript", 10, "duktape-dev", ("examples/js/workload.js",)),
    Experiment("size", "sizes", 1),
    Experiment("effort", "effort", 1),
    Experiment("reset", "pages written", 15),
    Experiment("call", "calls", 15),
    Experiment("session", "sessions", 10),
    Experiment("threads", "threads", 20),
    Experiment("batch", "batches", 5),
    Experiment("deadline", "deadlines", 8),
    Experiment("library", "libraries", 10, "zlib1g-dev"),
    Experiment("density", "density", 20),
    Experiment("beside", "WebAssembly", 5, "wabt and lld"),
    Experiment("node", "V8", 15, "nodejs"),
    Experiment("vespid", "Vespid", 60, "nodejs, nats-server, libnats-dev, libmicrohttpd-dev, nlohmann-json3-dev, "
               "libssl-dev and duktape-dev"),
]
BY_NAME = {each.name: each for each in EXPERIMENTS}
