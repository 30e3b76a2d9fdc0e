"""The clients people use, against a running suite."""
import fcntl
import glob
import os
import pty
import select
import shutil
import subprocess
import tempfile
import termios
import time

import pytest

from conftest import SLOW, wait_until


@pytest.fixture()
def folder():
    path = tempfile.mkdtemp(prefix="pp-client-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def ca(suite):
    return os.path.join(suite.dir, "tls", "cert.pem")


def run(*argv, input=None, check=True, env=None):
    done = subprocess.run(argv, input=input, capture_output=True, timeout=120 * SLOW, env={**os.environ, **(env or {})})
    if check:
        assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def on_terminal(*argv, env):
    """Run a program on a terminal of its own until it ends; what it showed."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **env}, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    screen, end = b"", time.monotonic() + 60 * SLOW
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 1)[0]:
                try:
                    screen += os.read(master, 65536)
                except OSError:  # the last one has closed the terminal
                    break
            elif child.poll() is not None:
                break
        else:
            raise AssertionError(f"{argv} did not end: {screen[-3000:]}")
    finally:
        child.kill()
        child.wait()
        os.close(master)
    return screen


def write(path, text, mode=0o600):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def count(suite, user, text):
    return len([f for f in suite.files(user) if text in open(f, "rb").read()])


def has(suite, user, text, n=1):
    wait_until(lambda: count(suite, user, text) >= n, 20, f"{text} at {user}; log: {suite.log()[-2000:]}")


def test_swaks(suite):
    for port, options in ((suite.port("smtp"), []), (suite.port("smtp"), ["-tls"]),
                          (suite.port("submission"), ["-tls", "--auth", "PLAIN"]),
                          (suite.port("submission"), ["-tls", "--auth", "LOGIN"]),
                          (suite.port("submissions"), ["-tlsc", "--auth", "PLAIN"])):
        if "--auth" in options:
            options = options + ["--auth-user", "alice@example.test", "--auth-password", suite.password("alice")]
        run("swaks", "--server", f"127.0.0.1:{port}", "--helo", "c.example.net", "--from", "alice@example.test", "--to",
            "bob@example.test", "--header", "Subject: by swaks", *options)
    run("swaks", "--socket", f"{suite.dir}/run/lmtp", "--protocol", "LMTP", "--from", "x@example.net", "--to", "bob@example.test",
        "--header", "Subject: by swaks")
    has(suite, "bob", b"Subject: by swaks", 6)


def test_curl(suite):
    run("curl", "-sSk", "--ssl-reqd", f"smtp://127.0.0.1:{suite.port('submission')}", "-u", f"alice@example.test:{suite.password('alice')}",
        "--mail-from", "alice@example.test", "--mail-rcpt", "bob@example.test", "-T", "-",
        input=b"From: alice@example.test\r\nSubject: by curl\r\n\r\nx\r\n")
    has(suite, "bob", b"Subject: by curl")
    login = ("-u", f"bob@example.test:{suite.password('bob')}")
    assert b"INBOX" in run("curl", "-sSk", *login, f"imaps://127.0.0.1:{suite.port('imaps')}/")
    found = run("curl", "-sSk", *login, f"imaps://127.0.0.1:{suite.port('imaps')}/INBOX?SUBJECT%20curl").split()
    assert found[:2] == [b"*", b"SEARCH"] and len(found) > 2
    text = run("curl", "-sSk", *login, f"imaps://127.0.0.1:{suite.port('imaps')}/INBOX;MAILINDEX={found[2].decode()}")
    assert b"Subject: by curl\r\n" in text
    assert run("curl", "-sSk", *login, f"pop3s://127.0.0.1:{suite.port('pop3s')}/").strip()
    assert b"by curl" in run("curl", "-sSk", "--ssl-reqd", *login, f"pop3://127.0.0.1:{suite.port('pop3')}/{found[2].decode()}")


def test_msmtp(suite, folder, ca):
    conf = write(f"{folder}/msmtprc", f"""
account a
host 127.0.0.1
port {suite.port('submission')}
tls on
tls_starttls on
tls_certcheck off
auth plain
user alice@example.test
password {suite.password('alice')}
from alice@example.test
domain c.example.net
""")
    run("msmtp", "-C", conf, "-a", "a", "bob@example.test", input=b"Subject: by msmtp\n\n.\n.x\n")
    has(suite, "bob", b"Subject: by msmtp")


def test_mpop(suite, folder):
    run_folder = f"{folder}/Maildir"
    for sub in ("new", "cur", "tmp"):
        os.makedirs(f"{run_folder}/{sub}")
    suite.send("bob", subject="by mpop")
    has(suite, "bob", b"Subject: by mpop")
    conf = write(f"{folder}/mpoprc", f"""
account b
host 127.0.0.1
port {suite.port('pop3s')}
tls on
tls_starttls off
tls_certcheck off
auth user
user bob@example.test
password {suite.password('bob')}
keep on
uidls_file {folder}/uidls
delivery maildir {run_folder}
""")
    run("mpop", "-C", conf, "b")
    got = glob.glob(f"{run_folder}/new/*")
    assert any(b"Subject: by mpop" in open(f, "rb").read() for f in got)
    run("mpop", "-C", conf, "b")  # UIDLs are stable: nothing comes twice
    assert len(glob.glob(f"{run_folder}/new/*")) == len(got)


def test_mbsync(suite, folder):
    suite.send("bob", subject="by mbsync")
    has(suite, "bob", b"Subject: by mbsync")
    conf = write(f"{folder}/mbsyncrc", f"""
IMAPAccount b
Host 127.0.0.1
Port {suite.port('imaps')}
User bob@example.test
Pass {suite.password('bob')}
SSLType IMAPS
CertificateFile {suite.dir}/tls/cert.pem

IMAPStore remote
Account b

MaildirStore local
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel b
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    os.makedirs(f"{folder}/mail")
    host = ["mbsync", "-c", conf, "-q", "b"]
    # The certificate is for the host name, not for 127.0.0.1: trust it by file, as mbsync does for self-signed ones.
    run(*host)
    got = [f for f in glob.glob(f"{folder}/mail/INBOX/*/*") if os.path.basename(f)[0] != "."]
    assert any(b"Subject: by mbsync" in open(f, "rb").read() for f in got)
    assert {"Sent", "Drafts", "Trash", "Junk", "Archive"} <= set(os.listdir(f"{folder}/mail"))
    write(f"{folder}/mail/Drafts/new/1.x.y", "From: bob@example.test\nSubject: from the other side\n\nx\n")
    run(*host)
    has_draft = suite.imap("bob", "Drafts")
    assert has_draft.search(None, "SUBJECT", '"from the other side"')[1] == [b"1"]
    has_draft.store("1", "+FLAGS", r"(\Flagged \Deleted)")
    has_draft.expunge()
    has_draft.logout()
    run(*host)
    assert not [f for f in glob.glob(f"{folder}/mail/Drafts/[nc]??/*")]


def test_fetchmail(suite, folder):
    suite.send("alice", subject="by fetchmail")
    has(suite, "alice", b"Subject: by fetchmail")
    for protocol, service in (("imap", "imaps"), ("pop3", "pop3s")):
        conf = write(f"{folder}/rc-{protocol}", f"""
poll 127.0.0.1 service {suite.port(service)} protocol {protocol}
 user "alice@example.test" password "{suite.password('alice')}" ssl sslproto "auto" no sslcertck
 fetchall keep mda "cat >> {folder}/{protocol}"
""")
        run("fetchmail", "-f", conf, "--nosyslog", "--pidfile", f"{folder}/pid-{protocol}", "-i", f"{folder}/ids", env={"FETCHMAILHOME": folder})
        assert b"Subject: by fetchmail" in open(f"{folder}/{protocol}", "rb").read()


def test_mutt(suite, folder):
    suite.send("bob", subject="by mutt")
    has(suite, "bob", b"Subject: by mutt")
    rc = write(f"{folder}/muttrc", f"""
set imap_user="bob@example.test" imap_pass="{suite.password('bob')}"
set ssl_force_tls=yes ssl_verify_host=no ssl_verify_dates=no certificate_file={suite.dir}/tls/cert.pem
set header_cache={folder}/cache message_cachedir={folder}/cache
set mail_check=1 quit=yes confirmappend=no delete=yes wait_key=no
set folder=imaps://127.0.0.1:{suite.port('imaps')}/ spoolfile=imaps://127.0.0.1:{suite.port('imaps')}/INBOX
""")
    out = f"{folder}/piped"
    keys = f"push '<limit>~s \"by mutt\"<enter><last-entry><pipe-message>cat > {out}<enter><copy-message>=Archive<enter><exit>'"
    screen = on_terminal("mutt", "-n", "-F", rc, "-e", keys, env={"TERM": "xterm", "HOME": folder})
    assert os.path.exists(out) and b"Subject: by mutt" in open(out, "rb").read(), screen
    wait_until(lambda: any(b"Subject: by mutt" in open(f, "rb").read() for f in suite.files("bob", ".Archive")), 10, screen)


def test_offlineimap(suite, folder):
    suite.send("alice", subject="by offlineimap")
    has(suite, "alice", b"Subject: by offlineimap")
    conf = write(f"{folder}/rc", f"""
[general]
accounts = a
metadata = {folder}/meta
ui = quiet
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = {folder}/mail
[Repository r]
type = IMAP
remotehost = 127.0.0.1
remoteport = {suite.port('imaps')}
remoteuser = alice@example.test
remotepass = {suite.password('alice')}
ssl = yes
cert_fingerprint = {fingerprint(suite)}
""")
    run("offlineimap", "-o", "-c", conf)
    got = [f for f in glob.glob(f"{folder}/mail/INBOX/[nc]??/*")]
    assert any(b"Subject: by offlineimap" in open(f, "rb").read() for f in got)
    run("offlineimap", "-o", "-c", conf)
    assert len(glob.glob(f"{folder}/mail/INBOX/[nc]??/*")) == len(got)


def fingerprint(suite):
    out = run("openssl", "x509", "-in", f"{suite.dir}/tls/cert.pem", "-noout", "-fingerprint", "-sha1").decode()
    return out.split("=")[1].strip().replace(":", "").lower()
