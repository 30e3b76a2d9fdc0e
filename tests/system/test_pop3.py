"""pop3d and the login fronts: with auth alone beside it, messages laid into the Maildir by hand."""
import contextlib
import hashlib
import os
import poplib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import BIN, SAN, SLOW, alive, wait_until

ROOT = os.geteuid() == 0


def daemon(name):
    return os.path.join(BIN, name)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def kind(pid):
    """What the process has confined itself as, from the record that it keeps."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if "pennypost-sandbox" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    with open(f"/proc/{pid}/fd/{fd}") as f:
                        return (f.readline().split() + ["", ""])[1]
    return None


class Pop:
    """A suite of which auth and pop3d run, started by hand."""

    def __init__(self, suite):
        self.suite = suite
        self.process = {}
        os.makedirs(os.path.join(suite.dir, "log"), exist_ok=True)
        self.start("auth")
        wait_until(lambda: os.path.exists(f"{suite.dir}/run/auth-ticket"), 10, "auth")
        self.start("pop3d")
        self.wait_ready()

    def start(self, name):
        with open(os.path.join(self.suite.dir, "log", "pennypost.log"), "a") as log:
            self.process[name] = subprocess.Popen([daemon(name), "-C", self.suite.conf, "-d"], stderr=log)

    def wait_ready(self):
        wait_until(lambda: self.of_kind("login"), 10, "pop3d:\n" + self.suite.log()[-2000:])
        wait_until(lambda: len(self.of_kind("login")) == len(self.of_kind("broker")), 10, "fronts")

    def stop(self, name):
        p = self.process[name]
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(1)
            p.send_signal(signal.SIGTERM)
        return p.wait(15 * SLOW)

    def restart(self):
        self.stop("pop3d")
        self.start("pop3d")
        self.wait_ready()

    def parent(self):
        return self.process["pop3d"].pid

    def of_kind(self, name):
        return [p for p in children(self.parent()) if kind(p) == name]

    def user_pid(self, user):
        """The user's process that the last login went to; the line about it may come a moment after the answer."""
        def last():
            found = re.findall(rf"Login: user=<{user}@.*mpid=(\d+)", self.suite.log())
            return int(found[-1]) if found and alive(found[-1]) else None
        return wait_until(last, 10, f"the login of {user} in the log")

    # -- mail --

    def put(self, user, *contents):
        """Messages as another tool would leave them in new/."""
        base = self.suite.maildir(user)
        if not os.path.isdir(base):
            self.login(user).quit()
        owner = os.stat(base)
        for i, content in enumerate(contents):
            name = f"{time.time_ns()}.T{random.randrange(10**9)}N{i}.test"
            path = os.path.join(base, "tmp", name)
            with open(path, "wb") as f:
                f.write(content)
            os.chown(path, owner.st_uid, owner.st_gid)
            os.rename(path, os.path.join(base, "new", name))

    def empty(self, user):
        for f in self.suite.files(user):
            os.unlink(f)

    # -- clients --

    def connect(self, tls=True):
        s = socket.create_connection(("127.0.0.1", self.suite.port("pop3s" if tls else "pop3")), timeout=60 * SLOW)
        return self.suite.tls.wrap_socket(s) if tls else s

    def login(self, user="alice"):
        return self.suite.pop3(user)


@pytest.fixture(scope="module")
def pop(make_suite):
    p = Pop(make_suite(start=False, user_process_idle="1s"))
    yield p
    for name in ("pop3d", "auth"):
        p.stop(name)


@pytest.fixture()
def fresh(pop):
    """With nobody logged in and both mailboxes empty."""
    for user in ("alice", "bob"):
        pop.login(user).quit()
        pop.empty(user)
    return pop


def read_line(s):
    """One line, or what came before the end."""
    line = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while not line.endswith(b"\n"):
            octet = s.recv(1)
            if not octet:
                break
            line += octet
    return line


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while True:
            got = s.recv(65536)
            if not got:
                break
            data += got
    return data


