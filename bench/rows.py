"""What is measured.  Each row has a name, a way to measure one server once, and what shall be reached."""
import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

import mta

TIMEOUT = 120


class Tools:
    """Postfix's load tools and our own, wherever they are."""

    def __init__(self, peers, build):
        self.env = dict(os.environ)
        library = os.path.join(peers, "postfix/usr/lib/postfix")
        if os.path.isdir(library):
            self.env["LD_LIBRARY_PATH"] = library
        os.environ.update({k: v for k, v in self.env.items() if k == "LD_LIBRARY_PATH"})
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", os.path.join(peers, "postfix/usr/sbin")])
        self.source = shutil.which("smtp-source", path=path)
        self.sink = shutil.which("smtp-sink", path=path)
        self.smtp_load = os.path.join(build, "bench/smtp_load")
        self.spawn = os.path.join(build, "bench/spawn")

    def run(self, *argv):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
        return done.stdout

    def load(self, clients, messages, octets=4096, to="u1@example.test", *more):
        """Seconds that smtp-source needs."""
        start = time.monotonic()
        self.run(self.source, "-s", str(clients), "-m", str(messages), "-l", str(octets),
                 "-f", "sender@example.net", "-t", to, *more, "127.0.0.1:25")
        return time.monotonic() - start


class Row:
    """messages: so many for Postfix; `share` says how many times as many others get, who are faster or slower."""
    share = {"pennypost": 3, "ceiling": 4}
    unit = "/s"
    less = False		# the smaller the better
    skip = ("ceiling",)

    def __init__(self, name, what, reach, messages):
        self.name, self.what, self.reach, self.messages = name, what, reach, messages
        self.cpu = {}		# server: processor time a message, microseconds, of each run

    @contextlib.contextmanager
    def cpu_of(self, server, n):
        """Notes what the server (not the load tool) needs inside; it hardly depends on what else runs."""
        before = mta.cpu_usec()
        yield
        self.cpu.setdefault(server.name, []).append((mta.cpu_usec() - before) / n)

    def count(self, server, scale):
        return max(1, int(self.messages * scale * self.share.get(server.name, 1)))

    def measure(self, server, tools, scale):
        raise NotImplementedError


class Accepted(Row):
    """How fast smtp-source gets rid of its messages; they stay in the queue."""
    skip = ()

    def __init__(self, name, what, reach, messages, clients, octets=4096, many=False):
        super().__init__(name, what, reach, messages)
        self.clients, self.octets, self.many = clients, octets, many

    def measure(self, server, tools, scale):
        more = ["-d"] if self.many else []
        server.start(mta.HELD)
        try:
            tools.load(self.clients, max(40, self.clients * 2), self.octets, "u1@example.test", *more)
            n = self.count(server, scale)
            with self.cpu_of(server, n):
                return n / tools.load(self.clients, n, self.octets, "u1@example.test", *more)
        finally:
            server.stop()


class Starttls(Row):
    def measure(self, server, tools, scale):
        server.start(mta.HELD)
        try:
            n = self.count(server, scale)
            tools.run(tools.smtp_load, "tls", "25", "10", "40", "4096", "u1@example.test")
            with self.cpu_of(server, n):
                return float(tools.run(tools.smtp_load, "tls", "25", "10", str(n), "4096", "u1@example.test"))
        finally:
            server.stop()


class Delivered(Row):
    """From the first connection to the last file in new/ of 100 users."""
    share = {"pennypost": 3, "exim": 0.3, "opensmtpd": 0.6}

    def __init__(self, name, what, reach, messages, clients):
        super().__init__(name, what, reach, messages)
        self.clients = clients

    def measure(self, server, tools, scale):
        server.start(mta.NORMAL)
        try:
            self.deliver(server, tools, len(mta.USERS))	# the mailboxes are there, the processes started
            n = max(100, self.count(server, scale))
            start = time.time()
            with self.cpu_of(server, n):
                self.deliver(server, tools, n)
            return n / (server.files()[1] - start)
        finally:
            server.stop()

    def deliver(self, server, tools, n):
        want = server.files()[0] + n
        tools.run(tools.smtp_load, "plain", "25", str(self.clients), str(n), "4096", "u#@example.test", str(len(mta.USERS)))
        mta.wait_until(lambda: server.files()[0] >= want, TIMEOUT, "delivery")


class Relayed(Row):
    """From the first connection until smtp-sink has the last message; recipients a second."""
    share = {"pennypost": 3, "exim": 0.3, "opensmtpd": 0.05}

    def __init__(self, name, what, reach, messages, recipients):
        super().__init__(name, what, reach, messages)
        self.recipients = recipients

    def measure(self, server, tools, scale):
        self.seen = b""
        sink = subprocess.Popen([tools.sink, "-u", "nobody", "-c", f"127.0.0.1:{mta.SINK_PORT}", "1000"], stdout=subprocess.PIPE)
        server.start(mta.NORMAL)
        try:
            self.relay(server, tools, sink, 20)
            n = max(20, self.count(server, scale))
            with self.cpu_of(server, n * self.recipients):
                return n * self.recipients / self.relay(server, tools, sink, n)
        finally:
            server.stop()
            sink.kill()
            sink.wait()

    def relay(self, server, tools, sink, n):
        """Ends when the sink has counted up; it counts messages, and a message may come in parts."""
        self.drain(sink, 0.05)
        have, start = self.rcpts(sink), time.monotonic()
        load = subprocess.Popen([tools.source, "-s", "10", "-m", str(n), "-l", "4096", "-f", "sender@example.net",
                                 "-r", str(self.recipients), "-t", server.remote, "127.0.0.1:25"])
        while self.rcpts(sink) < have + n:
            self.drain(sink, 0.02)
            if time.monotonic() > start + TIMEOUT:
                raise RuntimeError("the sink does not get all")
        took = time.monotonic() - start
        if load.wait() != 0:
            raise RuntimeError("smtp-source failed")
        return took

    seen = b""

    def rcpts(self, sink):
        found = re.findall(rb"mesg=(\d+)", self.seen)
        return int(found[-1]) if found else 0

    def drain(self, sink, seconds):
        end = time.monotonic() + seconds
        while select.select([sink.stdout], [], [], max(0, end - time.monotonic()))[0]:
            got = os.read(sink.stdout.fileno(), 65536)
            self.seen = (self.seen + got)[-400:]
            if not got:
                raise RuntimeError("smtp-sink ended")


