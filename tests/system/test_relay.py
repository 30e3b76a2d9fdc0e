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

import pytest

from conftest import free_port_base, wait_until

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
}


class Sink(threading.Thread):
    """A mail host that keeps what it gets, with replies that a test chooses."""

    def __init__(self, address, port, replies=None, tls=None, auth=None, pipelining=True):
        super().__init__(daemon=True)
        self.replies, self.tls, self.auth, self.pipelining = replies or {}, tls, auth, pipelining
        self.messages, self.commands = [], []
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
            threading.Thread(target=self.session, args=(s,), daemon=True).start()

    def session(self, s):
        with contextlib.suppress(OSError, ValueError):
            self.talk(s)
        with contextlib.suppress(OSError):
            s.close()

    def talk(self, s):
        f, secure, mail = s.makefile("rb"), False, {}

        def say(text):
            s.sendall(text.encode() + b"\r\n")

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
                s = self.tls.wrap_socket(s, server_side=True)
                f, secure = s.makefile("rb"), True
            elif verb == "AUTH":
                say("235 2.7.0 ok" if command == "AUTH PLAIN " + self.auth else "535 5.7.8 no")
            elif verb == "MAIL":
                mail = {"from": command, "to": []}
                say(self.replies.get("mail", "250 2.1.0 ok"))
            elif verb == "RCPT":
                reply = self.replies.get(re.search(r"<(.*?)>", command)[1], self.replies.get("rcpt", "250 2.1.5 ok"))
                if reply.startswith("2"):
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
                reply = self.replies.get("end", "250 2.0.0 Ok: queued as SINK1")
                if reply.startswith("2"):
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