def retr(p, n):
    """A message octet for octet (poplib takes lines apart), and the size that was announced."""
    p.sock.sendall(b"RETR %d\r\n" % n)
    first = p.file.readline()
    assert first.startswith(b"+OK"), first
    data = []
    while True:
        line = p.file.readline()
        if line == b".\r\n":
            return b"".join(data), int(first.split()[1])
        data.append(line[1:] if line.startswith(b".") else line)


# ---- POP3 ----

CONTENTS = [
    b"Subject: one\r\n\r\nhello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n",
    b"Subject: no end\r\n\r\nlast",
    b"\r\n\r\n",
    b"Subject: eight bit\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    b"Subject: header alone\r\n",
    b"Subject: long lines\r\n\r\n" + b"x" * 100000 + b"\r\n." + b"y" * 70000 + b"\r\n",
    b"Subject: many lines\r\n\r\n" + b".line\r\nline.\r\n" * 100000,
]


@pytest.mark.san
def test_content_octet_for_octet(fresh):
    fresh.put("alice", *CONTENTS)
    p = fresh.login()
    sizes = {int(n): int(size) for n, size in (line.split() for line in p.list()[1])}
    got = []
    for n in range(1, len(CONTENTS) + 1):
        data, announced = retr(p, n)
        assert announced == sizes[n]
        got.append(data[:announced])
        assert data[announced:] in (b"", b"\r\n")  # a last line without an end gets one
    assert sorted(got) == sorted(CONTENTS)
    assert p.stat() == (len(CONTENTS), sum(map(len, CONTENTS)))
    p.quit()


@pytest.mark.san
def test_lf_files_of_other_tools(fresh):
    """A file with LF lines is sent with CRLF, and counted so."""
    fresh.put("alice", b"Subject: lf\n\none\n.two\n")
    p = fresh.login()
    data, announced = retr(p, 1)
    assert data == b"Subject: lf\r\n\r\none\r\n.two\r\n" and announced == len(data)
    assert p.list()[1] == [b"1 %d" % len(data)]
    assert p.top(1, 1)[1] == [b"Subject: lf", b"", b"one"]
    p.quit()


@pytest.mark.san
def test_commands(fresh):
    fresh.put("bob", *[b"Subject: %d\r\n\r\n1\r\n2\r\n3\r\n" % i for i in range(5)])
    p = fresh.login("bob")
    assert p.stat()[0] == 5
    assert p.top(2, 2)[1][1:] == [b"", b"1", b"2"]
    assert p.top(2, 0)[1][1:] == [b""]
    assert p.noop() == b"+OK"
    p.dele(1)
    p.dele(3)
    assert p.stat()[0] == 3 and len(p.list()[1]) == 3 and len(p.uidl()[1]) == 3
    for refused in (lambda: p.retr(1), lambda: p.dele(3), lambda: p.list(1), lambda: p.uidl(3), lambda: p.top(1, 1),
                    lambda: p.retr(6), lambda: p.retr(0), lambda: p.retr("x")):
        with pytest.raises(poplib.error_proto, match="-ERR"):
            refused()
    p.rset()
    assert p.stat()[0] == 5
    capa = p.capa()
    assert capa["SASL"] == ["PLAIN"] and capa["EXPIRE"] == ["NEVER"]
    assert {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "USER"} <= set(capa)
    p.quit()


def test_dele_takes_effect_at_quit(fresh):
    fresh.put("alice", *CONTENTS[:3])
    p = fresh.login()
    p.dele(2)
    p.close()  # no QUIT: nothing is removed (RFC 1939 section 6)
    wait_until(lambda: "retr=0/0, del=0/3" in fresh.suite.log(), 10, "end of the session")
    assert len(fresh.suite.files("alice")) == 3
    p = fresh.login()
    keep = p.uidl(1).split()[2]
    p.dele(2)
    p.dele(3)
    assert p.quit().startswith(b"+OK")
    with contextlib.suppress(ProcessLookupError):
        os.kill(fresh.user_pid("alice"), signal.SIGKILL)
    assert len(fresh.suite.files("alice")) == 1
    p = fresh.login()
    assert p.uidl()[1] == [b"1 " + keep]
    p.quit()


