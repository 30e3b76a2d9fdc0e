"""Started without root: everything under the caller's uid, seccomp and Landlock still on."""
import json
import os
import shutil
import subprocess
import tempfile

import pytest

import conftest
from conftest import Suite, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are this one")
NOBODY = 65534


@pytest.fixture(scope="module")
def nobodys(request):
    """A suite made, started and stopped by nobody, from programs that nobody can read."""
    folder = tempfile.mkdtemp(prefix="pp-nobody-")
    shutil.copytree(conftest.BIN, f"{folder}/bin", symlinks=True)
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/suite")
    os.chown(f"{folder}/suite", NOBODY, NOBODY)
    real_run, real_bin = subprocess.run, conftest.BIN
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

    def run(argv, **options):
        return real_run([*as_nobody, *argv], **options)

    conftest.BIN, subprocess.run = f"{folder}/bin", run
    try:
        suite = Suite(f"{folder}/suite")
        for user in ("alice", "bob"):
            suite.add_user(user)
        suite.start()
        yield suite
        suite.close()
    finally:
        conftest.BIN, subprocess.run = real_bin, real_run
        shutil.rmtree(folder, ignore_errors=True)


def test_the_whole_way(nobodys):
    content = nobodys.send("alice")
    nobodys.wait_mail("alice")
    c = nobodys.imap("alice")
    assert c.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(content)
    with nobodys.submission("alice") as s:
        s.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
    nobodys.wait_mail("bob")
    assert nobodys.pop3("bob").stat()[0] == 1


def test_one_uid_but_confined(nobodys):
    session = nobodys.imap("alice")
    found = nobodys.json("privs")
    found = found["processes"] if isinstance(found, dict) else found
    confined = [p for p in found if p["sandbox"]]
    assert {"smtpd", "login", "queue", "deliver", "relay", "auth", "imap-user"} <= {p["sandbox"]["kind"] for p in confined}
    for p in confined:
        assert set(p["uid"]) == {NOBODY} and p["cap_effective"] == []
        landlock = int(p["sandbox"]["landlock"]) > 0 or p["name"] == "master"      # that one starts what reaches every folder
        assert p["no_new_privs"] and p["seccomp"] == "2" and landlock, json.dumps(p)
    session.logout()


def test_drop_folder_while_stopped(nobodys):
    """sendmail needs no daemon: the message is taken in at the next start."""
    before = len(nobodys.files("bob"))
    nobodys.stop()
    done = nobodys.run("-i", "bob@example.test", input="Subject: dropped\n\nx\n", program="sendmail")
    assert done.returncode == 0
    nobodys.start()
    wait_until(lambda: len(nobodys.files("bob")) == before + 1, 15, "the message")
