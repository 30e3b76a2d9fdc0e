"""make install with DESTDIR, the systemd units, and the hardening of the binaries."""
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import BIN, DAEMONS, TOP

EXPOSURE = {"pennypost.service": 4.0, "pennypost-imapd.service": 2.5, "pennypost-pop3d.service": 2.5}  # these keep root's setuid


@pytest.fixture(scope="module")
def installed():
    """The tree that `make install` makes, in a folder of the test's own."""
    root = tempfile.mkdtemp(prefix="pp-install-")
    build = os.path.dirname(BIN)
    done = subprocess.run(["make", "-s", "--no-print-directory", f"B={build}", f"DESTDIR={root}", "prefix=/usr",
                           "exec_prefix=/usr", "sysconfdir=/etc", "localstatedir=/var", "install"],
                          cwd=TOP, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    yield root
    shutil.rmtree(root)


def test_what_is_where(installed):
    for path in ["sbin/pennypost", "sbin/sendmail", "lib/sendmail", "bin/mailq", "bin/newaliases", *[f"libexec/pennypost/{d}" for d in DAEMONS]]:
        full = os.path.join(installed, "usr", path)
        assert os.path.exists(full) and os.access(full, os.X_OK), path
    for page in ["man8/pennypost.8", "man8/pennypost-queue.8", "man5/pennypost.conf.5", "man5/pennypost-spool.5",
                 "man1/sendmail.1", "man1/mailq.1", "man1/newaliases.1"]:
        assert os.path.exists(os.path.join(installed, "usr/share/man", page)), page
    out = subprocess.run([os.path.join(installed, "usr/sbin/pennypost"), "version"], capture_output=True, text=True)
    assert out.returncode == 0 and "pennypost" in out.stdout


def units(installed):
    folder = os.path.join(installed, "usr/lib/systemd/system")
    return folder, sorted(os.listdir(folder))


def test_units_verify(installed):
    """systemd-analyze verify finds nothing to say; the paths of programs are made those of the DESTDIR."""
    folder, names = units(installed)
    assert {f"pennypost-{d}.service" for d in DAEMONS} < set(names)
    copy = tempfile.mkdtemp(prefix="pp-units-")
    for name in names:
        with open(os.path.join(folder, name)) as f:
            text = f.read()
        with open(os.path.join(copy, name), "w") as f:
            f.write(re.sub(r"^(ExecStart=-?)/usr", rf"\1{installed}/usr", text, flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *[f"./{n}" for n in names]], cwd=copy,
                          capture_output=True, text=True, timeout=120)
    shutil.rmtree(copy)
    assert done.returncode == 0 and "pennypost" not in done.stderr, done.stdout + done.stderr


def test_units_exposure(installed):
    folder, names = units(installed)
    for name in names:
        if not name.endswith(".service"):
            continue
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", f"./{name}"], cwd=folder,
                              capture_output=True, text=True, timeout=120)
        score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        assert score, done.stdout + done.stderr
        assert float(score[1]) <= EXPOSURE.get(name, 2.0), f"{name}: {score[1]}"


def test_every_socket_belongs_to_a_unit(installed):
    folder, names = units(installed)
    for name in names:
        if name.endswith(".socket"):
            with open(os.path.join(folder, name)) as f:
                text = f.read()
            assert re.search(r"^FileDescriptorName=" + name[len("pennypost-"):-len(".socket")] + "$", text, re.M), name
            assert re.search(r"^Service=(\S+)$", text, re.M)[1] in names, name


@pytest.mark.parametrize("name", [*DAEMONS, "pennypost", "drop"])
def test_hardened(name):
    """Position-independent, full RELRO, a stack protector, fortified calls (not in the sanitizer build)."""
    if "san" in BIN:
        pytest.skip("sanitizer build")
    path = os.path.join(BIN, name)
    head = subprocess.run(["readelf", "-hldW", path], capture_output=True, text=True).stdout
    assert "DYN (Position-Independent Executable file)" in head
    assert "GNU_RELRO" in head and re.search(r"FLAGS.*BIND_NOW|FLAGS_1.*NOW", head)
    assert re.search(r"GNU_STACK.*RW ", head)
    symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True).stdout
    assert "__stack_chk_fail" in symbols
    assert "_chk@" in symbols or "_chk" in symbols
