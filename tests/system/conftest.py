"""A whole suite in a folder of its own, on ports of its own, for the tests.

Each test file gets a running suite with the users alice and bob of
example.test (fixture `suite`); `make_suite` makes others.  Nothing outside the
folder is touched, and only processes of the suite are ended.
"""
import contextlib
import email.message
import imaplib
import json
import os
import poplib
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("PP_BUILD", os.path.join(TOP, "build")), "bin")
SAN = "san" in os.path.basename(os.path.dirname(BIN))
# How many times longer than on a quiet machine things may take: this one may be busy, sanitizers cost time.
SLOW = 8 if SAN else 3
OFFSETS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
DAEMONS = ("queue", "auth", "deliver", "relay", "smtpd", "imapd", "pop3d")


def pytest_configure(config):
    config.addinivalue_line("markers", "san: also run with the daemons built with sanitizers")


def wait_until(condition, seconds=10, what="condition"):
    """Poll until condition() is true; its value.  Fails the test after `seconds`."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds * SLOW} s for {what}")
        time.sleep(0.01)


def alive(pid):
    """Is that a process, and no zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port_base():
    """A port base whose seven ports are free now, and not of those that outgoing connections take."""
    for _ in range(200):
        base = random.randrange(10240, 31700)
        with contextlib.ExitStack() as stack:
            try:
                for offset in OFFSETS.values():
                    s = stack.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + offset))
            except OSError:
                continue
        return base
    raise RuntimeError("no free ports")


