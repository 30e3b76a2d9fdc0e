"""IMAP as a whole: sessions side by side against a model, IDLE, limits, clients that misbehave."""
import os
import random
import re
import signal
import socket
import threading
import time
import zlib

import pytest

from conftest import SAN, SLOW, alive, wait_until


class Session:
    """A raw session that keeps the numbers a client has to keep, and checks what it is told."""

    def __init__(self, suite, user="alice"):
        self.sock = suite.tcp("imaps", tls=True)
        self.file = self.sock.makefile("rb")
        self.n = 0
        self.uids = None  # of the selected mailbox, by number; None where not known
        assert self.file.readline().startswith(b"* OK [CAPABILITY ")
        done = self.command(f'LOGIN {suite.address(user)} "{suite.password(user)}"')
        assert done.startswith("OK [CAPABILITY IMAP4rev1 "), done

    def send(self, data):
        self.sock.sendall(data)

    def response(self):
        """One response; literals in place, in latin-1."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended: {line}")
        while m := re.search(rb"\{(\d+)\}\r\n$", line):
            line += self.file.read(int(m.group(1))) + self.file.readline()
        return line[:-2].decode("latin-1")

    def take(self, text, expunge_allowed):
        """An untagged response: what it does to the numbers."""
        m = re.match(r"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?$", text, re.S)
        if not m or self.uids is None:
            return
        number = int(m.group(1))
        if m.group(2) == "EXISTS":
            assert number >= len(self.uids), "EXISTS must not take away"
            self.uids += [None] * (number - len(self.uids))
        elif m.group(2) == "EXPUNGE":
            assert expunge_allowed, "EXPUNGE where it is forbidden"
            assert 1 <= number <= len(self.uids)
            del self.uids[number - 1]
        else:
            assert 1 <= number <= len(self.uids)
            uid = re.search(r"\bUID (\d+)", m.group(3))
            if uid:
                known = self.uids[number - 1]
                assert known in (None, int(uid.group(1))), "a number that is another message"
                self.uids[number - 1] = int(uid.group(1))

    def command(self, text, got=None):
        """Run one; the tagged answer without its tag.  got: list for the untagged ones."""
        self.n += 1
        tag = f"t{self.n}"
        verb = text.split()[0].upper()
        self.send(f"{tag} {text}\r\n".encode())
        while True:
            line = self.response()
            if line.startswith(tag + " "):
                return line[len(tag) + 1:]
            assert line.startswith(("* ", "+ ")), line
            if got is not None:
                got.append(line)
            self.take(line, verb not in ("FETCH", "STORE", "SEARCH"))

    def ok(self, text, got=None):
        done = self.command(text, got)
        assert done.startswith("OK"), f"{text}: {done}"
        return done

    def select(self, name="INBOX"):
        got = []
        self.uids = None
        self.ok(f"SELECT {name}", got)
        self.uids = [None] * next(int(x.split()[1]) for x in got if x.endswith(" EXISTS"))

    def state(self):
        """{uid: flags} of the selected mailbox, as this session sees it."""
        got = []
        if not self.uids:
            return {}
        self.ok("FETCH 1:* (UID FLAGS)", got)
        found = {}
        for line in got:
            m = re.match(r"\* (\d+) FETCH \(UID (\d+) FLAGS \((.*)\)\)", line)
            if m:
                found[int(m.group(2))] = frozenset(m.group(3).split()) - {"\\Recent"}
        return found

    def append(self, name, subject, flags=""):
        text = f"Subject: {subject}\r\n\r\nbody of {subject}\r\n"
        done = self.ok(f"APPEND {name} ({flags}) {{{len(text)}+}}\r\n{text}")
        return int(re.match(r"OK \[APPENDUID \d+ (\d+)\]", done).group(1))

    def close(self):
        self.file.close()
        self.sock.close()


FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "\\Draft", "$Junk", "Work"]


def some_flags(rng):
    return " ".join(rng.sample(FLAGS, rng.randrange(0, 4)))


def one_step(rng, s, model):
    """One random command of one session on INBOX; model is {uid: flags}, subjects are not followed."""
    live = [u for u in s.uids if u in model]
    what = rng.randrange(10)
    if what == 0 or not live:
        flags = some_flags(rng)
        model[s.append("INBOX", f"m{rng.randrange(10**6)}", flags)] = frozenset(flags.split())
        return
    uids = sorted(rng.sample(live, min(len(live), rng.randrange(1, 4))))
    text = ",".join(map(str, uids))
    if what <= 3:
        sign, flags = rng.choice(["+", "-", ""]), some_flags(rng)
        s.ok(f"UID STORE {text} {sign}FLAGS{rng.choice(['', '.SILENT'])} ({flags})")
        given = frozenset(flags.split())
        for u in uids:
            model[u] = model[u] | given if sign == "+" else model[u] - given if sign == "-" else given
    elif what == 4:
        s.ok("EXPUNGE")
        for u in [u for u in model if "\\Deleted" in model[u]]:
            del model[u]
    elif what == 5:
        s.ok(f"UID EXPUNGE {text}")
        for u in uids:
            if "\\Deleted" in model[u]:
                del model[u]
    elif what == 6:
        done = s.ok(f"UID COPY {text} INBOX")
        m = re.match(r"OK \[COPYUID \d+ \S+ (\d+)(?::(\d+))?\]", done)
        first = int(m.group(1))
        assert int(m.group(2) or first) - first + 1 == len(uids)
        for i, u in enumerate(uids):
            model[first + i] = model[u]
    elif what == 7:
        s.ok(f"UID MOVE {text} Trash")
        for u in uids:
            del model[u]
    elif what == 8:
        number = s.uids.index(uids[0]) + 1
        got = []
        done = s.command(f"FETCH {number} (UID BODY[])", got)
        assert done.startswith("OK"), done
        model[uids[0]] |= {"\\Seen"}
        assert any(f"UID {uids[0]} " in x for x in got)
    else:
        got = []
        s.ok("UID SEARCH ALL", got)
        found = {int(x) for x in got[0].split()[2:]}
        assert found >= set(live)


@pytest.mark.parametrize("seed", range(3))
def test_random_sessions_against_a_model(suite, seed):
    """Three sessions on one mailbox, random commands: all see the truth, and their numbers stay right."""
    rng = random.Random(seed)
    sessions = [Session(suite) for _ in range(3)]
    sessions[0].select()
    if sessions[0].uids:
        sessions[0].ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        sessions[0].ok("EXPUNGE")
    for s in sessions:
        s.select()
    model = {}
    for _ in range(300):
        s = rng.choice(sessions)
        if rng.random() < 0.5:
            s.ok("NOOP")
        s.state()  # learn the UIDs of what is new
        one_step(rng, s, model)
    for s in sessions:
        s.ok("NOOP")
        assert s.state() == model
        assert s.uids == sorted(model)
        s.close()
    fresh = Session(suite)
    fresh.select()
    assert fresh.state() == model
    fresh.close()
    assert len(suite.files("alice")) == len(model)


def test_idle_hears_at_once(suite):
    """A delivery, and what another session does, reach a session in IDLE."""
    s, other = Session(suite, "bob"), Session(suite, "bob")
    s.select()
    other.select()
    count = len(s.uids)
    s.send(b"i IDLE\r\n")
    assert s.response() == "+ idling"
    suite.send("bob", subject="wake up")
    begin = time.monotonic()
    assert s.response() == f"* {count + 1} EXISTS"
    assert time.monotonic() - begin < 5 * SLOW
    assert re.fullmatch(r"\* \d+ RECENT", s.response())
    other.ok("NOOP")
    begin = time.monotonic()
    other.ok(f"STORE {count + 1} +FLAGS (\\Flagged)")
    assert "\\Flagged" in s.response()
    assert time.monotonic() - begin < 2 * SLOW
    other.ok(f"STORE {count + 1} +FLAGS.SILENT (\\Deleted)")
    assert "\\Deleted" in s.response()
    other.ok("EXPUNGE")
    assert s.response() == f"* {count + 1} EXPUNGE"
    s.send(b"DONE\r\n")
    assert s.response() == "i OK Idle done"
    s.close()
    other.close()


def test_pipelined_commands_come_in_order(suite):
    s = Session(suite)
    s.send(b"".join(b"p%d NOOP\r\n" % i for i in range(2000)))
    for i in range(2000):
        assert s.response() == f"p{i} OK Nothing done"
    s.close()


def user_pid(suite, user="alice@example.test"):
    """The user's process that the last login went to; the line about it may come a moment after the answer."""
    def last():
        found = re.findall(rf"imap-login\[\d+\]: Login: user=<{re.escape(user)}>.* mpid=(\d+)", suite.log())
        return int(found[-1]) if found and alive(found[-1]) else None
    return wait_until(last, 10, f"the login of {user} in the log")


