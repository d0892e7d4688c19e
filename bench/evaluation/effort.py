# What it takes to isolate the applications: their lines that a build without isolation would not
# have, beside all lines that it has. As a program it writes what the benchmark programs write.
# SPDX-License-Identifier: MIT

import argparse
import json
import pathlib
import re
import sys

# Application: files that isolation adds; files that work natively, too; and what is taken as it is.
APPLICATIONS = {
    "http": (
        ["http/handlers.hpp", "http/guests/http.cpp"],
        ["http/conditions.hpp", "http/connection.hpp", "http/date.hpp", "http/directory.hpp",
         "http/handler.hpp", "http/http.hpp", "http/native.hpp", "http/program.hpp",
         "http/ranges.hpp", "http/request.hpp", "http/server.hpp", "http/text.hpp"],
    ),
    "js": (
        ["js/evaluated.hpp", "js/evaluator.hpp", "js/expose.hpp", "js/functions.hpp", "js/guests/js.cpp",
         "js/guests/clock.cpp", "js/guests/clock.hpp"],
        ["js/engine.cpp", "js/engine.hpp", "js/arena.hpp", "js/reply.hpp",
         "/usr/share/duktape/duktape.c"],
    ),
}
MARKED = "bench/vcc/fib.c"


def code_lines(text):
    """Returns the number of lines that are neither empty nor comments."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(1 for line in text.splitlines() if re.sub(r"//.*", "", line).strip())


def paths(root, names):
    """Returns the files of these names, without those of packages that are not installed here."""
    return [root / "examples" / name for name in names if not name.startswith("/") or pathlib.Path(name).exists()]


def sources(root):
    """Returns all files that are counted."""
    return [root / MARKED, *(path for groups in APPLICATIONS.values() for names in groups
                             for path in paths(root, names) if path.exists())]


def count(root):
    """Returns {row: lines}, read from the sources."""
    def lines(names):
        for path in paths(root, names):
            if not path.exists():
                sys.exit(f"{path} is missing; effort.py names what the applications consist of")
        return sum(code_lines(path.read_text(errors="replace")) for path in paths(root, names))

    marked = (root / MARKED).read_text()
    # The function is the native one but for the keyword.
    changed = [line for line in marked.splitlines() if re.match(r"virtine int vcc_fib\(", line)]
    rows = {"effort.fib.added": len(changed), "effort.fib.native": 1}
    for name, (added, shared) in APPLICATIONS.items():
        rows[f"effort.{name}.added"] = lines(added)
        rows[f"effort.{name}.native"] = lines(shared)
    return rows


def main():
    parser = argparse.ArgumentParser()
    for option in ("--json", "--samples"):
        parser.add_argument(option, type=pathlib.Path, required=True)
    parser.add_argument("--commit", required=True)
    given, _ = parser.parse_known_args()  # Counting has no limit of time, and no short form.
    counted = count(pathlib.Path(__file__).resolve().parents[2])
    where = {"cpu": "any", "kernel": "any", "kvm": "none", "compiler": "none", "commit": given.commit,
             "optimised": True}
    rows = [{"name": name, "unit": "lines", "n": 1, "min": value, "median": value, "p99": value,
             "floor": None, "ratio": None} for name, value in counted.items()]
    given.json.write_text(json.dumps({"program": "effort", "machine": where, "rows": rows}))
    lines = [f"{name},lines,sample,{value}" for name, value in counted.items()]
    given.samples.write_text("\n".join(["row,unit,kind,value", *lines]) + "\n")


if __name__ == "__main__":
    main()