@pytest.mark.skipif(not shutil.which("strace") or not ROOT, reason="strace")
def test_ok_of_quit_comes_after_the_sync(fresh):
    """P5: a sync lies between the removal and the +OK that tells of it."""
    fresh.put("alice", CONTENTS[0])
    p = fresh.login()
    p.dele(1)
    trace = os.path.join(fresh.suite.dir, "trace")
    tracer = subprocess.Popen(["strace", "-p", str(fresh.user_pid("alice")), "-s", "32", "-o", trace,
                               "-e", "trace=unlinkat,renameat,renameat2,fsync,fdatasync,write,sendto,sendmsg,writev"],
                              stderr=subprocess.PIPE)
    assert b"attached" in tracer.stderr.readline()
    assert p.quit().startswith(b"+OK")
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    calls = open(trace).read().splitlines()
    said = next(i for i, c in enumerate(calls) if "+OK Bye" in c)
    removed = max(i for i, c in enumerate(calls[:said]) if c.startswith(("unlinkat", "rename")))
    assert any("sync(" in c for c in calls[removed:said]), calls


def test_failed_removal_is_told(fresh):
    fresh.put("alice", CONTENTS[0])
    p = fresh.login()
    p.dele(1)
    base = fresh.suite.maildir("alice")
    for sub in ("new", "cur"):
        os.chmod(os.path.join(base, sub), 0o500)
    try:
        with pytest.raises(poplib.error_proto, match="SYS/TEMP.*not removed"):
            p.quit()
    finally:
        for sub in ("new", "cur"):
            os.chmod(os.path.join(base, sub), 0o700)
    p = fresh.login()
    assert p.stat()[0] == 1
    p.quit()


def test_uidl_is_stable(fresh):
    fresh.put("alice", *CONTENTS[:4])
    p = fresh.login()
    first = p.uidl()[1]
    p.dele(1)
    p.quit()
    assert len({u.split()[1] for u in first}) == 4
    # Another tool reads the mail: it moves to cur/ and gets flags.
    for f in fresh.suite.files("alice"):
        os.rename(f, f.replace("/new/", "/cur/").split(":")[0] + ":2,S")
    fresh.put("alice", b"Subject: later\r\n\r\n")
    p = fresh.login()
    second = p.uidl()[1]
    p.quit()
    assert [u.split()[1] for u in second[:3]] == [u.split()[1] for u in first[1:]]
    assert second[3].split()[1] not in {u.split()[1] for u in first}
    fresh.restart()
    p = fresh.login()
    assert p.uidl()[1] == second
    p.quit()


def test_one_session_at_a_time(fresh):
    p = fresh.login()
    with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\]"):
        fresh.login()
    fresh.login("bob").quit()
    p.quit()
    fresh.login().quit()


def test_removed_by_another_meanwhile(fresh):
    fresh.put("alice", *CONTENTS[:2])
    p = fresh.login()
    fresh.empty("alice")
    with pytest.raises(poplib.error_proto, match="-ERR"):
        p.retr(1)
    p.dele(2)
    assert p.quit().startswith(b"+OK")


@pytest.mark.san
def test_pipelining(fresh):
    """All in one piece, the login too (RFC 2449 section 6.6)."""
    fresh.put("alice", *CONTENTS[:2])
    s = fresh.connect()
    assert read_line(s).startswith(b"+OK")
    s.sendall(b"USER alice@example.test\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nTOP 2 0\r\nNOOP\r\nDELE 1\r\nQUIT\r\n"
              % fresh.suite.password("alice").encode())
    lines = read_all(s).split(b"\r\n")
    assert sum(line.startswith(b"+OK") for line in lines) == 8 and not any(b"-ERR" in line for line in lines)
    assert len(fresh.suite.files("alice")) == 1


