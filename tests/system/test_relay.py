"""Mail to other hosts: a smarthost with TLS and a password, the MX by a real name server, deferral and bounce."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import BIN, free_port_base, wait_until
from fake_queue import DEFERRED, DONE, FAILED, FakeQueue

ZONE = """$TTL 60
@ SOA ns.{zone}. host.{zone}. 1 60 60 60 60
@ NS ns
ns A 127.0.0.1
"""
RECORDS = {
    "good.example": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.11\nmx2 A 127.0.0.12\n",
    "fallback.example": "@ MX 10 dead\n@ MX 20 mx2\ndead A 127.0.0.19\nmx2 A 127.0.0.12\n",
    "implicit.example": "@ A 127.0.0.11\n",
    "null.example": "@ MX 0 .\n",
    "loop.example": "@ MX 5 mail.example.test.\n@ MX 10 mx2\nmx2 A 127.0.0.12\n",
    "refuses.example": "@ MX 10 mx\nmx A 127.0.0.13\n",
    "later.example": "@ MX 10 mx\nmx A 127.0.0.14\n",
    "peer.example": "@ MX 5 mail.example.test.\n@ MX 5 mx2\nmx2 A 127.0.0.12\n",
    "nohost.example": "@ MX 10 nothing\n",
    "viabroken.example": "@ MX 10 mx.broken.example.\n",
    "broken.example": "this is no zone\n",
}


class Sink(threading.Thread):
    """A mail host that keeps what it gets, with replies that a test chooses."""

    def __init__(self, address, port, replies=None, tls=None, auth=None, pipelining=True, implicit=False, slowly=False):
        """implicit: TLS from the first octet.  slowly: an octet at a time.  A reply of None ends the connection."""
        super().__init__(daemon=True)
        self.replies, self.tls, self.auth, self.pipelining = replies or {}, tls, auth, pipelining
        self.implicit, self.slowly = implicit, slowly
        self.messages, self.commands, self.connections = [], [], 0
        self.mails = []				# of each connection
        self.go = threading.Event()		# the reply to a message waits for it
        self.go.set()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(100)
        self.start()

    def run(self):
        while True:
            try:
                s = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            self.mails.append(0)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.session, args=(s, self.connections - 1), daemon=True).start()

    def session(self, s, number):
        with contextlib.suppress(OSError, ValueError):
            self.talk(s, number)
        with contextlib.suppress(OSError):
            s.close()

    def talk(self, s, number):
        secure, mail = self.implicit, {}
        if self.implicit:
            s = self.tls.wrap_socket(s, server_side=True)
        f = s.makefile("rb")

        def say(text):
            if text is None:
                s.shutdown(socket.SHUT_RDWR)
                raise OSError
            data = text.encode() + b"\r\n"
            for i in range(len(data) if self.slowly else 1):
                s.sendall(data[i:i + 1] if self.slowly else data)

        say(self.replies.get("greeting", "220 sink ESMTP"))
        while line := f.readline():
            command = line.decode("latin-1").rstrip("\r\n")
            self.commands.append(command)
            verb = command.split(" ")[0].split(":")[0].upper()
            if verb == "EHLO":
                caps = ["sink", "8BITMIME", "SIZE 10000000"]
                caps += ["PIPELINING"] if self.pipelining else []
                caps += ["STARTTLS"] if self.tls and not secure else []
                caps += ["AUTH PLAIN LOGIN"] if self.auth and secure else []
                for c in caps[:-1]:
                    say("250-" + c)
                say("250 " + caps[-1])
            elif verb == "STARTTLS":
                say("220 go")
                if "tls" in self.replies:
                    say(self.replies["tls"])
                s = self.tls.wrap_socket(s, server_side=True)
                f, secure = s.makefile("rb"), True
            elif verb == "AUTH":
                say("235 2.7.0 ok" if command == "AUTH PLAIN " + self.auth else "535 5.7.8 no")
            elif verb == "MAIL":
                mail = {"from": command, "to": []}
                self.mails[number] += 1
                say(self.replies.get("mail", "250 2.1.0 ok"))
            elif verb == "RCPT":
                reply = self.replies.get(re.search(r"<(.*?)>", command)[1], self.replies.get("rcpt", "250 2.1.5 ok"))
                if reply and reply.startswith("2"):
                    mail["to"].append(re.search(r"<(.*?)>", command)[1])
                say(reply)
            elif verb == "DATA":
                if not mail.get("to"):
                    say("554 5.5.1 no valid recipients")
                    continue
                say("354 go")
                body = b""
                while (part := f.readline()) not in (b".\r\n", b""):
                    body += part[1:] if part.startswith(b".") else part
                if part == b"":
                    return
                self.go.wait(60)
                reply = self.replies.get("end", "250 2.0.0 Ok: queued as SINK1")
                if reply and reply.startswith("2"):
                    mail["content"] = body
                    self.messages.append(mail)
                say(reply)
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def close(self):
        self.listener.close()


@pytest.fixture(scope="module")
def dns():
    """A real name server (Knot) for the zones of RECORDS; anything else below example does not exist."""
    folder = tempfile.mkdtemp(prefix="pp-knot-")
    os.chmod(folder, 0o755)
    port = free_port_base()
    zones = ""
    for zone, records in {**RECORDS, "example": ""}.items():
        with open(f"{folder}/{zone}.zone", "w") as f:
            f.write(ZONE.format(zone=zone) + records)
        zones += f'  - domain: {zone}\n    file: "{folder}/{zone}.zone"\n'
    with open(f"{folder}/knot.conf", "w") as f:
        f.write(f'server:\n    rundir: "{folder}"\n    listen: 127.0.0.1@{port}\n    user: root:root\n' if os.geteuid() == 0 else
                f'server:\n    rundir: "{folder}"\n    listen: 127.0.0.1@{port}\n')
        f.write(f'database:\n    storage: "{folder}"\nlog:\n  - target: stderr\n    any: warning\nzone:\n{zones}')
    server = subprocess.Popen(["knotd", "-c", f"{folder}/knot.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers():
        return "127.0.0.11" in subprocess.run(["kdig", "@127.0.0.1", "-p", str(port), "mx1.good.example", "A", "+short"],
                                              capture_output=True, text=True).stdout

    wait_until(answers, 20, "knotd")
    yield port
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hosts():
    port = free_port_base()
    made = {
        "mx1": Sink("127.0.0.11", port), "mx2": Sink("127.0.0.12", port, pipelining=False),
        "refuses": Sink("127.0.0.13", port, {"rcpt": "550 5.1.1 no such user here"}),
        "later": Sink("127.0.0.14", port, {"rcpt": "450 4.2.0 greylisted"}),
    }
    made["port"] = port
    yield made
    for name, sink in made.items():
        if name != "port":
            sink.close()


@pytest.fixture(scope="module")
def direct(make_suite, dns, hosts):
    return make_suite(resolver=f"127.0.0.1@{dns}", relay_port=hosts["port"], relay_timeout="20s", retry_min="1s", retry_max="1s",
                      lifetime="5s")


def submit(suite, *to, content="From: alice@example.test\r\nSubject: out\r\n\r\nHi.\r\n.dot\r\n"):
    with suite.submission("alice") as s:
        s.sendmail("alice@example.test", list(to), content)


def test_mx_by_preference(direct, hosts):
    submit(direct, "r@good.example", "r2@good.example")
    wait_until(lambda: hosts["mx1"].messages, 20, "the message at mx1; log: " + direct.log()[-2000:])
    m = hosts["mx1"].messages[-1]
    assert m["to"] == ["r@good.example", "r2@good.example"] and m["from"].startswith("MAIL FROM:<alice@example.test>")
    assert m["content"].endswith(b"\r\n\r\nHi.\r\n.dot\r\n")
    assert not hosts["mx2"].messages
    direct.wait_log(r"to=<r@good.example>, relay=mx1.good.example\[127.0.0.11\]:\d+, delay=.*, dsn=2.0.0, status=sent \(250 2.0.0 Ok: queued as SINK1\)")


def test_next_host_when_the_first_is_dead(direct, hosts):
    submit(direct, "r@fallback.example")
    wait_until(lambda: any(m["to"] == ["r@fallback.example"] for m in hosts["mx2"].messages), 20, "the message at mx2")


def test_implicit_mx(direct, hosts):
    submit(direct, "r@implicit.example")
    wait_until(lambda: any(m["to"] == ["r@implicit.example"] for m in hosts["mx1"].messages), 20, "the message")


@pytest.mark.parametrize("domain, status", [("null.example", "5.1.10"), ("nowhere.example", "5.1.2"), ("loop.example", "5.4.6"),
                                            ("refuses.example", "5.1.1")])
def test_final_failures_bounce(direct, domain, status):
    submit(direct, f"r@{domain}")
    direct.wait_log(rf"to=<r@{domain}>, .*dsn={re.escape(status)}, status=bounced")

    def bounce():
        return [f for f in direct.files("alice") if f"r@{domain}".encode() in open(f, "rb").read()]

    wait_until(bounce, 20, "the bounce")
    text = open(bounce()[0], "rb").read()
    assert b"multipart/report" in text and b"report-type=delivery-status" in text
    assert f"Status: {status}".encode() in text and f"Final-Recipient: rfc822; r@{domain}".encode() in text
    assert text.startswith(b"Return-Path: <>") and b"Auto-Submitted: auto-replied" in text


def test_deferred_then_expired(direct):
    submit(direct, "r@later.example")
    direct.wait_log(r"to=<r@later.example>, .*dsn=4.2.0, status=deferred \(host mx.later.example.* said: 450 4.2.0 greylisted")
    assert "greylisted" in direct.run(program="mailq").stdout
    direct.wait_log(r"to=<r@later.example>, .*status=(expired|bounced)", 40)
    wait_until(lambda: any(b"r@later.example" in open(f, "rb").read() for f in direct.files("alice")), 20, "the bounce")


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-keyout", f"{folder}/k", "-out", f"{folder}/c", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{folder}/c", f"{folder}/k")
    return tls


def test_smarthost_with_tls_and_password(make_suite):
    folder = tempfile.mkdtemp(prefix="pp-tls-")
    port = free_port_base()
    sink = Sink("127.0.0.1", port, tls=certificate(folder), auth="AG1lAHNlY3JldA==")  # me, secret
    with open(f"{folder}/password", "w") as f:
        f.write("secret\n")
    suite = make_suite(smarthost=f"127.0.0.1:{port}", smarthost_user="me", smarthost_password_file=f"{folder}/password",
                       smarthost_verify="no", retry_min="1s", retry_max="1s")
    submit(suite, "r@anywhere.example", "q@elsewhere.example")
    wait_until(lambda: sink.messages, 20, "the message; log: " + suite.log()[-2000:])
    assert sink.messages[0]["to"] == ["r@anywhere.example", "q@elsewhere.example"]
    at = [c.split(" ")[0] for c in sink.commands]
    assert at.index("STARTTLS") < at.index("AUTH") < at.index("MAIL")
    sink.close()
    shutil.rmtree(folder)


def test_smarthost_that_cannot_be_trusted(make_suite):
    """A certificate that does not verify: the mail waits, and the password was not sent."""
    folder = tempfile.mkdtemp(prefix="pp-tls-")
    port = free_port_base()
    sink = Sink("127.0.0.1", port, tls=certificate(folder), auth="x")
    with open(f"{folder}/password", "w") as f:
        f.write("secret\n")
    suite = make_suite(smarthost=f"127.0.0.1:{port}", smarthost_user="me", smarthost_password_file=f"{folder}/password")
    submit(suite, "r@anywhere.example")
    suite.wait_log(r"to=<r@anywhere.example>, .*status=deferred")
    assert not any(c.startswith("AUTH") for c in sink.commands) and not sink.messages
    sink.close()
    shutil.rmtree(folder)


def test_hostile_replies(make_suite, dns):
    """A host that talks nonsense costs a deferral, and nothing of it breaks a line of the log (V2)."""
    port = free_port_base()
    sinks = [Sink("127.0.0.11", port, {"mail": "250-x\r\n" * 1000 + "550 x"}),
             Sink("127.0.0.13", port, {"rcpt": "550 5.1.1 \x00\x1b[2J" + "y" * 1500}),
             Sink("127.0.0.14", port, {"greeting": "hello"})]
    suite = make_suite(resolver=f"127.0.0.1@{dns}", relay_port=port, relay_timeout="5s")
    for domain in ("implicit.example", "refuses.example", "later.example"):
        submit(suite, f"r@{domain}")
    suite.wait_log(r"to=<r@implicit.example>, .*status=deferred")
    suite.wait_log(r"to=<r@refuses.example>, .*status=bounced \(host .* said: 550 5.1.1 \?\?\[2Jyyy")
    suite.wait_log(r"to=<r@later.example>, .*status=deferred")
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\xff]", suite.log()) is None
    for s in sinks:
        s.close()


# ---- relay alone, with a queue that we play ----

class Relay:
    """One relay in the folder of a suite that is not started."""

    def __init__(self, suite):
        self.suite = suite
        os.makedirs(os.path.join(suite.dir, "run"), exist_ok=True)
        os.chmod(suite.dir, 0o755)
        self.queue = FakeQueue(os.path.join(suite.dir, "run"), "queue-relay")
        self.log = open(os.path.join(suite.dir, "relay.log"), "w+")
        self.process = subprocess.Popen([os.path.join(BIN, "relay"), "-C", suite.conf, "-d"], stderr=self.log, stdin=subprocess.DEVNULL)
        self.queue.accept(30)

    def send(self, rcpts, content=b"Subject: x\r\n\r\nx\r\n", **options):
        rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
        job, _ = self.queue.job(content, rcpts, **options)
        return self.queue.results(job, len(rcpts), 30)

    def one(self, rcpt="r@else.example", **options):
        return self.send(rcpt, **options)[0]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        self.queue.close()
        self.log.close()


@pytest.fixture(scope="module")
def make_relay(make_suite):
    made = []

    def make(**options):
        made.append(Relay(make_suite(users=(), start=False, **options)))
        return made[-1]

    yield make
    for r in made:
        r.close()


@pytest.fixture
def to_sink(make_relay):
    """to_sink(OPTIONS) gives a relay and its smarthost, a Sink."""
    sinks = []

    def make(conf=None, **options):
        port = free_port_base()
        sinks.append(Sink("127.0.0.1", port, **options))
        return make_relay(**{"smarthost": f"127.0.0.1:{port}", "smarthost_tls": "never", **(conf or {})}), sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture(scope="module")
def cert():
    folder = tempfile.mkdtemp(prefix="pp-tls-")
    yield certificate(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("tls,sink,outcome", [
    ("starttls", {}, DEFERRED), ("may", {}, DONE), ("never", {}, DONE),
    ("starttls", {"tls": True}, DONE), ("may", {"tls": True}, DONE), ("implicit", {"tls": True, "implicit": True}, DONE),
    ("starttls", {"tls": True, "replies": {"tls": "no handshake"}}, DEFERRED),
    ("may", {"tls": True, "replies": {"tls": "no handshake"}}, DONE),		# once more, in the clear
    ("implicit", {}, DEFERRED),
])
def test_tls_of_the_smarthost(to_sink, cert, tls, sink, outcome):
    sink = {**sink, "tls": cert if sink.get("tls") else None}
    both_wait = tls == "implicit" and not sink["tls"]
    relay, host = to_sink({"smarthost_tls": tls, "smarthost_verify": "no", "relay_timeout": "2s" if both_wait else "60s"}, **sink)
    r = relay.one()
    assert r.outcome == outcome, r
    assert len(host.messages) == (outcome == DONE)
    assert outcome == DONE or not any(c.startswith("MAIL") for c in host.commands)


def test_connections_are_used_again(to_sink):
    relay, sink = to_sink({"relay_connections": "1"})
    for _ in range(5):
        assert relay.one().outcome == DONE
        before, start = sink.connections, time.monotonic()
        time.sleep(0.1)
        assert relay.one().outcome == DONE
        if time.monotonic() - start < 2:	# it is kept for three seconds
            break
    assert sink.connections == before
    jobs = [relay.queue.job(b"A: b\r\n\r\n", ["r@else.example"])[0] for _ in range(105)]
    for job in jobs:
        assert relay.queue.results(job)[0].outcome == DONE
    assert max(sink.mails) == 100 and "QUIT" in sink.commands


def test_replies_in_pieces(to_sink):
    relay, sink = to_sink(slowly=True)
    assert relay.one().outcome == DONE and len(sink.messages) == 1


@pytest.mark.parametrize("where,dsn,words", [
    ("greeting", "4.4.1", "lost connection"), ("mail", "4.4.2", "lost connection"), ("rcpt", "4.4.2", "lost connection"),
    ("end", "4.4.2", "while sending message body"),
])
def test_connection_lost(to_sink, where, dsn, words):
    """The mail waits for queue's next attempt: it may have been taken."""
    relay, sink = to_sink(replies={where: None})
    if where == "rcpt":
        sink.replies["r@else.example"] = None
    r = relay.one()
    assert (r.outcome, r.dsn) == (DEFERRED, dsn) and words in r.text, r
    assert sum(c.startswith("MAIL") for c in sink.commands) == (where != "greeting")


