"""auth alone, asked over its sockets as the daemons ask it."""
import contextlib
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import time

import pytest

from conftest import BIN, SLOW, wait_until

OK, TEMP, PERM = 0, 1, 2
NONE, CREDENTIALS, EXPIRED, UNAVAILABLE = 0, 1, 2, 3
ROOT = os.geteuid() == 0


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(value)) + value


def take(frame):
    length, = struct.unpack_from("<I", frame)
    return frame[4:4 + length], frame[4 + length:]


class Answer:
    def __init__(self, frame):
        code, self.id, self.verdict, self.reason = struct.unpack_from("<HIBB", frame)
        assert code == 0x402
        user, rest = take(frame[8:])
        self.ticket, rest = take(rest)
        self.user = user.decode()
        assert rest == b""

    def same(self):
        """All that a client could tell apart."""
        return self.verdict, self.reason, self.user, self.ticket


class Link:
    """A connection to one of auth's sockets."""

    def __init__(self, suite, name):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(30 * SLOW)
        self.s.connect(os.path.join(suite.dir, "run", name))
        self.send(struct.pack("<HH", 1, 1) + text("test"))
        assert self.recv()[:4] == struct.pack("<HH", 1, 1)
        self.service = "smtp" if name == "auth-smtp" else "imap"
        self.next = 0

    def send(self, frame):
        self.s.send(frame)

    def recv(self):
        return self.s.recv(200000)

    def ask(self, user, password, address="", method="PLAIN", service=None):
        self.next += 1
        self.send(struct.pack("<HI", 0x401, self.next) + text(service or self.service) + text(method) + text(user) +
                  text(password) + text(address or f"198.51.100.{random.randrange(256)}") + b"\1")
        return self.next

    def answer(self):
        frame = self.recv()
        assert frame, "auth closed the connection"
        return Answer(frame)

    def login(self, *args, **named):
        self.ask(*args, **named)
        return self.answer()

    def redeem(self, ticket, service="imap"):
        self.send(struct.pack("<HI", 0x501, 7) + text(service) + text(ticket))
        frame = self.recv()
        assert struct.unpack_from("<HI", frame) == (0x502, 7)
        user, rest = take(frame[7:])
        home, rest = take(rest[1:])
        return frame[6], user.decode(), home.decode()

    def closed(self):
        try:
            return self.recv() == b""
        except ConnectionResetError:
            return True


class Auth:
    def __init__(self, suite, *prefix):
        self.suite = suite
        self.prefix = prefix
        self.log_path = os.path.join(suite.dir, "auth.log")
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, os.path.join(BIN, "auth"), "-C", self.suite.conf, "-d"],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.connects(), 10, "auth:\n" + self.log())
        return self

    def connects(self):
        with contextlib.suppress(OSError):
            Link(self.suite, "auth-smtp")
            return True
        return False

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def children(self, name):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    todo += [int(p) for p in f.read().split()]
                with open(f"/proc/{pid}/comm") as f:
                    if f.read().strip() == name:
                        found.append(pid)
        return found

    def stop(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)


@pytest.fixture(scope="module")
def auth(make_suite):
    suite = make_suite(users=("alice", "bob", "dis"), start=False)
    suite.run("domain", "add", "b.test")
    for user in ("alice@b.test", "bob@b.test"):
        suite.add_user(user)
    with open(os.path.join(suite.dir, "domains", "example.test", "accounts")) as f:
        lines = [line.rstrip("\n") for line in f]
    with open(os.path.join(suite.dir, "domains", "example.test", "accounts"), "w") as f:
        f.writelines(line + (":disabled" if line.startswith("dis") else "") + "\n" for line in lines)
    suite.run(program="newaliases")
    a = Auth(suite).start()
    yield a
    a.stop()
    assert "system call refused" not in a.log(), a.log()
    assert "AddressSanitizer" not in a.log() and "runtime error" not in a.log(), a.log()


