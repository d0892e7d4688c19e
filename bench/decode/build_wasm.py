#!/usr/bin/env python3
# Makes the decoder of examples/decoder, with the source of the very libraries that are installed, a
# WebAssembly module. Must not know who calls it.
# SPDX-License-Identifier: MIT
"""usage: build_wasm.py CODEC_FOLDER WORK_FOLDER OUT.wasm

Gets the source of zlib, libpng and libjpeg-turbo by apt-get, into WORK_FOLDER. apt's own settings
and lists stay as they are. Needs apt-get update to have run, the network, and the packages dpkg-dev,
cmake, ninja-build, wasi-libc, libclang-rt-14-dev-wasm32 and libc++-14-dev-wasm32.
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ("libpng-dev", "zlib1g-dev", "libjpeg62-turbo-dev")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
TARGET = "--target=wasm32-wasi"
ZLIB_PARTS = ("adler32.c", "crc32.c", "inffast.c", "inflate.c", "inftrees.c", "zutil.c")


class Bad(Exception):
    """The module cannot be made here."""


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(*command, folder=None):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise Bad(f"{' '.join(map(str, command))}\n{done.stdout}")


class Sources:
    """The archive's source packages, under lists that are this folder's only."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "none").mkdir()
        sites = output("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)",
                       "Created-By: Packages", "Origin: Debian")
        if not sites:
            raise Bad("apt knows no archive of Debian; run apt-get update")
        listed = folder / "sources.list"
        listed.write_text("".join(f"deb-src [signed-by={KEYS}] {each}\n"
                                  for each in sorted(set(sites.splitlines()))), encoding="utf-8")
        self.options = ("-qq", "-o", f"Dir::Etc::sourcelist={listed}",
                        "-o", f"Dir::Etc::sourceparts={folder / 'none'}",
                        "-o", f"Dir::State::lists={folder / 'lists'}")
        run("apt-get", *self.options, "update")

    def get(self, package):
        """Returns the folder of the source that an installed package is made of."""
        name, version, upstream = output(
            "dpkg-query", "-W", "-f", "${source:Package} ${source:Version} ${source:Upstream-Version}",
            package).split()
        listed = output("apt-cache", *self.options, "showsrc", name)
        versions = [line.split()[1] for line in listed.splitlines() if line.startswith("Version:")]
        # The archive keeps only the newest revisions, which differ in repairs of security holes.
        like = [each for each in versions if each.split(":")[-1].startswith(upstream + "-")]
        for each in sorted(like, key=lambda each: each != version):
            try:
                run("apt-get", *self.options, "source", f"{name}={each}", folder=self.folder)
            except Bad as why:
                print(why)
                continue
            print(f"{package}: {name} {each}, installed is {version}")
            return next(path for path in self.folder.glob(f"{name}-{upstream}*") if path.is_dir())
        raise Bad(f"the archive has no source of {name} {upstream} any more")


def build(source, work, target, *settings):
    """Builds a library's static archive with its own CMake project, as Debian does: with -O2."""
    run("cmake", "-G", "Ninja", "-S", source, "-B", work,
        "-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_SYSTEM_PROCESSOR=wasm32",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_C_COMPILER=clang", "-DCMAKE_C_COMPILER_TARGET=wasm32-wasi",
        "-DCMAKE_AR=" + shutil.which("llvm-ar"), "-DCMAKE_RANLIB=" + shutil.which("llvm-ranlib"),
        f"-DCMAKE_C_FLAGS=-O2 -isystem {HERE}", *settings)
    run("ninja", "-C", work, target)


def build_module(codec, sources, work, out):
    png, zlib, jpeg = (sources.get(package) for package in PACKAGES)
    build(jpeg, work / "jpeg", "jpeg-static", "-DWITH_SIMD=0", "-DENABLE_SHARED=0",
          "-DWITH_TURBOJPEG=0")
    build(png, work / "png", "png_static", "-DPNG_SHARED=OFF", "-DPNG_TESTS=OFF",
          f"-DZLIB_INCLUDE_DIR={zlib}", "-DZLIB_LIBRARY=none")
    # Its CMake project wants a shared library.
    run("clang", TARGET, "-O2", "-DHAVE_UNISTD_H", "-c", *(zlib / part for part in ZLIB_PARTS),
        folder=work)
    includes = [f"-I{path}" for path in (codec, work / "jpeg", jpeg, work / "png", png, zlib)]
    run("clang++", TARGET, "-mexec-model=reactor", "-std=c++20", "-O2", "-fno-exceptions", "-fno-rtti",
        "-isystem", HERE, *includes,
        *(codec / name for name in ("codec.cpp", "png.cpp", "jpeg.cpp")), HERE / "guest.cpp",
        *(work / pathlib.Path(part).with_suffix(".o") for part in ZLIB_PARTS),
        work / "png/libpng.a", work / "jpeg/libjpeg.a", "-Wl,-z,stack-size=1048576", "-o", out)


def main(codec, work, out):
    work = pathlib.Path(work).resolve()
    shutil.rmtree(work, ignore_errors=True)
    try:
        build_module(pathlib.Path(codec).resolve(), Sources(work / "sources"), work,
                     pathlib.Path(out).resolve())
    except Bad as why:
        print(f"build_wasm.py: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
