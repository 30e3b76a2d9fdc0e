"""pennypost: init, start, stop, reload, status, check, user, domain, alias, explain, trace, queue."""
import imaplib
import json
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import stat
import subprocess
import tempfile
import time

import pytest
from conftest import BIN, SLOW, TOP, free_port_base, wait_until


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def daemon(suite, name):
    """One daemon out of `status`, however the suite is."""
    return next(d for d in json.loads(suite.run("--json", "status", check=False).stdout)["daemons"] if d["name"] == name)


# -- init --

def test_init_contract(tmp_path):
    base = free_port_base()
    folder = tmp_path / "suite"
    done = subprocess.run([os.path.join(BIN, "pennypost"), "init", "--json", "--domain", "a.example", "--hostname", "mx.a.example",
                           "--port-base", str(base), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["config"] == str(folder / "pennypost.conf") and said["domain"] == "a.example"
    assert {k: v for k, v in said["listen"].items() if k != "lmtp"} == {
        "smtp": base + 25, "submission": base + 587, "submissions": base + 465, "imap": base + 143,
        "imaps": base + 993, "pop3": base + 110, "pop3s": base + 995}
    assert (folder / "domains" / "a.example" / "accounts").stat().st_mode & 0o077 == 0
    assert (folder / "tls" / "key.pem").stat().st_mode & 0o077 == 0
    cert = ssl._ssl._test_decode_cert(str(folder / "tls" / "cert.pem"))
    names = {v for _, v in cert["subjectAltName"]}
    assert {"mx.a.example", "a.example", "localhost", "127.0.0.1"} <= names
    again = subprocess.run([os.path.join(BIN, "pennypost"), "init", str(folder)], capture_output=True, text=True)
    assert again.returncode == 73 and "there already" in again.stderr
    assert subprocess.run([os.path.join(BIN, "pennypost"), "-C", said["config"], "check"], capture_output=True).returncode == 0


def test_init_single_ports(tmp_path):
    """The numbers of `make run` do not follow one base."""
    done = subprocess.run([os.path.join(BIN, "pennypost"), "init", "--json", "--port-base", "2000", "--port", "smtp=2525",
                           "--port", "pop3=0", "--lmtp", "", str(tmp_path / "s")], capture_output=True, text=True)
    listen = json.loads(done.stdout)["listen"]
    assert listen["smtp"] == 2525 and listen["imap"] == 2143 and "pop3" not in listen and "lmtp" not in listen


# -- start, stop --

def test_start_returns_when_all_ports_listen(make_suite):
    suite = make_suite(start=False)
    suite.start()
    for service in ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"):
        socket.create_connection(("127.0.0.1", suite.port(service)), timeout=1).close()
    assert stat.S_ISSOCK(os.stat(os.path.join(suite.dir, "run", "lmtp")).st_mode)
    status = suite.status()
    assert status["healthy"] and [d["state"] for d in status["daemons"]] == ["ready"] * len(status["daemons"])
    again = suite.run("start")
    assert "running already" in again.stderr
    pids = suite.pids()
    suite.run("stop")
    assert not any(alive(p) for p in pids)
    assert suite.run("status", check=False).returncode == 3
    assert suite.run("stop").returncode == 0      # twice is no mistake
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", suite.port("smtp")), timeout=1)


def test_a_taken_port_is_named(make_suite):
    suite = make_suite(start=False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", suite.port("imap")))
        s.listen()
        done = suite.run("start", check=False)
        assert done.returncode == 69
        assert re.search(r"pennypost\.conf:\d+: cannot listen on 127\.0\.0\.1:%d for imap" % suite.port("imap"), done.stderr)
        checked = suite.run("check", check=False)
        assert checked.returncode == 69 and "imap" in checked.stdout
    assert not suite.pids()
    suite.start()


def test_a_killed_master_takes_all_with_it(make_suite):
    suite = make_suite()
    before = suite.pids()
    bystander = subprocess.Popen(["sleep", "60"])
    os.kill(int(open(os.path.join(suite.dir, "run", "pennypost.pid")).read()), signal.SIGKILL)
    suite.start()
    assert not any(alive(p) for p in before)
    assert suite.status()["healthy"]
    os.kill(int(open(os.path.join(suite.dir, "run", "pennypost.pid")).read()), signal.SIGKILL)
    suite.run("stop")
    assert not suite.pids()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_stop_ends_what_ignores_it(make_suite):
    """A daemon that is stopped (SIGSTOP) does not hold the stop up for good."""
    suite = make_suite()
    os.kill(suite.daemon_pid("auth"), signal.SIGSTOP)
    began = time.monotonic()
    suite.run("stop")
    assert time.monotonic() - began < 30 * SLOW
    assert not suite.pids()


def test_a_dead_daemon_is_restarted_with_back_off(make_suite):
    suite = make_suite()
    first = daemon(suite, "smtpd")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: daemon(suite, "smtpd")["state"] == "ready" and daemon(suite, "smtpd")["pid"] != first, 5, "a new smtpd")
    second = daemon(suite, "smtpd")["pid"]
    os.kill(second, signal.SIGKILL)
    state = wait_until(lambda: daemon(suite, "smtpd")["state"] == "back-off" and daemon(suite, "smtpd"), 2, "back-off")
    assert "signal 9" in state["text"] and "next start in" in state["text"]
    assert suite.run("status", check=False).returncode == 1
    wait_until(lambda: daemon(suite, "smtpd")["state"] == "ready", 5, "smtpd after the back-off")
    assert daemon(suite, "smtpd")["restarts"] == 2
    assert "smtpd died: signal 9" in suite.log() and "started again at once" in suite.log()
    suite.send("alice")
    suite.wait_mail("alice")


def test_foreground_and_signals(make_suite):
    suite = make_suite(start=False)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(os.path.join(suite.dir, "notify"))
    notify.settimeout(20 * SLOW)
    master = subprocess.Popen([os.path.join(BIN, "pennypost"), "-C", suite.conf, "start", "--foreground"],
                              env={**os.environ, "NOTIFY_SOCKET": os.path.join(suite.dir, "notify")})
    assert notify.recv(500) == b"READY=1"
    assert suite.status()["pid"] == master.pid
    master.send_signal(signal.SIGHUP)
    assert notify.recv(500).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert notify.recv(500) == b"READY=1"
    log = os.path.join(suite.dir, "log", "pennypost.log")
    os.rename(log, log + ".1")
    master.send_signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(log), 5, "a new log file")
    suite.send("alice")
    suite.wait_log("connect from")
    master.send_signal(signal.SIGTERM)
    assert notify.recv(500) == b"STOPPING=1"
    assert master.wait(30 * SLOW) == 0
    assert not suite.pids()
    notify.close()


# -- reload --

def test_reload_keeps_sessions(make_suite):
    suite = make_suite()
    imap = suite.imap()
    smtp = suite.smtp()
    smtp.ehlo()
    smtp.mail("s@example.net")
    smtp.rcpt("alice@example.test")
    old = {n: suite.daemon_pid(n) for n in ("smtpd", "imapd", "queue")}
    suite.run("reload")
    assert all(suite.daemon_pid(n) != old[n] for n in old)
    assert imap.noop()[0] == "OK"
    assert smtp.data(b"Subject: through the reload\r\n\r\nx\r\n")[0] == 250
    smtp.close()
    suite.wait_mail("alice")
    imap.logout()
    wait_until(lambda: not alive(old["imapd"]), 20, "the end of the old imapd")
    assert "old process" not in suite.run("status").stdout


def test_reload_is_not_noticed(make_suite):
    """Nobody is sent away: not who is idle, not who has had a transaction, not who has not logged in yet."""
    suite = make_suite()
    fresh, used = suite.smtp(), suite.smtp()
    assert used.sendmail("s@example.net", ["alice@example.test"], "Subject: one\r\n\r\nx\r\n") == {}
    imap = imaplib.IMAP4_SSL("127.0.0.1", suite.port("imaps"), ssl_context=suite.tls, timeout=30)
    pop3 = poplib.POP3_SSL("127.0.0.1", suite.port("pop3s"), context=suite.tls, timeout=30)
    late = smtplib.SMTP("127.0.0.1", suite.port("submission"), timeout=30)
    late.starttls(context=suite.tls)
    old = {n: suite.daemon_pid(n) for n in ("smtpd", "imapd", "pop3d")}
    suite.run("reload")
    assert all(suite.daemon_pid(n) != old[n] for n in old) and all(alive(p) for p in old.values())
    assert fresh.noop()[0] == 250 and used.noop()[0] == 250
    assert fresh.sendmail("s@example.net", ["alice@example.test"], "Subject: two\r\n\r\nx\r\n") == {}
    assert used.sendmail("s@example.net", ["alice@example.test"], "Subject: three\r\n\r\nx\r\n") == {}
    late.login("alice@example.test", suite.password("alice"))
    assert late.sendmail("alice@example.test", ["alice@example.test"], "Subject: four\r\n\r\nx\r\n") == {}
    suite.wait_mail("alice", 4)
    with pytest.raises(imaplib.IMAP4.error):
        imap.login("alice@example.test", "wrong")
    imap.login("alice@example.test", suite.password("alice"))
    assert imap.select()[1] == [b"4"]
    pop3.user("alice@example.test")
    pop3.pass_(suite.password("alice"))
    assert pop3.stat()[0] == 4
    fresh.quit()
    late.quit()
    pop3.quit()
    imap.logout()
    wait_until(lambda: not alive(old["imapd"]) and not alive(old["pop3d"]), 20, "the end of the old imapd and pop3d")
    assert alive(old["smtpd"])
    suite.run("stop")   # the end of the suite is one for the old as well
    assert not alive(old["smtpd"]) and not suite.pids()


def test_a_bad_configuration_changes_nothing(make_suite):
    suite = make_suite()
    before = {d["name"]: d["pid"] for d in suite.status()["daemons"]}
    with open(suite.conf) as f:
        good = f.read()
    with open(suite.conf, "w") as f:
        f.write(good.replace("hostname =", "hostnme ="))
    line = good[:good.index("hostname =")].count("\n") + 1
    done = suite.run("reload", check=False)
    assert done.returncode == 78
    assert f"{suite.conf}:{line}: unknown option 'hostnme'; did you mean 'hostname'?" in done.stderr
    os.kill(int(open(os.path.join(suite.dir, "run", "pennypost.pid")).read()), signal.SIGHUP)
    suite.wait_log("the old one stays in force")
    with open(suite.conf, "w") as f:
        f.write(good)
    assert {d["name"]: d["pid"] for d in suite.status()["daemons"]} == before
    # a mistake in the maps
    accounts = os.path.join(suite.dir, "domains", "example.test", "aliases")
    with open(accounts, "a") as f:
        f.write("no colon here\n")
    assert suite.run("reload", check=False).returncode == 78
    assert {d["name"]: d["pid"] for d in suite.status()["daemons"]} == before


def test_reload_moves_a_port(make_suite):
    suite = make_suite()
    other = free_port_base() + 25
    with open(suite.conf) as f:
        text = f.read()
    with open(suite.conf, "w") as f:
        f.write(text.replace(f":{suite.port('smtp')}\"", f":{other}\""))
    suite.run("reload")
    socket.create_connection(("127.0.0.1", other), timeout=1).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", suite.port("smtp")), timeout=1)


# -- accounts --

def test_users_domains_aliases(make_suite):
    suite = make_suite(users=(), start=False)
    run = suite.run
    assert run("user", "add", "a@nowhere.test", "--password-stdin", input="x\n", check=False).returncode == 68
    run("domain", "add", "B.Example")
    assert run("domain", "add", "b.example", check=False).returncode == 73
    run("user", "add", "Carol@b.example", "--password-stdin", "--quota", "500M", input="secret\n")
    assert run("user", "add", "carol@b.example", "--password-stdin", input="x\n", check=False).returncode == 73
    assert run("user", "add", "empty@b.example", "--password-stdin", input="\n", check=False).returncode == 65
    assert run("user", "add", "no address", "--password-stdin", input="x\n", check=False).returncode == 65
    assert run("user", "add", "../x@b.example", "--password-stdin", input="x\n", check=False).returncode == 65
    assert suite.json("user", "list") == [{"address": "carol@b.example", "quota": 500 << 20, "password": True, "disabled": False}]
    accounts = os.path.join(suite.dir, "domains", "b.example", "accounts")
    with open(accounts) as f:
        first = f.read()
    assert first.startswith("# ") and re.search(r"^carol:\$y\$[^:]+:quota=", first, re.M) and "secret" not in first
    run("user", "passwd", "carol@b.example", "--password-stdin", input="other\n")
    with open(accounts) as f:
        second = f.read()
    assert second != first and len(second.splitlines()) == len(first.splitlines()) and ":quota=" in second
    assert os.stat(accounts).st_mode & 0o777 == 0o600

    run("alias", "add", "info@b.example", "carol@b.example,ext@other.example")
    run("alias", "add", "*@b.example", "carol")
    assert run("alias", "add", "carol@b.example", "ext@other.example", check=False).returncode == 73   # a mailbox wins
    assert run("user", "add", "info@b.example", "--password-stdin", input="x\n", check=False).returncode == 73
    assert run("alias", "add", "bad@b.example", "two words", check=False).returncode == 65
    listed = {a["alias"]: a["targets"] for a in suite.json("alias", "list", "b.example")}
    assert listed == {"info@b.example": ["carol@b.example", "ext@other.example"], "*@b.example": ["carol@b.example"]}
    run("alias", "del", "*@b.example")
    assert run("alias", "del", "*@b.example", check=False).returncode == 67
    assert run("domain", "del", "b.example", check=False).returncode == 73
    run("user", "del", "carol@b.example")
    assert run("user", "passwd", "carol@b.example", "--password-stdin", input="x\n", check=False).returncode == 67
    run("domain", "del", "b.example")
    assert [d["domain"] for d in suite.json("domain", "list")] == ["example.test"]


def test_a_hand_made_mistake_is_kept_apart(make_suite):
    """An edit that does not compile is undone; comments and order are the person's."""
    suite = make_suite(start=False)
    aliases = os.path.join(suite.dir, "domains", "example.test", "aliases")
    with open(aliases, "a") as f:
        f.write("# mine\nsales: alice,\n  bob\n\n# the end\n")
    suite.run("alias", "add", "one@example.test", "alice")
    suite.run("alias", "del", "sales@example.test")
    with open(aliases) as f:
        text = f.read()
    assert "# mine\n\n# the end\none: alice\n" in text and "bob" not in text.split("# mine")[1]
    with open(aliases, "a") as f:
        f.write("broken line\n")
    with open(aliases) as f:
        broken = f.read()
    done = suite.run("alias", "add", "two@example.test", "alice", check=False)
    assert done.returncode == 65 and "nothing was changed" in done.stderr
    with open(aliases) as f:
        assert f.read() == broken


def test_deleted_users_keep_or_lose_their_mail(suite):
    suite.add_user("dora")
    suite.send("dora")
    suite.wait_mail("dora")
    suite.run("user", "del", "dora@example.test")
    assert suite.files("dora")
    suite.add_user("dora")
    suite.run("user", "del", "dora@example.test", "--purge")
    assert not os.path.exists(os.path.dirname(suite.maildir("dora")))
    assert os.path.isdir(os.path.dirname(os.path.dirname(suite.maildir("dora"))))


# -- looking --

def test_check_finds_what_is_wrong(make_suite):
    suite = make_suite(start=False)
    os.chmod(os.path.join(suite.dir, "tls", "key.pem"), 0o644)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other.example",
                    "-keyout", os.path.join(suite.dir, "other.key"), "-out", os.path.join(suite.dir, "tls", "cert.pem")],
                   check=True, capture_output=True)
    done = suite.run("check", "--json", check=False)
    texts = "\n".join(f["text"] for f in json.loads(done.stdout)["findings"])
    assert done.returncode == 78
    assert "is not the key of" in texts and "is not for mail.example.test" in texts and "chmod 600" in texts