@pytest.mark.san
def test_yes_and_no(auth):
    link = Link(auth.suite, "auth-smtp")
    pw = auth.suite.password("alice")
    for user in ("alice@example.test", "ALICE@Example.TEST"):
        a = link.login(user, pw)
        assert a.same() == (OK, NONE, "alice@example.test", b"")
    bad = [("alice@example.test", pw + "x"), ("alice@example.test", pw[:-1]), ("alice@example.test", ""),
           ("alice@example.test", pw + "\0"), ("alice@b.test", pw), ("bob@example.test", pw), ("alice", pw),
           ("alice+x@example.test", pw), ("nobody@example.test", pw), ("alice@nowhere.test", pw),
           ("dis@example.test", auth.suite.password("dis")), ("", pw), ("@", pw), ("alice@example.test\0", pw),
           ("alice@example.test\n", pw), ("al ice@example.test", pw), ("a" * 320, pw), ("alice@example.test", "x" * 1024),
           ("../../../etc/passwd", pw), ("postmaster@example.test", pw), ("*@example.test", pw)]
    begin = time.monotonic()
    ids = [link.ask(*pair) for pair in bad]
    answers = [link.answer() for _ in bad]
    assert sorted(a.id for a in answers) == ids
    assert {a.same() for a in answers} == {(PERM, CREDENTIALS, "", b"")}
    assert time.monotonic() - begin >= 0.95  # nobody is told at once


@pytest.mark.san
def test_no_cross_accept(auth):
    """V12: two domains, the same names, cached and not, right and wrong, in random order."""
    people = ["alice@example.test", "bob@example.test", "alice@b.test", "bob@b.test"]
    links = [Link(auth.suite, "auth-smtp"), Link(auth.suite, "auth-login")]
    rng = random.Random(11)
    for _ in range(6):
        asked = {}
        for _ in range(60):
            which = rng.randrange(2)
            service = "smtp" if which == 0 else rng.choice(("imap", "pop3"))
            who, whose = rng.choice(people), rng.choice(people)
            number = links[which].ask(who, auth.suite.password(whose), service=service,
                                      method=rng.choice(("PLAIN", "LOGIN")))
            asked[which, number] = who, who == whose
        for which, _ in list(asked):
            a = links[which].answer()
            who, right = asked.pop((which, a.id))
            assert (a.verdict == OK) == right and a.verdict != TEMP, (who, right, a.same())
            assert a.user == (who if right else "")
            assert (len(a.ticket) == 16) == (right and which == 1)
        assert not asked


def test_cache_saves_the_work_and_ends_with_the_map(auth):
    link = Link(auth.suite, "auth-smtp")
    suite = auth.suite
    old = suite.password("bob")
    assert link.login("bob@example.test", old).verdict == OK
    begin = time.monotonic()
    for _ in range(200):
        assert link.login("bob@example.test", old).verdict == OK
    assert time.monotonic() - begin < 3  # 200 yescrypts are four seconds
    suite.run("user", "passwd", "bob@example.test", "--password-stdin", input="another one\n")
    assert link.login("bob@example.test", old).verdict == PERM
    assert link.login("bob@example.test", "another one").verdict == OK
    suite.run("user", "del", "bob@b.test")
    assert link.login("bob@b.test", suite.password("bob@b.test")).verdict == PERM
    suite.add_user("bob@b.test", suite.password("bob@b.test"))
    suite.passwords["bob@example.test"] = "another one"


@pytest.mark.san
def test_tickets(auth):
    front, parent = Link(auth.suite, "auth-login"), Link(auth.suite, "auth-ticket")
    alice, bob = (front.login(f"{u}@example.test", auth.suite.password(u)).ticket for u in ("alice", "bob"))
    assert parent.redeem(bob) == (OK, "bob@example.test", "example.test/bob")
    assert parent.redeem(bob)[0] == PERM
    assert parent.redeem(alice[:-1])[0] == PERM
    assert parent.redeem(alice, "pop3")[0] == PERM  # of another service, and used up by that
    assert parent.redeem(alice)[0] == PERM
    assert parent.redeem(b"\0" * 16)[0] == PERM
    assert parent.redeem(b"")[0] == PERM


@pytest.mark.san
def test_bad_frames_end_only_their_connection(auth):
    """V5: while others log in, garbage of all kinds arrives on all sockets."""
    good = Link(auth.suite, "auth-smtp")
    pw = auth.suite.password("alice")
    request = (struct.pack("<HI", 0x401, 1) + text("smtp") + text("PLAIN") + text("alice@example.test") + text(pw) +
               text("192.0.2.1") + b"\1")
    hello = struct.pack("<HH", 1, 1) + text("test")
    rng = random.Random(5)
    garbage = [b"x", b"\0" * 6, rng.randbytes(100), rng.randbytes(60000), request[:-1], request + b"x",
               struct.pack("<H", 0x502), struct.pack("<HI", 0x501, 1) + text("imap") + text(b"x" * 33),
               struct.pack("<H", 0x403) + text("x" * 321), hello,
               request.replace(text("smtp"), text("imap")), struct.pack("<HI", 0x401, 1) + text("smtp") + text("PLAIN") +
               text("u" * 321) + text(pw) + text("") + b"\1"]
    names = ["auth-smtp", "auth-login", "auth-ticket", "auth-control"]
    for i in range(100):
        frame, name = garbage[i % len(garbage)], names[i // len(garbage) % len(names)]
        bad = Link(auth.suite, name)
        bad.send(frame)
        number = good.ask("alice@example.test", pw)
        a = good.answer()
        assert (a.id, a.verdict) == (number, OK)
        if not (name == "auth-login" and b"imap" in frame and frame.startswith(b"\1\4")):
            assert bad.closed(), (name, frame[:40])
    # No hello, a wrong version, a login on the socket of tickets.
    for first in (request, struct.pack("<HH", 1, 99) + text("old")):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(10)
        s.connect(os.path.join(auth.suite.dir, "run", "auth-smtp"))
        assert s.recv(1000)
        s.send(first)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1000) == b""
    assert good.login("alice@example.test", pw).verdict == OK
    assert auth.process.poll() is None


