"""A queue alone, in a folder of its own: its sockets are spoken to as smtpd, deliver, relay and pennypost do."""
import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import ipc
from conftest import BIN, SLOW, wait_until

OK, TEMP, PERM = range(3)
DONE, DEFERRED, FAILED, EXPANDED, DISCARDED = range(5)
SMTP, LMTP, LOCAL, GENERATED = range(4)
UNKNOWN, TO_LOCAL, REMOTE = range(3)
HOLD, RELEASE, RETRY, DELETE, EXPIRE, COMPACT = range(6)
KINDS = ("accepted", "injected", "generated", "expanded", "delivered", "relayed", "deferred", "bounced", "discarded",
         "notified", "held", "released", "retried", "expired", "deleted", "cancelled")


class Queue:
    """A queue in a folder of its own, started and killed at will."""

    def __init__(self, folder, **options):
        self.dir = folder
        self.conf = os.path.join(folder, "pennypost.conf")
        for name in ("spool", "spool/drop", "state", "run", "mail", "maps"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        os.chmod(folder, 0o755)
        self.options = {"hostname": '"mail.example.test"', "retry-min": "1", "retry-max": "4",
                        "lifetime": "3600", "bounce-lifetime": "3600", "uid-base": str(70000 + os.getpid() % 1000),
                        "user-prefix": "pp-test-"}  # numbers, whatever accounts this machine has
        self.options.update({k.replace("_", "-"): str(v) for k, v in options.items()})
        self.process = None
        self.log_path = os.path.join(folder, "log")
        self.conns = []
        self.write_conf()

    def write_conf(self):
        text = "".join(f"{k} = {v}\n" for k, v in self.options.items())
        text += "".join(f'{k} = "{v}"\n' for k, v in
                        {"spool-dir": "spool", "state-dir": "state", "run-dir": "run", "mail-root": "mail",
                         "map-dir": "maps", "log-to": "stderr"}.items())
        with open(self.conf, "w") as f:
            f.write(text)

    def start(self, faults=None):
        if os.geteuid() == 0:
            for name in ("spool", "state", "spool/drop", "run"):
                os.chown(os.path.join(self.dir, name), int(self.options["uid-base"]) + 1, int(self.options["uid-base"]) + 1)
        self.log = open(self.log_path, "ab")
        env = dict(os.environ, **({"LD_PRELOAD": fault_library(), "PP_FAULTS": faults} if faults else {}))
        self.process = subprocess.Popen([os.path.join(BIN, "queue"), "-d", "-C", self.conf], env=env,
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.process.poll() is not None or self.answers(), 20, "queue to start")
        assert self.process.poll() is None, self.read_log()[-4000:]
        return self

    def answers(self):
        try:
            c = ipc.Conn(self.path("control"), timeout=0.5)
            name, _, _ = c.ask("queue_status", timeout=5)
            c.close()
            return name == "queue_figures"
        except (OSError, ipc.Closed, TimeoutError):
            return False

    def path(self, role):
        return os.path.join(self.dir, "run", f"queue-{role}")

    def kill(self, sig=signal.SIGKILL):
        for c in self.conns:
            c.close()
        self.conns = []
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)
        if self.process is not None:
            self.process.wait(30)
            self.process = None
            self.log.close()

    def stop(self):
        self.kill(signal.SIGTERM)

    def read_log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def conn(self, role, program="test"):
        c = ipc.Conn(self.path(role), program=program)
        self.conns.append(c)
        return c

    def smtpd(self):
        return Submitter(self.conn("submit", "smtpd"))

    def agent(self, role, slots=64):
        return Agent(self.conn(role, role), slots)

    # What the administrator sees.

    def figures(self):
        c = ipc.Conn(self.path("control"))
        _, f, _ = c.ask("queue_status")
        c.close()
        return f

    def balanced(self):
        f = self.figures()
        return (f["accepted"] + f["injected"] + f["generated"] + f["expanded"] ==
                f["delivered"] + f["relayed"] + f["bounced"] + f["discarded"] + f["queued"])

    def list(self, **filters):
        c = ipc.Conn(self.path("control"), timeout=60)
        c.send("queue_list", **filters)
        items, self.frames = [], 0
        while True:
            name, f, _ = c.recv()
            self.frames += 1
            if name == "queue_end":
                c.close()
                for item in items:
                    item["rcpts"] = ipc.unpack_list("queue_rcpt", item["rcpts"])
                return items
            items += ipc.unpack_list("queue_item", f["items"])

    def do(self, action, **which):
        c = ipc.Conn(self.path("control"))
        name, f, _ = c.ask("queue_do", action=action, **which)
        assert name == "queue_end"
        c.close()
        return f

    def trace(self, key):
        c = ipc.Conn(self.path("control"), timeout=30)
        c.send("queue_trace", key=key)
        events = []
        while True:
            name, f, _ = c.recv()
            if name == "queue_end":
                c.close()
                return f["verdict"], events
            f["kind"] = KINDS[f["kind"]]
            events.append(f)

    def export(self, qid):
        c = ipc.Conn(self.path("control"))
        name, f, fd = c.ask("queue_export", qid=qid)
        c.close()
        if name == "queue_end":
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read()


