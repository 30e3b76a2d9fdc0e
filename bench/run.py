#!/usr/bin/python3
"""The bench: Pennypost and its peers, by turns, on this machine.  README.md says how to use it."""
import argparse
import datetime
import os
import platform
import shutil
import statistics
import sys
import tempfile

import counts
import mta
import rows
import space

TOP = mta.TOP


def options():
    p = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    p.add_argument("rows", nargs="*", help="rows to measure (default: all); a prefix is enough")
    p.add_argument("--list", action="store_true", help="list the rows and end")
    p.add_argument("--rounds", type=int, default=3, help="runs of each server, by turns (default 3)")
    p.add_argument("--scale", type=float, default=1.0, help="times the usual number of messages")
    p.add_argument("--servers", default="ceiling,pennypost,postfix,exim,opensmtpd", help="which take part")
    p.add_argument("--peers", default=os.environ.get("PEERS", os.path.join(TOP, "build-peers")),
                   help="folder of unpacked peers (bench/peers makes it)")
    p.add_argument("--build", default=os.path.join(TOP, "build"), help="Pennypost's build folder")
    p.add_argument("--dir", default="/var/tmp", help="folder on the disk that is to be measured")
    p.add_argument("--output", help="also write the tables to this file (default BUILD/bench/results.md)")
    p.add_argument("--quiet", action="store_true", help="do not print the configurations")
    return p.parse_args()


def chosen(names):
    everything = [r.name for r in rows.ROWS] + list(counts.TABLES)
    if not names:
        return everything
    found = [n for n in everything if any(n == w or n.startswith(w) for w in names)]
    for w in names:
        if not any(n.startswith(w) for n in everything):
            sys.exit(f"bench: no row '{w}'; --list shows them")
    return found


class Report:
    """To the terminal and to a file."""

    def __init__(self, path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self.file = open(path, "w")
        self.path = path

    def say(self, text=""):
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()


def machine():
    model = "?"
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def figure(row, value):
    if value is None:
        return "-"
    return f"{value:,.0f}{row.unit}" if value >= 100 else f"{value:.3g}{row.unit}"


def verdict(row, ours, postfix):
    if row.reach is None or ours is None:
        return ""
    if row.less:
        return f"under {row.reach}{row.unit}: " + ("yes" if ours < row.reach else "no")
    if not postfix:
        return f"{row.reach} x: ?"
    return f"{row.reach} x: " + ("yes" if ours >= row.reach * postfix else "no")


def measure(row, servers, tools, args, report):
    values = {s.name: [] for s in servers if s.name not in row.skip}
    if isinstance(row, rows.Bare):
        values = {"ceiling": []}
    for _ in range(args.rounds):
        for s in servers:
            if s.name not in values:
                continue
            try:
                values[s.name].append(row.measure(s, tools, args.scale))
                print(f"bench: {row.name}, {s.name}: {figure(row, values[s.name][-1])}", file=sys.stderr, flush=True)
            except Exception as e:	# one server's trouble is not the others'
                print(f"bench: {row.name}, {s.name}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
    middle = {n: statistics.median(v) if v else None for n, v in values.items()}
    ours, postfix = middle.get("pennypost"), middle.get("postfix")
    ratio = f"{ours / postfix:.2f}" if ours and postfix else ""
    cells = [figure(row, middle.get(n)) for n in ("pennypost", "postfix", "exim", "opensmtpd", "ceiling")]
    spread = values.get("pennypost") or values.get("ceiling") or [0]
    cpu = " / ".join(f"{statistics.median(row.cpu[n]):.0f}" for n in ("pennypost", "postfix") if n in row.cpu)
    span = f"{min(spread):.4g}-{max(spread):.4g}"
    report.say("| " + " | ".join([row.name, row.what, *cells, ratio, verdict(row, ours, postfix), span, cpu]) + " |")


def main():
    args = options()
    if args.list:
        for r in rows.ROWS:
            print(f"{r.name:12} {r.what}")
        for n, t in counts.TABLES.items():
            print(f"{n:12} {t.__doc__.splitlines()[0]}")
        return 0
    names = chosen(args.rows)
    args.peers, args.build = os.path.abspath(args.peers), os.path.abspath(args.build)
    space.enter()
    if space.inside():
        space.prepare(args.peers)
    else:
        print("bench: not root: no peers, no namespaces, and port 25 cannot be had", file=sys.stderr)
        return 77
    tools = rows.Tools(args.peers, args.build)
    if not tools.source:
        sys.exit("bench: smtp-source is not there; bench/peers fetches it")
    work = tempfile.mkdtemp(prefix="pennypost-bench-", dir=args.dir)
    os.chmod(work, 0o755)
    report = Report(args.output or os.path.join(args.build, "bench/results.md"))
    try:
        everyone = [mta.Sink(work, tools), mta.Pennypost(work, args.build), mta.Postfix(work), mta.Exim(work),
                    mta.OpenSmtpd(work)]
        servers = [s for s in everyone if s.name in args.servers.split(",") and s.found()]
        report.say(f"## {datetime.datetime.now():%Y-%m-%d %H:%M}, {machine()}\n")
        report.say("; ".join(s.version() for s in servers) + f"; {args.rounds} rounds, scale {args.scale:g}\n")
        report.say("| row | work | pennypost | postfix | exim | opensmtpd | ceiling | x postfix | reach | our runs | CPU us: ours / postfix |")
        report.say("|---|---|---|---|---|---|---|---|---|---|---|")
        for row in rows.ROWS:
            if row.name in names:
                measure(row, servers, tools, args, report)
        for name, table in counts.TABLES.items():
            if name in names:
                table(servers, tools, args, report)
        if not args.quiet:
            for s in servers:
                for what, text in s.logged:
                    print(f"\n--- {s.name}: {what}\n{text.rstrip()}")
        print(f"\nbench: the tables are in {report.path}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