def test_failures_take_the_same_time(auth):
    """P20: no user, wrong password, disabled, no domain."""
    link = Link(auth.suite, "auth-smtp")
    kinds = {"none": "nobody@example.test", "wrong": "alice@example.test", "disabled": "dis@example.test",
             "domain": "alice@nowhere.test"}
    times = {kind: [] for kind in kinds}
    rng = random.Random(3)
    for _ in range(10):
        asked, order = {}, list(kinds) * 4
        rng.shuffle(order)
        for kind in order:
            asked[link.ask(kinds[kind], "not the password")] = kind, time.monotonic()
        for _ in order:
            a = link.answer()
            kind, begin = asked[a.id]
            assert a.same() == (PERM, CREDENTIALS, "", b"")
            times[kind].append(time.monotonic() - begin)
    for kind in kinds:
        assert statistics.median(times[kind]) >= 0.99
    for a in kinds:
        for b in kinds:
            x, y = times[a], times[b]
            spread = (statistics.variance(x) / len(x) + statistics.variance(y) / len(y)) ** 0.5
            t = abs(statistics.mean(x) - statistics.mean(y)) / max(spread, 1e-6)
            assert t < 4.5, (a, b, t, statistics.mean(x), statistics.mean(y))


def test_failures_of_one_address_wait_for_each_other(auth):
    link = Link(auth.suite, "auth-smtp")
    address, other = "203.0.113.7", "203.0.113.8"
    for i in range(6):
        link.ask(f"guess{i}@example.test", "x", address=address)
    for _ in range(6):
        assert link.answer().verdict == PERM
    begin = time.monotonic()
    slow = [link.ask("alice@example.test", "guess", address=address) for _ in range(3)]
    quick = link.ask("bob@example.test", "guess", address=other)
    order = [link.answer().id for _ in range(4)]
    assert order.index(quick) < order.index(slow[2])
    assert time.monotonic() - begin > 3.5  # the third waits 2 + 2 seconds
    # No process was held meanwhile: there are no more workers than before.
    assert len(auth.children("auth-crypt")) <= 8


@pytest.mark.san
def test_last_login(auth):
    link = Link(auth.suite, "auth-login")
    before = time.time()
    assert link.login("alice@b.test", auth.suite.password("alice@b.test"), address="2001:db8::5").verdict == OK

    def ask():
        control = Link(auth.suite, "auth-control")
        control.send(struct.pack("<H", 0x403) + text("alice@b.test"))
        found = {}
        while True:
            frame = control.recv()
            code, = struct.unpack_from("<H", frame)
            if code == 0x405:
                assert frame[2] == OK
                return found
            service, rest = take(frame[2:])
            usec, count = struct.unpack_from("<QQ", rest)
            found[service.decode()] = usec / 1e6, count, take(rest[16:])[0].decode()

    usec, count, address = ask()["imap"]
    assert before - 1 < usec < time.time() + 1 and address == "2001:db8::5"
    time.sleep(2.5)  # noted, then written behind the logins
    auth.stop(signal.SIGKILL)
    auth.start()
    assert ask()["imap"] == (usec, count, address)


@pytest.mark.san
def test_dead_workers_are_replaced(auth):
    link = Link(auth.suite, "auth-smtp")
    for round_ in range(3):
        for pid in auth.children("auth-crypt"):
            os.kill(pid, signal.SIGKILL)
        # What was under way may fail for now; the next one is answered.
        wait_until(lambda: link.login("alice@example.test", auth.suite.password("alice"), method=f"M{round_}").verdict == OK, 10,
                   "a login after the workers died:\n" + auth.log())
    assert auth.process.poll() is None


