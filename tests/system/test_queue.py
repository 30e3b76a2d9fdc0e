"""The way of a message through queue: taken in, handed out, retried, bounced."""
import contextlib
import email
import email.policy
import os
import random
import re
import time

import pytest

import ipc
from conftest import wait_until
from queue_alone import (DEFERRED, DONE, EXPANDED, FAILED, OK, REMOTE, TO_LOCAL, make_queue, queue, failed, settled)  # noqa: F401: fixtures


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


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 262144, 262145, 3_000_000])
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


def test_one_bounce_for_all_that_fail_together(queue):
    """Recipients in different jobs, by way of an alias and not: one notification, none forgotten."""
    smtpd, deliver, relay = queue.smtpd(), queue.agent("deliver"), queue.agent("relay")
    smtpd.submit([{"addr": "a@far.test", "hint": REMOTE}, {"addr": "b@other.test", "hint": REMOTE},
                  {"addr": "list@example.test", "hint": TO_LOCAL}])
    remote, local = [relay.job(), relay.job()], deliver.job()
    for job in remote:
        relay.answer(job, FAILED, dsn="5.1.1", text="no such user")
    deliver.answer(local, EXPANDED, targets=[{"addr": "gone@example.test"}, {"addr": "c@third.test", "remote": 1}])
    second, third = deliver.job(), relay.job()
    assert [r["addr"] for r in second.rcpts] == [b"gone@example.test"]	# and no bounce yet
    deliver.answer(second, FAILED, dsn="5.1.1", text="no such mailbox")
    relay.answer(third, FAILED, dsn="5.1.1", text="no such user")
    bounce = deliver.job()
    found = re.findall(rb"Final-Recipient: rfc822; (\S+)", bounce.content)
    assert sorted(found) == [b"a@far.test", b"b@other.test", b"c@third.test", b"gone@example.test"]
    deliver.answer(bounce)
    settled(queue)
    assert queue.figures()["generated"] == 1


def test_bounce_does_not_wait_for_what_is_deferred(make_queue):
    queue = make_queue(retry_min=60, retry_max=60).start()
    smtpd, deliver, relay = queue.smtpd(), queue.agent("deliver"), queue.agent("relay")
    smtpd.submit([{"addr": "a@far.test", "hint": REMOTE}, {"addr": "b@other.test", "hint": REMOTE}])
    jobs = [relay.job(), relay.job()]
    relay.answer(jobs[0], FAILED, dsn="5.1.1", text="no such user")
    relay.answer(jobs[1], DEFERRED, dsn="4.2.0", text="later")
    bounce = deliver.job()
    assert len(re.findall(rb"Final-Recipient: rfc822; (\S+)", bounce.content)) == 1
    deliver.answer(bounce)


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


@pytest.mark.parametrize("size,ret,whole", [(500, 0, True), (500, 1, True), (500, 2, False), (3000, 0, False), (3000, 1, False)])
def test_bounce_returns_no_more_than_is_wanted(make_queue, size, ret, whole):
    """bounce-size, and RET=HDRS of RFC 3461."""
    queue = make_queue(bounce_size='"1K"').start()
    job = failed(queue, rcpts=["r@far.test"], content=b"Subject: s\r\n\r\n" + b"x" * 70 * (size // 70) + b"\r\n", ret=ret).job()
    assert (b"xxxx" in job.content) == whole
    assert (b"Content-Type: message/rfc822" in job.content) == whole


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
