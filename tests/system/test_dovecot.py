"""The same scripted sessions against Dovecot and imapd; the answers are compared.

What may differ is taken away first (Norm): texts for people, \\Recent, the order
of flags and of untagged data, UIDVALIDITY, what only one of them says.  Two
sessions take turns, so each also hears of what the other did.
"""
import glob
import os
import random
import re
import shutil
import tempfile

import dovecot
import pytest
from conftest import TOP
from imap_wire import Wire

pytestmark = pytest.mark.skipif(dovecot.why_not() is not None, reason=str(dovecot.why_not()))

CODES = {b"TRYCREATE", b"READ-ONLY", b"READ-WRITE", b"APPENDUID", b"COPYUID", b"ALREADYEXISTS", b"UNSEEN", b"UIDNEXT"}


class Norm:
    """One server's answers made comparable."""

    def __init__(self):
        self.validities = {}

    def validity(self, value):
        return b"V%d" % self.validities.setdefault(value, len(self.validities))

    def code(self, text):
        """The response code, if it is one that both have."""
        m = re.match(rb"\[([A-Z0-9-]+) ?([^\]]*)\]", text)
        if m is None or m.group(1) not in CODES:
            return None
        words = m.group(2).split()
        if m.group(1) in (b"APPENDUID", b"COPYUID"):
            words = [b"V"] + [expand(w) for w in words[1:]]
        return (m.group(1), *words)

    def flags(self, flags):
        return sorted(f.lower() for f in flags if f != b"\\Recent")

    def fetch(self, items):
        data = {}
        for key, value in zip(items[::2], items[1::2]):
            if key == b"ENVELOPE":
                value = repr(value).replace("MISSING_DOMAIN", "")	# "To: someone"
            data[key] = self.flags(value) if key == b"FLAGS" else structure(value) if key in (b"BODY", b"BODYSTRUCTURE") else value
            if key.startswith(b"BODY[") and value is None:
                data[key] = b""		# a part that is not there: NIL or empty
        return tuple(sorted((k, repr(v)) for k, v in data.items()))

    def untagged(self, r):
        w = r.words
        if len(w) > 1 and w[1] == b"FETCH":
            return (b"FETCH", int(w[0]), self.fetch(w[2]))
        if len(w) > 1 and w[1] in (b"EXISTS", b"EXPUNGE"):
            return (w[1], int(w[0]))
        if w[0] in (b"OK", b"NO"):
            code = self.code(r.raw[3:])
            return code and (w[0], code)
        if w[0] == b"FLAGS":
            return None			# \* and the order in which keywords came
        if w[0] == b"SEARCH":
            return (b"SEARCH", tuple(sorted(int(x) for x in w[1:])))
        if w[0] in (b"LIST", b"LSUB"):
            if w[3] == b"INBOX" and w[0] == b"LSUB":
                return None		# is it subscribed from the start?
            return (w[0], tuple(self.flags(w[1])) if w[0] == b"LIST" else None, repr(w[2:]))
        if w[0] == b"STATUS":
            items = dict(zip(w[2][::2], w[2][1::2]))
            items.pop(b"UIDVALIDITY", None)
            items.pop(b"RECENT", None)
            return (b"STATUS", w[1], tuple(sorted(items.items())))
        if w[0] in (b"CAPABILITY", b"ENABLED", b"ID") or (len(w) > 1 and w[1] == b"RECENT"):
            return None
        return repr(w)

    def answer(self, status, text, untagged):
        told = [n for n in map(self.untagged, untagged) if n is not None]
        expunged = [n for n in told if n[0] == b"EXPUNGE"]
        numbers = sorted(n for n in told if n[0] == b"EXISTS")[-1:]
        code = self.code(text) if status != b"BAD" else None
        # Whether MOVE's COPYUID is tagged or not, and in what order messages go, is free.
        if any(n[0] == b"OK" and n[1][0] == b"COPYUID" for n in told if isinstance(n, tuple)):
            code = None
        rest = [n for n in told if n[0] not in (b"EXPUNGE", b"EXISTS")]
        fetched = {}
        for n in rest:
            if n[0] == b"FETCH":	# several for one message add up; the last flags count
                fetched.setdefault(n[1], {}).update(dict(n[2]))
        rest = sorted(map(repr, (n for n in rest if n[0] != b"FETCH")))
        return [status, code, gone(expunged), numbers, rest, sorted((k, sorted(v.items())) for k, v in fetched.items())]


