#!/usr/bin/python3
"""IMAP beside Dovecot: the same Maildirs, the same commands, by turns; answers are compared.

Both over TLS, on 127.0.0.1, each in a folder of its own.  A row is the median
of the rounds; which of the two begins changes with each round.  Dovecot runs
with its best settings for the row (processes that are used again, hibernation).
"""
import argparse
import hashlib
import os
import platform
import random
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
import conftest	# noqa: E402
import dovecot	# noqa: E402

USERS = 100		# of the row "login"
PASSWORD = "secret"


# -- mail --

def message(n):
    """Realistic in what costs: some Received lines, a text, now and then a part more."""
    rnd = random.Random(n)
    words = " ".join(rnd.choice(WORDS) for _ in range(12))
    head = "".join(f"Received: from h{i}.example.net (h{i}.example.net [192.0.2.{i}])\r\n\tby mx.example.test with ESMTPS id {n:x}{i}\r\n"
                   f"\tfor <u0@example.test>; Mon, 23 Nov 2026 1{i}:00:00 +0000\r\n" for i in range(3))
    body = "\r\n".join(" ".join(rnd.choice(WORDS) for _ in range(10)) for _ in range(rnd.choice((5, 20, 60))))
    text = (f"{head}From: {rnd.choice(NAMES)} <{rnd.choice(NAMES).lower()}@example.net>\r\nTo: u0@example.test\r\n"
            f"Subject: {words}\r\nDate: {rnd.randrange(1, 29)} Oct 2026 {rnd.randrange(24):02}:00:00 +0000\r\n"
            f"Message-ID: <{n}@example.net>\r\n" + (f"References: <{n - 1}@example.net>\r\n" if n % 3 else "") + "MIME-Version: 1.0\r\n")
    if n % 4 == 0:
        return (f"{text}Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
                f"--bb\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + "QUJDREVG\r\n" * 400
                + "\r\n--bb--\r\n").encode()
    return f"{text}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()


WORDS = [hashlib.md5(bytes([i])).hexdigest()[:3 + i % 6] for i in range(200)] + ["invoice", "meeting", "holiday"]
NAMES = ["Alice", "Bob", "Carol", "Dave", "Erin", "Frank"]


def fill(maildir, n, begin=0):
    """n messages in cur/, seen."""
    for sub in ("cur", "new", "tmp"):
        os.makedirs(f"{maildir}/{sub}", exist_ok=True)
    for i in range(begin, begin + n):
        text = message(i % 10000)
        path = f"{maildir}/cur/{1790000000 + i}.M{i}P1.bench,S={len(text)},W={len(text)}:2,S"
        with open(path, "wb") as f:
            f.write(text)
        os.utime(path, (1790000000 + i, 1790000000 + i))


# -- the servers --

class Ours:
    name = "pennypost"

    def __init__(self, folder, build):
        conftest.BIN = os.path.join(build, "bin")
        self.suite = conftest.Suite(tempfile.mkdtemp(prefix="ours-", dir=folder))
        self.suite.configure(login_sessions_per_client=100000, user_process_idle="3s")
        crypt = subprocess.run(["openssl", "passwd", "-6", "-salt", "bench", PASSWORD], capture_output=True, text=True, check=True)
        with open(f"{self.suite.dir}/domains/example.test/accounts", "a") as f:
            for i in range(1000):
                f.write(f"u{i}:{crypt.stdout.strip()}\n")
        self.mail = f"{self.suite.dir}/mail/example.test"
        self.port = self.suite.port("imaps")

    def start(self):
        self.suite.start()

    def own(self, path):
        st = os.stat(f"{self.suite.dir}/mail")
        subprocess.run(["chown", "-R", f"{st.st_uid}:{st.st_gid}", path], check=True)

    def forget(self, maildir):
        """Its index goes."""
        for name in ("pennypost-uidlist", "pennypost-index", "pennypost-cache"):
            if os.path.exists(f"{maildir}/{name}"):
                os.unlink(f"{maildir}/{name}")
        for name in os.listdir(maildir):
            if name.startswith("pennypost-") and os.path.isfile(f"{maildir}/{name}"):
                os.unlink(f"{maildir}/{name}")

    def pids(self):
        """Only what IMAP needs: imapd with all its processes, and auth."""
        found = []
        for pid in self.suite.pids():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if os.path.basename(f.read().split(b"\0")[0]) in (b"imapd", b"auth"):
                        found.append(pid)
            except OSError:
                pass
        return found

    def close(self):
        self.suite.close()