@pytest.mark.san
def test_drain_finishes_what_was_begun(auth):
    """SIGTERM: logins under way are answered, tickets that are out can be redeemed; then it ends."""
    front, parent = Link(auth.suite, "auth-login"), Link(auth.suite, "auth-ticket")
    ticket = front.login("alice@example.test", auth.suite.password("alice")).ticket
    wrong = front.ask("bob@example.test", "wrong")
    time.sleep(0.05)
    auth.process.send_signal(signal.SIGTERM)
    a = front.answer()
    assert (a.id, a.verdict) == (wrong, PERM)
    assert front.closed()
    assert parent.redeem(ticket)[:2] == (OK, "alice@example.test")
    assert auth.process.wait(10 * SLOW) == 0
    auth.start()


def test_no_password_stays_in_memory(auth):
    if not ROOT:
        pytest.skip("needs /proc/PID/mem of another user")
    link = Link(auth.suite, "auth-smtp")
    right, wrong = auth.suite.password("alice"), "wrong-one-to-look-for"
    for i in range(3):
        assert link.login("alice@example.test", right, method=f"X{i}").verdict == OK
    assert link.login("alice@example.test", wrong).verdict == PERM
    pids = [auth.process.pid] + auth.children("auth-keeper") + auth.children("auth-crypt")
    assert len(pids) >= 4
    for pid in pids:
        memory = read_memory(pid)
        assert len(memory) > 100000
        assert right.encode() not in memory and wrong.encode() not in memory, pid


def read_memory(pid):
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if "r" not in mode or "[v" in line or high - low > 1 << 30:
                continue
            with contextlib.suppress(OSError, OverflowError, ValueError):
                mem.seek(low)
                found += mem.read(high - low)
    return found


def test_privileges(auth):
    if not ROOT:
        pytest.skip("not root")
    for name in ("auth", "auth-keeper", "auth-crypt"):
        pids = [auth.process.pid] if name == "auth" else auth.children(name)
        assert pids
        for pid in pids:
            with open(f"/proc/{pid}/status") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            assert status["Uid"].split()[0] != "0", name  # no PAM here, so nobody is root
            assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    listed = os.stat(os.path.join(auth.suite.dir, "maps", "private", "accounts.cdb"))
    assert listed.st_mode & 0o777 == 0o600


def test_strangers_may_not_ask(auth):
    if not ROOT:
        pytest.skip("not root")
    os.chmod(auth.suite.dir, 0o755)
    for name in ("auth-smtp", "auth-login", "auth-ticket", "auth-control"):
        path = os.path.join(auth.suite.dir, "run", name)
        os.chmod(path, 0o666)  # even where the mode would let them
        code = ("import os,socket,sys\nos.setresgid(65534,65534,65534)\nos.setresuid(65534,65534,65534)\n"
                f"s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.settimeout(10)\ns.connect({path!r})\n"
                "sys.exit(0 if s.recv(100) == b'' else 1)")
        done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0 or "ConnectionReset" in done.stderr, (name, done.stderr)


# ---- PAM ----

PAM_USER = "pptest"


@pytest.fixture(scope="module")
def pam(make_suite):
    """auth with users of the machine: its own /etc/passwd and /etc/shadow, in a mount namespace, and its own service files."""
    if not ROOT:
        pytest.skip("PAM of the machine needs root")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace here")
    suite = make_suite(users=("alice",), start=False, system_users="true", pam_config_dir="pam", pam_timeout="2s",
                       auth_cache="5m")
    os.chmod(suite.dir, 0o755)
    home = os.path.join(suite.dir, "home")
    os.mkdir(home)
    os.chown(home, 59234, 59234)
    etc = os.path.join(suite.dir, "etc")
    os.mkdir(etc)
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input="geheim\n", capture_output=True, text=True,
                            check=True).stdout.strip()
    for name, line in (("passwd", f"{PAM_USER}:x:59234:59234::{home}:/bin/sh\nold{PAM_USER}:x:59235:59235::{home}:/bin/sh\n"),
                       ("shadow", f"{PAM_USER}:{hashed}:19000:0:99999:7:::\nold{PAM_USER}:{hashed}:19000:0:99999:7::19001:\n")):
        with open(f"/etc/{name}") as f:
            content = f.read()
        with open(os.path.join(etc, name), "w") as f:
            f.write(content + line)
    os.chmod(os.path.join(etc, "shadow"), 0o600)
    folder = os.path.join(suite.dir, "pam")
    os.mkdir(folder)
    slow = os.path.join(suite.dir, "slow")
    with open(slow, "w") as f:
        f.write("#!/bin/sh\nexec sleep 100\n")
    os.chmod(slow, 0o755)
    for name, lines in (("smtp", ["auth required pam_unix.so", "account required pam_unix.so"]),
                        ("imap", ["auth required pam_permit.so", "account required pam_permit.so"]),
                        ("pop3", [f"auth required pam_exec.so quiet {slow}", "account required pam_permit.so"])):
        with open(os.path.join(folder, name), "w") as f:
            f.write("\n".join(lines) + "\n")
    inside = os.path.join(suite.dir, "inside")
    with open(inside, "w") as f:
        f.write(f"#!/bin/sh\nset -e\nmount --bind {etc}/passwd /etc/passwd\nmount --bind {etc}/shadow /etc/shadow\nexec \"$@\"\n")
    os.chmod(inside, 0o755)
    subprocess.run(["unshare", "-m", inside, os.path.join(BIN, "newaliases"), "-C", suite.conf], check=True,
                   capture_output=True)
    a = Auth(suite, "unshare", "-m", inside).start()
    yield a
    a.stop()


