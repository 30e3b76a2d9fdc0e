"""queue under damage, full disks, errors, kills and power cuts."""
import contextlib
import glob
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

import ipc
from conftest import SLOW, wait_until
from disk import Disk, own_mounts  # noqa: F401: a fixture
from queue_alone import (COMPACT, OK, PAD, TEMP, Agent, Submitter, make_queue, queue, settled)  # noqa: F401: fixtures


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


def test_compaction_lets_others_through(make_queue):
    """On a slow disk (each read takes 20 ms more) an answer waits for a step or two, not for the end of the compaction."""
    queue = make_queue().start()
    smtpd = queue.smtpd()
    for i in range(330):  # more than the 16 MiB of the first segment
        assert smtpd.submit(["r@far.test"], content=b"Subject: x\r\n\r\n" + b"y" * 60000 + b"\r\n")[0] == OK
    queue.kill()
    queue.start(faults="pread:slow:400+1")
    smtpd, waits = queue.smtpd(), []
    smtpd.lease()
    queue.do(COMPACT)
    began = time.monotonic()
    while time.monotonic() < began + 1:
        before = time.monotonic()
        assert smtpd.submit(["r@far.test"])[0] == OK
        waits.append(time.monotonic() - before)
    assert sorted(waits)[len(waits) // 2] < 0.2 and max(waits) < 0.6 * SLOW, waits
    assert queue.balanced()


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
        verdict, qid = smtpd.submit(["r@far.test"], large=True)
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
            shutil.rmtree(queue.dir, ignore_errors=True)  # the tracer may still be ending


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_order_of_sync_and_answer(queue):
    """Every answer comes after a sync that covers its record (RELIABILITY P5)."""
    trace = f"{queue.dir}/strace"
    tracer = subprocess.Popen(["strace", "-qq", "-xx", "-s", "8", "-e", "trace=pwritev,fdatasync,fsync,renameat2,sendmsg", "-o", trace,
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
        elif call == "sendmsg" and '"\\x07\\x01' in line:	# submit_result
            assert not log_dirty and not folder_dirty, line
            n += 1
    assert n == 70


class Load:
    """Submitters, each in a thread; what was answered OK."""

    def __init__(self, queue, submitters, once=False):
        self.queue, self.once, self.answered, self.stop = queue, once, set(), threading.Event()
        self.threads = [threading.Thread(target=self.submit, args=(n == 0,)) for n in range(submitters)]
        for t in self.threads:
            t.start()

    def submit(self, large):
        with contextlib.suppress(ipc.Closed, OSError, TimeoutError, AssertionError):
            smtpd = Submitter(ipc.Conn(self.queue.path("submit"), program="smtpd", timeout=2))
            while not self.stop.is_set():
                verdict, qid = smtpd.submit(["r@far.test"], content=CONTENT, large=large)
                if verdict == OK:
                    self.answered.add(qid)
                if self.once:
                    return

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()


CONTENT = b"Subject: x\r\n\r\n" + b"y" * 3000 + b"\r\n"


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("idle", [False, True])
def test_power_cut(own_mounts, make_queue, kind, idle):
    """The file system stops at once and forgets what was not synced; under load, and after one message and silence."""
    queue = make_queue()
    disk = Disk(kind, f"{queue.dir}/image", f"{queue.dir}/spool")
    rng = random.Random(int(os.environ.get("PP_SEED", "11")))
    try:
        os.makedirs(f"{queue.dir}/spool/drop")
        for _ in range(int(os.environ.get("PP_POWER_CUTS", "3"))):
            queue.start()
            load = Load(queue, 1 if idle else 4, once=idle)
            wait_until(lambda: load.answered)
            time.sleep(0.02 if idle else rng.uniform(0.05, 0.4))
            before = set(load.answered)
            disk.cut()
            queue.kill()
            load.end()
            disk.repair()
            queue.start()
            there = {m["qid"] for m in queue.list()}
            assert before <= there, f"{len(before - there)} of {len(before)} lost"
            assert all(queue.export(qid) in (CONTENT, CONTENT + PAD) for qid in before)
            assert queue.balanced()
            queue.kill()
    finally:
        queue.kill()
        disk.remove()


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
                assert job.content.removesuffix(PAD) == b"Subject: x\r\n\r\n%d\r\n" % job.qid
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
