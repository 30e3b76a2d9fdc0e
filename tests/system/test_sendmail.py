"""sendmail, mailq, newaliases: what scripts expect of them (CONVENTIONS.md sections 1 to 3)."""
import email
import json
import os
import re
import socket
import subprocess
import tempfile
import threading

import pytest
import ipc
from conftest import BIN, SLOW, wait_until


def sendmail(suite, *args, content="Subject: s\n\nbody\n", check=0, program="sendmail"):
    done = subprocess.run([os.path.join(BIN, program), "-C", suite.conf, *args], capture_output=True,
                          input=content.encode() if isinstance(content, str) else content, timeout=120)
    assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
    return done


def newest(suite, user="alice", seen=()):
    files = wait_until(lambda: [f for f in suite.files(user) if f not in seen], 15, f"a message of {user}\n" + suite.log()[-2000:])
    with open(files[0], "rb") as f:
        return f.read()


def test_headers_are_added(suite):
    sendmail(suite, "alice@example.test")
    raw = newest(suite)
    m = email.message_from_bytes(raw)
    assert re.fullmatch(r"<\d{14}\.[0-9A-Za-z]+@mail\.example\.test>", m["Message-ID"])
    assert m["Date"] and m["From"] and m["Return-Path"]
    assert re.search(r"\(Pennypost, from userid %d\)\s+id [0-9A-Za-z]+;" % os.getuid(), m["Received"])
    assert raw.endswith(b"body\n") or raw.endswith(b"body\r\n")


def test_t_takes_recipients_and_hides_bcc(suite):
    seen = {u: suite.files(u) for u in ("alice", "bob")}
    sendmail(suite, "-t", "-i", content="To: \"A, l\" <alice@example.test>\nBcc: bob@example.test\nSubject: t\n\n.\nstays\n")
    for user in ("alice", "bob"):
        raw = newest(suite, user, seen[user])
        assert b"Bcc" not in raw and b"\n.\n" in raw.replace(b"\r", b"") and b"stays" in raw


def test_input_is_made_strict(suite):
    seen = suite.files("alice")
    sendmail(suite, "-oi", "alice@example.test", content=b"Subject: strict\n\na\rb\r\n.\r\nc\r\r\nlast")
    body = newest(suite, "alice", seen).replace(b"\r\n", b"\n").split(b"\n\n", 1)[1]
    assert body == b"a b\n.\nc \nlast\n"


def test_a_dot_ends_it_without_i(suite):
    seen = suite.files("alice")
    sendmail(suite, "alice@example.test", content="Subject: dot\n\nbefore\n.\nafter\n")
    raw = newest(suite, "alice", seen)
    assert b"before" in raw and b"after" not in raw


def test_senders(suite):
    for args, path in ((("-f", ""), "<>"), (("-f<>",), "<>"), (("-fx@example.net",), "<x@example.net>"), (("-r", "y@example.net"), "<y@example.net>")):
        seen = suite.files("bob")
        sendmail(suite, *args, "bob@example.test")
        assert email.message_from_bytes(newest(suite, "bob", seen))["Return-Path"] == path
        for f in set(suite.files("bob")) - set(seen):
            os.unlink(f)


@pytest.mark.parametrize("args,content,code", [
    ((), "x", 64), (("-t",), "Subject: nobody\n\n", 64), (("-Z", "a@example.test"), "x", 64),
    (("not an address",), "x", 65), (("-f", "bad address", "alice@example.test"), "x", 65),
    (("-t",), "To: <open@example.test\n\n", 65), (("-bd",), "", 69), (("-bl",), "", 69),
])
def test_exit_codes(suite, args, content, code):
    sendmail(suite, *args, content=content, check=code)


def test_exit_code_configuration(tmp_path):
    bad = tmp_path / "bad.conf"
    bad.write_text("hostnme = \"x\"\n")
    done = subprocess.run([os.path.join(BIN, "sendmail"), "-C", str(bad), "a@b.example"], input=b"x", capture_output=True)
    assert done.returncode == 78