def test_slow_reader_costs_nothing(fresh):
    """A client that asks for much and reads nothing: buffers stay small, others go on, nothing is lost."""
    big = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 4 * 1024 * 256 + b"\r\n"
    fresh.put("alice", big)
    p = fresh.login()
    for _ in range(3):
        p.sock.sendall(b"RETR 1\r\n")
    p.sock.sendall(b"NOOP\r\n")
    time.sleep(1)
    for pid in fresh.of_kind("login") + [fresh.user_pid("alice")]:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            own = sum(int(line.split()[1]) for line in f if line.startswith("Anonymous:"))
        assert own < 8 * 1024 or SAN, kind(pid)
    fresh.login("bob").quit()
    for _ in range(3):
        assert p.file.readline().startswith(b"+OK")
        digest = hashlib.sha256()
        while True:
            line = p.file.readline(1 << 20)
            if line == b".\r\n":
                break
            digest.update(line)
        assert digest.digest() == hashlib.sha256(big).digest()
    assert p.file.readline() == b"+OK\r\n"
    p.quit()


# ---- before login ----

@pytest.mark.san
def test_nothing_in_the_clear(pop):
    s = pop.connect(tls=False)
    read_line(s)
    for line in (b"USER alice@example.test", b"PASS x", b"AUTH PLAIN AGEAYg=="):
        s.sendall(line + b"\r\n")
        assert read_line(s).startswith(b"-ERR Logging in needs encryption")
    s.sendall(b"CAPA\r\n")
    capa = b"".join(iter(lambda: read_line(s), b".\r\n"))
    assert b"STLS" in capa and b"SASL" not in capa and b"USER" not in capa


@pytest.mark.san
def test_stls(pop):
    p = poplib.POP3("127.0.0.1", pop.suite.port("pop3"), timeout=60 * SLOW)
    p.stls(pop.suite.tls)
    assert "STLS" not in p.capa()
    p.user(pop.suite.address("alice"))
    p.pass_(pop.suite.password("alice"))
    p.quit()


def test_stls_injection(pop):
    """V7: what came before the handshake ends the connection."""
    s = pop.connect(tls=False)
    read_line(s)
    s.sendall(b"STLS\r\nUSER alice@example.test\r\n")
    assert b"USER" not in read_all(s)
    s = pop.connect(tls=False)
    read_line(s)
    s.sendall(b"STLS\r\n")
    read_line(s)
    s.sendall(b"USER x\r\n")
    assert read_all(s) == b""
    # What was said in the clear is forgotten.
    p = poplib.POP3("127.0.0.1", pop.suite.port("pop3"), timeout=60 * SLOW)
    with contextlib.suppress(poplib.error_proto):
        p.user("alice@example.test")
    p.stls(pop.suite.tls)
    with pytest.raises(poplib.error_proto, match="USER comes first"):
        p.pass_("x")


@pytest.mark.san
@pytest.mark.parametrize("octets, answer", [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    (b"x" * 5000, b"-ERR Line too long\r\n"),
    (b"FOO\r\n" * 30, b"-ERR Too many errors\r\n"),
    (b"\0" * 100 + b"\r\nQUIT\r\n", b"+OK Bye\r\n"),
    (b"AUTH PLAIN\r\n" + b"=" * 4000 + b"\r\nQUIT\r\n", b"+OK Bye\r\n"),
    (b"\n" * 30, b"-ERR Too many errors\r\n"),
], ids=["http", "long", "errors", "nul", "sasl", "empty"])
def test_bad_clients(pop, octets, answer):
    """P21: any octets cost no more than the connection."""
    for tls in (False, True):
        s = pop.connect(tls)
        read_line(s)
        s.sendall(octets)
        assert read_all(s).endswith(answer)
    assert all(alive(p) for p in pop.of_kind("login"))


