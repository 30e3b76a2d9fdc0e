"""deliver alone, with a queue that we play: mailboxes, aliases, actions, loops, and once exactly."""
import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

from conftest import BIN, SAN, SLOW, wait_until
from fake_queue import DEFERRED, DISCARDED, DONE, EXPANDED, FAILED, FakeQueue

ROOT = os.geteuid() == 0
pytestmark = pytest.mark.san
MESSAGE = b"From: <sender@example.net>\r\nSubject: test\r\n\r\nHello.\r\n"


class Deliver:
    """One deliver in the folder of a suite that is not started."""

    def __init__(self, suite, wrap=()):
        self.suite, self.wrap = suite, list(wrap)
        os.makedirs(os.path.join(suite.dir, "run"), exist_ok=True)
        os.chmod(suite.dir, 0o755)
        self.queue = FakeQueue(os.path.join(suite.dir, "run"))
        self.log_path = os.path.join(suite.dir, "deliver.log")
        self.process = None

    def start(self, accept=True):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(self.wrap + [os.path.join(BIN, "deliver"), "-C", self.suite.conf, "-d"],
                                            stderr=log, stdin=subprocess.DEVNULL)
        if accept:
            self.queue.accept(30 * SLOW)
        return self

    def send(self, rcpts, content=MESSAGE, n=None, **options):
        """One job; its results."""
        rcpts = [rcpts] if isinstance(rcpts, (str, tuple)) else rcpts
        job, _ = self.queue.job(content, rcpts, **options)
        return self.queue.results(job, n or len(rcpts), 30 * SLOW)

    def one(self, rcpt, content=MESSAGE, **options):
        return self.send(rcpt, content, **options)[0]

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self, how=signal.SIGTERM):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(how)
            code = self.process.wait(30 * SLOW)
            self.process = None
            return code

    def close(self):
        self.stop()
        self.queue.close()
        log = self.log() if os.path.exists(self.log_path) else ""
        assert "AddressSanitizer" not in log and "runtime error:" not in log, log[-6000:]
        assert "system call refused" not in log, log[-3000:]


@pytest.fixture(scope="module")
def make_deliver(make_suite):
    made = []

    def make(users=("alice", "bob"), aliases="", machine="", wrap=(), start=True, **options):
        suite = make_suite(users=users, start=False, **options)
        write_aliases(suite, aliases, machine)
        d = Deliver(suite, wrap)
        made.append(d)
        return d.start() if start else d

    yield make
    for d in made:
        d.close()


def write_aliases(suite, aliases=None, machine=None):
    if aliases is not None:
        with open(os.path.join(suite.dir, "domains", suite.domain, "aliases"), "w") as f:
            f.write(aliases)
    if machine is not None:
        with open(os.path.join(suite.dir, "aliases"), "w") as f:
            f.write(machine)
    suite.run(program="newaliases")


@pytest.fixture(scope="module")
def deliver(make_deliver):
    return make_deliver(aliases="""
info: alice, bob, far@else.example
list: bob, far@else.example
owner-list: alice
loop1: loop2
loop2: loop1
gone: alice, nobody-here
self: alice, self
*: alice
""")


def content_of(path):
    """The octets behind the headers that deliver added."""
    with open(path, "rb") as f:
        data = f.read()
    m = re.match(rb"Return-Path: <[^>]*>\r\n(X-Original-To: [^\r]*\r\n)?Delivered-To: [^\r]*\r\n", data)
    assert m, data[:300]
    return data[m.end():]


# ---- mailboxes ----

def test_headers_and_name(deliver):
    before = set(deliver.suite.files("bob"))
    job, qid = deliver.queue.job(MESSAGE, [("bob+x@example.test", "Alias@example.test")], sender="s@example.net")
    r = deliver.queue.results(job)[0]
    assert (r.outcome, r.dsn, r.relay) == (DONE, "2.0.0", "virtual")
    path, = set(deliver.suite.files("bob")) - before
    data = open(path, "rb").read()
    assert data == (b"Return-Path: <s@example.net>\r\nX-Original-To: Alias@example.test\r\n"
                    b"Delivered-To: bob+x@example.test\r\n" + MESSAGE)
    assert re.fullmatch(r"\d+\.Q[0-9A-Za-z]{11}R0\.mail\.example\.test,S=%d,W=%d" % (len(data), len(data)),
                        os.path.basename(path))
    assert int(os.path.basename(path).split(".")[0]) == qid // 8000000
    mode = os.stat(path)
    assert stat.S_IMODE(mode.st_mode) == 0o600 and os.listdir(os.path.join(deliver.suite.maildir("bob"), "tmp")) == []
    for folder, _, _ in os.walk(os.path.join(deliver.suite.dir, "mail", "example.test", "bob")):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 20 * 1024 * 1024])
def test_content_is_kept(deliver, size):
    octets = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") * (size // 254 + 1)
    body = b"\r\n".join(octets[i:i + 900] for i in range(0, size, 900))[:size].rstrip(b"\r") + b"\r\n.\r\n..\r\n"
    content = b"Subject: x\r\n\r\n" + body
    before = set(deliver.suite.files())
    assert deliver.one("alice@example.test", content).outcome == DONE
    path, = set(deliver.suite.files()) - before
    assert content_of(path) == content


