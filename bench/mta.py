"""The servers that are compared: how each is configured, started and asked.

All speak SMTP on 127.0.0.1:25 of the bench's own network namespace, have the
users u1 ... u100 of example.test with a Maildir each, and send other mail to a
smarthost, 127.0.0.1:2626.  Durable defaults; what is changed stands in the
configurations below, which the bench prints.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USERS = [f"u{i}" for i in range(1, 101)]
SINK_PORT = 2626
MAIL_ID = 64799		# uid and gid of the mailboxes
ACCOUNTS = {"postfix": 64701, "postdrop": 64702, "Debian-exim": 64703, "opensmtpd": 64704, "opensmtpq": 64705,
            "benchmail": MAIL_ID}
HELD, NORMAL = "held", "normal"	# mail stays in the queue, or goes its way


def processes():
    """Every living process of the bench's namespace, without the bench itself and what it waits for."""
    own = {1, os.getpid()}
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as f:
        own |= {int(p) for p in f.read().split()}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in own:
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if f.read():
                    found.append(int(entry))
    return found


def cpu_usec():
    """Processor time of everything in the namespace but the bench, with that of children that have ended."""
    own, total = os.getpid(), 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in (1, own):
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += sum(int(x) for x in fields[11:15])
    return total * 1000000 // os.sysconf("SC_CLK_TCK")


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def greeted(port=25):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            ok = s.recv(3) == b"220"
            s.sendall(b"QUIT\r\n")
            with contextlib.suppress(OSError):
                while s.recv(1000):
                    pass
            return ok
    except OSError:
        return False


def fresh_dir(path, owner=None, mode=0o755):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, owner, owner)


class Server:
    """One of them.  start(mode) begins with an empty queue and empty mailboxes."""
    name = ""
    program = ""		# found: it takes part
    users = USERS

    def __init__(self, work):
        self.dir = os.path.join(work, self.name)	# on the disk that is measured
        self.mailboxes = os.path.join(self.dir, "mailboxes")
        self.logged = []	# the configuration, for printing

    def found(self):
        return shutil.which(self.program) is not None

    def write(self, path, text, name=None):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        if name and not any(n == name for n, _ in self.logged):
            self.logged.append((name, text))

    def bind(self, path):
        """A folder of the scratch disk in the place where the program wants it."""
        real = os.path.join(self.dir, path.strip("/").replace("/", "_"))
        os.makedirs(path, exist_ok=True)
        os.makedirs(real, exist_ok=True)
        if not os.path.ismount(path):
            subprocess.run(["mount", "--bind", real, path], check=True)
        for entry in os.listdir(path):
            p = os.path.join(path, entry)
            shutil.rmtree(p) if os.path.isdir(p) and not os.path.islink(p) else os.unlink(p)

    def start(self, mode):
        fresh_dir(self.mailboxes, MAIL_ID)
        self.make_mailboxes()
        self.configure(mode)
        self.before = set(processes())
        try:
            self.launch(mode)
            wait_until(greeted, 20, f"{self.name} to answer")
            self.ready(mode)
        except Exception:
            self.stop()
            raise

    def make_mailboxes(self):
        for user in USERS:
            for sub in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(self.maildir(user), sub))
            subprocess.run(["chown", "-R", f"{MAIL_ID}:{MAIL_ID}", os.path.join(self.mailboxes, user)], check=True)

    def ready(self, mode):
        pass

    def maildir(self, user):
        return os.path.join(self.mailboxes, user)

    def pids(self):
        return [p for p in processes() if p not in self.before]

    def stop(self):
        self.halt()
        end = time.monotonic() + 10
        while self.pids():
            for p in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(p, signal.SIGKILL if time.monotonic() > end - 8 else signal.SIGTERM)
                    os.kill(p, signal.SIGCONT)
            time.sleep(0.05)
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not end")

    def halt(self):
        pass

    def files(self):
        """How many messages are in new/, and when the last one came."""
        n, last = 0, 0.0
        for user in USERS:
            with contextlib.suppress(FileNotFoundError):
                with os.scandir(os.path.join(self.maildir(user), "new")) as entries:
                    for e in entries:
                        n += 1
                        with contextlib.suppress(FileNotFoundError):
                            last = max(last, e.stat().st_ctime)
        return n, last

    # What other rows need.
    remote = "x@sink.test"
    sendmail = None		# argv, argv[0] is the program; then its argv[0]
    mailq = None


