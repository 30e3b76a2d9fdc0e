"""
Power cuts of the whole suite: everything it has lies on a file system that
stops at once and forgets what was not synced.  What was answered 250 by then
has to be in its mailbox, once and whole, when the journal was replayed and the
suite was started again.

test_power.py is the short version; `make proof` (tests/proof.py) the long one.
"""
import collections
import contextlib
import hashlib
import os
import random
import re
import shutil
import smtplib
import subprocess
import tempfile
import threading
import time

from conftest import SLOW, Suite, wait_until
from disk import Disk

USERS = ("alice", "bob")
CLIENTS = 4


class Loss(AssertionError):
    pass


class Mail:
    """Numbered messages: who sends them, what was answered, what was found."""

    def __init__(self, suite, seed):
        self.suite, self.seed = suite, seed
        self.next, self.lock = 0, threading.Lock()
        self.taken, self.refused, self.doubt = {}, set(), {}
        self.found = {u: collections.Counter() for u in USERS}
        self.stop = threading.Event()
        self.threads = []

    def content(self, number):
        # Some go into files of their own (larger than what travels inline).
        size = 100_000 if number % 30 == 17 else 200 + number * 7 % 6000
        body = hashlib.sha256(f"{self.seed} {number}".encode()).hexdigest() * (size // 64)
        lines = "\r\n".join(body[i:i + 70] for i in range(0, len(body), 70))
        return f"From: <s@example.net>\r\nX-Number: {number}\r\n\r\n{lines}\r\n.dot\r\n".encode()

    def users(self, number):
        return (("alice",), ("bob",), ("alice", "bob"), ("alice", "bob"))[number % 4]

    def rcpts(self, number):
        # Every fourth goes through an alias.
        return ["info@example.test"] if number % 4 == 3 else [f"{u}@example.test" for u in self.users(number)]

    def send(self, client):
        """One message; True if the connection can go on."""
        with self.lock:
            number = self.next
            self.next += 1
            self.doubt[number] = True
        told, words = None, b""
        try:
            client.ehlo_or_helo_if_needed()
            if client.mail("s@example.net")[0] == 250 and all(client.rcpt(r)[0] == 250 for r in self.rcpts(number)):
                code, words = client.data(self.content(number))
                told = code == 250
            else:
                told = False
        except smtplib.SMTPResponseException:
            told = False
        except (OSError, smtplib.SMTPException):
            pass
        with self.lock:
            if told is not None:
                del self.doubt[number]
            if told:
                self.taken[number] = words.split()[-1].decode()  # its queue id
            elif told is False:
                self.refused.add(number)
        if told is False:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client.rset()
        return told

    def connect(self):
        return smtplib.SMTP("127.0.0.1", self.suite.port("smtp"), local_hostname="c.example.net", timeout=20 * SLOW)

    def client(self):
        s = None
        while not self.stop.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException):
                s = s or self.connect()
            if s is None or not self.send(s):
                s = None
                self.stop.wait(0.01)

    def start(self, clients=CLIENTS):
        self.stop.clear()
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60 * SLOW)

    def told_now(self):
        """What was answered 250, and what was refused, by now."""
        with self.lock:
            return set(self.taken), set(self.refused)

    def power_went(self, refused):
        """A 4xx of later is none: without power nobody would have heard it."""
        with self.lock:
            for number in self.refused - refused:
                self.doubt[number] = True
            self.refused = refused

    def collect(self):
        """Count what is in the mailboxes, and take it away."""
        for user in USERS:
            for path in self.suite.files(user):
                with open(path, "rb") as f:
                    text = f.read()
                mark = re.search(rb"^X-Number: (\d+)\r?$", text, re.M)
                if mark is None:
                    raise Loss(f"{path}: none of ours, or not whole")
                number = int(mark[1])
                if not text.endswith(self.content(number)):
                    raise Loss(f"{path}: message {number} is not whole")
                self.found[user][number] += 1
                os.unlink(path)

    def compare(self, surely):
        """`surely`: numbers that were answered 250 before the power went."""
        for user in USERS:
            twice = [n for n, times in self.found[user].items() if times > 1]
            if twice:
                raise Loss(f"{user} has {twice} more than once")
            refused = self.refused & set(self.found[user])
            if refused:
                raise Loss(f"{user} has {sorted(refused)}, which were refused")
            lost = [n for n in surely if user in self.users(n) and self.found[user][n] == 0]
            if lost:
                lines = [x for x in self.suite.log().splitlines() if any(self.taken[n] in x for n in lost[:3])]
                raise Loss(f"{user} misses {len(lost)} of {len(surely)}: {[(n, self.taken[n]) for n in sorted(lost)[:20]]}\n" +
                           "\n".join(lines[-60:]))
        # Without an answer: for each of its users, or for none.
        for n in set(self.found["alice"]) ^ set(self.found["bob"]):
            if len(self.users(n)) == 2:
                raise Loss(f"message {n} came to one of its two users alone")