def structure(b):
    """BODYSTRUCTURE without what is a matter of taste: default charset, case, lines of what does not end in one."""
    if not isinstance(b, list) or not b:
        return b
    if isinstance(b[0], list):
        return [structure(x) if isinstance(x, list) else x.lower() if x else x for x in b]
    b = [x.lower() if isinstance(x, bytes) and i != 3 and i != 4 else x for i, x in enumerate(b)]
    if b[0] == b"text" and len(b) > 7:
        b[2] = b[2] or [b"charset", b"us-ascii"]
        b[7] = b"lines"
    elif b[:2] == [b"message", b"rfc822"] and len(b) > 9:
        b[8], b[9] = structure(b[8]), b"lines"
    return b


def gone(expunged):
    """EXPUNGE numbers as the numbers before the first of them, sorted."""
    out = []
    for _, n in expunged:
        for g in sorted(out):
            if g <= n:
                n += 1
        out.append(n)
    return sorted(out)


def expand(text):
    out = []
    for part in text.decode().split(","):
        a, _, b = part.partition(":")
        out += range(int(a), int(b or a) + 1)
    return tuple(out)


# What the messages look like; besides, the MIME corpus.
TEXTS = [
    b"From: a@example.net\r\nSubject: plain\r\n\r\nbody one\r\n",
    b"From: \"Quoted, Name\" <q@example.net>, b@example.org\r\nTo: undisclosed-recipients:;\r\nSubject: =?utf-8?q?f=C3=BC?= x\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@x>\r\nIn-Reply-To: <0@x>\r\n\r\nbody two\r\n",
    b"From: group: a@b.example, c@d.example;\r\nCc: <only@addr.example>\r\nReply-To: r@example.net\r\nSender: s@example.net\r\n\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\nSubject: parts\r\n\r\npreamble\r\n--b 1\r\n\r\ntext\r\n"
    b"--b 1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<b>=C3=BC</b>\r\n"
    b"--b 1\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-ID: <cid@x>\r\nContent-Description: a paper\r\n\r\nQUJD\r\n--b 1--\r\nepilogue\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\nSubject: nested\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: inner@example.net\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
    b"--i\r\nContent-Type: text/plain\r\n\r\ninner text\r\n--i\r\nContent-Type: text/html\r\n\r\n<i>x</i>\r\n--i--\r\n\r\n--o\r\n\r\nlast\r\n--o--\r\n",
]


def corpus():
    """(date, flags, text) of the first messages."""
    out = [(f"0{n + 1}-Nov-2026 1{n}:00:00 +0000", "", t) for n, t in enumerate(TEXTS)]
    for path in sorted(glob.glob(os.path.join(TOP, "tests", "data", "mime-corpus", "rfc", "*")))[:20]:
        with open(path, "rb") as f:
            text = f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if b"\0" not in text:
            out.append(("12-Nov-2026 12:00:00 +0000", "\\Seen", text))
    return out


def append(name, date, flags, text, more=b""):
    return b'APPEND "%s" (%s) "%s" {%d+}\r\n%s' % (name.encode(), flags.encode(), date.encode(), len(text), text)