class Pennypost(Server):
    name = "pennypost"

    def __init__(self, work, build):
        super().__init__(work)
        self.bin = os.path.join(os.path.abspath(build), "bin")
        self.suite = os.path.join(self.dir, "suite")
        self.conf = os.path.join(self.suite, "pennypost.conf")
        self.sendmail = [os.path.join(self.bin, "sendmail"), "sendmail", "-C", self.conf, "-t"]
        self.mailq = [os.path.join(self.bin, "mailq"), "mailq", "-C", self.conf]
        self.remote = "out@example.test"

    def found(self):
        return os.path.exists(os.path.join(self.bin, "pennypost"))

    def version(self):
        done = subprocess.run(["git", "-C", TOP, "log", "-1", "--format=%h"], capture_output=True, text=True)
        return "Pennypost " + (done.stdout.strip() or "(no git)")

    def control(self, *args, **more):
        return subprocess.run([os.path.join(self.bin, "pennypost"), "-C", self.conf, *args], check=True,
                              stdout=subprocess.DEVNULL, timeout=60, **more)

    def configure(self, mode):
        shutil.rmtree(self.suite, ignore_errors=True)
        os.makedirs(self.dir, exist_ok=True)
        subprocess.run([os.path.join(self.bin, "pennypost"), "init", "--domain", "example.test",
                        "--hostname", "mail.example.test", "--lmtp", "run/lmtp", self.suite],
                       check=True, stdout=subprocess.DEVNULL, timeout=60)
        changes = ("\n# The bench: 200 clients have one address; a smarthost.\n"
                   "smtp-sessions = 30000\nsmtp-sessions-per-client = 30000\nlogin-sessions-per-client = 30000\n"
                   f'smarthost = "127.0.0.1:{SINK_PORT}"\nsmarthost-tls = "never"\n')
        with open(self.conf, "a") as f:
            f.write(changes)
        with open(self.conf) as f:
            self.logged = [("pennypost.conf (pennypost init, and the last lines)", f.read())]
        domain = os.path.join(self.suite, "domains/example.test")
        password = "$6$bench$9ZkPMvK1hhWrdVQPhHRSxF4WJxHKrDPO8.JDVvl0wq8Hxg3JvvqI6X5s6bqTqXyKq8n1c0CkqkS2QrZs4l3W1"
        with open(os.path.join(domain, "accounts"), "a") as f:
            f.writelines(f"{u}:{password}\n" for u in USERS)
        with open(os.path.join(domain, "aliases"), "a") as f:
            f.writelines(f"{i}out: {i}x@sink.test\n" for i in ["", *range(1, 101)])
        self.control("user", "add", "last@example.test", "--password-stdin", input=b"secret\n")

    def make_mailboxes(self):
        pass

    def maildir(self, user):
        return os.path.join(self.suite, "mail/example.test", user, "Maildir")

    def launch(self, mode):
        self.control("start")

    def daemons(self, *names):
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/comm") as f:
                    if f.read().strip() in names:
                        found.append(pid)
        return found

    def ready(self, mode):
        if mode == HELD:	# as `smtpctl pause` does it: nobody takes mail from the queue
            for pid in self.daemons("deliver", "relay"):
                os.kill(pid, signal.SIGSTOP)

    def halt(self):
        for pid in self.daemons("deliver", "relay"):
            os.kill(pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.SubprocessError):
            self.control("stop", stderr=subprocess.DEVNULL)


