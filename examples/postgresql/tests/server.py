# A PostgreSQL server of one's own: an installation made of links, a cluster in a folder that goes,
# a socket that nobody else has, and a user who is not root.
# Must not know what it is started for.
# SPDX-License-Identifier: MIT
"""Start a private PostgreSQL server with the extension."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile


def path_of(pg_config, name):
    return pathlib.Path(subprocess.run([pg_config, "--" + name], stdout=subprocess.PIPE, check=True,
                                       encoding="utf-8").stdout.strip())


def make_installation(root, pg_config, parts):
    """PostgreSQL finds its files by the path of its program, so the programs are copies. All else
    is links, beside which lie the extension's files. Returns the folder of the programs."""
    bin_from, lib_from, share_from = (path_of(pg_config, name)
                                      for name in ("bindir", "pkglibdir", "sharedir"))
    bin_to, lib_to, share_to = (root / path.relative_to("/")
                                for path in (bin_from, lib_from, share_from))
    for folder in (bin_to, lib_to, share_to / "extension"):
        folder.mkdir(parents=True)
    for each in bin_from.iterdir():
        if each.name in ("postgres", "initdb", "pg_ctl"):
            shutil.copy(each, bin_to)
        else:
            (bin_to / each.name).symlink_to(each)
    for source, to in ((lib_from, lib_to), (share_from, share_to),
                       (share_from / "extension", share_to / "extension")):
        for each in source.iterdir():
            if each.name != "extension":
                (to / each.name).symlink_to(each)
    for part in map(pathlib.Path, parts):
        shutil.copy(part, share_to / "extension" if part.suffix in (".control", ".sql") else lib_to)
    return bin_to


class Server:
    """With `user`, everything runs as that user, else as this one."""

    def __init__(self, pg_config, parts, settings=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="virtine-pg-"))
        self.prefix = []
        self.settings = settings
        if os.geteuid() == 0:
            # A server does not run as root. This user has no rights but, where the device is
            # root's alone, the one to open it.
            user = pwd.getpwnam("nobody")
            os.chown(self.root, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}",
                           "--clear-groups"]
            if os.path.exists("/dev/kvm") and os.stat("/dev/kvm").st_mode & 0o006 != 0o006:
                self.prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        self.bin = make_installation(self.root, pg_config, parts)
        self.share = self.root / path_of(pg_config, "sharedir").relative_to("/")
        self.data = self.root / "data"
        self.log = self.root / "log"
        self.environment = {**os.environ, "PGHOST": str(self.root), "PGUSER": "postgres",
                            "PGDATABASE": "postgres", "LC_ALL": "C", "HOME": str(self.root)}

    def run(self, *command, check=True, **others):
        """Runs one of PostgreSQL's programs as the server's user."""
        program, *arguments = command
        done = subprocess.run([*self.prefix, str(self.bin / program), *map(str, arguments)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                              env=self.environment, cwd=self.root, check=False, timeout=240,
                              **others)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}:\n{done.stdout}")
        return done.stdout

    def sql(self, text, *options, check=True, database="postgres"):
        """Returns what psql prints for the statements, as plain rows."""
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, *options,
                        input=text, check=check)

    def start(self):
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.root}",
                   "-c", "fsync=off", "-c", "max_connections=20", "-c", "shared_buffers=16MB"]
        for each in self.settings:
            options += ["-c", each]
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-s", "-o", " ".join(options),
                 "start")

    def stop(self, mode="fast", check=True):
        return self.run("pg_ctl", "-D", self.data, "-w", "-s", "-m", mode, "stop", check=check)

    def __enter__(self):
        try:
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                     "--no-sync", "--no-instructions")
            self.start()
        except BaseException:
            shutil.rmtree(self.root, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind, *_):
        self.stop("immediate", check=False)
        if kind is not None and self.log.exists():
            print("\n".join(self.log.read_text(encoding="utf-8").splitlines()[-30:]))
        shutil.rmtree(self.root, ignore_errors=True)