def test_several_recipients_of_one_message(deliver):
    results = deliver.send(["alice@example.test", "bob@example.test", "alice+tag@example.test", "nobody@else.example"])
    assert [r.outcome for r in results] == [DONE, DONE, DONE, EXPANDED]
    assert results[3].targets == [("nobody@else.example", 1, 0, "")]


def test_repeat_delivers_once(deliver):
    """P4, also after the reader has moved or deleted the message."""
    before = set(deliver.suite.files("bob"))
    job, qid = deliver.queue.job(MESSAGE, ["bob@example.test"])
    deliver.queue.results(job)
    files = deliver.suite.files("bob")
    r = deliver.one("bob@example.test", qid=qid, repeat=1)
    assert r.outcome == DONE and "already" in r.text
    assert deliver.suite.files("bob") == files
    new, = set(files) - before
    os.rename(new, new.replace("/new/", "/cur/") + ":2,S")	# a reader has seen it
    r = deliver.one("bob@example.test", qid=qid, repeat=1)
    assert r.outcome == DONE and "already" in r.text
    os.unlink(new.replace("/new/", "/cur/") + ":2,S")
    r = deliver.one("bob@example.test", qid=qid, repeat=1)
    assert r.outcome == DONE and "already" in r.text
    assert set(deliver.suite.files("bob")) == before


def test_more_than_a_group_at_once(deliver):
    """More recipients than a group has room for."""
    before = len(deliver.suite.files("bob"))
    results = deliver.send([f"bob+{i}@example.test" for i in range(300)], final=1)
    assert {(r.outcome, r.dsn) for r in results} == {(DONE, "2.0.0")}
    assert len(deliver.suite.files("bob")) == before + 300


def test_full_mailbox_waits(make_deliver):
    d = make_deliver(users=())
    d.suite.add_user("small", None, "--quota", "20K")
    big = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 15000
    assert d.one("small@example.test").outcome == DONE
    r = d.one("small@example.test", big)
    assert (r.outcome, r.dsn) == (DEFERRED, "4.2.2") and "full" in r.text
    assert len(d.suite.files("small")) == 1
    assert os.listdir(os.path.join(d.suite.maildir("small"), "tmp")) == []
    accounts = os.path.join(d.suite.dir, "domains", d.suite.domain, "accounts")
    text = open(accounts).read()
    assert text.count("20K") == 1
    with open(accounts, "w") as f:
        f.write(text.replace("20K", "20M"))
    d.suite.run(program="newaliases")
    time.sleep(1.1)
    assert d.one("small@example.test", big).outcome == DONE	# though its Maildir is still open


# ---- aliases ----

def test_expansion(deliver):
    r = deliver.one("Info@Example.Test")
    assert r.outcome == EXPANDED
    assert r.targets == [("alice@example.test", 0, 0, ""), ("bob@example.test", 0, 0, ""), ("far@else.example", 1, 0, "")]
    assert "aliases:2 alias info@example.test -> alice@example.test" in r.text
    assert deliver.one("whoever@example.test").targets == [("alice@example.test", 0, 0, "")]


def test_owner_becomes_sender(deliver):
    owner = "owner-list@example.test"
    assert deliver.one("list@example.test").targets == [("bob@example.test", 0, 1, owner), ("far@else.example", 1, 1, owner)]
    # A bounce stays one.
    assert deliver.one("list@example.test", sender="").targets == [("bob@example.test", 0, 0, ""), ("far@else.example", 1, 0, "")]


def test_alias_loop_bounces(deliver):
    r = deliver.one("loop1@example.test")
    assert (r.outcome, r.dsn) == (FAILED, "5.4.6")
    assert "loop1@example.test -> loop2@example.test -> loop1@example.test" in r.text


def test_targets_come_back_final(deliver):
    before = len(deliver.suite.files("bob"))
    assert deliver.one(("bob@example.test", "info@example.test"), final=1).outcome == DONE
    assert len(deliver.suite.files("bob")) == before + 1
    r = deliver.one("info@example.test", final=1)		# an alias is no mailbox
    assert (r.outcome, r.dsn) == (FAILED, "5.1.1")
    assert deliver.one(("/dev/null", "x@mail.example.test"), final=1).outcome == DISCARDED


def test_unknown(make_deliver):
    d = make_deliver()
    for who in ("nobody@example.test", "nobody@mail.example.test"):
        r = d.one(who)
        assert (r.outcome, r.dsn) == (FAILED, "5.1.1")
    assert d.one("not an address").outcome == FAILED


def test_long_list(make_deliver):
    members = [f"member{i}@else.example" for i in range(5000)]
    d = make_deliver(aliases="big: " + ",\n ".join(members) + "\n")
    job, _ = d.queue.job(MESSAGE, ["big@example.test"])
    results = d.queue.results(job, 1, 60 * SLOW)
    assert [r.more for r in results] == [1] * (len(results) - 1) + [0]
    assert [t[0] for r in results for t in r.targets] == members