@pytest.mark.san
def test_random_octets(pop):
    rng = random.Random(7)
    before = pop.of_kind("login")
    words = [b"USER ", b"PASS ", b"AUTH PLAIN ", b"CAPA", b"STLS", b"\r\n", b"\n", b"\0", b"\xff\xfe", b" ", b"x" * 300]
    for i in range(200):
        s = pop.connect(tls=i % 4 != 0)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            s.sendall(b"".join(rng.choice(words) if rng.random() < 0.8 else rng.randbytes(20) for _ in range(60)))
        s.close()
    pop.login().quit()
    assert pop.of_kind("login") == before


def test_alpn(pop):
    for names, fine in ((["pop3"], True), (["http/1.1"], False), (["imap"], False)):
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_alpn_protocols(names)
        s = socket.create_connection(("127.0.0.1", pop.suite.port("pop3s")))
        if fine:
            assert read_line(tls.wrap_socket(s)).startswith(b"+OK")
        else:
            with pytest.raises(ssl.SSLError):
                tls.wrap_socket(s)


def test_failed_login(pop):
    """Refused alike whoever it is, and logged as fail2ban wants it (its filter for Dovecot)."""
    replies = set()
    for user in ("alice@example.test", "nobody@example.test", "alice@nowhere.test", "x" * 320):
        s = pop.connect()
        read_line(s)
        s.sendall(b"USER %s\r\nPASS wrong\r\n" % user.encode())
        read_line(s)
        start = time.monotonic()
        replies.add(read_line(s))
        assert time.monotonic() - start > 0.9
        s.close()
    assert replies == {b"-ERR [AUTH] Authentication failed\r\n"}
    pop.suite.wait_log(r"pop3-login\[\d+\]: Disconnected: Connection closed \(auth failed, 1 attempts in \d+ secs\): "
                       r"user=<alice@example.test>, method=USER, rip=127.0.0.1, lip=127.0.0.1, TLS, session=<\S+>")
    assert "wrong" not in re.sub(r"wrong version", "", pop.suite.log())


# ---- processes ----

def test_deaths(fresh):
    """P11: a process that is killed takes its own sessions along and is replaced."""
    alice, bob = fresh.login("alice"), fresh.login("bob")
    os.kill(fresh.user_pid("alice"), signal.SIGKILL)
    with pytest.raises((poplib.error_proto, ConnectionError, ssl.SSLError)):
        alice.noop()
    assert bob.noop().startswith(b"+OK")
    fresh.login("alice").quit()
    for pid in fresh.of_kind("broker"):
        os.kill(pid, signal.SIGKILL)
    # auth is away for a while: logins wait for it, and find it by way of the new broker.
    fresh.stop("auth")
    threading.Timer(1, lambda: fresh.start("auth")).start()
    fresh.login("alice").quit()
    bob.quit()
    old = fresh.of_kind("login")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    fresh.wait_ready()
    fresh.login("alice").quit()
    assert time.monotonic() - start < 1 * SLOW + 1
    assert not set(old) & set(fresh.of_kind("login"))


def test_hung_auth_and_hung_process(fresh):
    """P13: who does not answer costs others a bounded wait and a temporary refusal."""
    fresh.login("alice").quit()
    pid = fresh.user_pid("alice")
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\]"):
            fresh.login("alice")
        assert time.monotonic() - start < 30
        fresh.login("bob").quit()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: fresh.login("alice").quit(), 5, "alice")