@pytest.mark.parametrize("size", [100001, 4000000])
def test_content_that_is_cut(to_sink, size):
    """A file shorter than queue said: nobody gets a part of it."""
    relay, sink = to_sink()
    content = b"Subject: x\r\n\r\n" + b"x" * 98 + b"\r\n" * 49950
    assert relay.one(content=content[:100000], in_file=True).outcome == DONE
    r = relay.one(content=content[:100000], in_file=True, size=size)
    assert r.outcome == DEFERRED and len(sink.messages) == 1, r


def test_not_sent_twice(to_sink):
    """P4: queue was killed before it took the result, and asks again."""
    relay, sink = to_sink(replies={"later@else.example": "450 4.2.0 later"})
    job, qid = relay.queue.job(b"A: b\r\n\r\n", ["r@else.example", "later@else.example"])
    assert [r.outcome for r in relay.queue.results(job, 2)] == [DONE, DEFERRED]
    relay.queue.accept(20)
    del sink.replies["later@else.example"]
    again = relay.send(["r@else.example", "later@else.example"], qid=qid, repeat=1)
    assert [r.outcome for r in again] == [DONE, DONE] and "queued as SINK1" in again[0].text
    assert [m["to"] for m in sink.messages] == [["r@else.example"], ["later@else.example"]]