# ---- loops ----

def test_delivered_before_bounces(deliver):
    """RFC 9228: the same Delivered-To: again."""
    before = len(deliver.suite.files("bob"))
    for head in (b"Delivered-To: bob@example.test\r\n", b"Subject: x\r\nDELIVERED-TO: <BOB@example.test>\r\n",
                 b"Delivered-To:\r\n\tbob@example.test\r\n"):
        r = deliver.one("bob@example.test", head + MESSAGE)
        assert (r.outcome, r.dsn) == (FAILED, "5.4.6"), head
    assert len(deliver.suite.files("bob")) == before
    assert deliver.one("bob@example.test", b"Delivered-To: alice@example.test\r\n" + MESSAGE).outcome == DONE
    assert deliver.one("bob@example.test", MESSAGE + b"Delivered-To: bob@example.test\r\n").outcome == DONE


@pytest.mark.parametrize("who", ["bob@example.test", "info@example.test", "far@else.example"])
def test_hops(deliver, who):
    received = b"Received: from a by b;\r\n\tMon, 23 Nov 2026 12:00:00 +0000\r\n"
    assert deliver.one(who, received * 50 + MESSAGE).outcome in (DONE, EXPANDED)
    r = deliver.one(who, received * 51 + MESSAGE)
    assert (r.outcome, r.dsn) == (FAILED, "5.4.6")


# ---- files and commands of the machine's aliases ----

@pytest.fixture(scope="module")
def place():
    """A folder that the default account may use."""
    folder = tempfile.mkdtemp(prefix="pp-deliver-")
    os.chmod(folder, 0o755)
    work = os.path.join(folder, "work")
    os.mkdir(work)
    os.chmod(work, 0o777)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def script(place, name, text):
    path = os.path.join(place, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


@pytest.fixture(scope="module")
def actions(make_deliver, place):
    keep = script(place, "keep", f'id -u > {place}/work/uid; env > {place}/work/env; for a; do echo "[$a]"; done > {place}/work/args\n'
                  f'pwd > {place}/work/cwd; exec cat > {place}/work/mail\n')
    exit_ = script(place, "exit", 'cat > /dev/null; echo "$2"; exit $1\n')
    kill = script(place, "kill", "kill -9 $$\n")
    early = script(place, "early", "exit 0\n")
    nasty = script(place, "nasty", "cat > /dev/null; printf '5.7.1 a\\033[2J\\001\\200b\\nc'; exit 1\n")
    left = script(place, "left", f"cat > /dev/null; (sleep 300; touch {place}/work/left) & exit 0\n")
    slow = script(place, "slow", f"cat > /dev/null; sleep 3; echo done >> {place}/work/slow\n")
    for name in ("mbox-link", "mbox-hard", "mbox-fifo"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(place, "work", name))
    machine = f"""
keep: "|{keep} -x 'a b' $(touch {place}/work/pwned) `id` ;"
{"".join(f'''exit{n}: "|{exit_} {n} said"{chr(10)}''' for n in list(range(64, 79)) + [1, 99, 100, 111, 127, 255])}
code4: "|{exit_} 1 '4.2.2 mailbox is full'"
code5: "|{exit_} 75 '5.7.1 go away'"
code0: "|{exit_} 0 '5.7.1 but done'"
kill: |{kill}
early: |{early}
nasty: |{nasty}
left: |{left}
slow: |{slow}
missing: |{place}/no-such-program
mbox: {place}/work/mbox
maildir: {place}/work/md/
link: {place}/work/mbox-link
hard: {place}/work/mbox-hard
fifo: {place}/work/mbox-fifo
device: /dev/full
null: /dev/null
inc: :include:{place}/list
incmissing: :include:{place}/no-such-list
incwritable: :include:{place}/writable-list
inccommand: :include:{place}/command-list
"""
    return make_deliver(machine=machine)


def act(d, name, content=MESSAGE, **options):
    """Expand the alias and deliver what comes out, as queue would."""
    alias = f"{name}@mail.example.test"
    r = d.one(alias, content, **options)
    assert r.outcome == EXPANDED, r
    (target, remote, _, _), = r.targets
    assert not remote
    return d.one((target, alias), content, final=1, **options)


def test_command(actions, place):
    content = b"From: <x@y.example>\r\nSubject: \xfc\r\n\r\nline\r\n.\r\n\r\nFrom me\r\nlast\r\n"
    r = act(actions, "keep", content, sender="$(id)`x`;|&<>()'\"s@example.net", envid="e n\tv")
    assert (r.outcome, r.dsn, r.relay) == (DONE, "2.0.0", "local"), r
    work = os.path.join(place, "work")
    mail = open(os.path.join(work, "mail"), "rb").read()
    assert mail.endswith(content.replace(b"\r\n", b"\n"))
    assert b"\nX-Original-To: keep@mail.example.test\nDelivered-To: keep@mail.example.test\n" in mail
    # V1, P18: words as they stand, no shell; a fixed environment with cleaned values; never root.
    assert open(os.path.join(work, "args")).read().split("\n") == [
        "[-x]", "[a b]", "[$(touch]", f"[{work}/pwned)]", "[`id`]", "[;]", ""]
    assert not os.path.exists(os.path.join(work, "pwned"))
    env = dict(line.split("=", 1) for line in open(os.path.join(work, "env")).read().splitlines() if "=" in line)
    assert re.fullmatch(r"[_a-z]+s@example\.net", env["SENDER"])
    assert env["RECIPIENT"] == "keep@mail.example.test" and env["LOCAL"] == "keep" and env["DOMAIN"] == "mail.example.test"
    assert env["CLIENT_ADDRESS"] == "192.0.2.7" and env["ENVID"] == "e_n_v"
    allowed = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "RECIPIENT", "ORIGINAL_RECIPIENT", "SENDER", "LOCAL",
               "DOMAIN", "EXTENSION", "ENVID", "CLIENT_ADDRESS", "PWD", "OLDPWD", "SHLVL", "_"}
    assert set(env) <= allowed
    uid = int(open(os.path.join(work, "uid")).read())
    assert uid == (65534 if ROOT else os.geteuid())