def user_process(suite, user="alice@example.test"):
    """Memory (KB resident) of the user's process."""
    with open(f"/proc/{user_pid(suite, user)}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_who_does_not_read_costs_little(suite):
    """Fetches of 200 MB by a client that never reads: the server stops, and others go on."""
    s = Session(suite)
    s.ok("CREATE Big")
    text = "Subject: big\r\n\r\n" + ("x" * 998 + "\r\n") * 10000
    s.ok(f"APPEND Big {{{len(text)}+}}\r\n{text}")
    s.select("Big")
    before = user_process(suite)
    for i in range(20):
        s.send(b"f%d FETCH 1 BODY.PEEK[]\r\n" % i)
    time.sleep(1)
    after = user_process(suite)
    other = Session(suite)
    other.select()
    other.ok("NOOP")
    other.close()
    assert after - before < (24 if not SAN else 200) * 1024, "memory grew with what is not read"
    for i in range(20):  # and now it reads: all of it is there
        assert len(s.response()) > len(text)
        assert s.response() == f"f{i} OK Fetched"
    s.ok("CLOSE")
    s.ok("DELETE Big")
    s.close()


HOSTILE = [
    b"a SEARCH " + b"(" * 1000000 + b"\r\n",
    b"a SEARCH " + b"NOT " * 100000 + b"SEEN\r\n",
    b"a SEARCH " + b"OR SEEN " * 100000 + b"SEEN\r\n",
    b"a UID FETCH " + b"1:*," * 200000 + b"1 UID\r\n",
    b"a FETCH 1 (" + b"BODY.PEEK[1.1.1.1] " * 50000 + b"UID)\r\n",
    b"a FETCH 1 BODY[" + b"1." * 100000 + b"1]\r\n",
    b"a STORE 1 FLAGS (" + b"k" * 900000 + b")\r\n",
    b"a STORE 1 FLAGS (" + b" ".join(b"k%d" % i for i in range(100000)) + b")\r\n",
    b"a LIST \"\" " + b"*a" * 400000 + b"\r\n",
    b"a LIST " + b"(" * 1000000 + b"\r\n",
    b"a ID " + b"(" * 1000000 + b"\r\n",
    b"a SELECT " + b"{" * 1000000 + b"\r\n",
    b"a SELECT {4294967295}\r\n",
    b"a APPEND INBOX {4294967295}\r\n",
    b"a SELECT \"" + b"A" * 900000 + b"\"\r\n",
    b"a CREATE " + b"a." * 400000 + b"a\r\n",
]


def test_hostile_commands_are_answered(suite):
    """RELIABILITY.md V9: each gets a tagged answer or BYE, in bounded memory, and the session or the next one goes on."""
    s = Session(suite)
    s.select()
    for data in HOSTILE:
        s.send(data)
        line = ""
        while not line.startswith(("a ", "* BYE")):
            line = s.response()
        if line.startswith("* BYE"):
            s.close()
            s = Session(suite)
            s.select()
        s.ok("NOOP")
        assert user_process(suite) < (96 if not SAN else 600) * 1024, data[:40]
    s.send(b"a SELECT {18446744073709551616+}\r\n")
    assert s.response().startswith("* BYE")
    s.close()


def test_before_login_little_is_taken(suite):
    for data in (b"(" * 1000000, b"a LOGIN {4097+}\r\n", b"a LOGIN {18446744073709551616}\r\n", b"a " + b"x" * 100000,
                 b"\0" * 100000, b"\r\n" * 100000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000):
        for service, tls in (("imap", False), ("imaps", True)):
            sock = suite.tcp(service, tls)
            f = sock.makefile("rb")
            assert f.readline().startswith(b"* OK [")
            try:
                sock.sendall(data + b"\r\nz LOGOUT\r\n")
            except OSError:
                pass  # it has hung up already
            try:
                lines = f.readlines()
                assert all(x.endswith(b"\r\n") for x in lines), (data[:20], lines[-2:])
                assert bool(lines) != data.startswith(b"GET "), data[:20]  # HTTP is no client of ours: not a word
            except OSError:
                pass
            sock.close()
    suite.imap("alice").logout()


def test_starttls_injection(suite):
    """RELIABILITY.md V7: what comes with STARTTLS in one segment is not taken for a command."""
    sock = suite.tcp("imap")
    f = sock.makefile("rb")
    f.readline()
    sock.sendall(b"a STARTTLS\r\nb NOOP\r\n")
    rest = f.read()
    assert b"b OK" not in rest
    sock.close()


def test_gone_in_the_middle(suite):
    """Clients that vanish: in an APPEND nothing is left, in a FETCH nobody is hurt."""
    s = Session(suite)
    s.select()
    count, tmp = len(s.uids), os.path.join(suite.maildir(), "tmp")
    s.send(b"a APPEND INBOX {100000+}\r\nSubject: half\r\n\r\n" + b"x" * 50000)
    s.close()
    other = Session(suite)
    other.select()
    assert len(other.uids) == count
    wait_until(lambda: not os.listdir(tmp), 5, "nothing left in tmp")
    other.close()


def subjects(s, name):
    """{uid: subject} of a mailbox."""
    s.select(name)
    got = []
    if s.uids:
        s.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", got)
    return {int(m.group(1)): m.group(2) for x in got if (m := re.search(r"UID (\d+) .*Subject: (\S+)", x, re.S))}


def work_until_killed(s, rng, acked, round_):
    """APPEND, COPY and MOVE between two mailboxes; acked: subjects whose APPEND was answered, and how many there may be."""
    end = time.monotonic() + 30 * SLOW
    try:
        s.select("A")
        for i in range(10**6):
            assert time.monotonic() < end, "nobody killed it"
            subject = f"r{round_}n{i}"
            acked.setdefault(subject, [0, 0])[1] += 1
            uid = s.append("A", subject)
            acked[subject][0] += 1
            s.ok("NOOP")
            if rng.random() < 0.3:
                acked[subject][1] += 1
                s.ok(f"UID COPY {uid} B")
                acked[subject][0] += 1
            if rng.random() < 0.5:
                s.ok(f"UID MOVE {uid} B")
    except OSError:
        pass  # the connection broke


def test_killed_in_the_middle(suite):
    """RELIABILITY.md P1, P8: what was answered OK survives kill -9, nothing is doubled, no UID is given twice."""
    rng = random.Random(1)
    acked, seen = {}, {"A": {}, "B": {}}
    first = Session(suite, "bob")
    first.ok("CREATE A")
    first.ok("CREATE B")
    for round_ in range(12):
        s = Session(suite, "bob") if round_ else first
        pid = user_pid(suite, "bob@example.test")
        killer = threading.Timer(rng.uniform(0.02, 0.3) * (4 if SAN else 1), os.kill, (pid, signal.SIGKILL))
        killer.start()
        work_until_killed(s, rng, acked, round_)
        killer.join()
        s.close()
        s = Session(suite, "bob")
        for name, known in seen.items():
            now = subjects(s, name)
            assert all(known.get(uid, subject) == subject for uid, subject in now.items()), "a UID that was another message"
            assert all(uid in known or uid > max(known, default=0) for uid in now), "a UID that is not new"
            known.update(now)
        s.close()
    s = Session(suite, "bob")
    found = list(subjects(s, "A").values()) + list(subjects(s, "B").values())
    for subject, (least, most) in acked.items():
        assert least <= found.count(subject) <= most, (subject, least, found.count(subject), most)
    assert len(acked) > 30
    for name in seen:
        s.ok("UNSELECT" if name == "A" else "NOOP")
        s.ok(f"DELETE {name}")
    s.close()


def test_many_messages(suite):
    """20,000 messages: all are listed, searched, flagged and expunged in sensible time."""
    s = Session(suite, "bob")
    s.ok("CREATE Many")
    base = os.path.join(suite.maildir("bob"), ".Many", "cur")
    owner = os.stat(base)
    for i in range(20000):
        path = os.path.join(base, f"1700000000.M{i}P1.host:2,S")
        with open(path, "wb") as f:
            f.write(b"From: a@b\r\nSubject: message %d\r\n\r\nbody %d\r\n" % (i, i))
        os.chown(path, owner.st_uid, owner.st_gid)
    begin = time.monotonic()
    s.select("Many")
    assert len(s.uids) == 20000
    assert len(s.state()) == 20000
    got = []
    s.ok("FETCH 1:* (ENVELOPE RFC822.SIZE INTERNALDATE)", got)
    assert len(got) == 20000
    got = []
    s.ok('SEARCH SUBJECT "message 19999"', got)
    assert len(got[0].split()) == 3
    s.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    s.ok("EXPUNGE")
    assert s.uids == []
    assert time.monotonic() - begin < 30 * SLOW
    s.ok("CLOSE")
    s.ok("DELETE Many")
    s.close()


def resync(s, validity, modseq):
    """SELECT with what was known: (UIDs that vanished, {uid: flags} of what changed)."""
    got, gone, changed = [], set(), {}
    s.ok(f"SELECT Sync (QRESYNC ({validity} {modseq}))", got)
    for line in got:
        if m := re.match(r"\* VANISHED \(EARLIER\) (\S+)$", line):
            for part in m.group(1).split(","):
                first, _, last = part.partition(":")
                gone |= set(range(int(first), int(last or first) + 1))
        elif m := re.match(r"\* \d+ FETCH \(UID (\d+) FLAGS \((.*)\) MODSEQ \(\d+\)\)$", line):
            changed[int(m.group(1))] = frozenset(m.group(2).split()) - {"\\Recent"}
    return gone, changed


def test_resync(suite):
    """RFC 7162: a client that comes back hears just what changed, kill -9 in between or not."""
    s = Session(suite, "bob")
    s.ok("CREATE Sync")
    for i in range(6):
        s.append("Sync", f"m{i}")
    s.ok("ENABLE QRESYNC")
    got = []
    s.ok("SELECT Sync (CONDSTORE)", got)
    text = " ".join(got)
    validity, modseq = (int(re.search(word + r" (\d+)", text).group(1)) for word in ("UIDVALIDITY", "HIGHESTMODSEQ"))
    s.close()
    for killed in (False, True):
        s = Session(suite, "bob")
        s.select("Sync")
        first = 4 if killed else 1
        s.ok(f"UID STORE {first} +FLAGS.SILENT (\\Deleted)")
        s.ok(f"UID STORE {first + 1} +FLAGS.SILENT (\\Flagged $Work)")
        s.ok("EXPUNGE")
        s.append("Sync", "new")
        if killed:
            os.kill(user_pid(suite, "bob@example.test"), signal.SIGKILL)
        s.close()
        s = Session(suite, "bob")
        s.ok("ENABLE QRESYNC")
        gone, changed = resync(s, validity, modseq)
        assert gone == ({1, 4} if killed else {1})
        marked = frozenset(("\\Flagged", "$Work"))
        want = {2: marked, 7: frozenset()}
        assert changed == (want | {5: marked, 8: frozenset()} if killed else want)
        assert resync(s, validity, 2**62) == (set(), {})
        s.ok("UNSELECT")
        s.close()
    s = Session(suite, "bob")
    s.ok("DELETE Sync")
    s.close()


def test_input_behind_the_end(suite):
    """Who goes on sending when a session ends hurts no other session of the user."""
    s, other = Session(suite), Session(suite)
    try:
        s.send(b"a LOGOUT\r\n" + b"b NOOP\r\n" * 10000)
        assert s.response().startswith("* BYE ")
        other.ok("NOOP")
        assert s.response().startswith("a OK ")
    except OSError:
        pass  # the session may be over before all is sent
    s.close()
    other.ok("NOOP")
    other.close()


class Deflated:
    """A socket's file, and the sending on it, after COMPRESS (RFC 4978)."""

    def __init__(self, session):
        self.sock, self.plain, self.more = session.sock, b"", session.file.read1
        self.zip, self.unzip = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def sendall(self, data):
        self.sock.sendall(self.zip.compress(data) + self.zip.flush(zlib.Z_SYNC_FLUSH))

    def fill(self):
        packed = self.more(65536)
        self.plain += self.unzip.decompress(packed)
        return packed != b""

    def readline(self):
        while b"\n" not in self.plain and self.fill():
            pass
        line, _, self.plain = self.plain.partition(b"\n")
        return line + b"\n"

    def read(self, n):
        while len(self.plain) < n and self.fill():
            pass
        data, self.plain = self.plain[:n], self.plain[n:]
        return data

    def close(self):
        self.sock.close()


def test_compressed(suite):
    """COMPRESS=DEFLATE: everything as before, and smaller; what is no DEFLATE ends the session."""
    s = Session(suite, "bob")
    s.ok("CREATE Zip")
    text = "Subject: big\r\n\r\n" + "the same line over and over\r\n" * 40000
    s.ok(f"APPEND Zip {{{len(text)}+}}\r\n{text}")
    assert s.command("COMPRESS LZMA").startswith("NO ")
    # Pipelined: what comes behind the line is compressed already.
    packer = zlib.compressobj(wbits=-15)
    s.send(b"z COMPRESS DEFLATE\r\n" + packer.compress(b"n NOOP\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))
    assert s.file.readline() == b"z OK DEFLATE active\r\n"
    s.sock = s.file = Deflated(s)
    s.file.zip = packer
    assert s.response() == "n OK Nothing done"
    assert s.command("COMPRESS DEFLATE").startswith("NO [COMPRESSIONACTIVE]")
    s.select("Zip")
    got = []
    s.ok("FETCH 1 BODY.PEEK[]", got)
    assert text in got[0]
    uid = s.append("Zip", "small")
    s.send(b"i IDLE\r\n")
    assert s.response() == "+ idling"
    other = Session(suite, "bob")
    other.select("Zip")
    other.ok(f"UID STORE {uid} +FLAGS (\\Flagged)")
    while "\\Flagged" not in s.response():
        pass
    s.send(b"DONE\r\n")
    while not s.response().startswith("i OK"):
        pass
    s.ok("UNSELECT")
    s.sock.sock.sendall(b"\xff" * 100)
    assert s.file.readline().startswith(b"* BYE Invalid compressed data")
    s.close()
    other.ok("CLOSE")
    other.ok("DELETE Zip")
    other.close()


def test_autologout(make_suite):
    suite = make_suite(users=("alice",), imap_timeout="2s")
    s = Session(suite)
    assert s.response().startswith("* BYE Autologout")
    assert s.file.readline() == b""
    s.close()


def test_idle_clients_do_not_delay_others(suite):
    """RELIABILITY.md P15 in small: 200 silent connections, and a login is as quick as ever."""
    idle = [socket.create_connection(("127.0.0.1", suite.port("imaps"))) for _ in range(40)]
    begin = time.monotonic()
    Session(suite).close()
    assert time.monotonic() - begin < 3 * SLOW
    for s in idle:
        s.close()