class Suite:
    """One Pennypost with its own folder, ports and passwords."""

    def __init__(self, folder, domain="example.test", hostname="mail.example.test"):
        self.dir = folder
        self.domain = domain
        self.base = free_port_base()
        self.conf = os.path.join(folder, "pennypost.conf")
        self.passwords = {}
        self.tls = ssl.create_default_context()
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE
        done = subprocess.run([os.path.join(BIN, "pennypost"), "init", "--domain", domain, "--hostname", hostname,
                               "--port-base", str(self.base), "--lmtp", "run/lmtp", folder],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    # -- control --

    def run(self, *args, input=None, check=True, timeout=120, program="pennypost"):
        argv = [os.path.join(BIN, program), "-C", self.conf, *args]
        done = subprocess.run(argv, input=input, capture_output=True, timeout=timeout,
                              text=not isinstance(input, bytes))
        if check:
            assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()[-4000:]}"
        return done

    def json(self, *args):
        """What a command prints with --json."""
        return json.loads(self.run(*args, "--json").stdout)

    def configure(self, **options):
        """Append options (retry_min="1s" becomes retry-min = "1s")."""
        with open(self.conf, "a") as f:
            for name, value in options.items():
                if isinstance(value, (list, tuple)):
                    value = "{" + ", ".join(f'"{v}"' for v in value) + "}"
                else:
                    value = f'"{value}"'
                f.write(f"{name.replace('_', '-')} = {value}\n")

    def add_user(self, name, password=None, *args):
        address = name if "@" in name else f"{name}@{self.domain}"
        password = password or f"pw-{name}-{random.randrange(10**6)}"
        self.run("user", "add", address, "--password-stdin", *args, input=password + "\n")
        self.passwords[address] = password
        return address

    def start(self):
        self.run("start")
        return self

    def stop(self):
        self.run("stop", check=False)

    def status(self):
        """Also while it is not healthy, which the exit code says."""
        return json.loads(self.run("status", "--json", check=False).stdout)

    def pids(self):
        """All processes of this suite, by what they were started with or from."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    line = f.read()
            except OSError:
                continue
            if self.conf.encode() in line.split(b"\0"):
                found.append(int(entry))
        return found

    def kill_all(self):
        for _ in range(20):
            pids = self.pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not pids:
                return
            time.sleep(0.05)

    def daemon_pid(self, name):
        for d in self.status()["daemons"]:
            if d["name"] == name:
                return d["pid"]
        raise KeyError(name)

    # -- ports and clients --

    def port(self, service):
        return self.base + OFFSETS[service]

    def password(self, user):
        return self.passwords[user if "@" in user else f"{user}@{self.domain}"]

    def address(self, user):
        return user if "@" in user else f"{user}@{self.domain}"

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port("smtp"), local_hostname="client.example.net", timeout=30 * SLOW)

    def submission(self, user=None):
        s = smtplib.SMTP_SSL("127.0.0.1", self.port("submissions"), context=self.tls, timeout=30 * SLOW,
                             local_hostname="client.example.net")
        if user:
            s.login(self.address(user), self.password(user))
        return s

    def imap(self, user="alice", folder="INBOX"):
        c = imaplib.IMAP4_SSL("127.0.0.1", self.port("imaps"), ssl_context=self.tls, timeout=60 * SLOW)
        c.login(self.address(user), self.password(user))
        if folder:
            assert c.select(folder)[0] == "OK"
        return c

    def pop3(self, user="alice"):
        c = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), context=self.tls, timeout=60 * SLOW)
        c.user(self.address(user))
        c.pass_(self.password(user))
        return c

    def tcp(self, service="smtp", tls=False):
        s = socket.create_connection(("127.0.0.1", self.port(service)), timeout=30 * SLOW)
        return self.tls.wrap_socket(s) if tls else s

    def send(self, to="alice", sender="sender@example.net", content=None, subject="test"):
        """By plain SMTP; content is bytes with CRLF, or made."""
        if content is None:
            content = f"From: <{sender}>\r\nTo: <{self.address(to)}>\r\nSubject: {subject}\r\n\r\nHello.\r\n".encode()
        with self.smtp() as s:
            s.sendmail(sender, [self.address(to)], content)
        return content

    # -- what is there --

    def maildir(self, user="alice"):
        address = self.address(user)
        local, domain = address.split("@")
        return os.path.join(self.dir, "mail", domain, local, "Maildir")

    def files(self, user="alice", folder=""):
        found = []
        for sub in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError):
                base = os.path.join(self.maildir(user), folder, sub)
                found += [os.path.join(base, f) for f in os.listdir(base) if not f.startswith(".")]
        return sorted(found)

    def wait_mail(self, user="alice", n=1, seconds=15):
        wait_until(lambda: len(self.files(user)) >= n, seconds, f"{n} messages of {user}; log:\n{self.log()[-3000:]}")
        return self.files(user)

    def wait_log(self, pattern, seconds=15):
        wait_until(lambda: re.search(pattern, self.log()), seconds, f"'{pattern}' in the log:\n{self.log()[-3000:]}")
        return re.search(pattern, self.log())

    def wait_queue_empty(self, seconds=30):
        wait_until(lambda: self.run(program="mailq").stdout.strip() == "Mail queue is empty", seconds, "an empty queue")

    def log(self):
        try:
            with open(os.path.join(self.dir, "log", "pennypost.log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def close(self):
        self.stop()
        self.kill_all()
        log = self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        # What no test may cause, whatever else it checks.
        assert "ERROR: AddressSanitizer" not in log and "runtime error:" not in log, log[-6000:]
        assert "system call refused" not in log, re.findall(r".*system call refused.*", log)


@pytest.fixture(scope="module")
def make_suite():
    """Factory: make_suite(users=(...), start=True, **options) gives a Suite; all are closed at the end."""
    made = []

    def make(users=("alice", "bob"), start=True, domain="example.test", **options):
        suite = Suite(tempfile.mkdtemp(prefix="pp-suite-"), domain)
        made.append(suite)
        if options:
            suite.configure(**options)
        for user in users:
            suite.add_user(user)
        if start:
            suite.start()
        return suite

    yield make
    errors = []
    for suite in made:
        try:
            suite.close()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="module")
def suite(make_suite):
    """A running suite: alice, bob, catch-all to alice, info@ to both."""
    s = make_suite(start=False)
    s.run("alias", "add", "*@example.test", "alice@example.test")
    s.run("alias", "add", "info@example.test", "alice@example.test,bob@example.test")
    return s.start()


def plain_message(subject="test", body="Hello.", to="alice@example.test"):
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = "sender@example.net", to, subject
    m.set_content(body)
    return m