@pytest.mark.parametrize("code,outcome,dsn", [
    (64, FAILED, "5.3.0"), (65, FAILED, "5.6.0"), (66, FAILED, "5.3.0"), (67, FAILED, "5.1.1"), (68, FAILED, "5.1.2"),
    (69, FAILED, "5.3.0"), (70, FAILED, "5.3.0"), (71, DEFERRED, "4.3.0"), (72, FAILED, "5.3.0"), (73, FAILED, "5.2.0"),
    (74, FAILED, "5.3.0"), (75, DEFERRED, "4.3.0"), (76, FAILED, "5.5.0"), (77, FAILED, "5.7.0"), (78, FAILED, "5.3.5"),
    (1, FAILED, "5.3.0"), (99, FAILED, "5.3.0"), (100, FAILED, "5.3.0"), (111, FAILED, "5.3.0"), (255, FAILED, "5.3.0"),
])
def test_exit_codes(actions, code, outcome, dsn):
    r = act(actions, f"exit{code}")
    assert (r.outcome, r.dsn) == (outcome, dsn) and "said" in r.text


@pytest.mark.parametrize("name,outcome,dsn", [
    ("code4", DEFERRED, "4.2.2"), ("code5", FAILED, "5.7.1"), ("code0", DONE, "2.0.0"), ("kill", DEFERRED, "4.3.0"),
    ("missing", DEFERRED, "4.3.5"), ("early", DONE, "2.0.0"), ("left", DONE, "2.0.0"),
])
def test_command_ends(actions, name, outcome, dsn):
    r = act(actions, name, b"Subject: x\r\n\r\n" + b"x" * 200000 + b"\r\n")
    assert (r.outcome, r.dsn) == (outcome, dsn), r


def test_what_a_command_says_is_cleaned(actions):
    """V3: it ends in the log, the spool and a bounce."""
    r = act(actions, "nasty")
    assert (r.outcome, r.dsn) == (FAILED, "5.7.1") and r.text.endswith(": 5.7.1 a?[2J??b?c"), r


@pytest.mark.parametrize("head", [b"Delivered-To: mbox@mail.example.test\r\n", b"Received: from a by b\r\n" * 51])
def test_loops_of_actions(actions, place, head):
    r = actions.one((os.path.join(place, "work", "mbox"), "mbox@mail.example.test"), head + MESSAGE, final=1)
    assert (r.outcome, r.dsn) == (FAILED, "5.4.6"), r


def test_only_commands_of_the_aliases_run(actions, place):
    """What queue says is believed only if the alias file says so too."""
    mark = os.path.join(place, "work", "injected")
    for action in (f"|/usr/bin/touch {mark}", f"|{place}/keep", f"{mark}", f"{mark}/", f"~root|/usr/bin/touch {mark}",
                   f"~nobody|/usr/bin/touch {mark}", f"~alice|/usr/bin/touch {mark}", f"~/{mark}", "~|x", "|", "~"):
        r = actions.one((action, "keep@mail.example.test"), final=1)
        assert r.outcome in (DEFERRED, FAILED), action
    assert not os.path.exists(mark)


def test_slow_command_keeps_nobody_waiting(actions, place):
    """P12: more slow ones than slots; a mailbox goes on meanwhile."""
    jobs = []
    for _ in range(70):
        action = f"|{place}/slow"
        jobs.append(actions.queue.job(MESSAGE, [(action, "slow@mail.example.test")], final=1)[0])
    start = time.monotonic()
    assert actions.one("alice@example.test").outcome == DONE
    assert time.monotonic() - start < 2 * SLOW
    results = [actions.queue.results(j, 1, 120 * SLOW)[0] for j in jobs[:8]]
    assert [r.outcome for r in results] == [DONE] * 8
    assert 6 <= time.monotonic() - start + 1	# four at once
    actions.stop(signal.SIGKILL)
    actions.start()