def test_large_message_byte_for_byte(suite):
    seen = suite.files("alice")
    body = b"".join(b"%08d %s\n" % (i, b"x" * 60) for i in range(300000))   # about 20 MB
    sendmail(suite, "-i", "alice@example.test", content=b"Subject: large\n\n" + body)
    raw = newest(suite, "alice", seen).replace(b"\r\n", b"\n")
    assert raw.split(b"\n\n", 1)[1] == body
    too_big = sendmail(suite, "alice@example.test", content=b"Subject: x\n\n" + b"y" * 76 * 800000, check=65)
    assert b"larger than message-size" in too_big.stderr


def test_verify(suite):
    done = sendmail(suite, "-bv", "alice@example.test", "info@example.test", "x@elsewhere.example")
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 3 and all("deliverable" in line for line in lines) and "bob@example.test" in lines[1]
    sendmail(suite, "-bv", "alice@example.test", "nobody@mail.example.test", check=67)


def test_bs(suite):
    seen = suite.files("alice")
    talk = "EHLO me\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: bs\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
    done = sendmail(suite, "-bs", content=talk)
    codes = [line[:3] for line in done.stdout.decode().splitlines() if line[3] == " "]
    assert codes == ["220", "250", "250", "250", "354", "250", "221"]
    assert b"\n.dot" in newest(suite, "alice", seen)


def test_mailq_and_newaliases(suite):
    suite.wait_queue_empty()
    assert sendmail(suite, program="mailq").stdout == b"Mail queue is empty\n"
    done = sendmail(suite, program="newaliases").stdout.decode()
    assert re.fullmatch(r"\S+/aliases: \d+ aliases, longest \d+ bytes, \d+ bytes total\n", done)
    aliases = os.path.join(suite.dir, "aliases")
    with open(aliases) as f:
        good = f.read()
    with open(aliases, "a") as f:
        f.write("broken\n")
    line = len((good + "broken").splitlines())
    assert f"{aliases}:{line}:" in sendmail(suite, program="newaliases", check=65).stderr.decode()
    os.unlink(aliases)
    sendmail(suite, program="newaliases", check=66)
    with open(aliases, "w") as f:
        f.write(good)
    sendmail(suite, program="newaliases")


def test_while_stopped_nothing_is_lost(make_suite):
    """Kept durably in spool/drop, and taken in once by the next start."""
    suite = make_suite(start=False)
    for i in range(5):
        sendmail(suite, "alice@example.test", content=f"Subject: kept {i}\n\nbody {i}\n")
    folder = os.path.join(suite.dir, "spool", "drop")
    assert len(os.listdir(folder)) == 5 and all(n.startswith("D") for n in os.listdir(folder))
    sendmail(suite, program="mailq", check=69)
    sendmail(suite, "-q", check=69)
    suite.start()
    suite.wait_mail("alice", 5)
    assert not os.listdir(folder)
    suite.run("stop")
    suite.start()
    suite.wait_queue_empty()
    assert len(suite.files("alice")) == 5
    assert suite.status()["ledger"]["injected"] == 5


def test_drop_is_synced_before_it_is_named(make_suite):
    """P5: content, then the name, then the folder; only then exit 0."""
    suite = make_suite(start=False)
    trace = os.path.join(suite.dir, "trace")
    done = subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=fsync,renameat,renameat2,syncfs,exit_group", os.path.join(BIN, "sendmail"),
                           "-C", suite.conf, "alice@example.test"], input=b"Subject: s\n\nb\n", capture_output=True)
    assert done.returncode == 0, done.stderr
    with open(trace) as f:
        calls = re.findall(r"(fsync|rename\w*|syncfs)\(", f.read())
    assert [c[:6] for c in calls] == ["fsync", "rename", "fsync"]


def test_disk_full_while_stopped_is_temporary(make_suite):
    suite = make_suite(start=False)
    suite.configure(spool_min_free="1T")
    assert b"disk is full" in sendmail(suite, "alice@example.test", check=75).stderr
    assert not os.listdir(os.path.join(suite.dir, "spool", "drop"))


def test_drop_refuses_what_is_no_message(make_suite):
    suite = make_suite(start=False)
    for garbage in (b"", b"x" * 100, b"PPDROP1\n\xff\xff\xff\xff", b"PPDROP1\n\x01\x00\x00\x00x"):
        done = subprocess.run([os.path.join(BIN, "drop"), "-C", suite.conf], input=garbage, capture_output=True)
        assert done.returncode == 65, garbage
    assert not os.listdir(os.path.join(suite.dir, "spool", "drop"))


