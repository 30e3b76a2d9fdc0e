"""smtpd among the others: what strangers may try, what users may do, what happens when parts die."""
import os
import signal
import smtplib
import socket
import time

import pytest

from conftest import SLOW, wait_until

pytestmark = pytest.mark.san

EHLO = b"EHLO client.example.net\r\n"


class Talk:
    """A conversation octet by octet."""

    def __init__(self, suite, service="smtp", tls=False):
        self.s = suite.tcp(service, tls)
        self.greeting = self.read()

    def read(self, seconds=15):
        """One whole reply; b"" at the end of the connection."""
        data = b""
        self.s.settimeout(seconds * SLOW)
        try:
            while not data.endswith(b"\r\n") or data.split(b"\r\n")[-2][3:4] == b"-":
                octets = self.s.recv(65536)
                if not octets:
                    break
                data += octets
        except ConnectionResetError:
            pass
        return data

    def rest(self, seconds=15):
        """All that comes until the other side closes."""
        data = b""
        while True:
            more = self.read(seconds)
            if not more:
                return data
            data += more

    def send(self, octets):
        try:
            self.s.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def say(self, octets, code):
        self.send(octets)
        reply = self.read()
        assert reply.startswith(code), (octets[:100], reply)
        return reply

    def to_data(self, rcpt="alice@example.test"):
        self.say(EHLO, b"250")
        self.say(b"MAIL FROM:<sender@example.net>\r\n", b"250")
        self.say(f"RCPT TO:<{rcpt}>\r\n".encode(), b"250")
        self.say(b"DATA\r\n", b"354")

    def close(self):
        self.s.close()


ENDS = {"CRLF": b"\r\n", "LF": b"\n", "CR": b"\r", "NUL": b"\0", "CRCRLF": b"\r\r\n"}


def test_only_crlf_dot_crlf_ends_data(suite):
    """V6: of all ways to write the end of data one is taken; each other is refused, and smuggles nothing."""
    accepted = 0
    for before in ENDS:
        for after in ENDS:
            t = Talk(suite)
            t.to_data()
            t.send(b"Subject: first\r\n\r\ntext" + ENDS[before] + b"." + ENDS[after] +
                   b"MAIL FROM:<smuggler@example.net>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
                   b"Subject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n")
            if before == after == "CRLF":
                # The rest are commands, and DATA with content behind it is not waited for.
                assert t.read().startswith(b"250 2.0.0"), (before, after)
                accepted += 1
            else:
                assert t.rest().startswith(b"521 5.5.2"), (before, after)
            t.close()
    suite.wait_queue_empty()
    assert len(suite.files("alice")) == accepted == 1
    assert suite.files("bob") == []


@pytest.mark.parametrize("service", ["smtp", "submission"])
def test_starttls_takes_nothing_that_came_before(suite, service):
    """V7: in the same segment, and in one of its own."""
    t = Talk(suite, service)
    t.say(EHLO, b"250")
    t.send(b"STARTTLS\r\nEHLO injected.example.net\r\n")
    assert t.rest().startswith(b"554")
    t.close()
    t = Talk(suite, service)
    t.say(EHLO, b"250")
    t.say(b"STARTTLS\r\n", b"220")
    t.send(b"EHLO injected.example.net\r\n")
    assert b"250" not in t.rest()
    t.close()
    t = Talk(suite, service)
    t.say(EHLO, b"250")
    t.say(b"STARTTLS\r\n", b"220")
    t.s = suite.tls.wrap_socket(t.s)
    t.say(b"MAIL FROM:<>\r\n", b"503")	# what was said is forgotten
    reply = t.say(EHLO, b"250")
    assert b"STARTTLS" not in reply and b"AUTH PLAIN LOGIN" in reply
    t.close()