def test_mbox(actions, place):
    path = os.path.join(place, "work", "mbox")
    r = act(actions, "mbox", b"Subject: 1\r\n\r\nFrom me\r\n>From you\r\nFro\r\nx", sender="s@example.net")
    assert (r.outcome, r.relay) == (DONE, "local"), r
    assert act(actions, "mbox", b"Subject: 2\r\n\r\n" + b"y" * 100000 + b"\r\n", sender="").outcome == DONE
    data = open(path, "rb").read()
    assert re.match(rb"From s@example\.net \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\nReturn-Path: <s@example.net>\n", data)
    assert b"\n\n>From me\n>>From you\nFro\nx\n\nFrom MAILER-DAEMON " in data
    assert data.endswith(b"y\n\n") and b"\r" not in data
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not os.path.exists(path + ".lock")


@pytest.mark.parametrize("how", ["dot", "fcntl"])
def test_mbox_is_locked(actions, place, how):
    path = os.path.join(place, "work", "mbox")
    assert act(actions, "mbox").outcome == DONE		# it is there
    with open(path, "ab") as box:
        if how == "dot":
            open(path + ".lock", "w").close()
        else:
            fcntl.lockf(box, fcntl.LOCK_EX)
        size = os.path.getsize(path)
        job, _ = actions.queue.job(MESSAGE, [(path, "mbox@mail.example.test")], final=1)
        with pytest.raises(AssertionError):
            actions.queue.results(job, 1, 0.7)
        assert os.path.getsize(path) == size
        if how == "dot":
            os.unlink(path + ".lock")
    assert actions.queue.results(job, 1, 20 * SLOW)[0].outcome == DONE


def test_old_lock_is_nobodys(actions, place):
    path = os.path.join(place, "work", "mbox")
    with open(path + ".lock", "w"):
        pass
    os.utime(path + ".lock", (time.time() - 1000, time.time() - 1000))
    assert actions.send([(path, "mbox@mail.example.test")], final=1)[0].outcome == DONE
    assert not os.path.exists(path + ".lock")


@pytest.mark.parametrize("fault,dsn", [("fsync:1:EIO", "4.2.0"), ("write:2:ENOSPC", "4.2.2"), ("write:1:EIO", "4.2.0")])
def test_mbox_that_cannot_be_written(make_deliver, place, shim, fault, dsn):
    """P6: what was appended is taken away again."""
    box = os.path.join(place, "work", "faulty")
    d = make_deliver(machine=f"faulty: {box}\n")
    assert act(d, "faulty").outcome == DONE
    before = open(box, "rb").read()
    d.stop()
    call, when, how = fault.split(":")
    d.wrap = ["env", f"LD_PRELOAD={shim}", f"PP_FAULT={call}:{when}:{getattr(errno, how)}"]
    d.start()
    r = d.one((box, "faulty@mail.example.test"), b"Subject: x\r\n\r\n" + b"x" * 100000 + b"\r\n", final=1)
    assert (r.outcome, r.dsn) == (DEFERRED, dsn), r
    assert open(box, "rb").read() == before
    d.stop(signal.SIGKILL)	# the write that fails may be the one with which libevent notices SIGTERM


def test_maildir_of_an_alias(actions, place):
    r = act(actions, "maildir")
    assert r.outcome == DONE, r
    assert len(os.listdir(os.path.join(place, "work", "md", "new"))) == 1


@pytest.mark.parametrize("name", ["link", "hard", "fifo", "device"])
def test_file_that_is_none(actions, place, name):
    """V11: no link, no second name, no device is written to."""
    canary = os.path.join(place, "work", "canary")
    with open(canary, "w") as f:
        f.write("safe")
    os.chmod(canary, 0o666)
    path = os.path.join(place, "work", "mbox-" + name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if name == "link":
        os.symlink(canary, path)
    elif name == "hard":
        os.link(canary, path)
    elif name == "fifo":
        os.mkfifo(path, 0o666)
    r = act(actions, name)
    assert r.outcome == DEFERRED, r
    assert open(canary).read() == "safe"


def test_dev_null(actions):
    assert act(actions, "null").outcome == DISCARDED


def test_include(actions, place):
    with open(os.path.join(place, "list"), "w") as f:
        f.write("# members\nalice@example.test, bob@example.test\nfar@else.example\n")
    r = actions.one("inc@mail.example.test")
    assert r.outcome == EXPANDED and [t[0] for t in r.targets] == ["alice@example.test", "bob@example.test", "far@else.example"]
    with open(os.path.join(place, "list"), "a") as f:	# no newaliases is needed
        f.write("more@else.example\n")
    assert len(actions.one("inc@mail.example.test").targets) == 4


def test_include_that_cannot_be_used(actions, place):
    with open(os.path.join(place, "writable-list"), "w") as f:
        f.write("alice@example.test\n")
    os.chmod(os.path.join(place, "writable-list"), 0o666)
    with open(os.path.join(place, "command-list"), "w") as f:
        f.write(f"alice@example.test\n|{place}/keep\n")
    for name in ("incmissing", "incwritable", "inccommand"):
        r = actions.one(f"{name}@mail.example.test")
        assert r.outcome == DEFERRED, r
    assert "command-list:2:" in actions.log()


# ---- once exactly ----

def octets_seen(suite, user="alice"):
    seen = {}
    for path in suite.files(user):
        m = re.search(rb"Subject: (\d+)\r\n", open(path, "rb").read())
        seen[int(m.group(1))] = seen.get(int(m.group(1)), 0) + 1
    return seen


def message(i, size=100):
    return b"Subject: %d\r\n\r\n" % i + b"z" * size + b"\r\nend\r\n"


def worker_pids(d):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(d.process.pid)], capture_output=True, text=True).stdout.split()]


