"""kill -9 of each daemon in turn, and of everything at once, under load: what was answered 250 is there exactly once."""
import collections
import hashlib
import os
import re
import signal
import smtplib
import threading
import time

import pytest

from conftest import DAEMONS, SLOW, wait_until

TOTAL = 2000
CLIENTS = 8


class Load:
    """Sends numbered messages from several clients until TOTAL were answered 250."""

    def __init__(self, suite, total):
        self.suite, self.total = suite, total
        self.acknowledged, self.next, self.lock = {}, 0, threading.Lock()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(i,), daemon=True) for i in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def content(self, number):
        # Some go into files of their own (larger than what travels inline).
        size = 100_000 if number % 40 == 0 else 200 + number * 7 % 4000
        body = hashlib.sha256(str(number).encode()).hexdigest() * (size // 64)
        lines = "\r\n".join(body[i:i + 70] for i in range(0, len(body), 70))
        return f"From: <s@example.net>\r\nX-Number: {number}\r\n\r\n{lines}\r\n.dot\r\n".encode()

    def client(self, which):
        s = None
        while not self.stopped.is_set():
            with self.lock:
                if len(self.acknowledged) >= self.total:
                    return
                number = self.next
                self.next += 1
            content = self.content(number)
            try:
                if s is None:
                    s = smtplib.SMTP("127.0.0.1", self.suite.port("smtp"), local_hostname="c.example.net", timeout=20 * SLOW)
                to = ["alice@example.test", "bob@example.test", "info@example.test"][which % 3]
                s.sendmail("s@example.net", [to], content)
                with self.lock:
                    self.acknowledged[number] = to
            except (OSError, smtplib.SMTPException):
                s = None
                time.sleep(0.02)

    def wait(self, seconds):
        end = time.monotonic() + seconds
        for t in self.threads:
            t.join(max(0, end - time.monotonic()))
        self.stopped.set()
        assert len(self.acknowledged) >= self.total, f"only {len(self.acknowledged)} were taken\n{self.suite.log()[-3000:]}"

    def check(self):
        """Each acknowledged message is in its mailboxes exactly once, and whole; nothing is there twice."""
        seen = {u: collections.Counter() for u in ("alice", "bob")}
        for user, counter in seen.items():
            for path in self.suite.files(user):
                with open(path, "rb") as f:
                    text = f.read().replace(b"\r\n", b"\n")
                number = int(re.search(rb"^X-Number: (\d+)$", text, re.M)[1])
                counter[number] += 1
                assert text.endswith(self.content(number).replace(b"\r\n", b"\n")), f"{path} is not whole"
        for number, to in self.acknowledged.items():
            users = ("alice", "bob") if to.startswith("info") else (to.split("@")[0],)
            for user in users:
                assert seen[user][number] == 1, f"message {number} is {seen[user][number]} times at {user}"
        for user, counter in seen.items():
            assert not [n for n, times in counter.items() if times > 1]


def settle(suite):
    suite.run("start", check=False)
    wait_until(lambda: suite.run("status", check=False).returncode == 0, 30, "the suite")
    suite.wait_queue_empty(120)


def balanced(suite):
    """accepted + injected + generated + expanded = delivered + relayed + bounced + discarded + queued."""
    figures = suite.status()["ledger"]
    left = sum(figures[k] for k in ("accepted", "injected", "generated", "expanded"))
    right = sum(figures[k] for k in ("delivered", "relayed", "bounced", "discarded", "queued"))
    assert left == right, figures


@pytest.fixture()
def loaded(make_suite):
    s = make_suite(start=False, retry_min="1s", retry_max="1s")
    s.run("alias", "add", "info@example.test", "alice@example.test,bob@example.test")
    return s.start()


def test_each_daemon_in_turn(loaded):
    load = Load(loaded, TOTAL)
    for daemon in DAEMONS:
        mark = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > mark + 50 or len(load.acknowledged) >= TOTAL, 60, "progress")
        pid = loaded.daemon_pid(daemon)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: loaded.daemon_pid(daemon) not in (0, pid), 20, f"a new {daemon}")
    load.wait(240 * SLOW)
    settle(loaded)
    load.check()
    balanced(loaded)


def test_everything_at_once(loaded):
    load = Load(loaded, TOTAL)
    for share in (0.15, 0.4, 0.7):
        wait_until(lambda: len(load.acknowledged) > TOTAL * share, 120, "progress")
        for pid in loaded.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not loaded.pids(), 20, "the end of all processes")
        loaded.run("start")
    load.wait(240 * SLOW)
    settle(loaded)
    load.check()
    balanced(loaded)