def test_browsers_are_sent_away(suite):
    for service, tls in (("smtp", False), ("submission", False), ("submissions", True)):
        t = Talk(suite, service, tls)
        t.send(b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n")
        assert t.rest().count(b"\r\n") <= 1
        t.close()
    suite.wait_log(r"non-SMTP command from unknown\[127.0.0.1\]: GET / HTTP/1.1")


def test_running_ahead_is_noticed(suite):
    t = Talk(suite)
    t.send(EHLO + b"MAIL FROM:<>\r\n")
    assert t.rest().startswith(b"554 5.5.0")
    t.close()
    suite.wait_log(r"improper command pipelining after EHLO from unknown\[127.0.0.1\]: EHLO client.example.net")


def test_pipelining(suite):
    t = Talk(suite)
    t.say(EHLO, b"250")
    before = len(suite.files("bob"))
    t.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\n")
    got = b""
    while got.count(b"\r\n") < 4:
        got += t.read()
    assert [r[:3] for r in got.split(b"\r\n")] == [b"250", b"250", b"554", b"354", b""]
    t.send(b"Subject: one\r\n\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
    got = b""
    while got.count(b"\r\n") < 4:
        got += t.read()
    assert [r[:3] for r in got.split(b"\r\n")] == [b"250", b"250", b"250", b"354", b""]
    t.send(b"Subject: two\r\n\r\n.\r\nQUIT\r\n")
    assert [r[:3] for r in t.rest().split(b"\r\n")] == [b"250", b"221", b""]
    suite.wait_mail("bob", before + 2)


HOSTILE = [b";sleep 66;", b"$(id)", b"${run{/bin/sh}}", b"`id`", b"|id", b"/etc/passwd", b"../../x", b"() { :;}; /bin/id",
           b":include:/etc/passwd", b'"|id"', b'";sleep 66;"', b'"a\\"', b"a\\", b'""', b"\xe2\x80\xa8", b"a\x00b", b"a\x1b[2J",
           b"%n%n%n", b"a b", b"a,b", b"<a", b"a>", b"a%elsewhere.example", b"elsewhere.example!a", b"-fa", b"@", b"a..b"]


def test_hostile_names(suite, make_suite):
    """V1, V20: at every place that takes a name; none is mail for anybody, none gets out of its line in the log."""
    strict = make_suite(users=("carol",))
    canary = os.path.join(strict.dir, "canary")
    attacks = HOSTILE + [f";touch {canary};".encode(), f"$(touch {canary})".encode(), f"|touch {canary}".encode()]
    for name in attacks:
        t = Talk(strict)
        t.send(b"EHLO " + name + b"\r\n")
        t.read()
        t.send(EHLO)
        t.read()
        t.send(b"MAIL FROM:<" + name + b"@example.test>\r\n")
        assert t.read()[:1] in (b"2", b"5"), name
        t.send(b"RSET\r\n")
        t.read()
        t.send(b"MAIL FROM:<>\r\n")
        t.read()
        t.send(b"RCPT TO:<" + name + b"@example.test>\r\n")
        assert t.read()[:1] == b"5", name
        t.close()
    strict.send("carol", sender="a'b@example.net")
    strict.wait_mail("carol")
    assert not os.path.exists(canary)
    for line in strict.log().splitlines():
        assert line.isprintable() and line[:3].isalpha(), line


def test_control_octets_in_parameters(suite):
    """V3."""
    t = Talk(suite)
    t.say(EHLO, b"250")
    t.say(b"MAIL FROM:<a@example.net> AUTH=<+0A>\r\n", b"501")
    t.say(b"MAIL FROM:<a@example.net> ENVID=a+0Ab\r\n", b"555")
    t.say(b"MAIL FROM:<a@example.net>\r\n", b"250")
    t.say(b"RCPT TO:<alice@example.test> ORCPT=rfc822;a+0Ab\r\n", b"555")
    t.close()


def test_submission_rules(suite):
    with suite.submission() as s:
        s.ehlo()
        assert s.mail("alice@example.test")[0] == 530
    with suite.submission("alice") as s:
        assert s.mail("bob@example.test")[0] == 553
        assert s.mail("alice+list@example.test")[0] == 250
        s.rset()
        assert s.mail("info@example.test")[0] == 250	# reaches alice
        assert s.rcpt("someone@elsewhere.example")[0] == 250
        s.rset()
        suite.wait_queue_empty()
        before = set(suite.files("bob"))
        s.sendmail("alice@example.test", ["bob@example.test"],
                   b"From: alice@example.test\r\nBcc: secret@example.net\r\n\r\nhello\r\n")
    (path,) = set(suite.wait_mail("bob", len(before) + 1)) - before
    with open(path, "rb") as f:
        message = f.read()
    assert b"secret@" not in message
    assert b"\nDate: " in message and b"\nMessage-ID: <" in message
    assert b"with ESMTPSA id " in message and b"(Authenticated sender: alice@example.test)" in message
    suite.wait_log(r"client=unknown\[127.0.0.1\], sasl_method=PLAIN, sasl_username=alice@example.test")


def test_wrong_passwords(suite):
    with pytest.raises(smtplib.SMTPAuthenticationError) as e:
        with suite.submission() as s:
            s.login("alice@example.test", "wrong")
    assert e.value.smtp_code == 535 and e.value.smtp_error.startswith(b"5.7.8")
    suite.wait_log(r"warning: unknown\[127.0.0.1\]: SASL (PLAIN|LOGIN) authentication failed: .*, sasl_username=alice@example.test")
    # Malformed attempts of one client do not disturb another (V5).
    bad = Talk(suite, "submissions", True)
    bad.say(EHLO, b"250")
    for junk in (b"AUTH PLAIN !!!\r\n", b"AUTH PLAIN =\r\n", b"AUTH PLAIN AAAA\r\n", b"AUTH LOGIN ====\r\n"):
        bad.say(junk, b"501")
        with suite.submission("bob") as s:
            assert s.noop()[0] == 250
    bad.close()


def test_no_password_in_the_clear(suite):
    for service in ("smtp", "submission"):
        t = Talk(suite, service)
        assert b"AUTH" not in t.say(EHLO, b"250")
        t.say(b"AUTH PLAIN AGFsaWNlAHB3\r\n", b"538")
        t.close()


def test_lmtp(suite):
    before = len(suite.files("alice")), len(suite.files("bob"))
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(suite.dir, "run", "lmtp"))
    f = s.makefile("rwb", 0)

    def say(line):
        f.write(line + b"\r\n")
        while True:
            reply = f.readline()
            if reply[3:4] != b"-":
                return reply

    assert f.readline().startswith(b"220")
    assert say(b"EHLO x").startswith(b"500")
    assert say(b"LHLO x").startswith(b"250")
    assert say(b"MAIL FROM:<a@example.net>").startswith(b"250")
    assert say(b"RCPT TO:<alice@example.test>").startswith(b"250")
    assert say(b"RCPT TO:<x@elsewhere.example>").startswith(b"554")
    assert say(b"RCPT TO:<bob@example.test>").startswith(b"250")
    assert say(b"DATA").startswith(b"354")
    assert say(b"Subject: l\r\n\r\nx\r\n.").startswith(b"250")
    assert f.readline().startswith(b"250")
    assert say(b"QUIT").startswith(b"221")
    s.close()
    suite.wait_mail("alice", before[0] + 1)
    suite.wait_mail("bob", before[1] + 1)


def workers(suite):
    """Processes of smtpd that talk to clients."""
    parent = suite.daemon_pid("smtpd")
    with open(f"/proc/{parent}/task/{parent}/children") as f:
        return [int(p) for p in f.read().split()]


def test_a_dead_worker_is_replaced(suite):
    """P11."""
    wait_until(lambda: workers(suite), 5, "workers")
    n = len(workers(suite))
    for _ in range(2):
        for pid in workers(suite):
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        suite.send("alice")
        assert time.monotonic() - began < 2 * SLOW
        wait_until(lambda: len(workers(suite)) == n, 5, "all workers back")


def test_a_session_goes_on_when_another_worker_dies(suite):
    talks = [Talk(suite) for _ in range(20)]
    victim = workers(suite)[0]
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.3)
    alive = 0
    for t in talks:
        t.send(EHLO)
        alive += t.read().startswith(b"250")
        t.close()
    assert len(workers(suite)) == 1 or alive > 0