@pytest.mark.parametrize("option,value,says,code", [
    ("log-to", "", "log-to is empty; write a value", 78),
    ("log-to", "sylog", "log-to: 'sylog' is unknown; write stderr, syslog, journal, or a file", 78),
    ("log-to", "./run", "is not a regular file; write stderr", 78),
    ("spool-dir", "", "spool-dir is empty", 78),
    ("spool-dir", "nowhere", "warning: spool-dir: there is no DIR/nowhere; 'pennypost start' will make it", 0),
    ("spool-dir", "pennypost.conf/spool", "spool-dir: DIR/pennypost.conf/spool: Not a directory; write another path", 78),
    ("mail-root", "tls/cert.pem", "mail-root: DIR/tls/cert.pem is no folder; write another path", 78),
    ("state-dir", "nobodys", "state-dir: DIR/nobodys belongs to uid 65534; write: chown", 78),
    ("tls-key", "nokey.pem", "tls-key: DIR/nokey.pem: No such file or directory; write where the key", 78),
    ("tls-key", "tls/cert.pem", "tls-key: DIR/tls/cert.pem holds no key that can be read; write where the key", 78),
    ("tls-key", "locked.pem", "tls-key: DIR/locked.pem holds no key that can be read; write where the key of tls-certificate is (PEM, without a password)", 78),
    ("tls-key", "other.pem", "tls-key: DIR/other.pem is not the key of DIR/tls/cert.pem; write where", 78),
    ("tls-certificate", "nocert.pem", "tls-certificate: DIR/nocert.pem: No such file or directory; write where the certificate", 78),
    ("tls-certificate", "tls/key.pem", "tls-certificate: DIR/tls/key.pem holds no certificate that can be read; write where the certificate", 78),
    ("libexec-dir", "bin", "warning: libexec-dir: DIR/bin/queue: No such file or directory; 'make install' puts it there", 0),
])
def test_check_says_where_and_what_to_write(checked, option, value, says, code):
    suite, good = checked
    lines = [line for line in good.splitlines() if not line.startswith(option)] + ["", f'{option} = "{value}"']
    with open(suite.conf, "w") as f:
        f.write("\n".join(lines) + "\n")
    if value == "nobodys" and os.getuid() != 0:
        pytest.skip("folders of others need root")
    done = suite.run("check", check=False)
    assert done.returncode == code, done.stdout
    said = [line for line in done.stdout.splitlines() if says.replace("DIR", suite.dir) in line]
    assert said and said[0].startswith(f"{suite.conf}:{len(lines)}: "), done.stdout


