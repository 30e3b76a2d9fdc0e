"""A place where four mail servers can run by turns without touching the machine.

Mounts, network and processes are the bench's own (namespaces; needs root).
The peers' files, installed or only unpacked, appear below /usr; /etc and /var
are covered, so that nothing of the machine is read or changed; their spools
and mailboxes are folders of the scratch disk.
"""
import os
import subprocess
import sys

import mta

INSIDE = "PENNYPOST_BENCH_INSIDE"


def run(*argv):
    subprocess.run(argv, check=True)


def enter():
    """Start anew inside; returns at once where we are inside, or cannot be."""
    if os.geteuid() != 0 or INSIDE in os.environ:
        return
    os.environ[INSIDE] = "1"
    # A shell as process 1: it takes care of orphans, and all end with it.
    os.execvp("unshare", ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child",
                          "sh", "-c", '"$@"; exit $?', "sh", sys.executable, *sys.argv])


def inside():
    return os.environ.get(INSIDE) == "1"


def cover(path, layers, top):
    """What is written to path goes to memory; layers lie over what is there."""
    upper, work = os.path.join(top, path.strip("/"), "upper"), os.path.join(top, path.strip("/"), "work")
    os.makedirs(upper)
    os.makedirs(work)
    lower = ":".join([*layers, path])
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", path)


def accounts():
    for name, number in mta.ACCOUNTS.items():
        with open("/etc/passwd", "r+") as f:
            if f"\n{name}:" not in f.read():
                f.write(f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n")
        with open("/etc/group", "r+") as f:
            if f"\n{name}:" not in f.read():
                f.write(f"{name}:x:{number}:\n")


def certificate():
    os.makedirs("/etc/bench", exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "30", "-subj", "/CN=mail.example.test", "-keyout", "/etc/bench/key.pem",
                    "-out", "/etc/bench/cert.pem"], check=True, capture_output=True)
    # Exim reads it as its own user.
    number = mta.ACCOUNTS["Debian-exim"]
    os.chown("/etc/bench/key.pem", 0, number)
    os.chmod("/etc/bench/key.pem", 0o640)


def prepare(peers):
    """Mounts; peers is the folder of bench/peers, or does not exist."""
    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")
    unpacked = [os.path.join(peers, name) for name in ("postfix", "exim", "opensmtpd")
                if os.path.isdir(os.path.join(peers, name, "usr"))]
    top = "/run/bench"
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.makedirs("/run/lock")
    cover("/usr", [os.path.join(p, "usr") for p in unpacked], top)
    cover("/etc", [os.path.join(p, "etc") for p in unpacked if os.path.isdir(os.path.join(p, "etc"))], top)
    cover("/var", [], top)
    accounts()
    certificate()
