"""`make run`: what scripts/demo starts, and the lines that it prints, pasted."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from conftest import BIN, SLOW, TOP, wait_until

PORTS = (2525, 2587, 2465, 2143, 2993, 2110, 2995)


def listening(port, address="127.0.0.1"):
    with socket.socket() as s:
        return s.connect_ex((address, port)) == 0


@pytest.fixture(scope="module")
def demo():
    """The demo in a folder of its own: (folder, what was printed, process)."""
    if any(map(listening, PORTS)):
        pytest.skip("somebody runs the demo on this machine")
    folder = tempfile.mkdtemp(prefix="pp-demo-")
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/scripts")
    shutil.copy(f"{TOP}/scripts/demo", f"{folder}/scripts/demo")
    os.symlink(os.path.dirname(BIN), f"{folder}/build")
    with open(f"{folder}/printed", "wb") as out:
        process = subprocess.Popen(["sh", f"{folder}/scripts/demo", "build"], stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: process.poll() is not None or all(map(listening, PORTS)), 30, "the demo")
    yield folder, open(f"{folder}/printed").read(), process
    if process.poll() is None:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def pasted(demo, begins):
    """The printed lines that begin so, run in the demo's folder; output of the last."""
    folder, text, _ = demo
    out = None
    for line in re.findall(rf"^  ({begins}.*)$", text, re.M):
        done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=60 * SLOW)
        assert done.returncode == 0, (line, done)
        out = done.stdout.decode()
    assert out is not None, text
    return out


def test_lines_to_try(demo):
    folder, text, _ = demo
    assert pasted(demo, "printf").strip() == ""
    mail = f"{folder}/demo/mail/example.test"
    wait_until(lambda: glob.glob(f"{mail}/alice/Maildir/new/*"), 10, "the first mail")
    assert "Subject: Hello" in pasted(demo, "curl .*imaps")
    assert "First mail." in pasted(demo, "curl .*pop3s")
    pasted(demo, "swaks")
    wait_until(lambda: glob.glob(f"{mail}/bob/Maildir/new/*"), 10, "the mail of swaks")
    assert "is running" in pasted(demo, "build/bin/pennypost .*status")
    assert "Mail queue is empty" in pasted(demo, "build/bin/mailq")
    assert "mutt -e" in text and "Ctrl-C stops" in text


def test_only_this_machine_reaches_it(demo):
    folder, _, _ = demo
    conf = open(f"{folder}/demo/pennypost.conf").read()
    assert re.findall(r'^[a-z0-9]+-listen = {"(.*?):\d+"}', conf, re.M) == ["127.0.0.1"] * len(PORTS)


def test_aliases_and_catch_all(demo):
    folder, _, _ = demo
    explained = subprocess.run(["build/bin/pennypost", "-C", "demo/pennypost.conf", "alias", "list"], cwd=folder,
                               capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"info@example.test.*alice@example.test.*bob@example.test", explained), explained
    assert re.search(r"\*@example.test.*alice@example.test", explained), explained


def test_ctrl_c_stops_all(demo):
    folder, _, process = demo
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30 * SLOW) == 0
    assert not any(map(listening, PORTS))
    left = [p for p in os.listdir("/proc") if p.isdigit() and f"{folder}/demo/".encode() in cmdline(p)]
    assert not left


def cmdline(pid):
    try:
        return open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        return b""