def test_kill_at_random(make_deliver):
    """P1, P4: kill -9 of all of deliver in the middle; after the repeat each message is there once, whole."""
    d = make_deliver()
    qids, base = [], 0
    for round_ in range(8):
        fresh = [d.queue.qid() for _ in range(40)]
        with contextlib.suppress(BrokenPipeError, ConnectionError, OSError):
            for k, qid in enumerate(fresh):
                d.queue.job(message(base + k), ["alice@example.test"], qid=qid)
        time.sleep(0.002 * (round_ % 5))
        for pid in worker_pids(d) + [d.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        d.process.wait()
        d.start()
        for k, qid in enumerate(fresh):
            assert d.one("alice@example.test", message(base + k), qid=qid, repeat=1).outcome == DONE
        qids += fresh
        base += len(fresh)
    seen = octets_seen(d.suite)
    assert seen == {i: 1 for i in range(base)}
    for path in d.suite.files():
        data = open(path, "rb").read()
        assert data.endswith(b"end\r\n") and f",S={len(data)}," in path


HAS_STRACE = shutil.which("strace") is not None and subprocess.run(
    ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
needs_strace = pytest.mark.skipif(not HAS_STRACE or SAN, reason="strace cannot be used here")


@pytest.fixture(scope="module")
def shim():
    """fault_shim.c as a library."""
    folder = tempfile.mkdtemp(prefix="pp-shim-")
    os.chmod(folder, 0o755)
    path = os.path.join(folder, "fault_shim.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fault_shim.c")
    done = subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-w", "-o", path, source, "-ldl"])
    if done.returncode != 0 or SAN:
        pytest.skip("no compiler for the shim, or it does not go with sanitizers")
    yield path
    shutil.rmtree(folder, ignore_errors=True)


FAULT_CALLS = ("openat", "write", "writev", "pwrite", "fsync", "fdatasync", "renameat", "renameat2", "linkat", "mkdirat", "close")


def calls_of_one(d, shim, rcpt):
    """How often one delivery makes each call."""
    d.stop()
    d.wrap = ["env", f"LD_PRELOAD={shim}", "PP_FAULT=trace"]
    size = os.path.getsize(d.log_path)
    d.start()
    assert d.one(rcpt, message(0)).outcome == DONE
    with open(d.log_path) as f:		# before the end, which is none of the delivery's calls
        f.seek(size)
        lines = f.read().splitlines()
    d.stop()
    return {call: lines.count(f"F {call}") for call in FAULT_CALLS}


def number_of(path):
    return int(re.search(rb"Subject: (\d+)\r\n", open(path, "rb").read()).group(1))


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "EMFILE", "short", "kill"])
@pytest.mark.parametrize("fresh", [False, True])
def test_faults_at_every_call(make_deliver, shim, fault, fresh):
    """P3, P4, P6, P7: whatever fails, and wherever we die: mail waits, nothing is half there, and in the end it is there once.

    fresh: the first message of a user, when his Maildir is made."""
    d = make_deliver(users=("alice",))
    counts = calls_of_one(d, shim, "alice@example.test")
    if not fresh:
        counts = calls_of_one(d, shim, "alice@example.test")
    how = fault if fault in ("short", "kill") else str(getattr(errno, fault))
    calls = {"EMFILE": ("openat",), "short": ("write",)}.get(fault, FAULT_CALLS)
    points = [(call, when) for call in calls for when in range(1, counts[call] + 1)]
    if fresh and fault not in ("kill", "EIO"):
        points = points[::4]
    d.wrap = ["env", f"LD_PRELOAD={shim}", ""]
    deferred = killed = 0
    assert points
    for number, (call, when) in enumerate(points, 1):
        if fresh:
            shutil.rmtree(os.path.join(d.suite.dir, "mail", "example.test"), ignore_errors=True)
        d.wrap[2] = f"PP_FAULT={call}:{when}:{how}"
        d.start()
        job, qid = d.queue.job(message(number), ["alice@example.test"])
        try:
            r = d.queue.results(job, 1, 20)[0]
            assert r.outcome in (DONE, DEFERRED) and (r.outcome == DONE or r.dsn[0] == "4"), (call, when, r)
            deferred += r.outcome == DEFERRED
            # A folder whose sync failed may name the file already: whole, and found again by the repeat.
            seen = [open(f, "rb").read() for f in d.suite.files() if number_of(f) == number]
            assert len(seen) <= 1 and all(x.endswith(b"end\r\n") for x in seen), (call, when)
            assert r.outcome == DEFERRED or len(seen) == 1, (call, when)
        except AssertionError as e:
            if fault != "kill" or "deliver has gone" not in str(e):
                raise
            killed += 1
        d.stop()
        d.wrap[2] = "PP_FAULT="
        d.start()
        r = d.one("alice@example.test", message(number), qid=qid, repeat=1)
        assert r.outcome == DONE, (call, when, r)
        d.stop()
        mine = [f for f in d.suite.files() if number_of(f) == number]
        assert len(mine) == 1, (call, when, mine)
        data = open(mine[0], "rb").read()
        assert data.endswith(b"end\r\n") and f",S={len(data)},W={len(data)}" in mine[0], (call, when)
        if fault not in ("kill",):
            left = os.listdir(os.path.join(d.suite.maildir(), "tmp"))
            assert not left, (call, when, left)
    assert killed > 3 if fault == "kill" else True
    assert deferred > 0 if fault in ("EIO", "ENOSPC", "EMFILE") else True


