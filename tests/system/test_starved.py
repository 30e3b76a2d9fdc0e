"""Full disks, no inodes, no descriptors, no memory: 4xx or a deferral, nothing lost, and work goes on when there is room again."""
import collections
import contextlib
import hashlib
import os
import re
import smtplib
import socket
import subprocess
import threading
import time

import pytest

from conftest import SLOW, wait_until
from disk import own_mounts  # noqa: F401: a fixture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount and to set limits")


class Numbered:
    """Messages that are told apart; what was taken has to come exactly once."""

    def __init__(self, suite):
        self.suite, self.next, self.taken = suite, 0, {}

    def content(self, number):
        body = (hashlib.sha256(b"%d" % number).hexdigest() + "\r\n") * 40
        return f"From: <s@example.net>\r\nX-Number: {number}\r\n\r\n{body}".encode()

    def send(self, user="alice"):
        """True: 250.  False: a 4xx, or no service now.  Anything else is a fault."""
        number, self.next = self.next, self.next + 1
        try:
            with self.suite.smtp() as s:
                s.sendmail("s@example.net", [f"{user}@example.test"], self.content(number))
        except smtplib.SMTPRecipientsRefused as e:
            assert all(400 <= code < 500 for code, _ in e.recipients.values()), e
            return False
        except smtplib.SMTPResponseException as e:
            assert 400 <= e.smtp_code < 500, e
            return False
        except (smtplib.SMTPServerDisconnected, OSError):
            return False
        self.taken[number] = user
        return True

    def check(self):
        """All that was taken, once and whole; nothing else."""
        seen = {}
        for user in ("alice", "bob"):
            counts = collections.Counter()
            for path in self.suite.files(user):
                with open(path, "rb") as f:
                    text = f.read()
                number = int(re.search(rb"^X-Number: (\d+)\r$", text, re.M)[1])
                assert text.endswith(self.content(number)), path
                counts[number] += 1
            seen[user] = counts
        for user, counts in seen.items():
            wanted = {n: 1 for n, u in self.taken.items() if u == user}
            assert counts == wanted, (counts - collections.Counter(wanted), collections.Counter(wanted) - counts)


