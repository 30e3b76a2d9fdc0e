"""Started by others: systemd's socket activation and notices, inetd, socat; reload and drain without the master."""
import imaplib
import os
import poplib
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading

import pytest

from conftest import BIN, OFFSETS, SLOW, free_port_base, wait_until


@pytest.fixture()
def port():
    return free_port_base() + OFFSETS["smtp"]


@pytest.fixture()
def notices():
    """A notify socket, and what came to it so far."""
    folder = tempfile.mkdtemp(prefix="pp-notify-")
    os.chmod(folder, 0o755)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(f"{folder}/s")
    os.chmod(f"{folder}/s", 0o777)
    s.setblocking(False)
    came = []

    def read():
        try:
            while True:
                came.append(s.recv(4096).decode())
        except BlockingIOError:
            return came

    read.path = f"{folder}/s"
    yield read
    s.close()
    shutil.rmtree(folder)


def daemon(name):
    return os.path.join(BIN, name)


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(20 * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def connectable(port):
    def check():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wait_until(check, 15, f"port {port}")


def mail_by(port, to="bob@example.test"):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="c.example.net", timeout=20 * SLOW) as s:
        s.sendmail("x@example.net", [to], "Subject: started\r\n\r\nx\r\n")


def test_socket_activation(suite, port, notices):
    env = {**os.environ, "NOTIFY_SOCKET": notices.path}
    before = len(suite.files("bob"))
    p = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=smtp", "-E", f"NOTIFY_SOCKET={notices.path}",
                          daemon("smtpd"), "-C", suite.conf], env=env, stderr=subprocess.DEVNULL)
    try:
        connectable(port)
        mail_by(port)
        suite.wait_mail("bob", before + 1)
        wait_until(lambda: any("READY=1" in n for n in notices()), 10, "READY=1")
        # SIGHUP: a session that is open goes on, new ones get the new process.
        s = smtplib.SMTP("127.0.0.1", port, local_hostname="c.example.net", timeout=20 * SLOW)
        s.ehlo()
        s.mail("x@example.net")
        p.send_signal(signal.SIGHUP)
        wait_until(lambda: any("RELOADING=1" in n for n in notices()), 10, "RELOADING=1")
        wait_until(lambda: sum("READY=1" in n for n in notices()) > 1, 10, "READY=1 again")
        assert s.rcpt("bob@example.test")[0] == 250
        assert s.data("Subject: over a reload\r\n\r\nx\r\n")[0] == 250
        assert s.noop()[0] == 250
        s.close()
        mail_by(port)
        suite.wait_mail("bob", before + 3)
    finally:
        stop(p)
    assert any("STOPPING=1" in n for n in notices())


def test_bad_configuration(suite, port, notices):
    """Exit 78 at the start; at a reload the old configuration stays in force."""
    bad = os.path.join(suite.dir, "bad.conf")
    with open(suite.conf) as f, open(bad, "w") as g:
        g.write(f.read())
        g.write("retry-min = soon\n")
    for name in ("smtpd", "queue", "imapd"):
        done = subprocess.run([daemon(name), "-C", bad, "-n"], capture_output=True, text=True)
        assert done.returncode == 78 and "retry-min" in done.stderr
        assert subprocess.run([daemon(name), "-C", suite.conf, "-n"]).returncode == 0
    conf = os.path.join(suite.dir, "good.conf")
    shutil.copy(suite.conf, conf)
    p = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=smtp", "-E", f"NOTIFY_SOCKET={notices.path}",
                          daemon("smtpd"), "-C", conf], stderr=subprocess.DEVNULL)
    try:
        connectable(port)
        mail_by(port)
        shutil.copy(bad, conf)
        p.send_signal(signal.SIGHUP)
        mail_by(port)
        assert p.poll() is None
    finally:
        stop(p)


INETD_ROWS = [("smtp", "smtpd", ""), ("imap", "imapd", ""), ("pop3", "pop3d", ""), ("imaps", "imapd", "-S imaps"), ("pop3s", "pop3d", "-S pop3s")]


