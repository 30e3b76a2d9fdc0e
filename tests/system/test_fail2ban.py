"""The filter and the jail for fail2ban, by fail2ban itself, on the log of a running suite."""
import concurrent.futures
import contextlib
import os
import poplib
import shutil
import smtplib
import socket
import subprocess

import pytest
from conftest import TOP, wait_until

SHIPPED = os.path.join(TOP, "etc", "fail2ban")


def smtp(suite, host, service="smtp"):
    s = smtplib.SMTP("127.0.0.1", suite.port(service), local_hostname="c.example.net", source_address=(host, 0), timeout=30)
    if service == "submission":
        s.starttls(context=suite.tls)
    return s


def wrong_password(suite, host):
    with smtp(suite, host, "submission") as s, pytest.raises(smtplib.SMTPAuthenticationError):
        s.login("alice@example.test", "wrong")


def wrong_imap(suite, host, user="alice@example.test"):
    raw = socket.create_connection(("127.0.0.1", suite.port("imaps")), 30, source_address=(host, 0))
    with suite.tls.wrap_socket(raw) as s:
        s.recv(1000)
        s.sendall(f'a LOGIN "{user}" wrong\r\n'.encode())
        assert b"a NO" in s.recv(1000)
        s.sendall(b"b LOGOUT\r\n")
        while s.recv(1000):
            pass


def wrong_pop3(suite, host):
    raw = socket.create_connection(("127.0.0.1", suite.port("pop3s")), 30, source_address=(host, 0))
    with suite.tls.wrap_socket(raw) as s:
        for line in (b"", b"USER alice@example.test\r\n", b"PASS wrong\r\n", b"QUIT\r\n"):
            s.sendall(line)
            s.recv(1000)


def guessed_recipients(suite, host):
    with smtp(suite, host) as s:
        s.ehlo()
        s.mail("s@example.net")
        assert s.rcpt("nobody@mail.example.test")[0] == 550


def relaying(suite, host):
    with smtp(suite, host) as s:
        s.ehlo()
        s.mail("s@example.net")
        assert s.rcpt("x@elsewhere.example")[0] == 554


def too_many_errors(suite, host):
    s = smtp(suite, host)
    with contextlib.suppress(smtplib.SMTPServerDisconnected, OSError):
        for _ in range(30):
            s.docmd("NONSENSE")
    s.close()


def pipelining(suite, host):
    with socket.create_connection(("127.0.0.1", suite.port("smtp")), 30, source_address=(host, 0)) as s:
        s.sendall(b"EHLO x.example\r\nMAIL FROM:<s@example.net>\r\n")
        while s.recv(1000):
            pass


def browser(suite, host):
    with socket.create_connection(("127.0.0.1", suite.port("smtp")), 30, source_address=(host, 0)) as s:
        s.recv(1000)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while s.recv(1000):
            pass


def lost_after_auth(suite, host):
    s = smtp(suite, host, "submission")
    s.docmd("AUTH", "LOGIN")
    s.close()


def no_attempt(suite, host):
    raw = socket.create_connection(("127.0.0.1", suite.port("pop3")), 30, source_address=(host, 0))
    raw.recv(1000)
    raw.close()


def another_address_in_the_name(suite, host):
    """A user name made to look like the end of the line: the address in it is somebody else's."""
    wrong_imap(suite, host, "x>, method=PLAIN, rip=198.51.100.9, lip=127.0.0.1, TLS, session=<y>")


def good_customer(suite, host):
    with smtp(suite, host, "submission") as s:
        s.login("alice@example.test", suite.password("alice"))
        s.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
    c = poplib.POP3_SSL("127.0.0.1", suite.port("pop3s"), context=suite.tls, timeout=30)
    c.user("bob@example.test")
    c.pass_(suite.password("bob"))
    c.quit()


# Who is found from which mode on; None: in none.
ATTACKS = [
    (wrong_password, "auth"), (wrong_imap, "auth"), (wrong_pop3, "auth"),
    (guessed_recipients, "normal"), (relaying, "normal"), (too_many_errors, "normal"), (pipelining, "normal"), (browser, "normal"),
    (lost_after_auth, "aggressive"), (no_attempt, "aggressive"),
    (another_address_in_the_name, None), (good_customer, None),
]
MODES = ["auth", "normal", "aggressive"]


def address(i):
    return f"127.0.0.{100 + i}"