class Postfix(Server):
    name = "postfix"
    program = "/usr/sbin/postfix"
    sendmail = ["/usr/sbin/sendmail", "sendmail", "-t"]
    mailq = ["/usr/sbin/postqueue", "postqueue", "-p"]

    def version(self):
        done = subprocess.run(["/usr/sbin/postconf", "-c", "/etc/postfix", "-dh", "mail_version"], capture_output=True, text=True)
        return "Postfix " + done.stdout.strip()

    def configure(self, mode):
        held = "smtpd_client_restrictions = check_client_access static:HOLD\n" if mode == HELD else ""
        self.write("/etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = mail.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{SINK_PORT}
virtual_mailbox_domains = example.test
virtual_mailbox_maps = hash:/etc/postfix/users
virtual_mailbox_base = {self.mailboxes}
virtual_uid_maps = static:{MAIL_ID}
virtual_gid_maps = static:{MAIL_ID}
virtual_alias_maps =
alias_maps =
alias_database =
smtpd_tls_cert_file = /etc/bench/cert.pem
smtpd_tls_key_file = /etc/bench/key.pem
smtpd_tls_security_level = may
""" + held, f"main.cf ({mode})")
        with open("/usr/share/postfix/master.cf.dist") as f:
            lines = [line.split(None, 5) if line[:1] not in "# \n" else line for line in f]
        text = ""
        for line in lines:	# the chroot needs files of the installation: without
            if isinstance(line, list):
                line[4] = "n"
                line = " ".join(line)
            text += line if line.endswith("\n") else line + "\n"
        self.write("/etc/postfix/master.cf", text)
        self.logged += [] if len(self.logged) > 2 else [("master.cf", "Debian's, without chroot\n")]
        self.write("/etc/postfix/users", "".join(f"{u}@example.test {u}/\n" for u in USERS))
        subprocess.run(["/usr/sbin/postmap", "hash:/etc/postfix/users"], check=True)
        self.bind("/var/spool/postfix")
        self.bind("/var/lib/postfix")
        os.chown("/var/lib/postfix", ACCOUNTS["postfix"], -1)
        subprocess.run(["/usr/sbin/postfix", "set-permissions"], capture_output=True)

    def launch(self, mode):
        done = subprocess.run(["/usr/sbin/postfix", "start"], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError("postfix start: " + done.stdout + done.stderr)

    def halt(self):
        subprocess.run(["/usr/sbin/postfix", "stop"], capture_output=True, timeout=60)


class Exim(Server):
    name = "exim"
    program = "/usr/sbin/exim4"
    sendmail = ["/usr/sbin/exim4", "sendmail", "-t"]
    mailq = ["/usr/sbin/exim4", "mailq", "-bp"]

    def version(self):
        done = subprocess.run([self.program, "-bV"], capture_output=True, text=True)
        return done.stdout.split("\n")[0].replace(" version", "").split(" #")[0]

    def configure(self, mode):
        held = "queue_only\n" if mode == HELD else ""
        self.write("/etc/exim4/exim4.conf", f"""primary_hostname = mail.example.test
domainlist local_domains = example.test
acl_smtp_rcpt = acl_rcpt
never_users = root
tls_certificate = /etc/bench/cert.pem
tls_privatekey = /etc/bench/key.pem
tls_advertise_hosts = *
smtp_accept_max = 0
local_interfaces = 127.0.0.1
disable_ipv6
{held}
begin acl
acl_rcpt:
  accept hosts = : 127.0.0.1

begin routers
mailboxes:
  driver = accept
  domains = +local_domains
  local_parts = lsearch;/etc/exim4/users
  transport = maildir
smarthost:
  driver = manualroute
  domains = ! +local_domains
  route_list = * 127.0.0.1
  self = send
  transport = smtp

begin transports
maildir:
  driver = appendfile
  directory = {self.mailboxes}/$local_part_data
  maildir_format
  delivery_date_add
  envelope_to_add
  return_path_add
  user = {MAIL_ID}
  group = {MAIL_ID}
smtp:
  driver = smtp
  port = {SINK_PORT}
  allow_localhost

begin retry
*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h
""", f"exim4.conf ({mode})")
        self.write("/etc/exim4/users", "".join(f"{u}: yes\n" for u in USERS))
        for path in ("/var/spool/exim4", "/var/log/exim4"):
            self.bind(path)
            os.chown(path, ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])

    def launch(self, mode):
        os.makedirs("/run/exim4", exist_ok=True)
        os.chown("/run/exim4", ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
        subprocess.run(["/usr/sbin/exim4", "-bd", "-q30m"], check=True, timeout=60)


class OpenSmtpd(Server):
    name = "opensmtpd"
    program = "/usr/sbin/smtpctl"
    sendmail = ["/usr/sbin/smtpctl", "sendmail", "-t"]
    mailq = ["/usr/sbin/smtpctl", "smtpctl", "show", "queue"]

    def version(self):
        done = subprocess.run(["/usr/sbin/smtpd", "-h"], capture_output=True, text=True)
        return (done.stdout + done.stderr).split("\n")[0].replace("version: ", "")

    def configure(self, mode):
        self.write("/etc/smtpd.conf", f"""pki mail.example.test cert "/etc/bench/cert.pem"
pki mail.example.test key "/etc/bench/key.pem"
table users file:/etc/smtpd.users
smtp limit max-mails 1000000
listen on lo port 25 tls pki mail.example.test hostname mail.example.test
listen on socket
action "mailboxes" maildir "{self.mailboxes}/%{{user.username}}" userbase <users>
action "smarthost" relay host smtp://127.0.0.1:{SINK_PORT}
match from any for domain "example.test" action "mailboxes"
match from any for any action "smarthost"
""", "smtpd.conf")
        self.write("/etc/smtpd.users", "".join(f"{u} {MAIL_ID}:{MAIL_ID}:{self.mailboxes}/{u}\n" for u in USERS))
        self.write("/etc/mailname", "mail.example.test\n")
        self.bind("/var/spool/smtpd")
        os.chown("/usr/sbin/smtpctl", 0, ACCOUNTS["opensmtpq"])	# as the package's script does
        os.chmod("/usr/sbin/smtpctl", 0o2755)
        os.makedirs("/var/lib/opensmtpd/empty", exist_ok=True)
        os.chmod("/var/spool/smtpd", 0o711)
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/run/smtpd.sock")

    def launch(self, mode):
        subprocess.run(["/usr/sbin/smtpd"], check=True, timeout=60)

    def ready(self, mode):
        if mode == HELD:
            for what in ("mda", "mta"):
                subprocess.run(["/usr/sbin/smtpctl", "pause", what], check=True, stdout=subprocess.DEVNULL, timeout=20)


class Sink(Server):
    """Not a mail server: smtp-sink stores nothing.  What the load tool could do at best."""
    name = "ceiling"

    def __init__(self, work, tools):
        super().__init__(work)
        self.program = tools.sink

    def found(self):
        return self.program is not None

    def version(self):
        return "smtp-sink, which stores nothing"

    def start(self, mode):
        self.child = subprocess.Popen([self.program, "-u", "nobody", "127.0.0.1:25", "1000"])
        wait_until(greeted, 10, "smtp-sink")

    def stop(self):
        self.child.kill()
        self.child.wait()