def test_idle_end_and_login_do_not_miss(make_suite):
    """A process may end for idleness at any moment: no login is lost to that."""
    one = Pop(make_suite(start=False, user_process_idle="0"))
    failures = []

    def run(user):
        for _ in range(60):
            try:
                one.login(user).quit()
            except Exception as e:  # whatever it is, it is a lost login
                failures.append(repr(e))

    try:
        threads = [threading.Thread(target=run, args=(u,)) for u in ("alice", "bob")]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert failures == []
        wait_until(lambda: not one.of_kind("pop3-user"), 5, "end of the users' processes")
    finally:
        assert one.stop("pop3d") == 0
        one.stop("auth")


def test_drain(fresh):
    """SIGTERM: sessions go on, nothing new; when the last has gone, so has everything."""
    p, waiting, pid = fresh.login(), fresh.connect(tls=False), fresh.parent()
    read_line(waiting)
    everyone = children(pid)
    os.kill(pid, signal.SIGTERM)
    try:
        assert read_all(waiting) == b"-ERR [SYS/TEMP] Server is shutting down\r\n"
        assert p.noop().startswith(b"+OK")
        with pytest.raises(ConnectionRefusedError):
            fresh.connect()
        assert p.quit().startswith(b"+OK")
        assert fresh.process["pop3d"].wait(5 * SLOW) == 0
        assert not any(alive(c) for c in everyone)
    finally:
        fresh.stop("pop3d")
        fresh.start("pop3d")
        fresh.wait_ready()


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,), (signal.SIGKILL,)],
                         ids=["twice", "quit", "kill"])
def test_end_at_once(fresh, signals):
    """A second SIGTERM ends sessions; and nobody outlives a parent that was killed."""
    p, pid = fresh.login(), fresh.parent()
    everyone = children(pid)
    for s in signals:
        os.kill(pid, s)
        time.sleep(0.2)
    try:
        with pytest.raises((poplib.error_proto, ConnectionError, ssl.SSLError)):
            p.noop()
        wait_until(lambda: not any(alive(c) for c in everyone), 5, "end of all processes")
        fresh.process["pop3d"].wait(5)
    finally:
        fresh.start("pop3d")
        fresh.wait_ready()


def test_places(make_suite):
    """P15: silent clients do not keep others out; one client cannot take all places."""
    one = Pop(make_suite(start=False, login_sessions="40", login_sessions_per_client="1000"))
    try:
        # All at one front, then at the other: clients get in wherever they land.
        fronts = one.of_kind("login")
        for stopped in fronts if len(fronts) == 2 else [0]:
            if stopped:
                os.kill(stopped, signal.SIGSTOP)
            silent = [one.connect(tls=False) for _ in range(40)]
            time.sleep(6)  # then they have had time enough
            start = time.monotonic()
            one.login().quit()
            assert time.monotonic() - start < 3 * SLOW
            if stopped:
                os.kill(stopped, signal.SIGCONT)
            one.login().quit()
            del silent
    finally:
        one.stop("pop3d")
        one.stop("auth")
    two = Pop(make_suite(start=False, login_sessions_per_client="3"))
    try:
        held = [two.connect(tls=False) for _ in range(3)]
        for s in held:
            read_line(s)
        assert read_all(two.connect(tls=False)) == b"-ERR [SYS/TEMP] Too many connections\r\n"
        held.pop().close()
        wait_until(lambda: read_line(two.connect(tls=False)).startswith(b"+OK"), 5, "a place")
        held.append(two.connect(tls=False))
        for pid in two.of_kind("login"):  # the places of dead fronts are free again
            os.kill(pid, signal.SIGKILL)
        two.wait_ready()
        wait_until(lambda: read_line(two.connect(tls=False)).startswith(b"+OK"), 5, "a place")
    finally:
        two.stop("pop3d")
        two.stop("auth")


def test_login_timeout(make_suite):
    one = Pop(make_suite(start=False, login_timeout="2s"))
    try:
        s, start = one.connect(), time.monotonic()
        read_line(s)
        for _ in range(3):
            time.sleep(0.5)
            s.sendall(b"C")  # octets alone do not help
        assert read_all(s) == b"-ERR Not logged in in time\r\n"
        assert 1.5 < time.monotonic() - start < 4 * SLOW
        s = socket.create_connection(("127.0.0.1", one.suite.port("pop3s")))
        assert read_all(s) == b""  # a handshake that never begins
    finally:
        one.stop("pop3d")
        one.stop("auth")


