"""queue alone: its sockets are spoken to as smtpd, deliver, relay and pennypost do."""
import atexit
import contextlib
import email
import email.policy
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
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
        assert self.process.poll() is None, self.read_log()
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
        items = []
        while True:
            name, f, _ = c.recv()
            if name == "queue_end":
                c.close()
                return items
            f["rcpts"] = ipc.unpack_list("queue_rcpt", f["rcpts"])
            items.append(f)

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
        """Send it, do not wait; the id."""
        qid = qid or self.lease()
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


# ---- the way of a message ----

def test_in_and_out(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    verdict, qid = smtpd.submit(["r@far.test"], message_id="<m1@client.test>")
    assert verdict == OK
    job = relay.job()
    assert (job.qid, job.repeat, job.content) == (qid, 0, b"Subject: t\r\n\r\nbody\r\n")
    assert [r["addr"] for r in job.rcpts] == [b"r@far.test"]
    relay.answer(job)
    settled(queue)
    assert queue.figures()["relayed"] == 1
    log = queue.read_log()
    for want in (r"cleanup\[\d+\]: \w+: message-id=<m1@client.test>", r"qmgr\[\d+\]: \w+: from=<sender@client.test>, size=20, nrcpt=1",
                 r"smtp\[\d+\]: \w+: to=<r@far.test>, relay=mx.test\[192.0.2.1\]:25, .*status=sent", r"qmgr\[\d+\]: \w+: removed"):
        assert re.search(want, log), want


def test_local_recipient_goes_to_deliver_and_expands(queue):
    smtpd, deliver, relay = queue.smtpd(), queue.agent("deliver"), queue.agent("relay")
    _, qid = smtpd.submit(["info@example.test", "bob@example.test"], hint=TO_LOCAL)
    job = deliver.job()
    assert [r["final"] for r in job.rcpts] == [0, 0]
    deliver.answer(job, EXPANDED, indexes=[0], targets=[{"addr": "alice@example.test"}, {"addr": "bob@example.test"},
                                                       {"addr": "x@far.test", "remote": 1}])
    deliver.answer(job, DONE, indexes=[1], relay="virtual")
    second = deliver.job()
    assert [(r["addr"], r["orig_to"], r["final"]) for r in second.rcpts] == [
        (b"alice@example.test", b"info@example.test", 1), (b"bob@example.test", b"info@example.test", 1)]
    deliver.answer(second, relay="virtual")
    relay.serve(1)
    settled(queue)
    f = queue.figures()
    assert (f["accepted"], f["expanded"], f["delivered"], f["relayed"]) == (2, 2, 3, 1)


def test_mailbox_named_twice_gets_one_copy(queue):
    smtpd, deliver = queue.smtpd(), queue.agent("deliver")
    smtpd.submit(["info@example.test", "bob@example.test", "all@example.test"], hint=TO_LOCAL)
    job = deliver.job()
    targets = [{"addr": "alice@example.test"}, {"addr": "Bob@example.test"}]
    results = [{"index": 0, "outcome": EXPANDED, "targets": ipc.pack_list("target", targets)},
               {"index": 1, "outcome": DONE, "relay": "virtual"},
               {"index": 2, "outcome": EXPANDED, "targets": ipc.pack_list("target", targets)}]
    deliver.conn.send("job_results", job=job.job, qid=job.qid, results=ipc.pack_list("job_result", results))
    second = deliver.job()
    assert [r["addr"] for r in second.rcpts] == [b"alice@example.test"]
    deliver.answer(second)
    settled(queue)
    f = queue.figures()
    assert (f["delivered"], f["discarded"]) == (2, 1)


def test_long_list_in_parts(queue):
    smtpd, deliver = queue.smtpd(), queue.agent("deliver")
    smtpd.submit(["list@example.test"], hint=TO_LOCAL)
    job = deliver.job()
    for part in range(5):
        deliver.answer(job, EXPANDED, more=part < 4,
                       targets=[{"addr": f"user{part}-{i}@example.test"} for i in range(300)])
    seen = set()
    while len(seen) < 1500:
        job = deliver.job()
        assert len(job.rcpts) <= 100
        seen |= {r["addr"] for r in job.rcpts}
        deliver.answer(job)
    settled(queue)
    assert queue.figures()["delivered"] == 1500


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
def test_content_comes_out_as_it_came_in(queue, size):
    content = (b"Subject: s\r\n\r\n" + bytes(random.randrange(256) for _ in range(1000)) * (size // 1000 + 1))[:size]
    smtpd, relay = queue.smtpd(), queue.agent("relay", slots=0)
    verdict, qid = smtpd.submit(["r@far.test"], content=content)
    assert verdict == OK
    assert queue.export(qid) == content
    queue.kill()
    queue.start()
    assert queue.export(qid) == content
    relay = queue.agent("relay")
    job = relay.job()
    assert (job.content, job.size, job.repeat) == (content, size, 1)
    relay.answer(job)
    settled(queue)
    assert os.listdir(f"{queue.dir}/spool/large") == []


def test_many_recipients_in_parts(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay", slots=1)
    qid = smtpd.lease()
    everybody = [f"user{i}@far.test" for i in range(3000)]
    for at in range(0, 2500, 500):
        smtpd.conn.send("submit_rcpts", qid=qid,
                        rcpts=ipc.pack_list("rcpt", [{"addr": a, "hint": REMOTE} for a in everybody[at:at + 500]]))
    verdict, _ = smtpd.submit(everybody[2500:], qid=qid)
    assert verdict == OK
    seen = []
    while len(seen) < 3000:
        job = relay.job()
        seen += [r["addr"].decode() for r in job.rcpts]
        relay.answer(job)
    assert seen == everybody
    settled(queue)


# ---- what must not happen twice, or not at all ----

def test_repeat_is_not_taken_in_again(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    verdict, qid = smtpd.submit(["r@far.test"])
    assert smtpd.submit(["r@far.test"], qid=qid) == (OK, qid)
    relay.serve(1)
    relay.quiet()
    settled(queue)
    assert queue.figures()["accepted"] == 1


def test_repeat_after_a_crash(queue):
    smtpd = queue.smtpd()
    _, qid = smtpd.submit(["r@far.test"])
    queue.kill()
    queue.start()
    relay = queue.agent("relay")
    assert relay.job().repeat == 1
    queue.kill()
    queue.start()
    queue.agent("relay").serve(1)
    settled(queue)
    assert queue.smtpd().submit(["r@far.test"], qid=qid) == (OK, qid)  # gone, yet remembered
    settled(queue)


def test_lost_agent(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    _, qid = smtpd.submit(["r@far.test"])
    assert relay.job().repeat == 0
    relay.conn.close()
    job = queue.agent("relay").job()
    assert (job.qid, job.repeat) == (qid, 1)


def test_results_survive(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    smtpd.submit(["a@one.test", "b@two.test"])
    jobs = [relay.job(), relay.job()]
    relay.answer(jobs[0])
    wait_until(lambda: queue.figures()["relayed"] == 1)
    queue.kill()
    queue.start()
    relay = queue.agent("relay")
    job = relay.job()
    assert [r["addr"] for r in job.rcpts] == [r["addr"] for r in jobs[1].rcpts]
    relay.answer(job)
    settled(queue)
    assert queue.figures()["relayed"] == 2


def test_retry_and_expiry(make_queue):
    queue = make_queue(lifetime=4).start()
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    smtpd.submit(["r@far.test"])
    began, times = time.monotonic(), []
    with contextlib.suppress(TimeoutError):
        while True:
            job = relay.job(6)
            times.append(time.monotonic() - began)
            relay.answer(job, DEFERRED, text="try later\r\nforged: line")
            if times[-1] < 3:  # later it may have been given up already
                item, = queue.list()
                assert item["rcpts"][0]["reason"] == b"try later??forged: line"
                assert item["rcpts"][0]["attempts"] == len(times) - 1 or item["rcpts"][0]["attempts"] == len(times)
            if b"" == job.sender:
                break
    assert 2 <= len(times) <= 5 and times[-1] > 2.5
    deliver = queue.agent("deliver")
    bounce = deliver.job()
    assert (bounce.sender, bounce.rcpts[0]["addr"]) == (b"", b"sender@client.test")
    assert b"delivery time expired" in bounce.content
    deliver.answer(bounce)
    settled(queue)
    assert "status=expired" in queue.read_log()
    f = queue.figures()
    assert (f["bounced"], f["generated"], f["delivered"]) == (1, 1, 1)


# ---- telling the sender ----

def failed(queue, outcome=FAILED, **options):
    smtpd, relay, deliver = queue.smtpd(), queue.agent("relay"), queue.agent("deliver")
    smtpd.submit(**options)
    for _ in {r["addr"].split("@")[1] if isinstance(r, dict) else r.split("@")[1] for r in options["rcpts"]}:
        relay.answer(relay.job(), outcome, text="550 5.1.1 no such user here", remote="mx.far.test", dsn="5.1.1")
    return deliver


def test_bounce_is_a_dsn(queue):
    content = b"Subject: original\r\nMessage-ID: <o@c>\r\n\r\nsome text\r\n"
    job = failed(queue, rcpts=[{"addr": "r@far.test", "hint": REMOTE, "orcpt": "rfc822;other@far.test"}, "s@far.test"],
                 content=content, envid="env+1", hint=REMOTE).job()
    mail = email.message_from_bytes(job.content, policy=email.policy.default)
    assert job.sender == b"" and job.rcpts[0]["addr"] == b"sender@client.test"
    assert mail["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.test>"
    assert mail["To"] == "sender@client.test" and mail["Auto-Submitted"] == "auto-replied"
    assert mail.get_content_type() == "multipart/report" and mail.get_param("report-type") == "delivery-status"
    human, status, original = mail.iter_parts()
    assert "550 5.1.1 no such user here" in human.get_content() and "<s@far.test>" in human.get_content()
    assert status.get_content_type() == "message/delivery-status"
    per_message, *per_rcpt = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mail.example.test" and per_message["Original-Envelope-Id"] == "env+1"
    assert [p["Final-Recipient"] for p in per_rcpt] == ["rfc822; r@far.test", "rfc822; s@far.test"]
    assert per_rcpt[0]["Original-Recipient"] == "rfc822;other@far.test"
    assert all((p["Action"], p["Status"], p["Remote-MTA"]) == ("failed", "5.1.1", "dns; mx.far.test") for p in per_rcpt)
    assert original.get_content_type() == "message/rfc822" and original.get_payload()[0]["Subject"] == "original"
    assert all(b < 0x80 and (b >= 0x20 or b in b"\r\n\t") for b in job.content)


def test_bounce_of_8bit_and_large_content_is_its_header(queue):
    for content in (b"Subject: h\xc3\xa9\r\n\r\n8bit \xff\r\n", b"Subject: big\r\n\r\n" + b"x" * 70 * 1024 + b"\r\n"):
        deliver = failed(queue, rcpts=["r@far.test"], content=content)
        job = deliver.job()
        part = list(email.message_from_bytes(job.content).walk())[-1]
        assert part.get_content_type() == "text/rfc822-headers" and "Subject:" in part.get_payload()
        assert all(b < 0x80 for b in job.content)
        deliver.answer(job)
        for c in queue.conns:
            c.close()
        settled(queue)


@pytest.mark.parametrize("options", [{"sender": b""}, {"notify": 1}])
def test_nobody_is_told(queue, options):
    deliver = failed(queue, rcpts=["r@far.test"], **options)
    deliver.quiet()
    settled(queue)


def test_double_bounce_ends(queue):
    deliver = failed(queue, rcpts=["r@far.test"])
    deliver.answer(deliver.job(), FAILED, text="no such user")
    settled(queue)
    f = queue.figures()
    assert (f["bounced"], f["generated"], f["discarded"]) == (1, 1, 1)
    assert "nobody to be told" in queue.read_log()


def test_success_notice(queue):
    deliver = failed(queue, outcome=DONE, rcpts=["r@far.test"], notify=2)
    job = deliver.job()
    assert b"Action: relayed" in job.content and b"text/rfc822-headers" in job.content
    deliver.answer(job)
    settled(queue)


def test_delay_notice(make_queue):
    queue = make_queue(retry_max=2).start()
    smtpd, relay, deliver = queue.smtpd(), queue.agent("relay"), queue.agent("deliver")
    smtpd.submit(["r@far.test"], notify=8 | 4)
    for _ in range(3):
        relay.answer(relay.job(), DEFERRED)
    job = deliver.job()
    assert b"Action: delayed" in job.content and b"Will-Retry-Until:" in job.content
    deliver.answer(job)
    relay.answer(relay.job())
    deliver.quiet()
    settled(queue)


def test_bounce_survives_a_crash_and_is_sent_once(queue):
    deliver = failed(queue, rcpts=["r@far.test"])
    job = deliver.job()
    for _ in range(3):
        queue.kill()
        queue.start()
        deliver = queue.agent("deliver")
        again = deliver.job()
        assert (again.qid, again.content) == (job.qid, job.content)
    deliver.answer(again)
    settled(queue)
    assert queue.figures()["generated"] == 1


# ---- the administrator ----

def test_list_hold_release_delete(queue):
    smtpd = queue.smtpd()
    ids = [smtpd.submit([f"r{i}@far.test"], sender=f"s{i}@client.test")[1] for i in range(5)]
    assert [m["qid"] for m in queue.list()] == ids
    assert [m["qid"] for m in queue.list(sender="s3@")] == [ids[3]]
    assert [m["qid"] for m in queue.list(rcpt="R4@FAR")] == [ids[4]]
    assert queue.do(HOLD, qid=ids[0])["verdict"] == OK
    assert queue.do(HOLD, qid=12345)["verdict"] == PERM
    assert queue.do(DELETE, qid=ids[1])["count"] == 1
    assert queue.list(qid=ids[0])[0]["state"] == 2 and queue.figures()["held"] == 1
    queue.kill()
    queue.start()
    assert [m["qid"] for m in queue.list()] == [ids[0]] + ids[2:]
    relay = queue.agent("relay")
    assert {j.qid for j in relay.serve(3)} == set(ids[2:])
    relay.quiet()
    assert queue.do(RELEASE, qid=ids[0])["count"] == 1
    assert relay.serve(1)[0].qid == ids[0]
    settled(queue)
    assert queue.figures()["discarded"] == 1


def test_retry_now_and_expire(make_queue):
    queue = make_queue(retry_min=3600, retry_max=7200).start()
    smtpd, relay, deliver = queue.smtpd(), queue.agent("relay"), queue.agent("deliver")
    _, qid = smtpd.submit(["r@far.test"])
    relay.answer(relay.job(), DEFERRED)
    relay.quiet()
    assert queue.do(RETRY)["count"] == 1
    relay.answer(relay.job(), DEFERRED, text="still not")
    wait_until(lambda: queue.list()[0]["rcpts"][0]["attempts"] == 2)
    assert queue.do(EXPIRE, qid=qid)["count"] == 1
    job = deliver.job()
    assert b"expired: still not" in job.content.replace(b"\r\n    ", b" ")
    deliver.answer(job)
    settled(queue)


def test_trace_tells_the_story(queue):
    deliver = failed(queue, rcpts=["r@far.test"], message_id="<story@client.test>", client_name="host.test",
                     client_address="192.0.2.9", protocol="ESMTP")
    job = deliver.job()
    deliver.answer(job, relay="virtual", text="delivered to maildir")
    settled(queue)
    for key in ("<story@client.test>", "story@client.test", "R@far.test", "sender@client.test"):
        verdict, events = queue.trace(key)
        assert verdict == OK
        assert [e["kind"] for e in events if e["qid"] != job.qid] == ["accepted", "bounced", "notified"], key
        assert [e["kind"] for e in events if e["qid"] == job.qid] == ["generated", "delivered"], key
    accepted, bounced, notified = [e for e in events if e["qid"] != job.qid]
    assert accepted["host"] == b"host.test[192.0.2.9]" and b"ESMTP" in accepted["text"]
    assert bounced["rcpt"] == b"r@far.test" and bounced["text"] == b"550 5.1.1 no such user here"
    assert notified["other"] == job.qid
    assert queue.trace("nobody@nowhere.test")[0] == PERM


def test_trace_is_made_anew_when_damaged(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    for i in range(20):
        smtpd.submit([f"r{i}@far.test"])
    relay.serve(20)
    settled(queue)
    assert queue.trace("r7@far.test")[0] == OK
    queue.stop()
    for path in glob.glob(f"{queue.dir}/state/queue/*"):
        with open(path, "r+b") as f:
            f.write(b"\xff" * os.path.getsize(path))
    queue.start()
    verdict, events = queue.trace("r7@far.test")
    assert (verdict, [e["kind"] for e in events]) == (OK, ["accepted", "relayed"])


def test_tracer_dies(queue):
    smtpd, relay = queue.smtpd(), queue.agent("relay")
    children = subprocess.run(["ps", "--ppid", str(queue.process.pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
    assert len(children) == 1
    smtpd.submit(["r1@far.test"])
    os.kill(int(children[0]), signal.SIGKILL)
    smtpd.submit(["r2@far.test"])
    relay.serve(2)
    settled(queue)
    wait_until(lambda: queue.trace("r1@far.test")[0] == OK, 15)
    assert [e["kind"] for e in queue.trace("r2@far.test")[1]] == ["accepted", "relayed"]


# ---- strangers ----

def test_garbage_ends_only_its_connection(queue):
    rng = random.Random(1)
    for role in ("submit", "deliver", "relay", "control"):
        for i in range(200):
            c = ipc.Conn(queue.path(role))
            with contextlib.suppress(ipc.Closed):
                for _ in range(3):
                    code = rng.choice(list(ipc.MESSAGES.values()))[0]
                    c.send_raw(code.to_bytes(2, "little") + rng.randbytes(rng.choice((0, 1, 7, 40, 900))))
            c.close()
    assert queue.smtpd().submit(["r@far.test"])[0] == OK
    assert queue.process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_local_user(queue):
    script = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(os.path.abspath(ipc.__file__))!r})
os.setgid(65534); os.setuid(65534)
import ipc
c = ipc.Conn({queue.path("submit")!r}, program="smtpd")
_, f, _ = c.ask("submit_lease", count=3)
first = f["first"]
rcpts = ipc.pack_list("rcpt", [{{"addr": "r@far.test", "hint": 2}}])
def submit(qid, content, **more):
    return c.ask("submit", qid=qid, origin=0, login="root", rcpts=rcpts, sender="me@here.test", content=content, **more)[1]["verdict"]
print(submit(first, b"Subject: x\\r\\n\\r\\nhi\\r\\n"), submit(first + 1, b"bare\\nlf\\r\\n"), submit(first - 1, b"a\\r\\n"))
name, f, fd = c.ask("submit_file_open", qid=first + 2)
os.write(fd, b"Subject: y\\r\\n\\r\\nlarge\\r\\n")
os.close(fd)
print(submit(first + 2, b"", in_file=1), first)
c = ipc.Conn({queue.path("control")!r})
print(c.ask("queue_do", action=3)[1]["verdict"], c.ask("queue_trace", key="r@far.test")[1]["verdict"])
"""
    smtpd = queue.smtpd()
    smtpd.lease()
    smtpd.ids = smtpd.ids[-1:]
    done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    first = int(done.stdout.split()[4])
    assert done.stdout.split() == [str(OK), str(PERM), str(TEMP), str(OK), str(first), str(PERM), str(PERM)]
    deliver = queue.agent("deliver")  # the hint was not believed
    jobs = {j.qid: j for j in (deliver.job(), deliver.job())}
    for qid, body in ((first, b"hi"), (first + 2, b"large")):
        head = jobs[qid].content.split(b"\r\n", 1)[0]
        assert head == b"Received: by mail.example.test (Pennypost, from userid 65534)"
        assert jobs[qid].content.endswith(body + b"\r\n")
    assert "uid=65534 from=<me@here.test>" in queue.read_log()


# ---- the drop folder ----

def drop(queue, name, content, rcpts=("r@far.test",), sender="me@here.test"):
    def put(s):
        s = s.encode() if isinstance(s, str) else s
        return len(s).to_bytes(4, "little") + s
    items = ipc.pack_list("rcpt", [{"addr": r, "hint": REMOTE} for r in rcpts])
    header = (len(content).to_bytes(8, "little") + int(time.time() * 1e6).to_bytes(8, "little") + os.getuid().to_bytes(4, "little") +
              b"\0\0" + put(sender) + put("") + put("<d@here>") + put(items))
    path = f"{queue.dir}/spool/drop/{name}"
    with open(path + ".new", "wb") as f:
        f.write(b"PPDROP1\n" + len(header).to_bytes(4, "little") + header + content)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def test_drop_folder(queue):
    deliver = queue.agent("deliver")
    queue.stop()
    drop(queue, "D" + "0" * 32, b"Subject: dropped\r\n\r\nx\r\n")
    drop(queue, "D" + "1" * 32, b"Subject: dropped\r\n\r\n" + b"y" * 70000 + b"\r\n")
    drop(queue, "D" + "2" * 32, b"bare\nnewline")
    queue.start()
    deliver = queue.agent("deliver")
    jobs = [deliver.job(), deliver.job()]
    assert sorted(len(j.content) > 60000 for j in jobs) == [False, True]
    assert all(j.content.startswith(b"Received: by mail.example.test (Pennypost, from userid") for j in jobs)
    drop(queue, "D" + "3" * 32, b"Subject: while it runs\r\n\r\nz\r\n")
    jobs.append(deliver.job())
    for j in jobs:
        deliver.answer(j, relay="virtual")
    settled(queue)
    assert os.listdir(f"{queue.dir}/spool/drop") == ["BD" + "2" * 32 + "." + os.listdir(f"{queue.dir}/spool/drop")[0].split(".")[1]]
    assert queue.figures()["injected"] == 3


# ---- damage, full disks, crashes ----

def segments(queue):
    return sorted(glob.glob(f"{queue.dir}/spool/log/*.seg"))


def test_damage_is_set_aside_and_the_rest_kept(queue):
    smtpd = queue.smtpd()
    ids = [smtpd.submit([f"r{i}@far.test"], content=b"Subject: %d\r\n\r\n" % i + b"z" * 500 + b"\r\n")[1] for i in range(50)]
    queue.kill()
    path = segments(queue)[-1]
    data = bytearray(open(path, "rb").read())
    at = data.find(b"Subject: 20\r\n")
    data[at + 30] ^= 1
    data[data.find(b"r40@far.test")] ^= 0x10
    open(path, "wb").write(data)
    queue.start()
    assert [m["qid"] for m in queue.list()] == ids[:20] + ids[21:40] + ids[41:]
    assert len(glob.glob(f"{queue.dir}/spool/log/*.bad")) == 2 and queue.figures()["set_aside"] == 2
    assert queue.balanced() and "set aside as" in queue.read_log()
    queue.kill()
    queue.start()
    assert len(queue.list()) == 48 and queue.figures()["set_aside"] == 2 and queue.balanced()


def test_truncated_log(queue):
    smtpd = queue.smtpd()
    ids = [smtpd.submit(["r@far.test"])[1] for i in range(20)]
    queue.kill()
    path = segments(queue)[-1]
    data = open(path, "rb").read().rstrip(b"\0")
    os.truncate(path, len(data) - 30)
    queue.start()
    assert [m["qid"] for m in queue.list()] == ids[:-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_full_disk(make_queue):
    queue = make_queue(spool_min_free="4M")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", f"{queue.dir}/spool"], check=True)
    try:
        os.makedirs(f"{queue.dir}/spool/drop")
        queue.start()
        smtpd, relay = queue.smtpd(), queue.agent("relay", slots=0)
        kept, verdict = [], OK
        while verdict == OK:
            verdict, qid = smtpd.submit(["r@far.test"], content=b"Subject: x\r\n\r\n" + b"f" * 60000 + b"\r\n")
            kept += [qid] * (verdict == OK)
        assert verdict == TEMP and len(kept) > 100
        relay.conn.send("job_ready", slots=8)
        got = [j.qid for j in relay.serve(len(kept))]
        assert sorted(got) == kept
        settled(queue)
        wait_until(lambda: smtpd.submit(["r@far.test"])[0] == OK, 30, "mail to be taken again")
    finally:
        queue.kill()
        subprocess.run(["umount", "-l", f"{queue.dir}/spool"], check=True)


@pytest.mark.parametrize("faults", ["fdatasync:5:5", "pwritev:28:5", "pwritev:5:6+3", "pwritev:short:5", "fdatasync:5:4+2",
                                    "fallocate:28:2", "pwritev:5:5,fallocate:28:2+1", "fdatasync:5:5,ftruncate:5:1+1",
                                    "fsync:5:2", "openat:24:8"])
def test_write_errors(make_queue, faults):
    """What was answered OK is there, what was answered TEMP is not, before and after a crash."""
    queue = make_queue().start(faults=faults)
    smtpd = queue.smtpd()
    answers = {}
    for i in range(25):
        verdict, qid = smtpd.submit(["r@far.test"])
        answers[qid] = verdict
        if verdict != OK:
            time.sleep(0.12)
    kept = [q for q, v in answers.items() if v == OK]
    assert set(answers.values()) <= {OK, TEMP}
    if faults not in ("pwritev:short:5", "fallocate:28:2", "openat:24:8", "fsync:5:2"):
        assert TEMP in answers.values()
    assert len(kept) >= (3 if "28:2+1" in faults else 10), queue.read_log()
    assert [m["qid"] for m in queue.list()] == kept
    queue.kill()
    queue.start()
    assert [m["qid"] for m in queue.list()] == kept, queue.read_log()
    queue.agent("relay").serve(len(kept))
    settled(queue)


@pytest.mark.parametrize("faults", ["write:5:3", "write:28:4", "write:short:3", "fsync:5:2", "fsync:5:3", "fsync:5:4",
                                    "renameat2:28:1", "openat:28:9", "openat:24:10"])
def test_errors_with_large_content(make_queue, faults):
    queue = make_queue().start(faults=faults)
    smtpd = queue.smtpd() if not faults.startswith("write") else Submitter(queue.conn("submit", "pennypost"))
    answers = {}
    for i in range(6):
        verdict, qid = smtpd.submit(["r@far.test"], content=b"Subject: x\r\n\r\n" + b"y" * 70000 + b"\r\n")
        answers[qid] = verdict
        time.sleep(0.6 * (verdict != OK))
    kept = [q for q, v in answers.items() if v == OK]
    assert len(kept) >= 4 and set(answers.values()) <= {OK, TEMP}
    assert TEMP in answers.values() or "short" in faults or "openat" in faults
    queue.kill()
    queue.start()
    assert [m["qid"] for m in queue.list()] == kept
    assert len(os.listdir(f"{queue.dir}/spool/large")) == len(kept)
    queue.agent("deliver" if faults.startswith("write") else "relay").serve(len(kept))
    settled(queue)


def test_kill_at_every_call(make_queue):
    """SIGKILL before each call of the way of three messages that touches the disk."""
    for call, most in (("fdatasync", 8), ("fsync", 6), ("pwritev", 8), ("renameat2", 1), ("openat", 14), ("unlinkat", 1)):
        for n in range(1, most + 1):
            queue = make_queue()
            with contextlib.suppress(AssertionError):
                queue.start(faults=f"{call}:kill:{n}")
            answered, done = set(), {}
            with contextlib.suppress(ipc.Closed, OSError, TimeoutError):
                relay = Agent(ipc.Conn(queue.path("relay"), program="relay", timeout=1), 9)
                smtpd = Submitter(ipc.Conn(queue.path("submit"), program="smtpd", timeout=1))
                for i in range(3):
                    verdict, qid = smtpd.submit(["r@far.test"], large=i == 1)
                    assert verdict == OK
                    answered.add(qid)
                for _ in range(3):
                    job = relay.job(1)
                    done[job.qid] = 1
                    relay.answer(job)
            queue.kill()
            queue.start()
            relay = queue.agent("relay")
            for m in queue.list():
                job = relay.job()
                assert job.repeat == 1
                done[job.qid] = done.get(job.qid, 0) + 1
                relay.answer(job)
            settled(queue)
            assert answered <= set(done), (call, n)
            assert os.listdir(f"{queue.dir}/spool/large") == []
            queue.kill()
            shutil.rmtree(queue.dir)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_order_of_sync_and_answer(queue):
    """Every answer comes after a sync that covers its record (RELIABILITY P5)."""
    trace = f"{queue.dir}/strace"
    tracer = subprocess.Popen(["strace", "-qq", "-s", "8", "-e", "trace=pwritev,fdatasync,fsync,renameat2,sendmsg", "-o", trace,
                               "-p", str(queue.process.pid)])
    wait_until(lambda: os.path.exists(trace) and "TracerPid:\t0" not in open(f"/proc/{queue.process.pid}/status").read())
    smtpd, n = queue.smtpd(), 0
    for i in range(20):
        assert smtpd.submit(["r@far.test"], large=i % 4 == 3)[0] == OK
    ids = [smtpd.start([f"r{i}@far.test"]) for i in range(50)]
    assert sorted(smtpd.conn.recv()[1]["qid"] for _ in ids) == ids
    tracer.terminate()
    tracer.wait()
    log_dirty = folder_dirty = False
    for line in open(trace):
        call = line.split("(")[0]
        if call == "pwritev":
            log_dirty = True
            assert not folder_dirty, "the record counts before its file has its name for good"
        elif call == "renameat2":
            folder_dirty = True
        elif call == "fsync":
            folder_dirty = False
        elif call == "fdatasync":
            log_dirty = False
        elif call == "sendmsg" and '"\\7\\1' in line:	# submit_result
            assert not log_dirty and not folder_dirty, line
            n += 1
    assert n == 70


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("xfs_io") is None, reason="needs root and xfs_io")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("idle", [False, True])
def test_power_cut(make_queue, kind, idle):
    """The file system stops at once and forgets what was not synced; under load, and after one message and silence."""
    queue = make_queue()
    image, spool = f"{queue.dir}/image", f"{queue.dir}/spool"
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True)

    def mount():
        subprocess.run(["mount", "-o", "loop", image, spool], check=True)

    mount()
    try:
        os.makedirs(f"{spool}/drop")
        for cut in range(3):
            queue.start()
            answered, stop = set(), threading.Event()

            def load(n):
                with contextlib.suppress(ipc.Closed, OSError, TimeoutError, AssertionError):
                    smtpd = Submitter(ipc.Conn(queue.path("submit"), program="smtpd", timeout=2))
                    while not stop.is_set():
                        verdict, qid = smtpd.submit(["r@far.test"], content=b"Subject: x\r\n\r\n" + b"y" * 3000 + b"\r\n",
                                                    large=n == 0)
                        if verdict == OK:
                            answered.add(qid)
                        if idle:
                            return

            threads = [threading.Thread(target=load, args=(n,)) for n in range(1 if idle else 4)]
            for t in threads:
                t.start()
            time.sleep(0.1 if idle else 0.5)
            before = set(answered)
            subprocess.run(["xfs_io", "-x", "-c", "shutdown", spool], check=True)
            stop.set()
            queue.kill()
            for t in threads:
                t.join()
            wait_until(lambda: subprocess.run(["umount", spool], capture_output=True).returncode == 0, 10)
            mount()
            queue.start()
            there = {m["qid"] for m in queue.list()}
            assert before and before <= there, f"{len(before - there)} of {len(before)} lost"
            for qid in before:
                content = queue.export(qid)
                assert content is not None and content.endswith(b"y" * 3000 + b"\r\n")
            assert queue.balanced()
            queue.kill()
    finally:
        queue.kill()
        subprocess.run(["umount", "-l", spool])


def test_kill_loop(queue):
    """Submitters, a relay and a killer; nothing that was answered is lost, nothing is done twice without the word `repeat`."""
    rng = random.Random(7)
    answered, refused, done, stop = set(), set(), {}, threading.Event()

    def submitter(n):
        s = None
        pending = None
        while not stop.is_set():
            try:
                if s is None:
                    s = Submitter(ipc.Conn(queue.path("submit"), program="smtpd", timeout=3))
                qid = pending or s.lease()
                pending = qid
                verdict, _ = s.submit([f"r{n}@far{n}.test"], qid=qid, content=b"Subject: x\r\n\r\n%d\r\n" % qid,
                                      large=n == 3)
                (answered if verdict == OK else refused).add(qid)
                pending = None
            except (ipc.Closed, OSError, TimeoutError, AssertionError):
                s = None

    def relay():
        a = None
        while not stop.is_set():
            try:
                if a is None:
                    a = Agent(ipc.Conn(queue.path("relay"), program="relay", timeout=3), 10)
                job = a.job(0.5)
                assert job.content == b"Subject: x\r\n\r\n%d\r\n" % job.qid
                if job.qid in done:
                    assert job.repeat == 1
                done[job.qid] = done.get(job.qid, 0) + 1
                a.answer(job)
            except TimeoutError:
                continue
            except (ipc.Closed, OSError):
                a = None

    threads = [threading.Thread(target=submitter, args=(n,)) for n in range(4)] + [threading.Thread(target=relay)]
    for t in threads:
        t.start()
    for _ in range(15):
        time.sleep(rng.uniform(0.02, 0.4))
        queue.kill()
        queue.start()
    stop.set()
    for t in threads:
        t.join()
    queue.kill()
    queue.start()
    a = queue.agent("relay")
    with contextlib.suppress(TimeoutError):
        while True:
            job = a.job(1)
            done[job.qid] = done.get(job.qid, 0) + 1
            a.answer(job)
    settled(queue)
    assert len(answered) > 100
    assert answered <= set(done), f"lost: {len(answered - set(done))}"
    assert os.listdir(f"{queue.dir}/spool/large") == []