def fill(folder):
    """All octets of a small file system but some; the file that has them."""
    path = os.path.join(folder, "filler")
    with open(path, "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(b"\0" * 65536)
    return path


def fill_inodes(folder):
    """All inodes; the folder of the files."""
    sub = os.path.join(folder, "fillers")
    os.mkdir(sub)
    with contextlib.suppress(OSError):
        for i in range(100_000):
            os.close(os.open(os.path.join(sub, str(i)), os.O_CREAT | os.O_WRONLY))
    return sub


@contextlib.contextmanager
def small(suite, part, options):
    """A small file system at this folder of a stopped suite, with what is there already."""
    where = os.path.join(suite.dir, part)
    st = os.stat(where)
    subprocess.run(["cp", "-a", where, where + ".was"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", where], check=True)
    subprocess.run(["cp", "-aT", where + ".was", where], check=True)
    os.chown(where, st.st_uid, st.st_gid)
    os.chmod(where, st.st_mode & 0o7777)
    try:
        yield where
    finally:
        suite.stop()
        suite.kill_all()
        subprocess.run(["umount", "-l", where])


def free(path):
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.mark.parametrize("what", ["octets", "inodes"])
def test_mail_file_system_full(own_mounts, make_suite, what):
    """Delivery waits; the message is in the queue, and comes by itself when there is room."""
    s = make_suite(start=False, retry_min="1s", retry_max="1s")
    with small(s, "mail", "size=4m,nr_inodes=200"):
        s.start()
        mail = Numbered(s)
        assert mail.send()
        s.wait_mail(n=1)
        filler = fill(os.path.join(s.dir, "mail")) if what == "octets" else fill_inodes(os.path.join(s.dir, "mail"))
        assert all(mail.send(user) for user in ("alice", "bob", "alice"))
        s.wait_log(r"status=deferred")
        wait_until(lambda: len(s.log().split("status=deferred")) > 4, 20, "all three to be deferred")
        assert len(s.files("alice")) == 1 and not s.files("bob")
        assert not [f for u in ("alice", "bob") for f in leftovers(s, u)]
        free(filler)
        s.wait_queue_empty(30)
        mail.check()


def leftovers(suite, user):
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(os.path.join(suite.maildir(user), "tmp"))
    return []


def test_spool_full(own_mounts, make_suite):
    """452 for what is new, delivery of what is there; then all is well again."""
    s = make_suite(start=False, retry_min="1s", retry_max="1s", spool_min_free="1M")
    with small(s, "spool", "size=64m"):
        s.start()
        mail = Numbered(s)
        assert mail.send()
        filler = fill(os.path.join(s.dir, "spool"))
        wait_until(lambda: not mail.send("bob"), 30, "a refusal")
        assert [mail.send() for _ in range(3)] == [False] * 3
        free(filler)
        wait_until(lambda: mail.send("bob"), 30, "mail to be taken again")
        s.wait_queue_empty(30)
        mail.check()


def processes(suite, name):
    found = []
    for pid in suite.pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as f:
            if f.read().strip() == name:
                found.append(pid)
    return found


def limit(pids, *what):
    """As the owner of the process, which needs no right over others."""
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            status = f.read()
        uid, gid = (re.search(rf"^{x}:\s+(\d+)", status, re.M)[1] for x in ("Uid", "Gid"))
        subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                        "prlimit", "--pid", str(pid), *what], check=True)


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture()
def suite_to_starve(make_suite):
    return make_suite(retry_min="1s", retry_max="1s", smtp_workers="1")


def test_smtpd_without_descriptors(suite_to_starve):
    s = suite_to_starve
    mail = Numbered(s)
    assert mail.send()
    worker = max(processes(s, "smtpd"), key=open_files)
    limit([worker], f"--nofile={open_files(worker) + 2}:")
    held = []
    for _ in range(8):
        c = socket.create_connection(("127.0.0.1", s.port("smtp")), timeout=1)
        held.append(c)
    time.sleep(0.2)
    assert os.path.exists(f"/proc/{worker}")
    for c in held:
        c.close()
    wait_until(lambda: mail.send("bob"), 20, "service")
    limit([worker], "--nofile=1000:")
    assert mail.send()
    s.wait_queue_empty(30)
    mail.check()
    assert s.daemon_pid("smtpd") and os.path.exists(f"/proc/{worker}")


def test_deliver_without_descriptors(suite_to_starve):
    s = suite_to_starve
    mail = Numbered(s)
    assert mail.send() and mail.send("bob")
    s.wait_queue_empty()
    pids = processes(s, "deliver")
    limit(pids, "--nofile=4:")
    assert all(mail.send(user) for user in ("alice", "bob") * 3)
    s.wait_log("status=deferred|Too many open files|descriptors", 20)
    limit([p for p in pids if os.path.exists(f"/proc/{p}")], "--nofile=1000:")
    s.wait_queue_empty(60)
    mail.check()


@pytest.mark.parametrize("daemon", ["smtpd", "deliver", "queue"])
def test_without_memory(suite_to_starve, daemon):
    """The address space is at its end; what cannot be done now is refused or waits."""
    s = suite_to_starve
    mail = Numbered(s)
    assert mail.send() and mail.send("bob")
    s.wait_queue_empty()
    before = {}
    for pid in processes(s, daemon):
        with open(f"/proc/{pid}/statm") as f:
            pages = int(f.read().split()[0])
        with open(f"/proc/{pid}/limits") as f:
            before[pid] = re.search(r"^Max address space +(\S+)", f.read(), re.M)[1]
        limit([pid], f"--as={pages * 4096 + 16384}:")
    answers = [mail.send(user) for user in ("alice", "bob") * 10]
    for pid in processes(s, daemon):
        if pid in before:		# others were started meanwhile
            limit([pid], f"--as={before[pid]}:")
    wait_until(lambda: mail.send("bob"), 40, "service")
    s.wait_queue_empty(60)
    mail.check()
    assert answers.count(True) <= len(mail.taken)


def test_relay_without_descriptors(make_suite):
    """Mail for elsewhere waits, and goes out when there are descriptors again."""
    got = []
    listener = socket.create_server(("127.0.0.1", 0))

    def sink():
        def talk(c):
            with c, c.makefile("rwb") as f:
                def say(line):
                    f.write(line + b"\r\n")
                    f.flush()
                say(b"220 sink")
                data = None
                for line in f:
                    if data is not None:
                        if line == b".\r\n":
                            got.append(data)
                            data = None
                            say(b"250 ok")
                        else:
                            data += line
                    elif line[:4].upper() == b"DATA":
                        data = b""
                        say(b"354 go")
                    elif line[:4].upper() == b"QUIT":
                        say(b"221 bye")
                        return
                    else:
                        say(b"250 ok")
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(c,), daemon=True).start()

    threading.Thread(target=sink, daemon=True).start()
    s = make_suite(retry_min="1s", retry_max="1s", smarthost=f"127.0.0.1:{listener.getsockname()[1]}", smarthost_tls="never")
    pids = processes(s, "relay")
    for pid in pids:
        limit([pid], f"--nofile={open_files(pid)}:")
    for i in range(5):
        s.run("-fme@example.test", f"r{i}@far.test", program="sendmail", input=f"Subject: n{i}\n\nx\n")
    s.wait_log("status=deferred", 20)
    assert not got
    for pid in pids:
        limit([pid], "--nofile=1000:")
    s.wait_queue_empty(60)
    listener.close()
    assert sorted(re.search(rb"Subject: (n\d)", m)[1] for m in got) == [b"n0", b"n1", b"n2", b"n3", b"n4"]