def fixed(n):
    """Commands that are always given: (session, command); n messages are in INBOX."""
    a, b = 0, 1
    out = [(a, "SELECT INBOX"), (b, "SELECT INBOX")]
    sections = ["HEADER", "TEXT", "1", "1.MIME", "2", "2.MIME", "1.HEADER", "1.TEXT", "1.2", "3", "3.MIME", "9",
                "HEADER.FIELDS (SUBJECT FROM)", "HEADER.FIELDS.NOT (SUBJECT FROM)", "1.HEADER.FIELDS (SUBJECT)", ""]
    out += [(a, f"FETCH 1:{n} {items}") for items in (
        "(UID RFC822.SIZE INTERNALDATE FLAGS)", "ENVELOPE", "FAST", "RFC822.HEADER")]
    out += [(a, f"FETCH 1:5 {items}") for items in ("BODYSTRUCTURE", "BODY", "ALL", "FULL")]
    out += [(a, f"FETCH 1:5 BODY.PEEK[{s}]") for s in sections]
    out += [(a, f"FETCH 2:4 BODY.PEEK[{s}]<{o}.{c}>") for s in ("", "TEXT", "1") for o, c in ((0, 10), (5, 5), (100000, 5), (3, 100000))]
    keys = ["ALL", "ANSWERED", "BCC x", "BEFORE 12-Nov-2026", 'BODY "inner text"', "CC addr", "DELETED", "DRAFT", "FLAGGED",
            "FROM example.net", "FROM inner", "HEADER Subject plain", 'HEADER Message-ID ""', "KEYWORD work", "LARGER 300", "NEW", "NOT SEEN",
            "OLD", "ON 12-Nov-2026", "OR SEEN LARGER 500", "SEEN", "SENTON 23-Nov-2026", "SENTSINCE 1-Jan-2026",
            "SINCE 3-Nov-2026", "SMALLER 200", "SUBJECT fü", "SUBJECT parts", "TEXT plain", "TEXT quoted", "TO undisclosed", "UID 2:4", "UNANSWERED",
            "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNKEYWORD work", "UNSEEN", "1:3", "2,4:*", "(SEEN UNDELETED)", "NOT (OR FROM example SUBJECT x)",
            "UID 1:* SEEN", "TO example", "BODY ü", "TEXT QUJD", "BODY ABC", "YOUNGER 5", "OLDER 5", "SUBJECT \"\""]
    keys = [k for k in keys if k not in ("NEW", "OLD")]
    for k in keys:
        ascii_only = k.isascii()
        out.append((a, f"SEARCH {k}" if ascii_only else f"SEARCH CHARSET UTF-8 {k}".encode()))
    out += [(b, f"UID SEARCH {k}") for k in keys[::5] if k.isascii()]
    out += [
        (a, "STORE 1 +FLAGS (\\Flagged work)"), (b, "NOOP"), (b, "STORE 1:3 FLAGS.SILENT (\\Seen)"), (a, "NOOP"),
        (a, "FETCH 1:3 FLAGS"), (b, "STORE 2 -FLAGS (\\Seen)"), (a, "NOOP"), (a, "FETCH 2 BODY[TEXT]"), (b, "NOOP"),
        (a, "UID STORE 3 +FLAGS.SILENT (\\Deleted)"), (b, "NOOP"), (a, "UID EXPUNGE 1:2"), (a, "UID EXPUNGE 3"), (b, "NOOP"),
        (a, "COPY 1:2 Sent"), (a, "COPY 1 Nowhere"), (a, "UID COPY 999 Sent"), (b, "UID MOVE 4 Archive"), (a, "NOOP"), (a, "MOVE 1 Archive"),
        (b, "NOOP"), (a, "STATUS Archive (MESSAGES UIDNEXT UNSEEN)"), (a, "STATUS Nowhere (MESSAGES)"), (b, "SELECT Archive"),
        (b, "FETCH 1:* (UID FLAGS)"), (b, "SELECT Nowhere"), (b, "FETCH 1 FLAGS"), (b, "EXAMINE Archive"), (b, "FETCH 1 BODY[TEXT]"),
        (b, "CLOSE"), (b, "SELECT INBOX"), (a, "CREATE Box"), (a, "CREATE Box"), (a, "CREATE Box.Sub"), (a, "CREATE Box.Sub.Deep"), (a, 'LIST "" *'),
        (a, 'LIST "" %'), (a, 'LIST "" Box.%'), (a, 'LIST "Box." %'), (a, 'LIST "" ""'), (a, 'LIST "" inbox'), (a, "SUBSCRIBE Box"),
        (a, "SUBSCRIBE Box.Sub"), (a, 'LSUB "" *'), (a, "UNSUBSCRIBE Box.Sub"), (a, 'LSUB "" *'), (a, "RENAME Box.Sub New"), (a, 'LIST "" *'),
        (a, "RENAME Nowhere Else"), (a, "DELETE Box"), (a, "DELETE Box"), (a, "DELETE INBOX"), (a, "DELETE New.Deep"),
        (a, "CREATE INBOX"), (a, 'LIST "" *'), (a, "STATUS INBOX (MESSAGES UIDNEXT UNSEEN)"),
        (a, "FETCH 0 FLAGS"), (a, "FETCH 1 NOSUCH"), (a, "FETCH"), (a, "NONSENSE"), (a, "SEARCH NOSUCH"),
        (a, "UID NOSUCH"), (a, "UID FETCH 1:* (FLAGS)"), (a, "UID FETCH 5000 FLAGS"), (a, "UID FETCH 5000:* FLAGS"), (a, "COPY 5000 Sent"),
        (a, "FETCH *:1 UID"), (a, "CHECK"), (b, "UNSELECT"), (b, "FETCH 1 FLAGS"), (b, "SELECT INBOX"), (a, "EXPUNGE"), (b, "NOOP"),
        (a, append("Nowhere", "01-Nov-2026 00:00:00 +0000", "", b"x: y\r\n\r\n")),
    ]
    return out