@pytest.fixture(scope="module")
def checked(make_suite):
    """A suite that is not started, with keys that are not its own."""
    suite = make_suite(start=False)
    for name, more in (("other", ["-nodes"]), ("locked", ["-passout", "pass:x"])):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=x", *more,
                        "-keyout", os.path.join(suite.dir, name + ".pem"), "-out", os.devnull], check=True, capture_output=True)
        os.chmod(os.path.join(suite.dir, name + ".pem"), 0o600)
    os.mkdir(os.path.join(suite.dir, "nobodys"))
    if os.getuid() == 0:
        os.chown(os.path.join(suite.dir, "nobodys"), 65534, 65534)
    with open(suite.conf) as f:
        return suite, f.read()


def test_help_and_manual_agree(tmp_path):
    """--help of each command is its usage, without a configuration; what it names is in pennypost(8), and nothing else."""
    def help_of(*words):
        done = subprocess.run([os.path.join(BIN, "pennypost"), "-C", str(tmp_path / "none"), *words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("usage: pennypost "), (words, done)
        return done.stdout
    page = subprocess.run(["mandoc", "-Tascii", "-O", "width=200", os.path.join(TOP, "man", "8", "pennypost.8")], capture_output=True, text=True, check=True).stdout
    page = re.sub(r".\x08", "", page)      # overstruck for bold
    common = {"--help", "--version", "--json", "--"}
    used = set()
    for command in re.findall(r"^  ([a-z-]+)", help_of(), re.M):
        text = help_of(command)
        used |= set(re.findall(r"--[a-z-]+", text))
        if command in ("help", "version"):
            continue
        assert re.search(rf"^ +{command}\b", page, re.M), command
        for verb in re.findall(rf"pennypost {command} ([a-z|]+)", text):
            for one in verb.split("|"):
                assert re.search(rf"{command} (?:\w+ \| )*{one}\b", page), (command, one)
    assert used - common == set(re.findall(r"(?<![\w-])--[a-z-]+", page)) - common


def test_every_option_is_in_the_manual():
    """pennypost.conf(5) has every option of lib/conf.c, no other, and the same defaults."""
    with open(os.path.join(TOP, "man", "5", "pennypost.conf.5")) as f:
        items = [item.split("\n.El")[0] for item in re.split(r"\n\.It Ic ", f.read())[1:]]
    said = {}
    for item in items:
        default = re.search(r"Default: ([^\n]*)", item)
        for name in re.findall(r"[a-z][a-z0-9-]+", item.split("\n")[0].split(" No ")[0]):
            said[name] = default.group(1).rstrip(".") if default else None
    with open(os.path.join(TOP, "lib", "conf.c")) as f:
        options = re.findall(r'\{ "([a-z0-9-]+)",\s*KIND_(\w+),.*?,\s+(NULL|[A-Z_]+(?: "[^"]*")?|"[^"]*"), ', f.read())
    assert {name for name, _, _ in options} == set(said)
    for name, kind, preset in options:
        if preset[0] == '"':
            value = {"true": "yes", "false": "no"}.get(preset.strip('"'), preset.strip('"'))
            assert said[name] == value + ("s" if kind == "SECONDS" and value.isdigit() and value != "0" else ""), name


def test_words_that_were_wrong(suite):
    done = suite.run("domain", "del", "nope.test", check=False)
    assert done.returncode == 68 and "nope.test is none of our domains; 'pennypost domain list'" in done.stderr and "domain add" not in done.stderr
    text = suite.run("explain", "postmaster").stdout
    assert "(built in)" in text and ":0" not in text


def test_explain(suite):
    one = suite.json("explain", "alice+news@example.test", "--from", "s@example.net", "--ip", "192.0.2.1", "--size", "1000")
    assert one["verdict"] == "accept" and one["targets"][0]["path"].endswith("example.test/alice/Maildir")
    assert any("accounts:" in s["text"] for s in one["steps"])
    many = suite.json("explain", "info@example.test")
    assert {t["target"] for t in many["targets"]} == {"alice@example.test", "bob@example.test"}
    assert all("aliases:" in t["via"] for t in many["targets"])
    refused = suite.run("explain", "x@elsewhere.example", "--json", check=False)
    assert refused.returncode == 69 and json.loads(refused.stdout)["reply"].startswith("554 5.7.1 ")
    sent = suite.json("explain", "x@elsewhere.example", "--auth", "alice@example.test", "--from", "info@example.test")
    assert sent["verdict"] == "accept" and sent["targets"][0]["kind"] == "remote"
    forged = json.loads(suite.run("explain", "x@elsewhere.example", "--auth", "bob@example.test", "--from", "alice@example.test",
                                  "--json", check=False).stdout)
    assert forged["reply"].startswith("553 5.7.1 ")
    big = json.loads(suite.run("explain", "alice@example.test", "--size", str(10 ** 12), "--json", check=False).stdout)
    assert big["reply"].startswith("552 ")
    # what smtpd says is the same
    with suite.smtp() as s:
        s.ehlo()
        s.mail("s@example.net")
        code, text = s.rcpt("x@elsewhere.example")
    assert f"{code} {text.decode()}" == json.loads(refused.stdout)["reply"]


def test_queue_and_trace(make_suite):
    suite = make_suite()
    with suite.submission("alice") as s:
        s.sendmail("alice@example.test", ["x@[127.0.0.1]"], b"Subject: stays\r\nMessage-ID: <stays@example.test>\r\n\r\nHello\r\n")
    item = wait_until(lambda: [json.loads(line) for line in suite.run("queue", "list", "--json").stdout.splitlines()
                               if "deferred" in line], 15, "a deferred message")[0]
    qid = item["queue_id"]
    assert item["recipients"][0]["address"] == "x@[127.0.0.1]" and "refused" in item["recipients"][0]["delay_reason"]
    assert suite.run(program="mailq").stdout == suite.run("queue", "list").stdout
    assert re.search(r"^%s +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d alice@example\.test$" % qid, suite.run("queue", "list").stdout, re.M)
    suite.run("queue", "hold", qid)
    assert f"{qid}!" in suite.run("queue", "list").stdout
    twice = suite.run("queue", "hold", qid, check=False)
    assert twice.returncode == 66 and "on hold already" in twice.stderr
    suite.run("queue", "release", qid)
    twice = suite.run("queue", "release", qid, check=False)
    assert twice.returncode == 66 and "the message is not on hold" in twice.stderr
    assert "no such message" in suite.run("queue", "release", "0000000000A", check=False).stderr
    assert "Subject: stays\n" in suite.run("queue", "export", qid).stdout
    with tempfile.TemporaryDirectory() as folder:
        suite.run("queue", "export", "--dir", folder)
        assert os.listdir(folder) == [f"{qid}.eml"]
    assert "Hello" in suite.run("queue", "show", qid).stdout
    suite.run("queue", "delete", qid)
    assert suite.run("queue", "delete", qid, check=False).returncode == 66
    assert suite.run("queue", "list").stdout == "Mail queue is empty\n"
    for key in (qid, "<stays@example.test>", "stays@example.test", "x@[127.0.0.1]"):
        events = wait_until(lambda k=key: json.loads(suite.run("trace", k, "--json", check=False).stdout or "[]"), 5, f"a trace of {key}")
        assert {"accepted", "deferred"} <= {e["event"] for e in events}
    assert suite.run("trace", "nothing@nowhere.example", check=False).returncode == 1
    assert suite.status()["ledger"]["difference"] == 0