@needs_strace
def test_synced_before_done(make_deliver):
    """P5: each "done" comes after a sync of the file and of the folder that names it."""
    d = make_deliver()
    d.one("alice@example.test", message(0))
    pid, = worker_pids(d)
    out = tempfile.NamedTemporaryFile(prefix="pp-strace-")
    tracer = subprocess.Popen(["strace", "-f", "-y", "-p", str(pid), "-o", out.name, "-e",
                               "trace=openat,write,fsync,fdatasync,renameat,renameat2,linkat,sendmsg"], stderr=subprocess.DEVNULL)
    wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), 10, "strace")
    for i in range(1, 6):
        assert d.one("alice@example.test", message(i)).outcome == DONE
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    written, renamed, acks = set(), set(), 0
    for line in open(out.name):
        m = re.search(r"\bwrite\(\d+<([^>]*/tmp/[^>]*)>", line)
        if m:
            written.add(m.group(1))
        m = re.search(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>", line)
        if m:
            written.discard(m.group(1))
            renamed.discard(m.group(1))
        m = re.search(r"\b(?:renameat2?|linkat)\(\d+<[^>]*>, \"[^\"]*\", \d+<([^>]*)>", line)
        if m:
            assert not written, f"renamed before it was synced: {written}"
            renamed.add(m.group(1))
        if re.search(r"\bsendmsg\(", line):
            assert not written and not renamed, f"said to be done before a sync: {written | renamed}"
            acks += 1
    assert acks >= 5


# ---- with others ----

def test_queue_comes_back(make_deliver):
    d = make_deliver()
    assert d.one("alice@example.test").outcome == DONE
    for _ in range(3):
        d.queue.accept(20 * SLOW)
        assert d.one("alice@example.test").outcome == DONE
    wait_until(lambda: d.queue.slots >= 0, 5, "slots")


def test_malformed_frames_end_the_connection(make_deliver):
    """V22: never the daemon."""
    d = make_deliver()
    worker = worker_pids(d)
    for frame in (b"", b"\0", b"\x02\x02", b"\x02\x02" + b"\xff" * 200, b"\x01\x01abc", os.urandom(5000)):
        with contextlib.suppress(OSError):
            d.queue.conn.send(frame)
        d.queue.accept(20 * SLOW)
        assert d.one("alice@example.test").outcome == DONE
    assert worker_pids(d) == worker


def test_drain(make_deliver):
    """SIGTERM: what was taken is finished, with results."""
    d = make_deliver()
    jobs = [d.queue.job(message(i), ["alice@example.test"])[0] for i in range(20)]
    d.queue.results(jobs[0])
    assert d.stop() == 0
    seen = octets_seen(d.suite)
    assert seen[0] == 1 and set(seen.values()) == {1}


@pytest.fixture(scope="module")
def sleeper(make_deliver, place):
    """A deliver with a command that takes a second, and says when it has begun."""
    program = script(place, "sleeper", f"cat > /dev/null; touch {place}/work/begun; sleep 1; exit 0\n")
    d = make_deliver(machine=f"sleeper: |{program}\n", deliver_slots="7")
    d.action, d.begun = (f"|{program}", "sleeper@mail.example.test"), f"{place}/work/begun"
    return d


def begin_sleeper(d):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(d.begun)
    job, _ = d.queue.job(MESSAGE, [d.action], final=1)
    wait_until(lambda: os.path.exists(d.begun), 20, "the command")
    return job


def test_slots(sleeper):
    """Each job gives its slot back once, those that wait for a process at once."""
    job = begin_sleeper(sleeper)
    for _ in range(5):
        sleeper.one("alice@example.test")
    sleeper.queue.results(job)
    want = 7 + 6
    while sleeper.queue.slots < want:
        assert sleeper.queue.take(5 * SLOW)
    assert sleeper.queue.frame(0.3) is None and sleeper.queue.slots == want


def test_queue_goes_while_a_command_runs(sleeper):
    """Its job is forgotten: queue will ask again."""
    begin_sleeper(sleeper)
    sleeper.queue.accept(20 * SLOW)
    job = begin_sleeper(sleeper)
    assert sleeper.queue.results(job, 1, 20 * SLOW)[0].outcome == DONE


def test_drain_waits_for_a_command(sleeper):
    job = begin_sleeper(sleeper)
    sleeper.process.send_signal(signal.SIGTERM)
    assert sleeper.queue.results(job, 1, 20 * SLOW)[0].outcome == DONE
    assert sleeper.process.wait(20 * SLOW) == 0
    sleeper.process = None


def test_dead_worker_ends_deliver(make_deliver):
    """Then the master starts it again."""
    d = make_deliver()
    os.kill(worker_pids(d)[0], signal.SIGKILL)
    assert d.process.wait(20) not in (0, None)
    assert "ended by signal 9" in d.log()
    d.process = None
    d.start()
    assert d.one("alice@example.test").outcome == DONE


def test_map_is_noticed(make_deliver):
    d = make_deliver()
    assert d.one("carol@example.test").outcome == FAILED
    d.suite.add_user("carol")
    time.sleep(1.1)
    assert d.one("carol@example.test").outcome == DONE
    # Damaged: mail waits, nothing crashes (V21).
    path = os.path.join(d.suite.dir, "maps", "routes.cdb")
    data = open(path, "rb").read()
    os.truncate(path, 1000)
    for final in (0, 1):
        r = d.one("carol@example.test", final=final)
        assert (r.outcome, r.dsn) == (DEFERRED, "4.3.0")
    with open(path + ".x", "wb") as f:
        f.write(data)
    os.rename(path + ".x", path)
    time.sleep(1.1)
    assert d.one("carol@example.test").outcome == DONE


def test_mailbox_replaced_meanwhile(deliver):
    """Maildirs stay open for a while: one that was moved away, restored or removed is noticed."""
    home = os.path.dirname(deliver.suite.maildir("bob"))
    assert deliver.one("bob@example.test").outcome == DONE
    os.rename(os.path.join(home, "Maildir"), os.path.join(home, "before"))
    assert deliver.one("bob@example.test").outcome == DONE
    assert len(deliver.suite.files("bob")) == 1
    shutil.rmtree(os.path.join(home, "Maildir"))
    os.rename(os.path.join(home, "before"), os.path.join(home, "Maildir"))
    n = len(deliver.suite.files("bob"))
    assert deliver.one("bob@example.test").outcome == DONE and len(deliver.suite.files("bob")) == n + 1
    shutil.rmtree(home)
    assert deliver.one("bob@example.test").outcome == DONE and len(deliver.suite.files("bob")) == 1


def open_folders(d):
    pid, = worker_pids(d)
    return [p for p in (os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")) if "/Maildir" in p]


def test_few_descriptors(make_deliver):
    """Fewer messages in a group then, and no Maildir stays open."""
    d = make_deliver(users=("alice", "bob"), wrap=["prlimit", "--nofile=400"], start=False)
    users = [f"user{i}" for i in range(20)]
    with open(os.path.join(d.suite.dir, "domains", d.suite.domain, "accounts"), "r+") as f:
        line = next(x for x in f.read().splitlines() if x.startswith("alice"))
        f.write("".join(line.replace("alice", user, 1) + "\n" for user in users))
    d.suite.run(program="newaliases")
    d.start()
    results = d.send([f"{who}+{i}@example.test" for i in range(60) for who in ("alice", "bob")], final=1)
    assert {r.outcome for r in results} == {DONE}
    assert len(d.suite.files("alice")) == len(d.suite.files("bob")) == 60
    for user in users:
        assert d.one(f"{user}@example.test").outcome == DONE
    assert len(open_folders(d)) <= 8 * 6
    results = d.send([f"{user}@example.test" for user in users])
    assert {r.outcome for r in results} == {DONE}
    assert {len(d.suite.files(user)) for user in users} == {2}


def test_unused_mailboxes_are_closed(make_deliver):
    d = make_deliver()
    assert d.one("alice@example.test").outcome == DONE
    assert open_folders(d)
    wait_until(lambda: not open_folders(d), 25, "closed Maildirs")


def test_no_way_out_of_the_mail_folder(make_deliver):
    """V10, V11: a symbolic link where a mailbox should be is not followed."""
    d = make_deliver()
    assert d.one("alice@example.test").outcome == DONE
    outside = os.path.join(d.suite.dir, "outside")
    shutil.copytree(os.path.join(d.suite.dir, "mail"), outside)
    bob = os.path.join(d.suite.dir, "mail", "example.test", "bob")
    os.symlink(outside, bob)
    r = d.one("bob@example.test")
    assert r.outcome == DEFERRED, r
    os.unlink(bob)
    assert d.one("bob@example.test").outcome == DONE


@pytest.mark.parametrize("attempt", ["open:/etc/shadow", "exec:/bin/sh", "connect:127.0.0.1:25", "setuid:0", "fork", "ptrace"])
def test_confinement(make_deliver, attempt):
    d = make_deliver(start=False)
    done = subprocess.run([os.path.join(BIN, "deliver"), "-C", d.suite.conf, "--probe", attempt], capture_output=True, text=True)
    assert "allowed" not in done.stdout, done
