"""The way of a message: in by SMTP, out by IMAP and POP3."""
import imaplib
import smtplib
import socket
import ssl

import pytest

pytestmark = pytest.mark.san


def body_of(message):
    """Without the header fields that delivery adds at the top: from the sender's first field on."""
    return message[message.index(b"From: "):]


def test_smtp_to_imap_and_pop3(suite):
    content = suite.send("bob", subject="the way")
    suite.wait_mail("bob")
    c = suite.imap("bob")
    data = c.fetch("1", "(BODY.PEEK[] RFC822.SIZE UID FLAGS)")[1]
    message = data[0][1]
    assert body_of(message) == content
    assert message.startswith(b"Return-Path: <sender@example.net>\r\n")
    assert b"Delivered-To: bob@example.test\r\n" in message
    assert b"with ESMTP id " in message
    c.logout()
    p = suite.pop3("bob")
    assert p.stat()[0] == 1
    lines = p.retr(1)[1]
    assert b"\r\n".join(lines) + b"\r\n" == message
    p.quit()


def test_alias_catchall_detail(suite):
    before = {u: len(suite.files(u)) for u in ("alice", "bob")}
    for to in ("info", "nobody-of-that-name", "bob+detail"):
        suite.send(to)
    suite.wait_queue_empty()
    assert len(suite.files("alice")) == before["alice"] + 2
    assert len(suite.files("bob")) == before["bob"] + 2


def test_unknown_and_foreign(suite, make_suite):
    strict = make_suite(users=("carol",))
    with strict.smtp() as s:
        s.ehlo()
        assert s.mail("x@example.net")[0] == 250
        code, text = s.rcpt("nobody@example.test")
        assert code == 550 and text.startswith(b"5.1.1")
        code, text = s.rcpt("someone@elsewhere.example")
        assert code == 554 and text.startswith(b"5.7.1")
        assert s.rcpt("carol@example.test")[0] == 250
        assert s.rcpt("carol+x@example.test")[0] == 250
        assert s.rcpt("postmaster")[0] == 250
    strict.wait_log(r"NOQUEUE: reject: RCPT from unknown\[127.0.0.1\]: 554 5.7.1 <someone@elsewhere.example>: Relay access denied; "
                    r"from=<x@example.net> to=<someone@elsewhere.example> proto=ESMTP helo=<client.example.net>")


def test_login_only_under_tls(suite):
    with suite.smtp() as s:
        s.ehlo()
        assert not s.has_extn("auth")
        assert s.docmd("AUTH", "PLAIN AGFsaWNlAHg=")[0] in (503, 530, 538)
    c = imaplib.IMAP4("127.0.0.1", suite.port("imap"))
    assert "LOGINDISABLED" in c.capabilities
    with pytest.raises(imaplib.IMAP4.error):
        c.login("alice@example.test", suite.password("alice"))
    c.starttls(suite.tls)
    c.login("alice@example.test", suite.password("alice"))
    c.logout()


def test_submission(suite):
    with suite.submission("alice") as s:
        s.sendmail("alice@example.test", ["bob@example.test"], "Subject: by submission\r\n\r\nHi.\r\n")
        with pytest.raises(smtplib.SMTPException):
            s.sendmail("bob@example.test", ["bob@example.test"], "Subject: not mine\r\n\r\nHi.\r\n")
    with smtplib.SMTP("127.0.0.1", suite.port("submission"), local_hostname="c.example.net", timeout=30) as s:
        s.ehlo()
        assert s.mail("alice@example.test")[0] == 530
        s.rset()
        s.starttls(context=suite.tls)
        s.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            s.login("alice@example.test", "wrong")
        assert refused.value.smtp_code == 535
        s.login("alice@example.test", suite.password("alice"))
    suite.wait_log(r"SASL \w+ authentication failed: .*sasl_username=alice@example.test")


def test_lmtp(suite):
    before = {u: len(suite.files(u)) for u in ("alice", "bob")}
    s = smtplib.LMTP(suite.dir + "/run/lmtp")
    s.ehlo_or_helo_if_needed()
    assert s.mail("x@example.net")[0] == 250
    assert s.rcpt("bob@example.test")[0] == 250
    assert s.rcpt("info@example.test")[0] == 250
    s.putcmd("data")
    assert s.getreply()[0] == 354
    s.send(b"From: x\r\nSubject: lmtp\r\n\r\nx\r\n.\r\n")
    assert s.getreply()[0] == 250
    assert s.getreply()[0] == 250  # one reply a recipient
    s.quit()
    suite.wait_queue_empty()
    # bob by his own address and as one of info@: one copy (de-duplication).
    assert {u: len(suite.files(u)) - before[u] for u in before} == {"alice": 1, "bob": 1}


def test_starttls_injection(suite):
    """Bytes sent with STARTTLS in one segment never reach the session after the handshake (CVE-2011-0411)."""
    s = suite.tcp("submission")
    f = s.makefile("rb")
    f.readline()
    s.sendall(b"EHLO x\r\n")
    while not f.readline().startswith(b"250 "):
        pass
    s.sendall(b"STARTTLS\r\nNOOP\r\n")
    f.readline()
    with pytest.raises((ssl.SSLError, ConnectionError, socket.timeout, OSError)):
        suite.tls.wrap_socket(s)
