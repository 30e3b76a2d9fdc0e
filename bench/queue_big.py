#!/usr/bin/python3
"""A queue of 200,000 deferred messages: what it costs.

	bench/queue_big.py [MESSAGES] [OCTETS]

Starts queue alone in a scratch folder (PP_BUILD picks the build), fills it with
bench/queue_load.c, has every message deferred once, and prints a table: memory
for each message, start-up, the list, intake beside an empty queue, and the
longest wait for an answer while the log is compacted.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
import queue_alone  # noqa: E402

LOAD = os.path.join(os.environ.get("PP_BUILD", os.path.join(TOP, "build")), "bench", "queue_load")
ROUNDS = 5


def load(queue, *args):
    return subprocess.run([LOAD, args[0], f"{queue.dir}/run", *map(str, args[1:])], check=True, capture_output=True,
                          text=True).stdout.strip()


def memory(queue):
    """Octets of the process that are its own."""
    with open(f"/proc/{queue.process.pid}/smaps_rollup") as f:
        figures = {line.split(":")[0]: line.split()[1] for line in f if line.endswith("kB\n")}
    return int(figures["Private_Dirty"]) * 1024


def address_octets(messages):
    """Of what queue_load names: sender and recipient."""
    return sum(len(f"user{n}@destination{n % 20000}.example") for n in range(messages)) / messages + len("sender@client.example")


def make(folder):
    os.makedirs(folder)
    return queue_alone.Queue(folder, retry_min=86400, retry_max=172800, lifetime=864000, bounce_lifetime=864000)


def started(queue):
    """Seconds from exec until a submitter has its ids."""
    began = time.monotonic()
    queue.start()
    queue.smtpd().lease()
    return time.monotonic() - began


def anew(queue):
    """As if it had never had a message."""
    queue.kill()
    for name in ("spool/log", "spool/trace", "state/queue"):
        shutil.rmtree(f"{queue.dir}/{name}")
    queue.start()


def say(what, value, limit=""):
    print(f"{what:58} {value:>14}   {limit}", flush=True)


def processor(queue):
    """Seconds of processor time so far."""
    with open(f"/proc/{queue.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def intake(big, empty):
    """Messages a second, and microseconds of processor time for each, of both in turns."""
    speed, cost = {big: [], empty: []}, {big: [], empty: []}
    for _ in range(ROUNDS):
        for queue in (big, empty):
            before = processor(queue)
            speed[queue].append(float(load(queue, "submit", 2, 25, 20000, 4096, 100)))
            cost[queue].append((processor(queue) - before) / 20000 * 1e6)
        anew(empty)
    for what, figures in (("a second", speed), ("processor time, us", cost)):
        full, none = statistics.median(figures[big]), statistics.median(figures[empty])
        say(f"intake with it, with an empty queue: {what}", f"{full:.0f}, {none:.0f}", f"{full / none - 1:+.0%}")


def main():
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 200000
    octets = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    folder = tempfile.mkdtemp(prefix="pp-big-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.chmod(folder, 0o755)
    big, empty = make(f"{folder}/big"), make(f"{folder}/empty")
    try:
        empty.start()
        big.start()
        bare = memory(big)
        say(f"{messages} messages of {octets} octets taken in, a second", load(big, "submit", 4, 50, messages, octets, 20000))
        began = time.monotonic()
        load(big, "serve", "relay", "defer", messages)
        say("deferred, a second", f"{messages / (time.monotonic() - began):.0f}")
        say("memory, octets a message beside its addresses",
            f"{(memory(big) - bare) / messages - address_octets(messages):.0f}", "< 200")
        say("the list, as queue gives it", load(big, "list"), "< 2 s")
        began = time.monotonic()
        out = subprocess.Popen([os.path.join(queue_alone.BIN, "pennypost"), "-C", big.conf, "queue", "list"], stdout=subprocess.PIPE)
        out.stdout.read(1)
        first = time.monotonic() - began
        out.communicate()
        say("pennypost queue: first line, last line",
            f"{first:.3f} s, {time.monotonic() - began:.2f} s", "at once, < 2 s")
        for how, sig in (("stopped", 15), ("killed", 9)):
            big.kill(sig)
            say(f"start after it was {how}", f"{started(big):.2f} s", "< 2 s")
            say("  memory after it", f"{(memory(big) - bare) / messages - address_octets(messages):.0f}", "< 200")
        intake(big, empty)
        quiet = load(big, "wait", 3)
        big.do(queue_alone.COMPACT)
        say("longest wait for an answer, ms: quiet; compacting", f"{quiet}; {load(big, 'wait', 10)}", "< 50 more")
    finally:
        big.kill()
        empty.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
