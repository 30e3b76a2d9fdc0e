"""Debian's Dovecot in a folder of its own, on a port of its own, to compare with."""
import os
import shutil
import socket
import subprocess
import time

PROGRAM = "/usr/sbin/dovecot"
IMAP = "/usr/lib/dovecot/imap"
PASSWORD = "secret"

CONF = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{mail}/%d/%n/Maildir
mail_privileged_group =
default_client_limit = 4000
default_process_limit = 2000
login_trusted_networks = 127.0.0.0/8
mail_max_userip_connections = 4000
auth_cache_size = 10M
imap_capability = {capability}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%d/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {port_tls}
  }}
  chroot =
  {login}
}}
service imap {{
  {imap}
}}
service auth {{
  client_limit = 10000
}}
service anvil {{
  client_limit = 10000
}}
service stats {{
  client_limit = 10000
}}
namespace inbox {{
  inbox = yes
  separator = .
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
  mailbox Drafts {{
    auto = subscribe
    special_use = \\Drafts
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
  mailbox Junk {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Archive {{
    auto = subscribe
    special_use = \\Archive
  }}
}}
{more}
"""


def why_not():
    """Why it cannot be run here, or None."""
    if os.geteuid() != 0:
        return "Dovecot is only started as root"
    if not os.path.exists(PROGRAM) or not os.path.exists(IMAP):
        return "dovecot-imapd is not installed"
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Dovecot:
    """uid, gid: who owns the Maildirs below `mail`; other keys go into the configuration."""

    def __init__(self, folder, mail, uid, gid, cert=None, key=None, login="", imap="", more="", capability=""):
        self.dir, self.mail = folder, mail
        self.port, self.port_tls = free_port(), free_port() if cert else 0
        for sub in ("run", "state"):
            os.makedirs(f"{folder}/{sub}", exist_ok=True)
        os.chmod(folder, 0o755)
        text = CONF.format(dir=folder, mail=mail, uid=uid, gid=gid, cert=cert or "/dev/null", key=key or "/dev/null",
                           ssl="yes" if cert else "no", port=self.port, port_tls=self.port_tls, password=PASSWORD,
                           login=login, imap=imap, more=more, capability=capability)
        if not cert:
            text = "\n".join(x for x in text.split("\n") if not x.startswith(("ssl_cert", "ssl_key")))
        if not capability:
            text = text.replace("imap_capability = \n", "")
        with open(f"{folder}/dovecot.conf", "w") as f:
            f.write(text)
        self.process = None

    def start(self):
        self.process = subprocess.Popen([PROGRAM, "-F", "-c", f"{self.dir}/dovecot.conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"Dovecot does not start: {self.log()} {self.process.stderr.read()!r}") from None
                time.sleep(0.02)

    def log(self):
        try:
            with open(f"{self.dir}/log", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
