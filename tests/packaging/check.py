#!/usr/bin/python3
# Installs the library and builds the projects beside this file against it, as its users do.
# Must not know how the library is made, only how it is found.
# SPDX-License-Identifier: MIT
"""Install, then build, run, change and run again projects that use the library."""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77
# Of the library's own tests, those that are tried on the tarball of a release.
QUICK_TESTS = ["lint", "layers", "links", "mutations-agree", "figures-agree", "guide-agrees",
               "quickstart"]


class Failure(Exception):
    """What went wrong, with the output of the program that failed."""


def run(*command, **options):
    """Runs a program and returns its exit status and output."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                          errors="replace", check=False, **options)
    return done.returncode, done.stdout


def must(*command, **options):
    status, output = run(*command, **options)
    if status != 0:
        raise Failure(f"{' '.join(map(str, command))}: exit status {status}\n{output}")
    return output


def git(*words, folder):
    return must("git", "-C", folder, "-c", "user.name=nobody", "-c", "user.email=nobody@localhost",
                "-c", "protocol.file.allow=always", *words)


def repository(source, work):
    """Returns a new repository of the source tree as it is, committed or not."""
    folder = work / "repository"
    if (source / ".git").exists():
        names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=source)
        for name in filter(None, names.split("\0")):
            if (source / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, folder / name)
    else:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    git("init", "-q", folder=folder)
    git("add", "-A", folder=folder)
    git("commit", "-q", "-m", "all", folder=folder)
    return folder


def unpacked(meson, source, work):
    """Returns the folder of what the tarball of a release has."""
    build = work / "release"
    must(*meson, "setup", build, source, "-Dtests=false")
    must(*meson, "dist", "-C", build, "--no-tests", "--formats", "gztar")
    tarball, = (build / "meson-dist").glob("*.tar.gz")
    shutil.unpack_archive(tarball, work)
    return work / tarball.name.removesuffix(".tar.gz")


def checked(meson, source, work):
    """Runs, in what the tarball has, tests that need little to be built."""
    build = work / "checked"
    must(*meson, "setup", build, source, "--buildtype=plain")
    must(*meson, "test", "-C", build, *QUICK_TESTS)
    results = (build / "meson-logs" / "testlog.json").read_text(encoding="utf-8").splitlines()
    if len(results) != len(QUICK_TESTS):
        raise Failure(f"{len(results)} tests of the tarball ran instead of {len(QUICK_TESTS)}")


def install(meson, ninja, source, work):
    """Returns the prefix into which the library was installed."""
    prefix = work / "prefix"
    build = work / "library"
    output = must(*meson, "setup", build, source, f"--prefix={prefix}", "--libdir=lib",
                  "-Dtests=false")
    if looked := re.search(r".*\b(nasm|catch2)\b.*", output):
        raise Failure(f"without its tests the library looks for what they need: {looked[0]}")
    if "-Werror" in (build / "compile_commands.json").read_text(encoding="utf-8"):
        raise Failure("a warning ends the build of who did not ask for that")
    targets = json.loads(must(*meson, "introspect", "--targets", build))
    built = [target["name"] for target in targets if target["build_by_default"]]
    if built != ["virtine-doctor", "virtine-run", "virtine", "virtine_c", "virtine_c"]:
        raise Failure(f"without its tests the library builds {built}")
    must(ninja, "-j2", "-C", build)
    must(*meson, "install", "-C", build, "--no-rebuild")
    for name in ("bin/virtine-cc", "bin/virtine-doctor", "bin/virtine-run",
                 "lib/libvirtine.so", "lib/pkgconfig/virtine-c.pc",
                 "bin/vcc", "lib/libvirtine_c.so", "lib/libvirtine_c.a", "include/virtine.h",
                 "share/virtine/vcc_cc/__main__.py", "share/virtine/c/tables.h",
                 "include/virtine/c/virtine.h", "include/virtine/virtine.hpp",
                 "include/virtine/guest/call.hpp", "share/virtine/runtime/user64.ld",
                 "share/virtine/virtine_cc/main.py", "share/bash-completion/completions/virtine-run",
                 "share/cmake/virtine/virtine-config.cmake"):
        if not (prefix / name).is_file():
            raise Failure(f"{name} was not installed")
    if not os.access(prefix / "bin" / "virtine-cc", os.X_OK):
        raise Failure("the installed virtine-cc cannot be run")
    for extra in [*prefix.rglob("main.cpp"), *prefix.rglob("catch.hpp")]:
        raise Failure(f"{extra} was installed, but is of use to nobody")
    return prefix


def project(work, name):
    """Returns a fresh copy of an outside project."""
    folder = work / name
    shutil.copytree(HERE / "project", folder)
    shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
    return folder


def prove(folder, build, builder):
    """Builds and runs a project's programs, then changes the sources of their guests, and builds and
    runs them again; returns whether it found KVM."""
    must(*builder, cwd=folder)
    found = [prove_program(folder, build, builder, *names) for names in (
        ("main", "guests/triple.cpp", "triple.hpp", [["42"], ["154"]]),
        ("app", "app.cpp", "app.guest.hpp", [["42"], ["154"]]),
        # Two guests with one name of their source; each has a header of its own.
        ("two", "a/body.hpp", "a/app.guest.hpp", [["42", "42"], ["154", "42"]]),
        ("two", "b/body.hpp", "b/app.guest.hpp", [["154", "42"], ["154", "154"]]))]
    if must(*builder, cwd=folder).count("Linking"):
        raise Failure("a build without a change built something")
    return all(found)


def prove_program(folder, build, builder, program, source, header, answers):
    """Runs a program, changes the source of its guest, builds and runs it again."""
    status, output = run(build / program, *answers[0])
    if status not in (0, SKIPPED):
        raise Failure(f"{program} gave {output}instead of {answers[0]}")
    guest = folder / source
    before = [path.read_text(encoding="utf-8") for path in build.rglob(header)]
    guest.write_text(guest.read_text(encoding="utf-8").replace("n * 3", "n * 11"),
                     encoding="utf-8")
    must(*builder, cwd=folder)
    if not before or [path.read_text(encoding="utf-8") for path in build.rglob(header)] == before:
        raise Failure(f"a change of {source} did not build its image again")
    again, output = run(build / program, *answers[1])
    if again != status:
        raise Failure(f"after a change of its guest {program} gave {output}instead of {answers[1]}")
    return status == 0


def as_subproject(meson, ninja, source, work):
    folder = project(work, "subproject")
    (folder / "subprojects").mkdir()
    # The sample of a wrap file, with another address.
    wrap = (source / "docs" / "virtine.wrap").read_text(encoding="utf-8")
    wrap = re.sub("^url = .*$", f"url = {(work / 'repository').as_uri()}", wrap, flags=re.MULTILINE)
    wrap = re.sub("^revision = .*$", "revision = HEAD", wrap, flags=re.MULTILINE)
    (folder / "subprojects" / "virtine.wrap").write_text(wrap, encoding="utf-8")
    output = must(*meson, "setup", folder / "build", folder)
    if looked := re.search(r".*\b(nasm|catch2)\b.*", output):
        raise Failure(f"as a subproject the library looks for what its tests need: {looked[0]}")
    return prove(folder, folder / "build", [ninja, "-j2", "-C", folder / "build"])


def by_pkg_config(meson, ninja, _source, work):
    folder = project(work, "pkgconfig")
    must(*meson, "setup", folder / "build", folder, "-Dwarning_level=3", "-Dwerror=true")
    return prove(folder, folder / "build", [ninja, "-j2", "-C", folder / "build"])


def by_cmake_from_meson(meson, _ninja, _source, work):
    """Meson asks CMake where pkg-config knows nothing of the library."""
    if not shutil.which("cmake"):
        print("by_cmake_from_meson: left out, because there is no cmake")
        return True
    folder = work / "pkgconfig"
    must(*meson, "setup", folder / "build-cmake", folder, f"-Dcmake_prefix_path={work / 'prefix'}")
    return True


def by_cmake(_meson, ninja, _source, work):
    cmake = shutil.which("cmake")
    if not cmake:
        print("by_cmake: left out, because there is no cmake")
        return True
    folder = project(work, "cmake")
    must(cmake, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}",
         f"-DCMAKE_PREFIX_PATH={work / 'prefix'}", "-S", folder, "-B", folder / "build")
    return prove(folder, folder / "build", [ninja, "-j2", "-C", folder / "build"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=pathlib.Path, help="the library's source tree")
    parser.add_argument("work", type=pathlib.Path, help="a folder to make, and to empty before")
    parser.add_argument("--meson", default="meson")
    parser.add_argument("--compiler", help="the C++ compiler of the projects")
    given = parser.parse_args()
    work = given.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    ninja = shutil.which("ninja") or shutil.which("ninja-build")
    if given.compiler:
        os.environ["CXX"] = given.compiler
    # What the environment of the surrounding build asks for is not the projects' affair.
    for variable in ("CXXFLAGS", "LDFLAGS", "DESTDIR", "MESON_SOURCE_ROOT", "MESON_BUILD_ROOT"):
        os.environ.pop(variable, None)
    meson = [given.meson]
    try:
        source = unpacked(meson, repository(given.source.resolve(), work), work)
        checked(meson, source, work)
        prefix = install(meson, ninja, source, work)
        found = []
        for part in (as_subproject, by_pkg_config, by_cmake_from_meson, by_cmake):
            # Only the one that looks for an installation so may see it.
            os.environ["PKG_CONFIG_PATH"] = (
                str(prefix / "lib" / "pkgconfig") if part is by_pkg_config else "")
            try:
                found.append(part(meson, ninja, source, work))
            except Failure as why:
                raise Failure(f"{part.__name__}: {why}") from why
    except Failure as why:
        print(why)
        return 1
    shutil.rmtree(work, ignore_errors=True)
    if not all(found):
        print("skipped: everything was built, but there is no KVM to run it")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