def inetd_conf(suite, base, conf):
    """An inetd.conf with smtpd, imapd and pop3d, nowait."""
    path = os.path.join(suite.dir, "inetd.conf")
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    with open(path, "w") as f:
        for service, name, options in INETD_ROWS:
            f.write(f"127.0.0.1:{base + OFFSETS[service]} stream tcp nowait.600 {user} {daemon(name)} {name} -C {conf} -i {options}\n")
    return path


@pytest.fixture()
def inetd(suite):
    """openbsd-inetd, by the configuration of the suite."""
    base = free_port_base()
    p = subprocess.Popen(["/usr/sbin/inetd", "-i", inetd_conf(suite, base, suite.conf)], stderr=subprocess.DEVNULL)
    connectable(base + OFFSETS["smtp"])
    yield base
    stop(p)


@pytest.fixture()
def syslog(suite):
    """A syslogd: what came to it so far, whole; its socket is suite.dir/devlog."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = os.path.join(suite.dir, "devlog")
    s.bind(path)
    os.chmod(path, 0o666)
    came = []

    def collect():      # at once: such a socket holds few datagrams
        while (line := s.recv(65536)) != b"end":
            came.append(line.decode())
    reader = threading.Thread(target=collect)
    reader.start()

    def read():
        return "\n".join(came)
    read.path = path
    yield read
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.sendto(b"end", path)
    reader.join()
    s.close()
    os.unlink(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="inetd wants root")
def test_inetd(suite, inetd):
    before = len(suite.files("bob"))
    mail_by(inetd + OFFSETS["smtp"])
    suite.wait_mail("bob", before + 1)
    c = imaplib.IMAP4_SSL("127.0.0.1", inetd + OFFSETS["imaps"], ssl_context=suite.tls)
    c.login("bob@example.test", suite.password("bob"))
    assert int(c.select()[1][0]) >= before + 1
    c.logout()
    c = imaplib.IMAP4("127.0.0.1", inetd + OFFSETS["imap"])
    c.starttls(suite.tls)
    c.login("bob@example.test", suite.password("bob"))
    c.logout()
    p = poplib.POP3_SSL("127.0.0.1", inetd + OFFSETS["pop3s"], context=suite.tls)
    p.user("bob@example.test")
    p.pass_(suite.password("bob"))
    assert p.stat()[0] >= before + 1
    p.quit()
    # fd 2 was the connection: what happened stands in the file of log-to.
    for pattern in (r"smtpd\[\d+\]: connect from \S+\[127\.0\.0\.1\]", r"smtpd\[\d+\]: disconnect from .* commands=",
                    r"imap-login\[\d+\]: Login: user=<bob@example\.test>, .*rip=127\.0\.0\.1", r"pop3-login\[\d+\]: Login: user=<bob@"):
        suite.wait_log(pattern)


# A /dev of its own, with a "log" that the test reads.
OWN_DEV = """
set -e
mount -t tmpfs none "$1"
for f in null zero urandom random; do touch "$1/$f"; mount --bind "/dev/$f" "$1/$f"; done
ln -s "$2" "$1/log"
mount --rbind "$1" /dev
shift 2
exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="inetd wants root")
def test_inetd_syslog(suite, syslog):
    """The socket is opened before confinement; a mistake in the configuration goes there as well, not to the client."""
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", suite.dir], capture_output=True).returncode != 0:
        pytest.skip("no mounts of its own here")
    conf = os.path.join(suite.dir, "syslog.conf")
    with open(suite.conf) as f, open(conf, "w") as g:
        g.write(re.sub(r"(?m)^log-to.*", 'log-to = "syslog"', f.read()))
    base = free_port_base()
    dev = os.path.join(suite.dir, "dev")
    os.mkdir(dev)
    p = subprocess.Popen(["unshare", "-m", "--", "sh", "-c", OWN_DEV, "sh", dev, syslog.path, "/usr/sbin/inetd", "-i", inetd_conf(suite, base, conf)])
    try:
        connectable(base + OFFSETS["smtp"])
        mail_by(base + OFFSETS["smtp"])
        c = imaplib.IMAP4_SSL("127.0.0.1", base + OFFSETS["imaps"], ssl_context=suite.tls)
        with pytest.raises(imaplib.IMAP4.error):
            c.login("bob@example.test", "wrong")
        c.logout()
        stamp = r"<22>\w{3} [ \d]\d \d\d:\d\d:\d\d "
        wait_until(lambda: re.search(stamp + r"pennypost/smtpd\[\d+\]: connect from \S+\[127\.0\.0\.1\]$", syslog(), re.M), 10, "smtpd's line")
        wait_until(lambda: re.search(stamp + r"pennypost/imap-login\[\d+\]: Disconnected: .*auth failed", syslog(), re.M), 10, "imapd's line")
        with open(conf, "a") as f:
            f.write("retry-min = soon\n")
        with socket.create_connection(("127.0.0.1", base + OFFSETS["pop3"])) as s:
            assert s.recv(1000) == b""
        wait_until(lambda: re.search(r"<19>.*pop3d\[\d+\]: error: .*retry-min", syslog()), 10, "pop3d's error")
    finally:
        stop(p)


