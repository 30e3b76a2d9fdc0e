"""A Maildir that Debian's Dovecot kept is taken over, and given back; mbsync is the client that would notice."""
import glob
import os
import stat
import subprocess
import tempfile

import pytest

IMAP = "/usr/lib/dovecot/imap"
pytestmark = pytest.mark.skipif(not os.path.exists(IMAP) or os.geteuid() != 0,
                                reason="dovecot-imapd is not installed, or cannot be run as another user")

DOVECOT = """
mail_location = maildir:{maildir}
first_valid_uid = 1
first_valid_gid = 1
base_dir = {folder}/run
log_path = {folder}/dovecot.log
namespace inbox {{
  inbox = yes
  separator = .
}}
"""

MBSYNC = """
IMAPAccount account
{account}

IMAPStore far
Account account

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX Lists/one Drafts
Create Near
Expunge Both
SyncState *
"""


class Both:
    """The same Maildir, served by Dovecot (through a pipe) or by Pennypost."""

    def __init__(self, suite, folder):
        self.suite, self.folder = suite, folder
        os.chmod(folder, 0o755)
        self.maildir = suite.maildir()
        owner = os.stat(os.path.join(suite.dir, "mail"))
        self.ids = ["--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--clear-groups"] if owner.st_uid else None
        os.makedirs(self.maildir)
        path = self.maildir
        while path != os.path.join(suite.dir, "mail"):
            os.chown(path, owner.st_uid, owner.st_gid)
            path = os.path.dirname(path)
        path = suite.dir
        while path not in ("/", "/tmp"):
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | 0o111)
            path = os.path.dirname(path)
        self.write("dovecot.conf", DOVECOT.format(folder=folder, maildir=self.maildir))
        self.write("tunnel", f"#!/bin/sh\nexec setpriv {' '.join(self.ids or [])} env HOME={folder} USER=alice "
                   f"{IMAP} -c {folder}/dovecot.conf 2>>{folder}/errors\n", 0o755)
        self.write("dovecot.rc", MBSYNC.format(folder=folder, account=f"Tunnel {folder}/tunnel"))
        self.write("pennypost.rc", MBSYNC.format(folder=folder, account=(
            f"Host 127.0.0.1\nPort {suite.port('imaps')}\nUser alice@example.test\nPass {suite.password('alice')}\n"
            f"SSLType IMAPS\nCertificateFile {suite.dir}/tls/cert.pem")))
        os.makedirs(f"{folder}/mail", exist_ok=True)

    def write(self, name, text, mode=0o644):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write(text)
        os.chmod(os.path.join(self.folder, name), mode)

    def dovecot(self, *commands):
        text = "".join(f"x {c}\r\n" for c in (*commands, "LOGOUT"))
        done = subprocess.run([f"{self.folder}/tunnel"], input=text.encode(), capture_output=True, timeout=60)
        assert b"x OK Logout" in done.stdout and b"x BAD" not in done.stdout and b"x NO" not in done.stdout, done.stdout
        return done.stdout

    def mbsync(self, server):
        done = subprocess.run(["mbsync", "-c", f"{self.folder}/{server}.rc", "-q", "all"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + self.suite.log()[-3000:]
        return {(f, os.stat(f).st_ino) for sub in ("cur", "new")
                for f in glob.glob(f"{self.folder}/mail/**/{sub}/*", recursive=True)}

    def log(self):
        with open(f"{self.folder}/dovecot.log") as f:
            return f.read()


def append(folder, flags, text):
    return f"APPEND {folder} ({flags}) {{{len(text)}+}}\r\n{text}"


@pytest.fixture(scope="module")
def both(make_suite):
    suite = make_suite(users=("alice",), start=False)
    with tempfile.TemporaryDirectory(prefix="pp-takeover-") as folder:
        if os.stat(os.path.join(suite.dir, "mail")).st_uid == 0:
            pytest.skip("Dovecot does not serve mail of root")
        yield Both(suite, folder)


def uids(imap, folder):
    imap.select(folder, readonly=True)
    imap.untagged_responses.pop("FETCH", None)
    data = imap.uid("FETCH", "1:*", "(UID FLAGS)")[1]
    return [d for d in data if d is not None], imap.untagged_responses["UIDVALIDITY"]


def flags_of(lines):
    """Of lines of FETCH: number, UID and flags."""
    words = (line.replace(b"FETCH", b"").replace(b"(", b" ").replace(b")", b" ").split() for line in lines)
    return sorted(sorted(set(w) - {b"\\Recent"}) for w in words)


def test_taken_over_and_given_back(both):
    texts = [f"Subject: number {i}\r\nMessage-ID: <{i}@example.net>\r\n\r\ntext {i}\r\n" for i in range(12)]
    both.dovecot(*(append("INBOX", r"\Seen $Work" if i % 3 == 0 else r"\Flagged" if i % 3 == 1 else "", t) for i, t in enumerate(texts)),
                 "CREATE Lists.one", "SUBSCRIBE Lists.one", append("Lists.one", r"\Answered Other", texts[0]), "CREATE Drafts",
                 "SELECT INBOX", r"STORE 4 +FLAGS (\Deleted)", r"STORE 12 +FLAGS (\Deleted)", "EXPUNGE", "COPY 2:3 Lists.one")
    before = both.mbsync("dovecot")
    assert len(before) == 10 + 3
    # What will be, by the command that only looks.
    told = {f["folder"]: f for f in both.suite.json("takeover", "--check", "alice@example.test")}
    assert told["INBOX"]["from"] == "Dovecot" and told["INBOX"]["listed"] == 10 and told["INBOX"]["unlisted"] == 0
    assert told["Lists.one"]["listed"] == 3 and not told["Lists.one"]["taken"]
    wire = both.dovecot("SELECT INBOX", "FETCH 1:* (UID FLAGS)")

    both.suite.start()
    imap = both.suite.imap()
    data, validity = uids(imap, "INBOX")
    assert b"UIDVALIDITY " + validity[0] in wire
    assert flags_of(data) == flags_of(w[2:] for w in wire.splitlines() if b" FETCH (" in w)
    assert b"Lists.one" in b"".join(imap.lsub()[1])
    imap.logout()
    assert both.mbsync("pennypost") == before, "mbsync downloaded or changed something"
    assert both.suite.json("takeover", "--check", "alice@example.test", "INBOX")[0]["taken"] == 1
    assert both.suite.run("store", "check", "alice@example.test", "INBOX").stdout.startswith("INBOX: good")

    # New mail, flags, a removal here; then back.
    both.suite.send(subject="since then")
    both.suite.wait_mail()
    imap = both.suite.imap()
    imap.store("1", "+FLAGS", r"(\Answered $New)")
    imap.store("2", "+FLAGS", r"(\Deleted)")
    imap.expunge()
    imap.logout()
    here = both.mbsync("pennypost")
    assert len(here) == len(before)
    both.suite.stop()
    both.suite.run("takeover", "--back", "alice@example.test")
    for f in glob.glob(f"{both.maildir}/dovecot.index*"):
        os.unlink(f)		# Dovecot makes them again of what we wrote
    assert both.mbsync("dovecot") == here, "mbsync downloaded or changed something: " + both.log()
    wire = both.dovecot("SELECT INBOX", "FETCH 1 (FLAGS)", "FETCH 10 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert b"$New" in wire and b"\\Answered" in wire and b"since then" in wire
