#!/usr/bin/env python3
# Uses the web page as a person does, in a headless chromium: signs in, deploys a file, calls it, sees a result and
# a fault, and takes pictures at the width of a desktop and of a phone.
# Must not judge how it looks.
# SPDX-License-Identifier: MIT
"""usage: page.py FUNCTIONS.virtine [FOLDER]    FOLDER is for the pictures"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from installation import SKIPPED, Temporary, call, skip_unless_ready


class Browser:
    """Chromium, by its debugging protocol over two pipes."""

    def __init__(self, profile):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not program:
            print("chromium is not installed")
            sys.exit(SKIPPED)
        to_browser, from_browser = os.pipe(), os.pipe()

        def arrange():
            # The protocol is on descriptors 3 and 4.
            reading, writing = os.dup(to_browser[0]), os.dup(from_browser[1])
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(command, preexec_fn=arrange, close_fds=False, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(to_browser[0])
        os.close(from_browser[1])
        self.out, self.into = os.fdopen(to_browser[1], "wb", 0), os.fdopen(from_browser[0], "rb", 0)
        self.buffer, self.number, self.session = b"", 0, None
        self.problems = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Runtime.enable")
        self.ask("Page.enable")

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                more = self.into.read(65536)
                assert more, "chromium has ended"
                self.buffer += more
            text, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("method") == "Runtime.exceptionThrown":
                self.problems.append(answer["params"]["exceptionDetails"])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def await_true(self, script):
        for _ in range(300):
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; the page says {self.run('document.body.innerText')}")

    def resize(self, width, height, is_phone):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self):
        self.process.kill()
        self.process.wait()


def choose_file(browser, path):
    document = browser.ask("DOM.getDocument")["root"]["nodeId"]
    node = browser.ask("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    browser.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def use(browser, home, functions, pictures):
    browser.resize(1280, 800, False)
    browser.ask("Page.navigate", url=home.url)
    browser.await_true("document.getElementById('sign-in')")
    browser.run("at('token').value = 'guessed'; document.querySelector('#sign-in button').click()")
    browser.await_true("problem.textContent.includes('not known') && document.querySelector('main').hidden")
    browser.run(f"at('token').value = '{home.token()}'; document.querySelector('#sign-in button').click()")
    browser.await_true("!document.querySelector('main').hidden && tenant.textContent === 'main'")
    assert browser.run("sessionStorage.getItem('token').length") == 64

    # Deploys: a script, an image, and what is no image.
    script = pathlib.Path(home.folder.name) / "greet.js"
    script.write_text("log('greeting ' + input.name); 'hello ' + input.name")
    browser.run("document.querySelector('#drop input[value=output]').click()")
    choose_file(browser, script)
    browser.await_true("deployed.textContent.startsWith('greet is deployed')")
    browser.run("at('export').value = 'crash'")
    choose_file(browser, functions)
    browser.await_true("deployed.textContent.includes('functions is deployed')")
    broken = pathlib.Path(home.folder.name) / "broken.virtine"
    broken.write_bytes(b"no image")
    choose_file(browser, broken)
    browser.await_true("deployed.className === 'bad' && deployed.textContent.includes('refused')")

    def click(name):
        browser.await_true(f"[...document.querySelectorAll('#functions tr')].some(row => row.cells[0].textContent === '{name}')")
        browser.run(f"[...document.querySelectorAll('#functions tr')].find(row => row.cells[0].textContent === '{name}').click()")
        browser.await_true(f"document.getElementById('name').textContent === '{name}'"
                           " && !document.getElementById('chosen').hidden")

    click("greet")
    # Text of a function's is no HTML.
    browser.run("""at('body').value = '{"name": "<img src=x onerror=alert(1)>"}'; document.querySelector('#call button').click()""")
    browser.await_true("answer.className === 'good' && answer.textContent.includes('hello <img')")
    assert browser.run("document.images.length") == 0
    browser.await_true("at('logs').textContent.includes('greeting')")
    for _ in range(200):
        assert call(home.owner(), "greet")[0] == 200
    browser.await_true("[...document.querySelectorAll('#functions tr')].some(row => Number(row.cells[1].textContent) > 0)")
    browser.picture(pictures / "desktop.png")
    click("functions")
    browser.run("at('body').value = '[1]'; document.querySelector('#call button').click()")
    browser.await_true("answer.className === 'bad' && answer.textContent.includes('guest_fault')"
                       " && answer.textContent.includes('in ') && /functions.cpp:[0-9]+/.test(answer.textContent)")
    browser.picture(pictures / "fault.png")
    browser.resize(390, 844, True)
    browser.await_true("document.documentElement.scrollWidth <= 390")
    browser.picture(pictures / "phone.png")
    browser.run("window.confirm = () => true; at('remove').click()")
    browser.await_true("at('chosen').hidden && document.querySelectorAll('#functions tr').length === 1")
    assert not browser.problems, browser.problems


def main(functions, folder=None):
    skip_unless_ready()
    with Temporary() as home, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pictures = pathlib.Path(folder or home.folder.name)
        pictures.mkdir(parents=True, exist_ok=True)
        browser = Browser(profile)
        try:
            use(browser, home, pathlib.Path(functions).resolve(), pictures)
        finally:
            browser.close()
    print("the page: ok")


main(*sys.argv[1:])
