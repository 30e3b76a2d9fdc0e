"""What a message costs our own suite: system calls, syncs, switches, octets moved."""
import os
import re
import signal
import subprocess
import time

import mta

SYNCS = ("fsync", "fdatasync", "syncfs", "sync_file_range", "msync")
LOADS = {	# name: mode of the server, recipient, clients, options
    "accepted, one a session": (mta.HELD, "u1@example.test", 10, []),
    "accepted, many a session": (mta.HELD, "u1@example.test", 10, ["-d"]),
    "delivered, one a session": (mta.NORMAL, "u1@example.test", 10, []),
    "relayed, one a session": (mta.NORMAL, None, 10, []),
}


def settle(server, mode, files_wanted, sink_wanted):
    if mode == mta.NORMAL and files_wanted:
        mta.wait_until(lambda: server.files()[0] >= files_wanted, 120, "delivery")
    time.sleep(1.0 if mode == mta.NORMAL else 0.3)


def strace(server, tools, mode, to, clients, more, n):
    """Counts by name of all processes of the server, while n messages go in."""
    out = os.path.join(server.dir, "strace")
    argv = ["strace", "-f", "-qq", "-c", "-S", "calls", "-U", "calls,name", "-o", out]
    for pid in server.pids():
        argv += ["-p", str(pid)]
    before = server.files()[0]
    tracer = subprocess.Popen(argv)
    time.sleep(1)
    tools.load(clients, n, 4096, to, *more)
    settle(server, mode, before + n if to.startswith("u") else 0, 0)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(timeout=30)
    counts = {}
    with open(out) as f:
        for line in f:
            m = re.match(r"\s*(\d+)\s+(\w+)\s*$", line)
            if m and m.group(2) != "total":
                counts[m.group(2)] = counts.get(m.group(2), 0) + int(m.group(1))
    return counts


def proc_sums(pids):
    """Context switches and octets read and written, of processes that live on."""
    total = {"switches": 0, "rchar": 0, "wchar": 0}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as f:
                total["switches"] += sum(int(x.split()[1]) for x in f if "ctxt_switches" in x)
            with open(f"/proc/{pid}/io") as f:
                for x in f:
                    key, value = x.split(": ")
                    if key in total:
                        total[key] += int(value)
        except OSError:
            pass
    return total


def plain(server, tools, mode, to, clients, more, n):
    pids = server.pids()
    files, before = server.files()[0], proc_sums(pids)
    tools.load(clients, n, 4096, to, *more)
    settle(server, mode, files + n if to.startswith("u") else 0, 0)
    after = proc_sums(pids)
    return {k: (after[k] - before[k]) / n for k in after}


def calls(servers, tools, args, report):
    """system calls, syncs, context switches and octets moved per message, all processes"""
    n = max(100, int(1000 * args.scale))
    sink = subprocess.Popen([tools.sink, "-u", "nobody", f"127.0.0.1:{mta.SINK_PORT}", "1000"])
    report.say(f"\n| per message ({n}, 4 KB) | server | system calls | syncs | switches | KB read | KB written | most frequent calls |")
    report.say("|---|---|---|---|---|---|---|---|")
    try:
        for what, (mode, to, clients, more) in LOADS.items():
            for s in servers:
                if s.name == "ceiling":
                    continue
                try:
                    line(s, tools, mode, to or s.remote, clients, more, n, what, report)
                except Exception as e:
                    print(f"bench: calls, {s.name}: {type(e).__name__}: {e}", flush=True)
    finally:
        sink.kill()
        sink.wait()


def line(s, tools, mode, to, clients, more, n, what, report):
    s.start(mode)
    try:
        tools.load(clients, 50, 4096, to, *more)
        settle(s, mode, 0, 0)
        moved = plain(s, tools, mode, to, clients, more, n)
        counts = strace(s, tools, mode, to, clients, more, n)
    finally:
        s.stop()
    most = sorted(counts.items(), key=lambda x: -x[1])[:12]
    report.say("| " + " | ".join([
        what, s.name, f"{sum(counts.values()) / n:.1f}", f"{sum(counts.get(c, 0) for c in SYNCS) / n:.2f}",
        f"{moved['switches']:.1f}", f"{moved['rchar'] / 1024:.1f}", f"{moved['wchar'] / 1024:.1f}",
        ", ".join(f"{name} {c / n:.1f}" for name, c in most)]) + " |")


TABLES = {"calls": calls}