def test_slots(to_sink):
    """A new connection to queue gets as many as are free: what is at work keeps its own."""
    relay, sink = to_sink({"relay_slots": "5", "relay_connections": "5"})
    assert relay.one().outcome == DONE
    while relay.queue.slots < 6:
        assert relay.queue.take()
    sink.go.clear()
    for _ in range(2):
        relay.queue.job(b"A: b\r\n\r\n", ["r@else.example"])
    wait_until(lambda: sink.commands.count("DATA") == 3, 20, "both at work")
    relay.queue.accept(20)
    while relay.queue.slots < 3:
        assert relay.queue.take()
    assert relay.queue.frame(0.2) is None and relay.queue.slots == 3
    sink.go.set()
    while relay.queue.slots < 5:
        assert relay.queue.take()


def test_full_host_is_no_dead_host(to_sink):
    """A host that takes one connection: the rest waits for that one."""
    relay, sink = to_sink()
    sink.go.clear()
    first, _ = relay.queue.job(b"A: b\r\n\r\n", ["one@else.example"])
    wait_until(lambda: sink.commands.count("DATA") == 1, 20, "the first")
    sink.listener.shutdown(socket.SHUT_RDWR)
    sink.listener.close()
    second, _ = relay.queue.job(b"A: b\r\n\r\n", ["two@else.example"])
    relay.queue.take(0.3)
    sink.go.set()
    assert [relay.queue.results(j)[0].outcome for j in (first, second)] == [DONE, DONE]
    assert sink.connections == 1


