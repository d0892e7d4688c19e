#!/usr/bin/python3
# The provider of examples/openssl in the openssl command, as its users call it.
# SPDX-License-Identifier: MIT
"""command.py OPENSSL FOLDER: tests the provider that FOLDER/virtine.so is."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

KEY = ["-K", "000102030405060708090a0b0c0d0e0f", "-iv", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"]
FORMS = ["virtine.form=calls", "virtine.form=session"]
TIME_LIMIT = 120

OPENSSL, FOLDER = sys.argv[1:]
# The default provider, too: OpenSSL needs its random numbers.
PROVIDER = ["-provider-path", FOLDER, "-provider", "virtine", "-provider", "default"]


def run(*words, given=None, more=None):
    """Runs the command; `more` is added to its environment."""
    return subprocess.run([OPENSSL, *words], input=given, stdin=None if given is not None else
                          subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=TIME_LIMIT, env={**os.environ, **(more or {})}, check=False)


def expect(right, what, done=None):
    if right:
        return
    said = "" if done is None else (done.stdout[-2000:] + done.stderr).decode(errors="replace")
    sys.exit(f"{what}\n{said}")


def test_lists():
    done = run("list", "-providers", *PROVIDER)
    expect(b"AES in virtines" in done.stdout and b"active" in done.stdout, "no provider", done)
    done = run("list", "-cipher-algorithms", "-propquery", "provider=virtine", *PROVIDER)
    for name in (b"AES-128-CBC", b"id-aes128-GCM"):
        expect(name in done.stdout, f"{name} is not listed", done)


def test_enc(folder):
    for size in (0, 1, 15, 16, 17, 4096, 65537, 1 << 20):
        plain = os.urandom(size)
        native = run("enc", "-aes-128-cbc", *KEY, given=plain)
        expect(native.returncode == 0, "openssl does not encrypt", native)
        for form in FORMS:
            done = run("enc", "-aes-128-cbc", *KEY, *PROVIDER, "-propquery", form, given=plain)
            expect(done.stdout == native.stdout, f"{form}: {size} bytes are not the same", done)
            done = run("enc", "-d", "-aes-128-cbc", *KEY, *PROVIDER, "-propquery", form,
                       given=native.stdout)
            expect(done.returncode == 0 and done.stdout == plain,
                   f"{form}: {size} bytes do not come back", done)
    other = [KEY[0], KEY[1].replace("0f", "10"), *KEY[2:]]
    for form in FORMS:
        done = run("enc", "-d", "-aes-128-cbc", *other, *PROVIDER, "-propquery", form,
                   given=native.stdout)
        expect(done.returncode != 0 and b"virtine" not in done.stdout, "a wrong key serves", done)
        expect(b"bad decrypt" in done.stderr, "a wrong key has another name", done)

    # A configuration file does what the options do.
    config = pathlib.Path(folder) / "openssl.cnf"
    config.write_text("openssl_conf = all\n[all]\nproviders = providers\nalg_section = evp\n"
                      "[providers]\nvirtine = virtine\ndefault = others\n"
                      f"[virtine]\nmodule = {FOLDER}/virtine.so\nactivate = 1\n"
                      "[others]\nactivate = 1\n"
                      "[evp]\ndefault_properties = ?provider=virtine\n", encoding="utf-8")
    configured = {"OPENSSL_CONF": str(config)}
    done = run("enc", "-aes-128-cbc", *KEY, given=plain, more=configured)
    expect(done.stdout == native.stdout, "by a configuration file it is not the same", done)
    # Which takes random numbers and digests of the default provider's.
    done = run("enc", "-aes-128-cbc", "-pbkdf2", "-k", "secret", given=plain, more=configured)
    back = run("enc", "-d", "-aes-128-cbc", "-pbkdf2", "-k", "secret", given=done.stdout)
    expect(back.stdout == plain, "with a password it does not come back", done)


def test_tls(folder):
    """A server whose connections are encrypted in virtines, and an ordinary client."""
    key, certificate = folder + "/key.pem", folder + "/certificate.pem"
    done = run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-days", "1")
    expect(done.returncode == 0, "openssl makes no certificate", done)
    with subprocess.Popen(
            [OPENSSL, "s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate,
             "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-WWW", *PROVIDER,
             "-propquery", "?provider=virtine"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as server:
        limit = threading.Timer(TIME_LIMIT, server.kill)
        limit.start()
        try:
            port = None
            while port is None:
                line = server.stdout.readline()
                expect(line != b"", "the server does not start")
                port = re.search(rb"ACCEPT .*:([0-9]+)", line)
            page = os.urandom(100_000)
            pathlib.Path(folder, "page").write_bytes(page)
            done = run("s_client", "-connect", f"127.0.0.1:{int(port[1])}", "-quiet",
                       given=b"GET /page HTTP/1.0\r\n\r\n")
            expect(done.stdout.endswith(page), "the page does not come", done)
            maps = pathlib.Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
            expect("memfd:virtine" in maps, "the server has used no virtine")
        finally:
            server.kill()
            limit.cancel()


def test_speed():
    for form in FORMS:
        for more in ([], ["-decrypt"], ["-multi", "2"], ["-async_jobs", "2"]):
            # With -multi, children of fork() make the machines, and with -async_jobs fibers call.
            done = run("speed", "-elapsed", "-seconds", "1", "-bytes", "16384", *more, *PROVIDER,
                       "-propquery", form, "-evp", "aes-128-cbc")
            expect(done.returncode == 0, f"speed fails: {form} {more}", done)
            rate = re.search(rb"(?i)aes-128-cbc +([0-9.]+)k|evp +([0-9.]+)k", done.stdout)
            expect(rate is not None, f"speed measures nothing: {form} {more}", done)
    for more in (["-aead"], ["-async_jobs", "2"]):
        done = run("speed", "-elapsed", "-seconds", "1", "-bytes", "1024", *more, *PROVIDER,
                   "-propquery", FORMS[0], "-evp", "aes-128-gcm")
        expect(done.returncode == 0, f"speed fails: aes-128-gcm {more}", done)


def main():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: /dev/kvm cannot be used")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        test_lists()
        test_enc(folder)
        test_tls(folder)
        test_speed()
    return 0


if __name__ == "__main__":
    sys.exit(main())
