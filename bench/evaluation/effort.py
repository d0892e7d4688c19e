# What it takes to isolate the applications: their lines that a build without isolation would not
# have, beside all lines that it has.
# SPDX-License-Identifier: MIT

import re

from evaluation.failure import Failure

# Application: files that isolation adds; files that work natively, too; and what is taken as it is.
APPLICATIONS = {
    "http": (
        ["http/handlers.hpp", "http/guests/http.cpp"],
        ["http/conditions.hpp", "http/connection.hpp", "http/date.hpp", "http/directory.hpp",
         "http/handler.hpp", "http/http.hpp", "http/native.hpp", "http/program.hpp",
         "http/ranges.hpp", "http/request.hpp", "http/server.hpp", "http/text.hpp"],
    ),
    "js": (
        ["js/evaluator.hpp", "js/expose.hpp", "js/functions.hpp", "js/guests/js.cpp",
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


def count(root):
    """Returns {row: lines}, read from the sources."""
    def lines(names):
        total = 0
        for name in names:
            path = root / "examples" / name
            if not path.exists():
                if name.startswith("/"):
                    continue  # A package that is not installed here.
                raise Failure(f"{path} is missing; effort.py names what the applications consist of")
            total += code_lines(path.read_text(errors="replace"))
        return total

    marked = (root / MARKED).read_text()
    # The function is the native one but for the keyword.
    changed = [line for line in marked.splitlines() if re.match(r"virtine int vcc_fib\(", line)]
    rows = {"effort.fib.added": len(changed), "effort.fib.native": 1}
    for name, (added, shared) in APPLICATIONS.items():
        rows[f"effort.{name}.added"] = lines(added)
        rows[f"effort.{name}.native"] = lines(shared)
    return rows