@pytest.fixture(scope="module")
def attacked(make_suite):
    suite = make_suite(smtp_soft_errors=2, smtp_hard_errors=3)
    with concurrent.futures.ThreadPoolExecutor(len(ATTACKS)) as pool:      # replies to bad clients are slow
        for done in [pool.submit(attack, suite, address(i)) for i, (attack, _) in enumerate(ATTACKS)]:
            done.result()
    for i, (attack, _) in enumerate(ATTACKS):
        wait_until(lambda i=i: any(address(i) in line and "onnect" in line for line in suite.log().splitlines()), 10, attack.__name__)
    wait_until(lambda: "no auth attempts" in suite.log() and "lost connection after AUTH" in suite.log() and
               suite.log().count("auth failed") >= 3, 15, "the last lines")
    return suite


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """/etc/fail2ban as the package has it, and ours."""
    folder = tmp_path_factory.mktemp("fail2ban") / "etc"
    shutil.copytree("/etc/fail2ban", folder)
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    return folder


def found(config, log, spec):
    done = subprocess.run(["fail2ban-regex", "-c", str(config), "-o", "ip", str(log), spec], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1) and "ERROR" not in done.stderr, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("mode", MODES)
def test_who_is_found(attacked, config, mode):
    want = {address(i) for i, (_, least) in enumerate(ATTACKS) if least and MODES.index(least) <= MODES.index(mode)}
    assert found(config, os.path.join(attacked.dir, "log", "pennypost.log"), f"pennypost[mode={mode}]") == want


def test_not_found(attacked, config, tmp_path):
    """What is no fault of the client's, and lines of other programs."""
    with open(tmp_path / "log", "w") as f:
        f.write("Nov 23 16:47:27 mail pennypost/smtpd[1]: warning: unknown[192.0.2.1]: SASL PLAIN authentication failed: temporary failure, sasl_username=u\n"
                "Nov 23 16:47:27 mail other/smtpd[1]: warning: unknown[192.0.2.2]: SASL PLAIN authentication failed: bad password\n"
                "Nov 23 16:47:27 mail pennypost/virtual[1]: 0003: to=<too many errors after AUTH from x[192.0.2.3]>, status=sent (ok)\n"
                "Nov 23 16:47:27 mail pennypost/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.4]: 452 4.3.1 Insufficient system storage; from=<> to=<>\n")
    assert found(config, tmp_path / "log", "pennypost[mode=aggressive]") == set()
    assert found(config, tmp_path / "log", "pennypost[mode=aggressive, tag=other]") == {"192.0.2.2"}


def test_stock_filter(attacked, config, tmp_path):
    """log-tag = postfix: the filter that fail2ban has for Postfix finds the same (CONVENTIONS, section 5)."""
    with open(tmp_path / "log", "w") as f:
        f.write(attacked.log().replace("pennypost/", "postfix/"))
    want = {address(i) for i, (attack, _) in enumerate(ATTACKS)
            if attack in (wrong_password, guessed_recipients, relaying, too_many_errors, pipelining, lost_after_auth)}
    assert want <= found(config, tmp_path / "log", "postfix[mode=aggressive]")
    assert address(len(ATTACKS) - 1) not in found(config, tmp_path / "log", "postfix[mode=extra]")


def test_the_jail_bans(attacked, config, tmp_path):
    """fail2ban itself takes the jail as it is, turned on, and bans who is in the log."""
    log = tmp_path / "log"
    log.touch()
    with open(config / "jail.local", "w") as f:
        f.write(f"[DEFAULT]\nbanaction = dummy\nignoreself = false\n[sshd]\nenabled = false\n"
                f"[pennypost]\nenabled = true\nbackend = polling\nlogpath = {log}\nmaxretry = 1\n")
    with open(config / "fail2ban.local", "w") as f:
        f.write(f"[Definition]\ndbfile = None\nlogtarget = {tmp_path / 'server.log'}\n")
    client = ["fail2ban-client", "-c", str(config), "-s", str(tmp_path / "sock"), "-p", str(tmp_path / "pid")]
    checked = subprocess.run([*client, "-t"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    server = subprocess.Popen(["fail2ban-server", *client[1:], "-f", "start"])

    def banned():
        done = subprocess.run([*client, "get", "pennypost", "banip"], capture_output=True, text=True, timeout=60)
        return set(done.stdout.split()) if done.returncode == 0 else set()
    try:
        wait_until(lambda: subprocess.run([*client, "status", "pennypost"], capture_output=True, timeout=60).returncode == 0, 30, "the jail")
        with open(log, "w") as f:
            f.write(attacked.log())
        want = {address(i) for i, (_, least) in enumerate(ATTACKS) if least in ("auth", "normal")}
        wait_until(lambda: banned() == want, 30, "bans")
    finally:
        server.terminate()
        server.wait(30)