def generated(seed, count, n):
    """Random commands whose answers are certain."""
    rnd = random.Random(seed)
    flags = ["\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "\\Draft", "work", "$Forwarded"]
    for i in range(count):
        s = rnd.randrange(2)
        first = rnd.randrange(1, n)
        last = rnd.randrange(first, n + 1)
        uid = rnd.choice(("", "UID "))
        numbers = rnd.choice((f"{first}", f"{first}:{last}", f"{last}:{first}", f"{first},{last}"))
        kind = rnd.randrange(9)
        if kind == 0:
            text = b"Subject: generated %d\r\n\r\n%s\r\n" % (i, b"x" * rnd.randrange(300))
            yield s, append(rnd.choice(("INBOX", "Sent", "Archive")), "15-Nov-2026 15:00:00 +0000", rnd.choice(flags), text)
        elif kind <= 2:
            yield s, (f'UID STORE {numbers} {rnd.choice(("+", "-", ""))}FLAGS{rnd.choice(("", ".SILENT"))} '
                      f'({" ".join(rnd.sample(flags, rnd.randrange(1, 3)))})')
        elif kind == 3:
            yield s, f"UID FETCH {numbers} (FLAGS {rnd.choice(('UID', 'RFC822.SIZE', 'BODY.PEEK[HEADER]', 'ENVELOPE'))})"
        elif kind == 4:
            yield s, f"{uid}SEARCH {rnd.choice(('', 'NOT '))}{rnd.choice(('SEEN', 'FLAGGED', 'KEYWORD work', 'SUBJECT generated', 'LARGER 200'))}"
        elif kind == 5:
            yield s, f"UID COPY {numbers} {rnd.choice(('Sent', 'Archive'))}"
        elif kind == 6:
            yield s, f"UID MOVE {numbers} {rnd.choice(('Sent', 'Archive'))}"
        elif kind == 7:
            yield s, rnd.choice(("UID EXPUNGE " + numbers, "EXPUNGE", "NOOP", "NOOP"))
        else:
            yield s, f"STATUS {rnd.choice(('INBOX', 'Sent', 'Archive'))} (MESSAGES UNSEEN UIDNEXT)"
        # Each hears of it before it goes on: when exactly it is told is the server's choice.
        yield s, "NOOP"
        yield 1 - s, "NOOP"


class Pair:
    """Two sessions of each server."""

    def __init__(self, make_suite, folder):
        self.suite = make_suite(users=("alice",))
        mail = f"{folder}/mail"
        os.makedirs(mail)
        os.chmod(folder, 0o755)
        os.chmod(mail, 0o777)
        self.dovecot = dovecot.Dovecot(f"{folder}/dovecot", mail, 65534, 65534).start()
        password = self.suite.password("alice")
        self.ours = [Wire(self.suite.port("imaps"), "alice@example.test", password, self.suite.tls) for _ in range(2)]
        self.theirs = [Wire(self.dovecot.port, "alice@example.test", dovecot.PASSWORD) for _ in range(2)]
        self.norm = Norm(), Norm()
        self.trace = []

    def both(self, session, command):
        """The two normalised answers."""
        out = []
        for norm, wires in zip(self.norm, (self.ours, self.theirs)):
            status, untagged = wires[session].ask(command)
            out.append((norm.answer(status, wires[session].text, untagged), status, wires[session].text, untagged))
        return out


@pytest.fixture()
def pair(make_suite):
    folder = tempfile.mkdtemp(prefix="pp-dovecot-")
    p = None
    try:
        p = Pair(make_suite, folder)
        yield p
    finally:
        if p is not None:
            p.dovecot.close()
        shutil.rmtree(folder, ignore_errors=True)


def compare(pair, commands):
    differences = []
    for session, command in commands:
        ours, theirs = pair.both(session, command)
        if ours[0] != theirs[0] and not allowed(command, ours, theirs):
            text = command if isinstance(command, str) else command[:100]
            parts = []
            for o, t in zip(ours[0], theirs[0]):
                if isinstance(o, list) and isinstance(t, list):
                    o, t = [x for x in o if x not in t], [x for x in t if x not in o]
                if o != t:
                    parts.append(f"    ours:    {o!r:.1200}\n    Dovecot: {t!r:.1200}")
            differences.append(f"{session} {text}\n" + "\n".join(parts) + f"\n    ours: {ours[1:3]} Dovecot: {theirs[1:3]}")
    return differences


def allowed(command, ours, theirs):
    """Where the two may differ."""
    text = command if isinstance(command, str) else ""
    # Dovecot says nothing of a STORE that changes nothing.
    return " STORE " in text and ours[0][:5] == theirs[0][:5] and not theirs[0][5]


def test_fixed(pair):
    messages = corpus()
    differences = compare(pair, [(0, append("INBOX", *m)) for m in messages])
    differences += compare(pair, fixed(len(messages)))
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences)


def test_generated(pair):
    messages = corpus()
    differences = compare(pair, [(0, append("INBOX", *m)) for m in messages] + [(0, "SELECT INBOX"), (1, "SELECT INBOX")])
    differences += compare(pair, generated(4, 150, len(messages)))
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences)