def test_stopped_queue_gives_451(make_suite):
    """P13: not 250, not for ever; and mail flows again afterwards."""
    s = make_suite(users=("dora",))
    s.send("dora")
    s.wait_mail("dora")
    pid = s.daemon_pid("queue")
    time.sleep(6)	# leased ids are too old by then
    os.kill(pid, signal.SIGSTOP)
    try:
        t = Talk(s)
        t.say(EHLO, b"250")
        t.say(b"MAIL FROM:<>\r\n", b"250")
        t.say(b"RCPT TO:<dora@example.test>\r\n", b"250")
        t.send(b"DATA\r\n")
        assert t.read(40).startswith(b"451 4.3.0")
        t.close()
    finally:
        os.kill(pid, signal.SIGCONT)
    s.send("dora")
    s.wait_mail("dora", 2)


def test_slow_clients_hurt_nobody(make_suite):
    """P15, V18: a thousand that dribble, half handshakes among them."""
    s = make_suite(users=("eva",), smtp_sessions_per_client=2000, smtp_timeout="5s")
    slow = [socket.create_connection(("127.0.0.1", s.port("submissions" if i % 10 == 0 else "smtp"))) for i in range(1000)]
    for c in slow:
        c.send(b"E")
    began = time.monotonic()
    s.send("eva")
    assert time.monotonic() - began < 1 * SLOW
    time.sleep(3)
    for c in slow:
        c.send(b"H")	# no progress that counts
    time.sleep(4)
    gone = 0
    for c in slow:
        c.setblocking(False)
        try:
            while c.recv(4096):
                pass
            gone += 1
        except BlockingIOError:
            pass
        except ConnectionResetError:
            gone += 1
        c.close()
    assert gone >= 990


