"""A thousand messages of every kind come out byte for byte the same by IMAP and POP3."""
import hashlib
import os
import random
import subprocess
import tempfile

import pytest

from conftest import SLOW

COUNT = 1000
BIG = 20 * 1024 * 1024


def lines(rng, n, octets, length=78):
    """n octets of body in CRLF lines of the given octets."""
    out, left = [], n
    while left > 0:
        k = min(left, rng.randrange(1, length))
        out.append(bytes(rng.choice(octets) for _ in range(k)))
        left -= k
    return b"\r\n".join(out) + b"\r\n"


def message(number):
    """By its number: text, dots, every octet that SMTP can carry, 8-bit, empty, long lines, no final newline in the body."""
    rng = random.Random(number)
    head = f"From: <s@example.net>\r\nSubject: number {number}\r\nX-Number: {number}\r\n\r\n".encode()
    kind = number % 8
    any_octet = bytes(c for c in range(1, 256) if c not in b"\r\n")
    if kind == 0:
        return head + lines(rng, rng.randrange(1, 3000), b"abc defg.")
    if kind == 1:
        return head + b"".join(rng.choice([b".\r\n", b"..\r\n", b"...x\r\n", b".x\r\n", b"\r\n", b". \r\n"]) for _ in range(50))
    if kind == 2:
        return head + lines(rng, rng.randrange(1, 6000), any_octet)
    if kind == 3:
        return head + ("Grüße aus Köln, 你好, \u00a0\r\n" * 30).encode()
    if kind == 4:
        return head
    if kind == 5:
        return head + (b"x" * 998 + b"\r\n") * 5
    if kind == 6:
        return head + b"\r\n" * rng.randrange(1, 30) + b"From here\r\n>From there\r\n \t \r\n"
    return head + lines(rng, rng.randrange(60_000, 80_000), bytes(range(33, 127)))


def big_message():
    rng = random.Random(99)
    # Without what swaks takes for its own: backslashes and tokens in percent signs.
    block = lines(rng, 64 * 1024, bytes(c for c in range(1, 256) if c not in b"\r\n\\%"), 900)
    body = block * (BIG // len(block) + 1)
    return b"From: <s@example.net>\r\nX-Number: 5000\r\n\r\n" + body


def own_part(text):
    return text[text.index(b"From: <s@example.net>\r\n"):]


def number_of(text):
    at = text.index(b"\r\nX-Number: ") + 12
    return int(text[at:text.index(b"\r\n", at)])


@pytest.fixture(scope="module")
def filled(make_suite):
    """alice has them all: most by smtplib, some and the large ones by swaks."""
    suite = make_suite(message_size="60M")
    sent = {}
    smtp = suite.smtp()
    smtp.ehlo()
    for number in range(COUNT):
        sent[number] = message(number)
        if number % 40 == 0 and number % 8 != 2:
            swaks(suite, sent[number])
        else:
            smtp.sendmail("s@example.net", ["alice@example.test"], sent[number])
    smtp.quit()
    sent[5000] = big_message()
    swaks(suite, sent[5000])
    suite.wait_mail("alice", COUNT + 1, 120)
    return suite, {n: hashlib.sha256(m).hexdigest() for n, m in sent.items()}


def swaks(suite, content):
    """swaks reads LF text, makes the CRLF itself, and adds the last line end."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(content[:-2].replace(b"\r\n", b"\n"))
        f.flush()
        done = subprocess.run(["swaks", "--server", f"127.0.0.1:{suite.port('smtp')}", "--from", "s@example.net", "--to",
                               "alice@example.test", "--data", f"@{f.name}", "--helo", "c.example.net", "--suppress-data"],
                              capture_output=True, timeout=120 * SLOW)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def compare(found, sent):
    assert len(found) == len(sent)
    wrong = [n for n, digest in sent.items() if found.get(n) != digest]
    assert not wrong, f"changed on the way: {wrong[:20]}"


def test_by_imap(filled):
    suite, sent = filled
    c = suite.imap("alice")
    found = {}
    for part in range(1, COUNT + 2, 50):
        for item in c.fetch(f"{part}:{min(part + 49, COUNT + 1)}", "(RFC822.SIZE BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                text = item[1]
                assert f"RFC822.SIZE {len(text)}".encode() in item[0]
                found[number_of(text)] = hashlib.sha256(own_part(text)).hexdigest()
    c.logout()
    compare(found, sent)


def test_by_pop3(filled):
    suite, sent = filled
    p = suite.pop3("alice")
    count = p.stat()[0]
    sizes = dict(map(int, line.split()) for line in p.list()[1])
    found = {}
    for i in range(1, count + 1):
        text = b"\r\n".join(p.retr(i)[1]) + b"\r\n"
        assert sizes[i] == len(text)
        found[number_of(text)] = hashlib.sha256(own_part(text)).hexdigest()
    p.quit()
    compare(found, sent)


def test_by_curl(filled):
    """The large one once more, by another client of each protocol."""
    suite, sent = filled
    c = suite.imap("alice")
    uid = c.uid("search", None, "HEADER", "X-Number", "5000")[1][0].decode()
    c.logout()
    for url in (f"imaps://127.0.0.1:{suite.port('imaps')}/INBOX;UID={uid}",):
        text = subprocess.run(["curl", "-sSk", "-u", f"alice@example.test:{suite.password('alice')}", url],
                              capture_output=True, timeout=120 * SLOW, check=True).stdout
        assert hashlib.sha256(own_part(text)).hexdigest() == sent[5000]