def test_pam(pam):
    link = Link(pam.suite, "auth-smtp")
    host = "mail.example.test"
    for user in (PAM_USER, f"{PAM_USER}@{host}", f"{PAM_USER}@{host}".upper()):
        a = link.login(user, "geheim")
        assert (a.verdict, a.user) == (OK, f"{PAM_USER}@{host}")
    bad = ((PAM_USER, "falsch"), (PAM_USER, ""), (PAM_USER, "geheim\0"), (PAM_USER + "x", "geheim"),
           ("root", "geheim"), ("daemon", "geheim"), (PAM_USER + "@example.test", "geheim"), (f"old{PAM_USER}", "falsch"))
    for pair in bad:
        link.ask(*pair)
    assert {link.answer().same() for _ in bad} == {(PERM, CREDENTIALS, "", b"")}
    assert link.login(f"old{PAM_USER}", "geheim").reason == EXPIRED
    assert link.login("alice@example.test", pam.suite.password("alice")).verdict == OK


def test_pam_ticket_leads_to_the_home(pam):
    a = Link(pam.suite, "auth-login").login(PAM_USER, "whatever pam_permit takes")
    assert a.verdict == OK
    verdict, user, home = Link(pam.suite, "auth-ticket").redeem(a.ticket)
    assert (verdict, user) == (OK, f"{PAM_USER}@mail.example.test")
    assert home == os.path.join(pam.suite.dir, "home")


def test_pam_module_that_hangs_is_killed(pam):
    link, other = Link(pam.suite, "auth-login"), Link(pam.suite, "auth-smtp")
    begin = time.monotonic()
    slow = link.ask(PAM_USER, "geheim", service="pop3")
    assert other.login(PAM_USER, "geheim").verdict == OK  # others go on meanwhile
    assert time.monotonic() - begin < 1.9
    a = link.answer()
    assert (a.id, a.verdict, a.reason) == (slow, TEMP, UNAVAILABLE)
    assert 1.9 < time.monotonic() - begin < 10 * SLOW
    assert "PAM look-up took longer than 2 s" in pam.log()
    slow_path = os.path.join(pam.suite.dir, "slow")
    wait_until(lambda: subprocess.run(["pgrep", "-f", slow_path], capture_output=True).returncode != 0, 5, "the module's helper to go")


def test_pam_workers_are_replaced(pam):
    """Modules leak: a worker answers a hundred times, then another takes its place."""
    link = Link(pam.suite, "auth-login")
    first = set(pam.children("auth-pam"))
    for _ in range(4):
        numbers = [link.ask(PAM_USER, "x") for _ in range(110)]
        for _ in numbers:
            assert link.answer().verdict == OK
    wait_until(lambda: first - set(pam.children("auth-pam")), 10, "new workers")


def test_pam_process_is_confined(pam):
    link = Link(pam.suite, "auth-login")
    assert link.login(PAM_USER, "x").verdict == OK
    for pid in pam.children("auth-pam") + pam.children("auth-keeper"):
        with open(f"/proc/{pid}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        # kill, setuid, setgid, dac_override, dac_read_search, audit_write: no sys_admin, no net_*, no ptrace
        assert int(status["CapEff"], 16) == (1 << 5 | 1 << 6 | 1 << 7 | 1 << 1 | 1 << 2 | 1 << 29)
    assert "secret" not in pam.log() and "geheim" not in pam.log()
