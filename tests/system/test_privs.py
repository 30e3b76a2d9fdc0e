"""What each process may do, as the kernel says and as an attempt shows."""
import os
import subprocess

import pytest

from conftest import BIN, wait_until

pytestmark = pytest.mark.skipif("san" in BIN, reason="a sanitizer needs more system calls")
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def processes(suite):
    """`pennypost privs` while alice is logged in by IMAP and POP3 and a session is open to smtpd."""
    suite.send("alice")
    suite.wait_mail("alice")
    imap, pop, smtp = suite.imap("alice"), suite.pop3("alice"), suite.smtp()
    smtp.ehlo()
    found = suite.json("privs")
    found = found["processes"] if isinstance(found, dict) else found
    imap.logout()
    pop.quit()
    smtp.quit()
    return found


def kinds(processes):
    return {p["sandbox"]["kind"] for p in processes if p["sandbox"]}


def test_every_process_is_there(suite, processes):
    assert {"master", "logger", "smtpd", "login", "broker", "queue", "deliver", "relay", "auth", "imap-user", "pop3-user"} <= kinds(processes)
    assert all(p["no_new_privs"] and p["seccomp"] == "2" for p in processes if p["sandbox"]), processes


def test_the_master_gave_up_what_nobody_needs(processes):
    master = next(p for p in processes if p["name"] == "master")
    assert master["seccomp"] == "2" and master["no_new_privs"]
    refused = {"ptrace", "process_vm_writev", "mount", "move_mount", "pivot_root", "unshare", "setns", "init_module", "finit_module", "bpf",
               "keyctl", "perf_event_open", "userfaultfd", "io_uring_setup", "kexec_load", "reboot", "clock_settime", "open_by_handle_at"}
    assert refused <= set(master["sandbox"]["refused"])
    assert not {"sys_admin", "sys_ptrace", "sys_module", "net_admin", "net_raw", "sys_rawio", "mknod"} & set(master["cap_bounding"])
    # What is refused there is refused in every process of the suite; the logger was there before.
    assert {p["name"] for p in processes if int(p["seccomp_filters"]) < 2} <= {"master", "log"}


@pytest.mark.skipif(not ROOT, reason="own uids need root")
def test_only_parents_are_root(processes):
    parents = ("-parent", "master", "auth-spawn", "auth-pam")
    uid_of = {}
    for p in processes:
        kind = p["sandbox"]["kind"] if p["sandbox"] else "master"
        if p["uid"][0] == 0:
            assert kind.endswith(parents), f"{kind} runs as root"
        else:
            # What a root parent may give its children bounds them; with no_new_privs none of it can be had back.
            assert p["cap_effective"] == [] and p["cap_permitted"] == [], p
            assert set(p["cap_bounding"]) <= {"kill", "setgid", "setuid", "sys_chroot"} and p["no_new_privs"], p
            assert len(set(p["uid"])) == 1 and len(set(p["gid"])) == 1 and p["groups"] == [], p
            uid_of.setdefault(kind, set()).add(p["uid"][0])
    different = [next(iter(uid_of[k])) for k in ("smtpd", "login", "queue", "relay", "auth", "imap-user")]
    assert len(set(different)) == len(different), uid_of


def test_strangers_reach_nothing(suite, processes):
    """Fronts, which speak to strangers before login, have no path but the maps."""
    for p in processes:
        if p["sandbox"] and p["sandbox"]["kind"] in ("smtpd", "login"):
            paths = [x["path"] for x in p["sandbox"]["paths"]]
            for secret in ("spool", "mail", "private", "state", "tls"):
                assert not any(path.startswith(os.path.join(suite.dir, secret)) for path in paths), (p["name"], paths)
            calls = p["sandbox"]["syscalls"]
            assert not {"execve", "socket", "connect", "bind", "clone", "clone3", "fork", "ptrace", "setuid"} & set(calls), calls


def test_users_process_sees_one_mailbox(suite, processes):
    for p in processes:
        if p["sandbox"] and p["sandbox"]["kind"] in ("imap-user", "pop3-user"):
            assert all("example.test/alice" in x["path"] for x in p["sandbox"]["paths"]), p["sandbox"]["paths"]


ATTEMPTS = ("open:/etc/shadow", "exec:/bin/sh", "connect:127.0.0.1:25", "setuid:0", "ptrace", "unshare", "mmap-exec")
PROCESSES = {
    "smtpd": ("smtpd", ""), "imapd front": ("imapd", "front:"), "pop3d front": ("pop3d", "front:"),
    "imapd user": ("imapd", "user:example.test/alice:"), "pop3d user": ("pop3d", "user:example.test/alice:"),
    "queue": ("queue", ""), "deliver": ("deliver", ""), "relay": ("relay", ""), "auth": ("auth", ""),
}


def refused(suite, daemon, attempt):
    done = subprocess.run([os.path.join(BIN, daemon), "-C", suite.conf, "--probe", attempt], capture_output=True, text=True, timeout=30)
    return done.returncode != 0 and "allowed" not in done.stdout, done


@pytest.mark.parametrize("who", PROCESSES)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempts_are_refused(who, attempt, probed):
    daemon, prefix = PROCESSES[who]
    if daemon == "relay" and attempt.startswith("connect"):
        pytest.skip("relay connects out: that is its work")
    ok, done = refused(probed, daemon, prefix + attempt)
    assert ok, f"{who} may {attempt}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("who", PROCESSES)
def test_others_secrets_are_out_of_reach(who, probed):
    """The spool but for queue, the hashes but for auth, another user's mail but for deliver."""
    daemon, prefix = PROCESSES[who]
    secrets = {"queue": f"{probed.dir}/spool/log", "auth": f"{probed.dir}/maps/private/accounts.cdb",
               "deliver": f"{probed.dir}/mail/example.test/bob/Maildir/new", "smtpd": f"{probed.dir}/tls/key.pem"}
    for owner, path in secrets.items():
        if owner == daemon and owner != "smtpd":
            continue
        ok, done = refused(probed, daemon, f"{prefix}open:{path}")
        assert ok, f"{who} may open {path}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def probed(make_suite):
    """A stopped suite that has mail for both users: a probe starts a daemon of its own."""
    s = make_suite()
    s.send("alice")
    s.send("bob")
    s.wait_mail("alice")
    s.wait_mail("bob")
    s.stop()
    wait_until(lambda: not s.pids(), 10, "the end of the suite")
    return s


def test_refusal_is_logged_by_name(probed):
    done = subprocess.run([os.path.join(BIN, "smtpd"), "-C", probed.conf, "--probe", "socket"], capture_output=True, text=True, timeout=30)
    assert done.returncode == -31 or done.returncode == 159, done
    assert "system call refused: socket" in done.stderr