def fault_library():
    """fault_calls.c, to be preloaded."""
    if not hasattr(fault_library, "path"):
        folder = tempfile.mkdtemp(prefix="pp-fault-")
        atexit.register(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        fault_library.path = os.path.join(folder, "fault.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fault_calls.c")
        subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", fault_library.path, source, "-ldl"], check=True)
    return fault_library.path


PAD = (b"p" * 898 + b"\r\n") * 300  # 270,000 octets; the log takes 256 KiB


class Submitter:
    def __init__(self, conn):
        self.conn = conn
        self.ids = []

    def lease(self):
        if not self.ids:
            _, f, _ = self.conn.ask("submit_lease", count=100)
            self.ids = list(range(f["first"], f["first"] + f["count"]))
        return self.ids.pop(0)

    def start(self, rcpts, sender=b"sender@client.test", content=b"Subject: t\r\n\r\nbody\r\n", hint=REMOTE, qid=None,
              notify=0, large=False, **more):
        """Send it, do not wait; the id.  large: so much more that the log does not take it."""
        qid = qid or self.lease()
        content += PAD * large
        items = [r if isinstance(r, dict) else {"addr": r, "hint": hint, "notify": notify} for r in rcpts]
        if large or len(content) > 65536:
            name, f, fd = self.conn.ask("submit_file_open", qid=qid)
            assert (name, f["qid"]) == ("submit_file", qid)
            if fd is None:
                return None
            with os.fdopen(fd, "wb") as file:
                file.write(content)
            content, more["in_file"] = b"", 1
        more.setdefault("origin", SMTP)
        self.conn.send("submit", qid=qid, sender=sender, content=content, rcpts=ipc.pack_list("rcpt", items),
                       received_usec=int(time.time() * 1e6), **more)
        return qid

    def submit(self, *args, **kwargs):
        """(verdict, id)"""
        qid = self.start(*args, **kwargs)
        if qid is None:
            return TEMP, None
        name, f, _ = self.conn.recv()
        assert name == "submit_result" and f["qid"] == qid
        return f["verdict"], qid


class Job:
    def __init__(self, fields, fd):
        self.__dict__.update(fields)
        self.rcpts = ipc.unpack_list("job_rcpt", fields["rcpts"])
        if fd is not None:
            with os.fdopen(fd, "rb") as f:
                self.content = f.read()


class Agent:
    """deliver or relay."""

    def __init__(self, conn, slots):
        self.conn = conn
        conn.send("job_ready", slots=slots)

    def job(self, timeout=10):
        name, f, fd = self.conn.recv(timeout * SLOW)
        assert name == "job"
        return Job(f, fd)

    def quiet(self, seconds=0.3):
        with pytest.raises(TimeoutError):
            self.conn.recv(seconds)

    def answer(self, job, outcome=DONE, dsn=None, text="ok", indexes=None, targets=None, relay="mx.test[192.0.2.1]:25", more=0,
               remote=""):
        dsn = dsn or {DONE: "2.0.0", DEFERRED: "4.2.0", FAILED: "5.1.1", EXPANDED: "2.0.0", DISCARDED: "2.0.0"}[outcome]
        indexes = [r["index"] for r in job.rcpts] if indexes is None else indexes
        results = [{"index": i, "outcome": outcome, "dsn": dsn, "relay": relay, "text": text, "remote": remote, "more": more,
                    "targets": ipc.pack_list("target", targets or [])} for i in indexes]
        self.conn.send("job_results", job=job.job, qid=job.qid, results=ipc.pack_list("job_result", results))
        if more == 0:
            self.conn.send("job_ready", slots=1)

    def serve(self, n, outcome=DONE):
        jobs = []
        for _ in range(n):
            jobs.append(self.job())
            self.answer(jobs[-1], outcome)
        return jobs


@pytest.fixture
def make_queue():
    made = []

    def make(**options):
        folder = tempfile.mkdtemp(prefix="pp-queue-")
        made.append(Queue(folder, **options))
        return made[-1]

    yield make
    for q in made:
        q.kill()
        shutil.rmtree(q.dir, ignore_errors=True)


@pytest.fixture
def queue(make_queue):
    return make_queue().start()


def settled(q):
    """Nothing is queued any more, and the books are right."""
    wait_until(lambda: q.figures()["messages"] == 0, 10, "an empty queue")
    assert q.balanced()


def failed(queue, outcome=FAILED, **options):
    smtpd, relay, deliver = queue.smtpd(), queue.agent("relay"), queue.agent("deliver")
    smtpd.submit(**options)
    for _ in {r["addr"].split("@")[1] if isinstance(r, dict) else r.split("@")[1] for r in options["rcpts"]}:
        relay.answer(relay.job(), outcome, text="550 5.1.1 no such user here", remote="mx.far.test", dsn="5.1.1")
    return deliver