def test_flush(make_suite):
    suite = make_suite()
    sendmail(suite, "x@[127.0.0.1]")
    item = wait_until(lambda: [json.loads(line) for line in suite.run("queue", "list", "--json").stdout.splitlines()
                               if "deferred" in line], 15, "a deferred message")[0]
    for args in (("-q",), ("-qI" + item["queue_id"],), ("-qR127.0.0.1",), ("-q30m",), ("-qf",)):
        sendmail(suite, *args)
    wait_until(lambda: any(json.loads(line)["recipients"][0]["attempts"] >= 2
                           for line in suite.run("queue", "list", "--json").stdout.splitlines()), 15, "a second attempt")


def test_many_recipients(suite):
    """More than a message may have: several messages, which are one to the reader."""
    seen = suite.files("bob")
    sendmail(suite, "-t", content="To: " + ",\n ".join(
        f"bob+{i:04d}@example.test" for i in range(1500)) + "\nSubject: many\n\nx\n")
    suite.wait_mail("bob", len(seen) + 1500, 120)
    suite.wait_queue_empty()
    ids, to = set(), set()
    for name in set(suite.files("bob")) - set(seen):
        with open(name, "rb") as f:
            m = email.message_from_binary_file(f)
        ids.add(m["Message-ID"])
        to.add(m["Delivered-To"])
    assert len(ids) == 1 and len(to) == 1500
    assert suite.status()["ledger"]["difference"] == 0


class HalfQueue:
    """A queue-submit that answers as told, and loses its connection where it is told."""

    def __init__(self, folder):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(os.path.join(folder, "queue-submit"))
        self.listener.listen(5)
        self.listener.settimeout(30)
        self.seen, self.files = [], []

    def serve(self, verdicts):
        """One connection for each; verdict None: it is lost after submit came."""
        for verdict in verdicts:
            conn, _ = self.listener.accept()
            conn.send(ipc.pack("hello", version=1, program="queue"))
            with conn:
                while True:
                    frame = conn.recv(ipc.FRAME_MAX)
                    if not frame:
                        break
                    name, fields = ipc.unpack(frame)
                    self.seen.append(name)
                    if name == "submit_lease":
                        conn.send(ipc.pack("submit_ids", first=80000, count=1))
                    elif name == "submit_file_open":
                        self.files.append(tempfile.TemporaryFile())
                        socket.send_fds(conn, [ipc.pack("submit_file", qid=fields["qid"], verdict=0)], [self.files[-1].fileno()])
                    elif name == "submit":
                        if verdict is None:
                            break
                        one = verdict.pop(0)
                        conn.send(ipc.pack("submit_result", qid=fields["qid"], verdict=one, text="" if one == 0 else "no such file"))


@pytest.mark.parametrize("size,answers,submits", [
    (1000, [None, [0]], 2), (200_000, [None, [0]], 2), (200_000, [None, [1, 0]], 3), (200_000, [None, None, [1, 0]], 4)])
def test_answer_lost(tmp_path, size, answers, submits):
    """Queue dies after it got a message: sendmail asks with the same id, and sends a large one again only if it is not there."""
    conf = tmp_path / "pennypost.conf"
    conf.write_text('hostname = "mail.example.test"\nrun-dir = "."\nspool-dir = "."\nlog-to = "stderr"\nuser-prefix = ""\n')
    half = HalfQueue(str(tmp_path))
    thread = threading.Thread(target=half.serve, args=([a and list(a) for a in answers],))
    thread.start()
    done = subprocess.run([os.path.join(BIN, "sendmail"), "-C", str(conf), "-fa@example.test", "b@example.test"],
                          input=b"Subject: x\n\n" + b"y" * 79 * (size // 80) + b"\n", capture_output=True, timeout=60 * SLOW)
    thread.join()
    assert done.returncode == 0, done.stderr
    assert half.seen.count("submit") == submits and half.seen.count("submit_lease") == 1
    if size > 65536:
        # Anew only after it was said that it is not there; the last one is whole.
        assert half.seen.count("submit_file_open") == (2 if [1, 0] in answers else 1), half.seen
        assert all(os.fstat(f.fileno()).st_size >= 79 * (size // 80) for f in half.files)