@pytest.fixture(scope="module")
def by_mx(make_relay, dns, hosts):
    return make_relay(resolver=f"127.0.0.1@{dns}", relay_port=hosts["port"], relay_timeout="20s")


@pytest.mark.parametrize("domain,outcome,dsn", [
    ("good.example", DONE, "2.0.0"), ("null.example", FAILED, "5.1.10"), ("nowhere.example", FAILED, "5.1.2"),
    ("loop.example", FAILED, "5.4.6"), ("peer.example", FAILED, "5.4.6"), ("nohost.example", FAILED, "5.4.4"),
    ("broken.example", DEFERRED, "4.4.3"), ("viabroken.example", DEFERRED, "4.4.3"),
    ("[127.0.0.11]", DONE, "2.0.0"), ("[127.0.0.99]", DEFERRED, "4.4.1"), ("[IPv6:::2]", DEFERRED, "4.4.1"),
])
def test_destinations(by_mx, domain, outcome, dsn):
    for _ in range(8 if domain == "peer.example" else 1):	# hosts of one preference come in any order
        r = by_mx.one(f"r@{domain}")
        assert (r.outcome, r.dsn) == (outcome, dsn), r


def test_each_domain_has_its_own_mail(by_mx, hosts):
    """Two domains at one host: not one mail for both (their hosts may differ tomorrow), and all of one together."""
    results = by_mx.send(["a@good.example", "b@implicit.example", "c@GOOD.example", "d@null.example"])
    assert [r.outcome for r in results] == [DONE, DONE, DONE, FAILED]
    assert sorted(m["to"] for m in hosts["mx1"].messages[-2:]) == [["a@good.example", "c@GOOD.example"], ["b@implicit.example"]]