def test_reload_loses_no_session(make_suite):
    """P24: sessions go on in the old processes, new ones get the new; the mailbox lock holds between them."""
    suite = make_suite()
    suite.send("alice")
    suite.wait_mail("alice")
    old = {name: suite.daemon_pid(name) for name in ("pop3d", "imapd")}
    p, i = suite.pop3("alice"), suite.imap("bob")
    suite.run("reload")
    wait_until(lambda: all(suite.daemon_pid(name) not in (0, pid) for name, pid in old.items()), 20, "new processes")
    assert p.stat()[0] == 1
    assert i.noop()[0] == "OK"
    suite.pop3("bob").quit()
    suite.imap("alice").logout()
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        suite.pop3("alice")
    p.dele(1)
    assert p.quit().startswith(b"+OK")
    i.logout()
    assert suite.files("alice") == []
    wait_until(lambda: not any(alive(pid) for pid in old.values()), 20, "end of the old processes")
    suite.pop3("alice").quit()


PROBES = ["open:/etc/shadow", "read:/etc/passwd", "exec:/bin/sh", "connect:127.0.0.1:25", "ptrace", "unshare", "mount",
          "bpf", "io-uring", "mmap-exec", "chroot", "write:/tmp/pennypost-probe"]


@pytest.mark.parametrize("who", ["front", "user:example.test/alice"])
@pytest.mark.parametrize("attempt", PROBES + ["fork", "socket", "setuid:0", "kill:1"])
def test_confinement(fresh, who, attempt):
    if not ROOT and attempt == "setuid:0":
        pytest.skip("who is not root may not anyway")
    done = subprocess.run([daemon("pop3d"), "-C", fresh.suite.conf, "--probe", f"{who}:{attempt}"], capture_output=True, text=True)
    assert done.returncode != 0 and "allowed" not in done.stdout, done


@pytest.mark.parametrize("attempt", ["read:/etc/passwd", "exec:/bin/sh", "connect:127.0.0.1:25", "ptrace", "mount", "bpf"])
def test_confinement_of_the_parent(fresh, attempt):
    done = subprocess.run([daemon("pop3d"), "-C", fresh.suite.conf, "--probe", f"parent:{attempt}"], capture_output=True, text=True)
    assert done.returncode != 0 and "allowed" not in done.stdout, done


def test_own_mail_alone(fresh):
    """All virtual users have one uid, yet a user's process reaches that user's mail only."""
    fresh.put("bob", CONTENTS[0])
    os.chmod(fresh.suite.dir, 0o755)  # so that modes of folders above are not what refuses
    for where, answer in ((fresh.suite.maildir("alice"), "allowed"), (fresh.suite.maildir("bob"), "refused"),
                          (os.path.join(fresh.suite.dir, "spool"), "refused"), (os.path.join(fresh.suite.dir, "maps"), "refused")):
        done = subprocess.run([daemon("pop3d"), "-C", fresh.suite.conf, "--probe", f"user:example.test/alice:list:{where}"],
                              capture_output=True, text=True)
        assert f": {answer}" in done.stdout, (where, done)


def test_symbolic_links_are_not_followed(fresh):
    """A Maildir that leads elsewhere is no Maildir."""
    base = fresh.suite.maildir("alice")
    os.rename(base, base + ".away")
    os.symlink(fresh.suite.maildir("bob"), base)
    try:
        wait_until(lambda: not fresh.of_kind("pop3-user"), 10, "idle end")
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\]"):
            fresh.login("alice")
    finally:
        os.unlink(base)
        os.rename(base + ".away", base)
    fresh.login("alice").quit()
