"""`pennypost selftest crash`: it finds nothing in a sound suite, and a loss in one that is not; it leaves nothing behind."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from conftest import BIN, SLOW, wait_until
from queue_alone import fault_library

SANITIZED = "san" in os.path.basename(os.path.dirname(BIN))


def crash(folder, *args, program=os.path.join(BIN, "pennypost"), **more):
    return subprocess.Popen([program, "selftest", "crash", "--json", "--dir", str(folder), *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def of_folder(folder):
    """Processes that were started with a path below it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if str(folder).encode() + b"/pennypost-selftest." in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


@pytest.fixture()
def folder(tmp_path):
    # Daemons under other accounts pass through it.
    os.chmod(tmp_path, 0o755)
    yield tmp_path
    assert not of_folder(tmp_path)


def test_sound_suite(folder):
    run = crash(folder, "--rounds", "12", "--seed", "5")
    out, err = run.communicate(timeout=120 * SLOW)
    assert run.returncode == 0, out + err
    figures = json.loads(out)
    assert figures["rounds"] == 12 and figures["seed"] == 5 and figures["came_back"]
    assert figures["taken"] > 100
    assert figures["kills"]["all"] >= 2 and figures["kills"]["one"] + figures["kills"]["point"] > 5
    assert figures["lost"] == figures["doubled"] == figures["torn"] == figures["refused_there"] == figures["strangers"] == 0
    assert figures["imap"]["kept"] > 10 and figures["imap"]["wrong"] == 0
    assert not os.listdir(folder)


@pytest.mark.skipif(SANITIZED, reason="the preloaded library does not go with sanitizers")
def test_finds_a_loss(folder):
    """A queue whose disk forgets now and then what it was given."""
    programs = folder / "bin"
    shutil.copytree(BIN, programs, symlinks=True)
    os.rename(programs / "queue", programs / "real-queue")
    with open(programs / "queue", "w") as f:
        f.write(f"#!/bin/sh\nLD_PRELOAD={fault_library()} PP_FAULTS=pwritev:lie:20+20 exec {programs}/real-queue \"$@\"\n")
    os.chmod(programs / "queue", 0o755)
    scratch = folder / "scratch"
    scratch.mkdir()
    run = crash(scratch, "--rounds", "10", "--wait", "4", program=str(programs / "pennypost"))
    out, err = run.communicate(timeout=120 * SLOW)
    assert run.returncode == 70, out + err
    figures = json.loads(out)
    assert figures["lost"] > 0, out + err
    assert "was taken, and is lost" in err and "everything is left in" in err
    assert os.listdir(scratch)
    shutil.rmtree(scratch)


def test_interrupted(folder):
    run = crash(folder, "--rounds", "1000")
    wait_until(lambda: len(of_folder(folder)) > 8, 30, "the scratch suite")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30 * SLOW)
    assert run.returncode == 128 + signal.SIGINT, out + err
    assert not os.listdir(folder)


@pytest.mark.parametrize("args", [[], ["crush"], ["crash", "--rounds", "0"], ["crash", "--rounds", "x"],
                                  ["crash", "--seed", "-1"], ["crash", "more"], ["crash", "--no-such"]])
def test_arguments(args, folder):
    run = subprocess.run([os.path.join(BIN, "pennypost"), "selftest", *args], cwd=folder, capture_output=True, timeout=20)
    assert run.returncode == 64 and run.stderr
    assert not os.listdir(folder)


def test_no_such_folder(folder):
    run = crash(folder / "none")
    assert run.wait(20) == 73
