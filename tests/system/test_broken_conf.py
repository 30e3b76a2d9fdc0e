"""A running suite whose pennypost.conf is broken: an edit half made, a typing mistake, a file that is gone."""
import json
import os
import pwd
import shutil
import signal
import subprocess

import pytest
from conftest import BIN, wait_until

MISTAKES = {
    "an open quote": ('run-dir = "run"', 'run-dir = "run'),
    "an open brace": ('lmtp-listen = {"run/lmtp"}', 'lmtp-listen = {"run/lmtp"'),
    "an unknown option": ("hostname =", "hostnme ="),
    "a bad value": ("uid-base =", "retry-min = soon\nuid-base ="),
    "a certificate without its key": ("tls-key =", "# tls-key ="),
    "nonsense": ("hostname =", "%%% hostname {{"),
}


@pytest.fixture
def edited(suite):
    """The suite and its good text, which is back in place afterwards."""
    with open(suite.conf) as f:
        good = f.read()

    def write(text):
        with open(suite.conf + ".new", "w") as f:
            f.write(text)
        os.rename(suite.conf + ".new", suite.conf)
    yield suite, good, write
    write(good)


def sendmail(suite, to, subject):
    return subprocess.run([os.path.join(BIN, "sendmail"), "-C", suite.conf, "-i", to], capture_output=True, text=True, timeout=60,
                          input=f"Subject: {subject}\n\nx\n")


@pytest.mark.parametrize("what", MISTAKES)
def test_the_commands_work(edited, what):
    suite, good, write = edited
    old, new = MISTAKES[what]
    assert old in good
    write(good.replace(old, new, 1))
    assert suite.run("check", check=False).returncode == 78
    status = suite.run("status", "--json")
    assert json.loads(status.stdout)["healthy"] and "has mistakes" in status.stderr
    before = {d["name"]: d["pid"] for d in json.loads(status.stdout)["daemons"]}
    mailq = suite.run(program="mailq")
    assert mailq.stdout == "Mail queue is empty\n" and mailq.stderr == ""
    assert suite.run("queue", "list").stdout == mailq.stdout
    assert "queue" in suite.run("privs").stdout
    n = len(suite.files("alice"))
    sent = sendmail(suite, "alice@example.test", what)
    assert sent.returncode == 0 and sent.stderr == ""
    suite.wait_mail("alice", n + 1)
    reload = suite.run("reload", check=False)
    assert reload.returncode == 78 and f"{suite.conf}:" in reload.stderr and "nothing was reloaded" in reload.stderr
    newaliases = suite.run(program="newaliases", check=False)
    assert newaliases.returncode == 78
    after = {d["name"]: d["pid"] for d in json.loads(suite.run("status", "--json").stdout)["daemons"]}
    assert after == before


def test_a_daemon_that_dies_comes_back(edited):
    """It starts with what the master runs by, not with what stands in the file."""
    suite, good, write = edited
    write(good.replace("hostname =", "hostnme =") + "garbage {\n")
    os.kill(suite.daemon_pid("smtpd"), signal.SIGKILL)
    os.kill(suite.daemon_pid("queue"), signal.SIGKILL)
    wait_until(lambda: all(d["state"] == "ready" for d in suite.status()["daemons"]) and suite.status()["healthy"], 15, "all daemons")
    n = len(suite.files("bob"))
    suite.send("bob")
    suite.wait_mail("bob", n + 1)


def test_a_changed_option_waits_for_the_reload(edited):
    """A daemon that dies comes back with the message-size in force."""
    suite, good, write = edited

    def size():
        with suite.smtp() as s:
            s.ehlo()
            return int(s.esmtp_features["size"])
    before = size()
    write(good + "message-size = 5M\n")
    os.kill(suite.daemon_pid("smtpd"), signal.SIGKILL)
    wait_until(lambda: suite.status()["healthy"], 15, "smtpd")
    assert size() == before
    suite.run("reload")
    assert size() == 5 << 20
    write("")       # now the copy of the reload counts
    big = subprocess.run([os.path.join(BIN, "sendmail"), "-C", suite.conf, "-i", "alice@example.test"], capture_output=True,
                         text=True, timeout=60, input="Subject: big\n\n" + "x" * (6 << 20))
    assert big.returncode == 65 and "larger than message-size" in big.stderr
    write(good)
    suite.run("reload")


def test_another_run_dir_is_found(edited):
    suite, good, write = edited
    write(good.replace('run-dir = "run"', 'run-dir = "elsewhere"'))
    status = suite.run("status", "--json")
    assert json.loads(status.stdout)["running"] and "run-dir has changed" in status.stderr
    reload = suite.run("reload", check=False)
    assert reload.returncode == 75 and "run-dir cannot change while the suite runs" in reload.stderr


def test_the_file_is_gone(edited):
    suite, good, write = edited
    os.unlink(suite.conf)
    assert suite.status()["healthy"]
    n = len(suite.files("alice"))
    assert sendmail(suite, "alice@example.test", "no file").returncode == 0
    suite.wait_mail("alice", n + 1)
    write(good)


def test_only_its_own_copy_is_believed(edited):
    """One that another user wrote, that others may write, or that is of another file, is none."""
    suite, good, write = edited
    copy = os.path.join(suite.dir, "state", "pennypost.conf")
    with open(copy) as f:
        text = f.read()
    shutil.copy2(copy, copy + ".kept")
    assert text == f"# In force: {suite.conf}\n" + good
    write("")
    try:
        os.chmod(copy, 0o666)
        assert suite.run("status", check=False).returncode == 78
        os.chmod(copy, 0o644)
        assert suite.run("status", check=False).returncode == 0
        with open(copy, "w") as f:
            f.write(text.replace("# In force: ", "# In force: /elsewhere"))
        assert suite.run("status", check=False).returncode == 78
        os.unlink(copy)
        os.symlink(copy + ".kept", copy)
        assert suite.run("status", check=False).returncode == 78
        os.unlink(copy)
        if os.getuid() == 0:
            shutil.copy2(copy + ".kept", copy)
            os.chown(copy, pwd.getpwnam("nobody").pw_uid, -1)
            assert suite.run("status", check=False).returncode == 78
    finally:
        os.replace(copy + ".kept", copy)
        write(good)
    assert suite.run("status", check=False).returncode == 0


def test_stopped_and_broken(make_suite):
    """stop works; sendmail leaves the message for the next start, and nothing is lost."""
    suite = make_suite()
    with open(suite.conf) as f:
        good = f.read()
    with open(suite.conf, "w") as f:
        f.write(good.replace("hostname =", "hostnme ="))
    stop = suite.run("stop")
    assert "has mistakes" in stop.stderr and not suite.pids()
    assert suite.run("status", check=False).returncode == 3
    sent = sendmail(suite, "alice@example.test", "while it is stopped")
    assert sent.returncode == 0, sent.stderr
    start = suite.run("start", check=False)
    assert start.returncode == 78 and "did you mean 'hostname'" in start.stderr
    with open(suite.conf, "w") as f:
        f.write(good)
    suite.start()
    suite.wait_mail("alice", 1)