class Theirs:
    name = "dovecot"

    def __init__(self, folder, cert):
        self.mail = tempfile.mkdtemp(prefix="theirs-", dir=folder)
        os.chmod(self.mail, 0o755)
        self.server = dovecot.Dovecot(
            f"{folder}/dovecot", self.mail, 65534, 65534, cert=f"{cert}/cert.pem", key=f"{cert}/key.pem",
            login="service_count = 0\n  process_min_avail = 2\n  client_limit = 4000\n  process_limit = 4",
            imap="service_count = 256\n  process_min_avail = 4\n  unix_listener imap-master {\n    user = dovecot\n  }",
            more="imap_hibernate_timeout = 3s\nservice imap-hibernate {\n  unix_listener imap-hibernate {\n    mode = 0666\n  }\n}\n"
                 "mailbox_list_index = yes\n")
        self.mail += "/example.test"
        self.port = self.server.port_tls

    def start(self):
        self.server.start()

    def own(self, path):
        subprocess.run(["chown", "-R", "65534:65534", path], check=True)

    def forget(self, maildir):
        for name in os.listdir(maildir):
            if name.startswith("dovecot"):
                os.unlink(f"{maildir}/{name}")

    def pids(self):
        found, todo = [], [self.server.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    todo += [int(p) for p in f.read().split()]
            except OSError:
                pass
        return found

    def close(self):
        self.server.close()


# -- a client that costs little --

class Client:
    def __init__(self, server, user="u0"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        s = socket.create_connection(("127.0.0.1", server.port), timeout=300)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(s)
        self.n = 0
        self.socket.recv(4096)
        self.ask(f"LOGIN {user}@example.test {PASSWORD}")

    def ask(self, command):
        """All octets of the answer; .seconds is how long it took."""
        self.n += 1
        tag = b"t%d" % self.n
        began = time.perf_counter()
        self.socket.sendall(tag + b" " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        parts, tail = [], b"\r\n"
        while True:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError(command)
            parts.append(data)
            tail = (tail + data)[-4000:]
            at = tail.rfind(b"\r\n" + tag + b" ")
            if at >= 0 and tail.endswith(b"\r\n"):
                break
        self.seconds = time.perf_counter() - began
        assert tail[at + len(tag) + 3:at + len(tag) + 5] == b"OK", tail
        return b"".join(parts)

    def close(self):
        self.ask("LOGOUT")
        self.socket.close()


def timed(server, command, user="u0", select="SELECT INBOX", warm=1):
    """Milliseconds of a command, the best of 3 after `warm` runs; and its answer."""
    c = Client(server, user)
    if select:
        c.ask(select)
    best, answer = None, b""
    for i in range(warm + 3):
        answer = c.ask(command)
        if i >= warm:
            best = c.seconds if best is None else min(best, c.seconds)
    c.close()
    return best * 1000, answer


# -- rows: name, what, unit, reach, function(server, bench) -> (value, what must be equal) --

def row_login(server, bench):
    argv = [os.path.join(bench.build, "bench", "imap_load"), "-t", "-c", "50", "-n", str(bench.n(1000)), "-p", str(server.port),
            "-u", "u%@example.test", "-w", PASSWORD, "-U", str(USERS), "SELECT INBOX", "FETCH 1:10 (UID FLAGS RFC822.SIZE)"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return float(done.stdout.split()[0]), None


def select_ms(server, user):
    c = Client(server, user)
    answer = c.ask("SELECT INBOX")
    seconds = c.seconds
    c.close()
    return seconds * 1000, re.findall(rb"\* (\d+) EXISTS", answer)


def row_select(server, bench):
    values = [select_ms(server, "big") for _ in range(4)]
    return min(v[0] for v in values[1:]), values[-1][1]


def row_select_new(server, bench):
    maildir = f"{server.mail}/big/Maildir"
    bench.new += 1
    path = f"{maildir}/new/{1800000000 + bench.new}.N{bench.new}.bench"
    with open(path.replace("/new/", "/tmp/"), "wb") as f:
        f.write(message(1))
    server.own(path.replace("/new/", "/tmp/"))
    os.rename(path.replace("/new/", "/tmp/"), path)
    return select_ms(server, "big")[0], None


def row_select_none(server, bench):
    maildir = f"{server.mail}/big/Maildir"
    time.sleep(4.5)		# no process has it open
    server.forget(maildir)
    value, exists = select_ms(server, "big")
    return value, None


def numbers(answer):
    return hashlib.md5(b" ".join(sorted(re.findall(rb"\* (\d+) FETCH", answer)))).hexdigest()


def fetch(command, equal=numbers, **more):
    def measure(server, bench):
        value, answer = timed(server, command, **more)
        return value, equal(answer) if equal else None
    return measure


def row_fetch_cold(server, bench):
    time.sleep(4.5)
    server.forget(f"{server.mail}/u0/Maildir")
    value, answer = timed_once(server, "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)")
    return value, numbers(answer)


def timed_once(server, command, user="u0"):
    c = Client(server, user)
    c.ask("SELECT INBOX")
    answer = c.ask(command)
    seconds = c.seconds
    c.close()
    return seconds * 1000, answer


def row_bodies(server, bench):
    c = Client(server)
    c.ask("SELECT INBOX")
    best = 0
    for _ in range(2):
        answer = c.ask("FETCH 1:* BODY.PEEK[]")
        best = max(best, len(answer) / c.seconds / 1e6)
    c.close()
    return best, numbers(answer)


def found(answer):
    return re.findall(rb"\* SEARCH([0-9 ]*)", answer)[0].split()


def sorted_numbers(answer):
    return re.findall(rb"\* SORT([0-9 ]*)", answer)[0].split()


def row_store(server, bench):
    c = Client(server)
    c.ask("SELECT INBOX")
    c.ask("STORE 1:* -FLAGS.SILENT (\\Flagged)")
    c.ask("STORE 1:* +FLAGS.SILENT (\\Flagged)")
    value = c.seconds * 1000
    c.close()
    return value, None


def changes(what):
    def measure(server, bench):
        c = Client(server)
        bench.new += 1
        box = f"x{bench.new}"
        c.ask(f"CREATE {box}")
        c.ask("SELECT INBOX")
        c.ask(f"COPY 1:* {box}")
        seconds = c.seconds
        if what != "COPY":
            c.ask(f"SELECT {box}")
            if what == "MOVE":
                c.ask(f"CREATE {box}y")
                c.ask(f"MOVE 1:* {box}y")
            else:
                c.ask("STORE 1:* +FLAGS.SILENT (\\Deleted)")
                c.ask("EXPUNGE")
            seconds = c.seconds
            c.ask("UNSELECT")
        c.ask(f"DELETE {box}")
        if what == "MOVE":
            c.ask(f"DELETE {box}y")
        c.close()
        return seconds * 1000, None
    return measure


def row_append(server, bench):
    c, text, n = Client(server, "u1"), message(1)[:4096], bench.n(300)
    began = time.perf_counter()
    for _ in range(n):
        c.ask(b"APPEND INBOX {%d+}\r\n%s" % (len(text), text))
    seconds = time.perf_counter() - began
    c.close()
    return n / seconds, None


def row_multiappend(server, bench):
    c, text, n = Client(server, "u1"), message(1)[:4096], 10
    began = time.perf_counter()
    for _ in range(n):
        c.ask(b"APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(text), text) for _ in range(100)))
    seconds = time.perf_counter() - began
    c.close()
    return n * 100 / seconds, None


def idle_clients(server, n):
    clients = []
    for i in range(n):
        c = Client(server, f"u{i}")
        c.ask("SELECT INBOX")
        c.socket.sendall(b"i IDLE\r\n")
        while b"+ " not in c.socket.recv(4096):
            pass
        clients.append(c)
    return clients


def pss_kb(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += int(next(x for x in f if x.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            pass
    return total


def row_memory(server, bench):
    clients = idle_clients(server, bench.n(1000))
    time.sleep(8)
    value = pss_kb(server.pids()) / 1024
    for c in clients:
        c.socket.close()
    time.sleep(2)
    return value, None


def row_exists(server, bench):
    """Both are parked or hibernating when the file appears."""
    c = idle_clients(server, 1)[0]
    values = []
    for i in range(9):
        time.sleep(5 if i % 3 == 0 else 0.3)
        bench.new += 1
        path = f"{server.mail}/u0/Maildir/tmp/{1800000000 + bench.new}.N{bench.new}.bench"
        with open(path, "wb") as f:
            f.write(message(2))
        server.own(path)
        began = time.perf_counter()
        os.rename(path, path.replace("/Maildir/tmp/", "/Maildir/new/"))
        while b"EXISTS" not in c.socket.recv(4096):
            pass
        values.append((time.perf_counter() - began) * 1000)
    c.socket.close()
    return statistics.median(values), None


ROWS = [
    ("login", "LOGIN SELECT FETCH 10 LOGOUT, 50 clients, new TLS each, /s", 5, True, row_login),
    ("select", "SELECT of 100,000, index there, ms", 1, False, row_select),
    ("select-new", "the same after a new message in new/, ms", 10, False, row_select_new),
    ("select-none", "the same without an index, ms", 1.5, False, row_select_none),
    ("flags", "FETCH 1:10000 (UID FLAGS), ms", 3, False, fetch("FETCH 1:* (UID FLAGS)")),
    ("envelope", "FETCH 1:10000 (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE), cached, ms", 8, False,
     fetch("FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)")),
    ("envelope-none", "the same, no cache, ms", 3, False, row_fetch_cold),
    ("bodies", "FETCH 1:10000 BODY.PEEK[] over TLS, MB/s", 5, True, row_bodies),
    ("from", "SEARCH FROM, ms", 5, False, fetch("SEARCH FROM alice", found)),
    ("subject", "SEARCH SUBJECT, ms", 10, False, fetch("SEARCH SUBJECT invoice", found)),
    ("since", "SEARCH SINCE, ms", 10, False, fetch("SEARCH SINCE 23-Sep-2026", found)),
    ("body", "SEARCH BODY, ms", 4, False, fetch("SEARCH BODY holiday", found)),
    ("text", "SEARCH TEXT, ms", 4, False, fetch("SEARCH TEXT holiday", found)),
    ("sort", "SORT (REVERSE DATE), ms", 8, False, fetch("SORT (REVERSE DATE) UTF-8 ALL", sorted_numbers)),
    ("thread", "THREAD REFERENCES, ms", 2, False, fetch("THREAD REFERENCES UTF-8 ALL", None)),
    ("store", "STORE 1:10000 +FLAGS, ms", 4, False, row_store),
    ("copy", "COPY of 10,000, ms", 2, False, changes("COPY")),
    ("move", "MOVE of 10,000, ms", 2, False, changes("MOVE")),
    ("expunge", "EXPUNGE of 10,000, ms", 1.5, False, changes("EXPUNGE")),
    ("append", "APPEND of 4 KB, one connection, /s", 3, True, row_append),
    ("multiappend", "MULTIAPPEND of 100, /s", 5, True, row_multiappend),
    ("memory", "PSS of all IMAP processes for 1,000 TLS connections in IDLE on 1,000 mailboxes, MB", 3, False, row_memory),
    ("exists", "file in new/ to EXISTS in IDLE, median, ms", 8.5, False, row_exists),
]


class Bench:
    def __init__(self, args):
        self.build, self.scale, self.new = os.path.abspath(args.build), args.scale, 0

    def n(self, usual):
        return max(10, int(usual * self.scale))


def prepare(servers, bench):
    first = servers[0]
    for user, n in (("u0", 10000), ("big", 100000)):
        fill(f"{first.mail}/{user}/Maildir", bench.n(n))
    for i in range(1, 1000):
        fill(f"{first.mail}/u{i}/Maildir", 20 if i < USERS else 1)
    for s in servers[1:]:
        subprocess.run(["cp", "-a", first.mail, s.mail], check=True)
        s.own(s.mail)
    first.own(first.mail)


def measure(row, servers, bench, rounds):
    name, what, reach, more, function = row
    values, answers = {s.name: [] for s in servers}, {}
    for r in range(rounds):
        for s in servers if r % 2 == 0 else servers[::-1]:
            try:
                value, answers[s.name] = function(s, bench)
                values[s.name].append(value)
            except (AssertionError, OSError, EOFError, IndexError, subprocess.SubprocessError) as e:
                print(f"bench: {name}, {s.name}: {type(e).__name__}: {str(e)[:300]}", file=sys.stderr)
    middle = {n: statistics.median(v) if v else None for n, v in values.items()}
    ours, theirs = middle.get("pennypost"), middle.get("dovecot")
    ratio = None if not ours or not theirs else ours / theirs if more else theirs / ours
    same = "" if len(answers) < 2 or None in answers.values() else " same" if len(set(map(str, answers.values()))) == 1 else " DIFFERENT"
    print(f"| {name} | {what} | {show(ours)} | {show(theirs)} | {'-' if ratio is None else f'{ratio:.2f}'} | {reach} | "
          f"{'' if ratio is None else 'yes' if ratio >= reach else 'no'}{same} |", flush=True)


def show(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main():
    p = argparse.ArgumentParser(prog="bench/imap.py", description=__doc__)
    p.add_argument("rows", nargs="*", help="rows (default: all): " + " ".join(r[0] for r in ROWS))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--scale", type=float, default=1.0, help="times the usual number of messages")
    p.add_argument("--build", default=os.path.join(TOP, "build"))
    p.add_argument("--dir", default="/var/tmp", help="folder on the disk that is to be measured")
    args = p.parse_args()
    if dovecot.why_not():
        print(f"bench: {dovecot.why_not()}", file=sys.stderr)
        return 77
    folder = tempfile.mkdtemp(prefix="pennypost-bench-imap-", dir=args.dir)
    os.chmod(folder, 0o755)
    bench, servers = Bench(args), []
    try:
        servers.append(Ours(folder, args.build))
        with open(f"{servers[0].suite.dir}/domains/example.test/accounts", "a") as f, \
                open(f"{servers[0].suite.dir}/domains/example.test/accounts") as g:
            f.write(g.read().strip().split("\n")[-1].replace("u999:", "big:", 1) + "\n")
        servers.append(Theirs(folder, f"{servers[0].suite.dir}/tls"))
        prepare(servers, bench)
        for s in servers:
            s.start()
        print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} processors, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}, "
              f"{args.rounds} rounds, scale {args.scale:g}\n")
        print("| row | work | pennypost | dovecot | times as good | reach | reached |\n|---|---|---|---|---|---|---|")
        for row in ROWS:
            if not args.rows or row[0] in args.rows:
                measure(row, servers, bench, args.rounds)
    finally:
        for s in servers:
            s.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
