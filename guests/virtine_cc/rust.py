# From a Rust source to an object and the archive of what it needs.
# Must not know what the source exports.
# SPDX-License-Identifier: MIT

import re

from .elf import Archive
from .failure import Failure
from .files import as_argument, parse_rust_dependencies
from .tools import find_tool, run

RUSTC_FLAGS = """
    --edition 2021 -C panic=abort -C relocation-model=static -C code-model=small
    -C codegen-units=1 -C force-frame-pointers=yes
""".split()
LEVELS = {"fast": "3", "g": "1"}  # what clang's levels are called, where rustc has another name


class RustCompiler:
    """Compiles with whatever rustc there is, for a guest without Rust's std."""

    def __init__(self, installation, directory, optimise, debug):
        self.source = installation.runtime / "virtine.rs"
        self.directory = directory
        self.rustc = find_tool(["rustc"], "rustc", "VIRTINE_RUSTC")
        self.flags = [*RUSTC_FLAGS, "-C", f"opt-level={LEVELS.get(optimise, optimise)}",
                      *(["-g"] if debug else []),
                      # Panics name their place, and an image is not to tell where we are.
                      f"--remap-path-prefix={installation.runtime}=virtine"]

    def compile(self, source, out, report):
        """Writes the object of a crate to `out`; returns the archive that has the rest, and the
        files that were read."""
        library = self.directory / "libvirtine.rlib"
        if not library.exists():
            report(self.source, self.run(self.source, "virtine", "lib", "link", self.directory))
        # Otherwise rustc makes a name from the file's, which need not be one.
        name = re.sub(r"[^a-z0-9]+", "_", f"guest_{source.stem[:40]}".lower()).rstrip("_")
        # What it writes is called after that, because --emit=link=PATH ends at a comma of the path.
        folder = out.with_suffix("")
        folder.mkdir()
        report(source, self.run(source, name, "staticlib", "link,dep-info", folder,
                                "--extern", f"virtine={library}"))
        archive, rule = folder / f"lib{name}.a", folder / f"{name}.d"
        # The crate's own, which the linker would not take from an archive: nothing asks for it.
        found = Archive(archive)
        out.write_bytes(found.member(min(found.index.values())).data)
        return archive, [self.source, *parse_rust_dependencies(rule.read_bytes())]

    def run(self, source, name, kind, emit, folder, *arguments):
        # rustc's own temporary files have fixed names: where it is run, as it has them without
        # --out-dir, they are those of another run at the same time too.
        done = run([self.rustc, *self.flags, "--crate-type", kind, "--crate-name", name,
                    "--out-dir", folder, "--emit", emit, *arguments, as_argument(source)])
        if "`panic_impl`" in done.stderr:
            raise Failure(f"{source} uses Rust's std, which needs an operating system; begin it "
                          "with #![no_std]")
        return done
