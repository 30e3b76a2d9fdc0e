"""queue as its administrator sees it: list, hold, trace, the drop folder, local users."""
import contextlib
import glob
import os
import random
import signal
import subprocess
import time

import pytest

import ipc
from conftest import wait_until
from queue_alone import (DEFERRED, DELETE, EXPIRE, HOLD, OK, PERM, RELEASE, REMOTE, RETRY, TEMP, failed, make_queue,
                         queue, settled)  # noqa: F401: fixtures


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


def test_long_list_in_few_frames(queue):
    smtpd = queue.smtpd()
    ids = [smtpd.submit([f"r{i}@far{i}.test"])[1] for i in range(1500)]
    assert [m["qid"] for m in queue.list()] == ids
    assert queue.frames < 10


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

def drop(queue, name, content, rcpts=("r@far.test",), sender="me@here.test", qid=0):
    def put(s):
        s = s.encode() if isinstance(s, str) else s
        return len(s).to_bytes(4, "little") + s
    items = ipc.pack_list("rcpt", [{"addr": r, "hint": REMOTE} for r in rcpts])
    header = (len(content).to_bytes(8, "little") + int(time.time() * 1e6).to_bytes(8, "little") + os.getuid().to_bytes(4, "little") +
              b"\0\0" + put(sender) + put("") + put("<d@here>") + put(items) +
              (qid.to_bytes(8, "little") if qid else b""))
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


def test_dropped_after_it_was_submitted(queue):
    """sendmail got no answer and queue stayed away: it dropped what queue had already."""
    smtpd = queue.smtpd()
    verdict, qid = smtpd.submit(["r@far.test"])
    assert verdict == OK
    queue.kill()
    drop(queue, "D" + "0" * 32, b"Subject: twice\r\n\r\nx\r\n", qid=qid)
    drop(queue, "D" + "1" * 32, b"Subject: once\r\n\r\nx\r\n", qid=qid + 5000)
    queue.start()
    wait_until(lambda: not os.listdir(f"{queue.dir}/spool/drop"), 20, "an empty drop folder")
    assert queue.figures()["queued"] == 2 and queue.balanced()
    assert sorted(queue.export(m["qid"]).count(b"Subject: once") for m in queue.list()) == [0, 1]


# ---- damage, full disks, crashes ----
