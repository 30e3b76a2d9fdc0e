#!/usr/bin/env python3
"""The long proof that no message is lost: random kills and power cuts, with counts and seeds.

    make proof [KILLS=10000] [CUTS=1000] [SEED=1] [FOLDER=/tmp]

KILLS: processes killed by `pennypost selftest crash`, in suites of 250.
CUTS: power cuts of a whole suite (root): on ext4 and on XFS, at a random
instant under load, after one message and silence, and snapshots of a disk
that goes on; see tests/system/power.py.  FOLDER has to be on a disk for the
kills to mean anything for it.  One line a suite; a loss ends it with exit code
1 and leaves what selftest kept.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
sys.dont_write_bytecode = True

import disk  # noqa: E402
import power  # noqa: E402
from conftest import BIN  # noqa: E402

A_SUITE = 250		# kills
CUTS_A_DISK = 25
SNAPSHOTS = 10
FAULTS = ("lost", "doubled", "torn", "refused_there", "strangers")


def setting(name, default):
    return int(os.environ.get(name) or default)


def say(*words):
    print(*words, flush=True)


def kills(total, seed, folder):
    """Returns what all suites together did; raises on a loss."""
    sums = {"kills": 0, "at a chosen call": 0, "taken": 0, "unanswered": 0}
    while sums["kills"] < total:
        rounds = min(A_SUITE, total - sums["kills"])
        run = subprocess.run([os.path.join(BIN, "pennypost"), "selftest", "crash", "--json", "--dir", folder,
                              "--rounds", str(rounds), "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise power.Loss(f"selftest crash --seed {seed}: exit {run.returncode}\n{run.stdout}")
        f = json.loads(run.stdout)
        sums["kills"] += f["rounds"]
        sums["at a chosen call"] += f["kills"]["point"]
        sums["taken"] += f["taken"]
        sums["unanswered"] += f["unanswered"]
        say(f"kills, seed {seed}: {f['rounds']} in {f['seconds']:.0f} s, {f['kills']['point']} at a chosen call, "
            f"{f['taken']} messages taken, " + ", ".join(f"{f[k]} {k}" for k in FAULTS))
        seed += 1
    return sums


def one_disk(kind, how, n, seed):
    with tempfile.TemporaryDirectory(prefix="pp-proof-") as folder:
        os.chmod(folder, 0o755)
        if how == "snapshots":
            return power.snapshots(folder, n, seed)
        return power.cuts(folder, kind, how == "idle", n, seed)


def cuts(total, seed):
    kinds = [(k, how) for how in ("load", "idle") for k in disk.KINDS if disk.can_make(k)]
    if disk.can_make("xfs"):
        kinds.append(("ext4", "snapshots"))
    sums = {"cuts": 0, "messages": 0}
    while sums["cuts"] < total:
        kind, how = kinds[seed % len(kinds)]
        n = min(SNAPSHOTS if how == "snapshots" else CUTS_A_DISK, total - sums["cuts"])
        began = time.time()
        messages = one_disk(kind, how, n, seed)
        sums["cuts"] += n
        sums["messages"] += messages
        say(f"power, seed {seed}: {n} on {kind}, {how}, {messages} messages taken, 0 lost, 0 doubled, 0 torn "
            f"({time.time() - began:.0f} s)")
        seed += 1
    return sums


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that suites and disks are removed
    n_kills, n_cuts, seed = setting("KILLS", 10000), setting("CUTS", 1000), setting("SEED", 1)
    if n_kills > 0:
        say(kills(n_kills, seed, os.environ.get("FOLDER") or tempfile.gettempdir()))
    if n_cuts > 0 and not disk.private_mounts():
        say("no power cuts: they need root, mount namespaces and loop devices")
    elif n_cuts > 0:
        say(cuts(n_cuts, seed))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as e:		# a loss, or a suite that does not come back
        say(f"LOSS or failure: {e}")
        sys.exit(1)
