#!/usr/bin/env python3
"""The page that --format html writes, opened in headless Chromium, and its search used by typing.

    run_browser.py LOOKSAY [TestCase.test_name...]

Chromium is spoken to over its debugging pipe: JSON texts, each ended by a zero byte. Standard library only.
"""
import json
import os
import select
import shutil
import subprocess
import time
import unittest

import program
from program import SOME_FAILED, TestCase, rows_of, run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 90  # seconds; a browser may start slowly on a busy machine


class Browser:
    def __init__(self, profile):
        to_browser, self.write = os.pipe()
        self.read, from_browser = os.pipe()
        script = f"exec 3<&{to_browser} 4>&{from_browser}; exec \"$@\""
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
                 "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(["bash", "-c", script, "browser", CHROMIUM, *flags], pass_fds=(to_browser, from_browser),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.pending, self.events, self.session = 0, b"", [], None

    def receive(self, deadline):
        while b"\0" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            some = os.read(self.read, 1 << 16)
            if not some:
                raise EOFError("the browser has ended")
            self.pending += some
        text, self.pending = self.pending.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]
            self.events.append(answer)

    def open(self, path):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, expression):
        deadline = time.monotonic() + PATIENCE
        while not self.ask(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            time.sleep(0.02)

    def type(self, text):
        for sign in text:
            self.call("Input.dispatchKeyEvent", type="char", text=sign)

    def close(self):
        os.close(self.write)
        os.close(self.read)
        self.process.kill()
        self.process.wait()


@unittest.skipUnless(CHROMIUM, "Chromium is not installed")
class Browsing(TestCase):
    def browser(self, page):
        browser = Browser(self.work / "profile")
        self.addCleanup(browser.close)
        try:
            browser.call("Browser.getVersion")
        except (EOFError, TimeoutError, BrokenPipeError) as error:
            self.skipTest(f"Chromium cannot run here: {error}")
        browser.open(page)
        return browser

    def shown(self, browser):
        return browser.ask("[...document.querySelectorAll('figure')].filter(f => f.offsetParent)"
                           ".map(f => f.querySelector('bdi').textContent.split('/').pop())")

    def test_search(self):
        folder = self.photos("wide.jpg", "tall.png", "large.jpg", "grey.jpg")
        (folder / "<script>bad.jpg").write_bytes(b"no image")
        page = self.work / "page.html"
        rows = rows_of(run("-f", "jsonl", "--any-picture", folder, check=SOME_FAILED)[1])
        run("-f", "html", "--any-picture", "-o", page, folder, check=SOME_FAILED)
        browser = self.browser(page)
        names = [os.path.basename(r["image"]) for r in rows]
        self.assertEqual(self.shown(browser), names)
        self.assertEqual(browser.ask("document.querySelector('output').textContent"), "5 of 5")
        self.assertEqual(browser.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0) && document.images.length"), 4)
        browser.until("document.activeElement === document.querySelector('input')")
        browser.type("WIDE")
        browser.until("document.querySelector('output').textContent === '1 of 5'")
        self.assertEqual(self.shown(browser), ["wide.jpg"])
        browser.type(" nothingofthekind")
        browser.until("document.querySelector('output').textContent === '0 of 5'")
        self.assertEqual(self.shown(browser), [])
        browser.ask("document.querySelector('input').select()")
        browser.type(".jpg")
        browser.until("document.querySelector('output').textContent === '4 of 5'")
        self.assertEqual(self.shown(browser), [n for n in names if n.endswith(".jpg")])
        wrong = [e for e in browser.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        self.assertEqual(wrong, [])  # no script failed, nothing was refused by the page's policy, nothing was fetched


if __name__ == "__main__":
    program.main()