@pytest.mark.parametrize("name,greeting", [("smtpd", b"220 "), ("imapd", b"* OK"), ("pop3d", b"+OK")])
def test_ucspi_pipes(suite, name, greeting):
    """A UCSPI server with pipes: the client's address is in the environment, the log goes to stderr."""
    env = {**os.environ, "PROTO": "TCP", "TCPREMOTEIP": "192.0.2.77", "TCPLOCALIP": "192.0.2.1", "TCPLOCALPORT": "25"}
    p = subprocess.Popen([daemon(name), "-C", suite.conf, "-i"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline().startswith(greeting)
    p.stdin.write({"smtpd": b"QUIT\r\n", "imapd": b"a LOGOUT\r\n", "pop3d": b"QUIT\r\n"}[name])
    p.stdin.flush()
    p.stdout.read()
    assert p.wait(20 * SLOW) == 0
    assert b"192.0.2.77" in p.stderr.read()


def test_socat(suite, port):
    """Any program that gives a connection on fd 0."""
    before = len(suite.files("bob"))
    p = subprocess.Popen(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"EXEC:{daemon('smtpd')} -C {suite.conf} -i"],
                         stderr=subprocess.DEVNULL)
    try:
        connectable(port)
        mail_by(port)
        suite.wait_mail("bob", before + 1)
    finally:
        stop(p)


def test_accept_yes(suite, port):
    """systemd's Accept=yes: one process a connection, LISTEN_FDNAMES=connection."""
    before = len(suite.files("bob"))
    p = subprocess.Popen(["systemd-socket-activate", "--accept", "-l", f"127.0.0.1:{port}", daemon("smtpd"), "-C", suite.conf],
                         stderr=subprocess.DEVNULL)
    try:
        connectable(port)
        mail_by(port)
        suite.wait_mail("bob", before + 1)
    finally:
        stop(p)


def test_each_daemon_without_the_master(make_suite):
    """All daemons by hand, each binding its own sockets: the whole way works, and SIGTERM ends them."""
    suite = make_suite()
    suite.stop()
    started = []
    try:
        for name in ("queue", "auth", "deliver", "relay", "smtpd", "imapd", "pop3d"):
            started.append(subprocess.Popen([daemon(name), "-C", suite.conf], stderr=subprocess.DEVNULL))
            if name in ("queue", "auth"):
                sock = {"queue": "queue-deliver", "auth": "auth-ticket"}[name]
                wait_until(lambda: os.path.exists(f"{suite.dir}/run/{sock}"), 10, sock)
        connectable(suite.port("smtp"))
        connectable(suite.port("imaps"))
        suite.send("alice", subject="no master")
        suite.wait_mail("alice")
        assert suite.imap("alice").search(None, "SUBJECT", "master")[1] == [b"1"]
    finally:
        for p in reversed(started):
            stop(p)
    assert [p.returncode for p in started] == [0] * len(started)