def test_too_many_from_one_client(make_suite):
    s = make_suite(users=("finn",), smtp_sessions_per_client=5)
    talks = [Talk(s) for _ in range(8)]
    greetings = [t.greeting[:3] for t in talks]
    assert greetings[:5] == [b"220"] * 5 and b"421" in greetings[5:]
    for t in talks:
        t.close()
    wait_until(lambda: Talk(s).greeting.startswith(b"220"), 5, "room again")


def test_errors_end_a_session(make_suite):
    s = make_suite(users=("gus",), smtp_soft_errors=5, smtp_hard_errors=7)
    t = Talk(s)
    began = time.monotonic()
    for _ in range(7):
        t.send(b"NONSENSE\r\n")
        reply = t.read()
        assert reply.startswith(b"500")
    assert b"421 4.7.0" in reply + t.rest()
    assert time.monotonic() - began > 1.5	# the later ones were delayed
    s.wait_log(r"too many errors after UNKNOWN from unknown\[127.0.0.1\]")
    s.wait_log(r"disconnect from unknown\[127.0.0.1\] unknown=0/7 commands=0/7")


def test_message_limits(make_suite):
    s = make_suite(users=("hans",), message_size="100K", header_size="2K", line_length=1000, recipients=100, hops=5)
    header = b"Subject: x\r\n\r\n"

    def outcome(content):
        with s.smtp() as c:
            try:
                c.ehlo()
                c.mail("a@example.net")
                c.rcpt("hans@example.test")
                return c.data(content)[0]
            except smtplib.SMTPResponseError as e:
                return e.smtp_code

    assert outcome(header + b"x" * 1000 + b"\r\n") == 250
    assert outcome(header + b"x" * 1001 + b"\r\n") == 554
    assert outcome(header + (b"x" * 98 + b"\r\n") * 1000) == 250
    assert outcome(header + (b"x" * 98 + b"\r\n") * 1100) == 552
    assert outcome((b"X: " + b"x" * 95 + b"\r\n") * 30 + header) == 552
    assert outcome(b"Received: x\r\n" * 4 + header) == 250
    assert outcome(b"Received: x\r\n" * 5 + header) == 554	# with ours more than 5
    with s.smtp() as c:
        c.ehlo()
        assert c.docmd("MAIL FROM:<a@example.net> SIZE=102401")[0] == 552
        assert c.docmd("MAIL FROM:<a@example.net> SIZE=102400")[0] == 250
        codes = [c.rcpt(f"hans+{i}@example.test")[0] for i in range(110)]
        assert codes == [250] * 100 + [452] * 10
    s.wait_mail("hans", 3)
    assert len(s.files("hans")) == 3


def test_stop_lets_a_message_through(make_suite):
    """SIGTERM drains: what was begun is finished, a client that has just come has one transaction, idle ones go."""
    s = make_suite(users=("ida",))
    t, idle, fresh = Talk(s), Talk(s), Talk(s)
    t.to_data("ida@example.test")
    t.send(b"Subject: last\r\n\r\n")
    os.kill(s.daemon_pid("smtpd"), signal.SIGTERM)
    fresh.to_data("ida@example.test")
    fresh.send(b"Subject: first and last\r\n\r\n.\r\n")
    assert fresh.rest().startswith(b"250")
    assert idle.read().startswith(b"421 4.3.2")
    t.send(b"words\r\n.\r\n")
    reply = t.rest()
    assert reply.startswith(b"250") and b"\r\n421 4.3.2" in reply
    s.wait_mail("ida", 2)