class Sendmail(Row):
    share = {"pennypost": 4, "opensmtpd": 2}

    def measure(self, server, tools, scale):
        server.start(mta.HELD)
        with tempfile.NamedTemporaryFile("w", suffix=".eml") as f:
            f.write("From: root@example.test\nTo: u1@example.test\nSubject: load\n\n" + "All work and no play.\n" * 180)
            f.flush()
            try:
                tools.run(tools.spawn, "5", f.name, *server.sendmail)
                n = self.count(server, scale)
                return float(tools.run(tools.spawn, str(n), f.name, *server.sendmail))
            finally:
                server.stop()


class Bare(Row):
    """The same number of starts of a program that does nothing."""
    skip = ("pennypost", "postfix", "exim", "opensmtpd")

    def measure(self, server, tools, scale):
        return float(tools.run(tools.spawn, str(int(self.messages * scale)), "/dev/null", "/bin/true", "true"))


def pss_kb(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Idle(Row):
    unit = " MB"
    less = True

    def measure(self, server, tools, scale):
        server.start(mta.NORMAL)
        try:
            time.sleep(0.5)
            return pss_kb(server.pids()) / 1024
        finally:
            server.stop()


class Session(Row):
    """What an SMTP session costs that has said EHLO and nothing since."""
    unit = " KB"
    less = True
    share = {"pennypost": 10, "opensmtpd": 3}

    def measure(self, server, tools, scale):
        server.start(mta.NORMAL)
        n, open_ = self.count(server, scale), []
        try:
            self.open(open_, 5)
            time.sleep(0.5)
            before = pss_kb(server.pids())
            self.open(open_, n)
            time.sleep(0.5)
            return (pss_kb(server.pids()) - before) / n
        finally:
            for s in open_:
                s.close()
            server.stop()

    def open(self, sockets, n):
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", 25), timeout=20)
            sockets.append(s)
            if not s.recv(1000).startswith(b"220"):
                raise RuntimeError("no greeting")
            s.sendall(b"EHLO client.example.net\r\n")
            if not s.recv(4000).startswith(b"250"):
                raise RuntimeError("no EHLO")


class Mailq(Row):
    """Seconds to list the queue."""
    unit = " s"
    less = True

    def __init__(self, name, what, reach, messages, share):
        super().__init__(name, what, reach, messages)
        self.share = share

    def measure(self, server, tools, scale):
        server.start(mta.HELD)
        try:
            n = self.count(server, scale)
            tools.load(20, n, 100, "u1@example.test", "-d")
            start = time.monotonic()
            done = subprocess.run(server.mailq, executable=server.mailq[0], stdout=subprocess.PIPE, timeout=TIMEOUT) \
                if len(server.mailq) == 1 else \
                subprocess.run(server.mailq[1:], executable=server.mailq[0], stdout=subprocess.PIPE, timeout=TIMEOUT)
            took = time.monotonic() - start
            if done.stdout.count(b"\n") < n:
                raise RuntimeError("mailq is short: " + done.stdout[-300:].decode(errors="replace"))
            return took
        finally:
            server.stop()


ROWS = [
    Accepted("one-1", "accepted, one message per session, 1 client", 3, 1000, 1),
    Accepted("one-10", "accepted, one message per session, 10 clients", 5, 2000, 10),
    Accepted("one-50", "accepted, one message per session, 50 clients", 5, 2000, 50),
    Accepted("one-200", "accepted, one message per session, 200 clients", 7, 2000, 200),
    Accepted("many-10", "accepted, many messages per session, 10 clients", 5, 3000, 10, many=True),
    Accepted("64k", "accepted, 64 KB, 10 clients", 3, 1000, 10, octets=65536),
    Accepted("1m", "accepted, 1 MB, 10 clients", 3, 200, 10, octets=1048576),
    Delivered("deliver-10", "to the last file in new/, 100 users, 10 clients", 5, 1500, 10),
    Delivered("deliver-50", "to the last file in new/, 100 users, 50 clients", 5, 1500, 50),
    Relayed("relay-1", "relayed to a smarthost, recipients, 1 a message", 4, 1500, 1),
    Relayed("relay-50", "relayed to a smarthost, recipients, 50 a message", 3, 200, 50),
    Starttls("starttls", "accepted with STARTTLS (P-256, new handshakes), 10 clients", 5, 500),
    Sendmail("sendmail", "sendmail -t, one after the other", 4, 100),
    Bare("spawn", "bare process starts, one after the other", None, 500),
    Session("session", "memory per idle session after EHLO", 16, 60),
    Idle("idle", "memory of the whole idle suite (theirs: the MTA alone)", 20, 1),
    Mailq("mailq", "list of 20,000 messages in the queue", None, 20000, {}),
    Mailq("mailq-200k", "list of 200,000 messages in the queue (theirs: 20,000)", 2, 20000, {"pennypost": 10}),
]
# What is measured of our own suite alone is in counts.py.