class Machine:
    """A suite on a disk of its own, and what it was sent."""

    def __init__(self, folder, kind, seed):
        self.seed, self.random = seed, random.Random(seed)
        self.suite = None
        # Each start takes a segment of the log, 16 megaoctets, which a killed tracer may hold for a while.
        self.disk = Disk(kind, os.path.join(folder, "image"), os.path.join(folder, "m"), 1 << 30)
        os.chmod(self.disk.where, 0o755)
        self.suite = Suite(os.path.join(self.disk.where, "suite"))
        self.suite.configure(retry_min="1s", retry_max="2s", spool_min_free="1M", smtp_sessions_per_client=100)
        for user in USERS:
            self.suite.add_user(user)
        self.suite.run("alias", "add", "info@example.test", "alice@example.test,bob@example.test")
        self.disk.sync()
        self.mail = Mail(self.suite, seed)

    def off(self):
        """The power goes; the processes with it."""
        self.disk.cut()
        self.suite.kill_all()

    def come_back(self, surely):
        self.suite.start()
        self.settle(surely)

    def settle(self, surely):
        self.suite.wait_queue_empty(60)
        self.mail.collect()
        self.mail.compare(surely)
        # That we took mail away must not be forgotten in the next cut.
        self.disk.sync()

    def cut_under_load(self):
        """At a random instant; the suite runs afterwards, and nothing is on its way."""
        mail = self.mail
        mail.start()
        begun = len(mail.taken)
        wait_until(lambda: len(mail.taken) > begun, 30, "the first answer")
        time.sleep(self.random.uniform(0, 0.4))
        surely, refused = mail.told_now()
        self.off()
        mail.end()
        mail.power_went(refused)
        self.disk.repair()
        self.come_back(surely)

    def cut_when_idle(self):
        """One message, then silence: nothing else makes the journal commit."""
        mail = self.mail
        with contextlib.closing(mail.connect()) as client:
            if not mail.send(client):
                raise Loss(f"not taken by a suite that is at rest:\n{self.suite.log()[-3000:]}")
            time.sleep(self.random.choice((0, 0.005, 0.02, 0.1, 0.5)))
            surely, _ = mail.told_now()
            self.off()
        self.disk.repair()
        self.come_back(surely)

    def close(self):
        self.mail.end()
        self.suite.kill_all()
        self.disk.remove()


def keep(machine, loss):
    """What a loss left, for whoever looks for its cause."""
    folder = tempfile.mkdtemp(prefix="pp-loss-")
    machine.suite.kill_all()
    subprocess.run(["cp", "-a", machine.suite.dir, folder], check=False)
    return Loss(f"{loss}\nThe suite is in {folder}, as it was after it had come back.")


def cuts(folder, kind, idle, n, seed):
    """n power cuts of one suite; how many messages were taken."""
    machine = Machine(folder, kind, seed)
    try:
        machine.suite.start()
        for _ in range(n):
            if idle:
                machine.cut_when_idle()
            else:
                machine.cut_under_load()
        return len(machine.mail.taken)
    except Loss as e:
        raise keep(machine, e) from e
    finally:
        machine.close()


def snapshots(folder, n, seed):
    """
    n copies of the disk under load, each of one instant (reflink); then each
    one is started.  The number of messages taken.
    """
    host = Disk("xfs", os.path.join(folder, "host"), os.path.join(folder, "h"), 4 << 30, ("-m", "reflink=1"))
    machine = None
    try:
        machine = Machine(host.where, "ext4", seed)
        machine.suite.start()
        machine.mail.start()
        told = []
        for k in range(n):
            time.sleep(machine.random.uniform(0.02, 0.3))
            surely, refused = machine.mail.told_now()
            subprocess.run(["cp", "--reflink=always", machine.disk.image, f"{host.where}/cut.{k}"], check=True)
            told.append((surely, refused))
        machine.mail.end()
        machine.suite.kill_all()
        machine.disk.unmount()
        for k, (surely, machine.mail.refused) in enumerate(told):
            machine.disk.mount(f"{host.where}/cut.{k}")
            machine.mail.found = {u: collections.Counter() for u in USERS}
            machine.come_back(surely)
            machine.suite.kill_all()
            machine.disk.unmount()
            os.unlink(f"{host.where}/cut.{k}")
        return len(told[-1][0])
    finally:
        if machine is not None:
            machine.close()
        host.remove()
        shutil.rmtree(host.where, ignore_errors=True)
