#!/usr/bin/env python3
"""Run every test of Pennypost; the last line is "N passed, N failed".

Stages, one line each: unit tests, the same under sanitizers, fuzzers for a
bounded time, checks of texts (man pages, units), whole-suite tests, the same
under sanitizers.  Output of what failed is printed where it happens and named
again at the end; everything is kept in build/check/.

A test of a running suite that fails is run once more with the machine to itself,
and is named in any case: what fails only beside others did not wait long enough.
Not so the tests of what must never happen (PROOFS): one failure is a failure.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, "build", "check")
JOBS = os.cpu_count() or 2
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "2"))
SAN_ENV = {
    # Leak checking needs ptrace, which confined processes do not have.
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
}


PROOFS = re.compile(r"crash|power|order|sweep|confine|privs|disk|lost|selftest")


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self.named = []  # what failed, a line each

    def add(self, stage, passed, failed, seconds):
        self.passed += passed
        self.failed += failed
        print(f"{stage}: {passed} passed, {failed} failed ({seconds:.0f} s)", flush=True)

    def name(self, stage, what):
        self.named.append(f"failed in {stage}: {what}")


def show_end(path, lines=40):
    with open(path, errors="replace") as f:
        for line in f.readlines()[-lines:]:
            print("    " + line.rstrip())


def run(name, argv, env=None, timeout=600):
    """Run argv with its output in OUT/name.log; (exit code, path of the log)."""
    log = os.path.join(OUT, name + ".log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "wb") as f:
        try:
            code = subprocess.run(argv, cwd=TOP, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env={**os.environ, **(env or {})}, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            f.write(b"\n*** timed out\n")
            code = 124
    return code, log


def build(target, build_dir, *variables):
    code, log = run("build-" + os.path.basename(build_dir) + "-" + target,
                    ["make", "-s", "--no-print-directory", f"-j{JOBS}", f"B={build_dir}", *variables, target], timeout=1800)
    if code != 0:
        show_end(log)
        print(f"{target} in {build_dir} does not build")
    return code == 0


def cmocka_counts(code, log):
    text = open(log, errors="replace").read()
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", text))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", text))
    if code != 0 and failed == 0:
        failed = 1
    if passed + failed == 0:
        failed = 1  # it ran nothing
    return passed, failed


def failed_line(program, result):
    """The program and its first lines that say why."""
    code, log = result
    text = open(log, errors="replace").read()
    why = re.findall(r"^(?:\[  FAILED  \] \D.*|.*error:.*|==.*(?:ERROR|SUMMARY).*|.*Sanitizer.*|\*\*\* .*)$", text, re.M)
    return f"{os.path.basename(program)} (exit {code}): " + "; ".join(why[:4])[:400]


def unit(tally, stage, build_dir, env=None):
    began = time.time()
    programs = sorted(glob.glob(os.path.join(TOP, build_dir, "tests", "test_*")))
    programs = [p for p in programs if os.access(p, os.X_OK) and not p.endswith((".d", ".o"))]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        jobs = {pool.submit(run, f"{stage}/{os.path.basename(p)}", [p], env): p for p in programs}
        for job in concurrent.futures.as_completed(jobs):
            p, f = cmocka_counts(*job.result())
            passed, failed = passed + p, failed + f
            if f:
                print(f"--- {jobs[job]}")
                show_end(job.result()[1])
                tally.name(stage, failed_line(jobs[job], job.result()))
    tally.add(stage, passed, failed or (0 if programs else 1), time.time() - began)


def fuzz(tally):
    began = time.time()
    programs = sorted(glob.glob(os.path.join(TOP, "build-fuzz", "fuzz", "fuzz_*")))
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        jobs = {}
        for p in programs:
            name = os.path.basename(p)
            corpus = os.path.join(TOP, "tests", "fuzz", "corpus", name)
            argv = [p, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=65536",
                    f"-artifact_prefix={OUT}/{name}-"]
            scratch = os.path.join(OUT, "fuzz-corpus", name)
            os.makedirs(scratch, exist_ok=True)
            argv += [scratch] + ([corpus] if os.path.isdir(corpus) else [])
            jobs[pool.submit(run, f"fuzz/{name}", argv, SAN_ENV, FUZZ_SECONDS + 120)] = p
        for job in concurrent.futures.as_completed(jobs):
            code, log = job.result()
            if code == 0:
                passed += 1
            else:
                failed += 1
                print(f"--- {jobs[job]}")
                show_end(log)
                tally.name("fuzzers", failed_line(jobs[job], (code, log)))
    tally.add("fuzzers", passed, failed or (0 if programs else 1), time.time() - began)


def texts(tally):
    """Man pages without a warning, and pennypost-ipc(7) as the header has it."""
    began = time.time()
    passed = failed = 0
    for page in sorted(glob.glob(os.path.join(TOP, "man", "*", "*.[1-8]"))):
        code, log = run("man/" + os.path.basename(page), ["mandoc", "-Tlint", "-Wwarning", page])
        if code == 0:
            passed += 1
        else:
            failed += 1
            show_end(log)
            tally.name("man pages", page)
    code, log = run("man/ipc-man", [os.path.join(TOP, "scripts", "ipc-man"), "--check"])
    if code == 0:
        passed += 1
    else:
        failed += 1
        show_end(log)
        tally.name("man pages", "pennypost-ipc(7) is older than lib/ipc_messages.h: run scripts/ipc-man")
    tally.add("man pages", passed, failed, time.time() - began)


def pytest_run(name, build_dir, env, arguments):
    """(exit code, log, passed, names of failed tests as pytest takes them, skipped lines)."""
    report = os.path.join(OUT, name + ".xml")
    if os.path.exists(report):
        os.unlink(report)
    code, log = run(name, ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments],
                    {"PP_BUILD": os.path.join(TOP, build_dir), **(env or {})}, 2400)
    passed, bad = 0, []
    if os.path.exists(report):
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                bad.append(f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}")
            elif case.find("skipped") is None:
                passed += 1
    return code, log, passed, sorted(set(bad))


def system(tally, stage, build_dir, env=None, extra=()):
    began = time.time()
    name = stage.replace(" ", "-")
    code, log, passed, bad = pytest_run(name, build_dir, env, ["-n", str(JOBS), "--dist", "loadfile", *extra, "tests/system"])
    failed = len(bad)
    if code != 0 or passed == 0:
        show_end(log, 120)
    again = [test for test in bad if not PROOFS.search(test)]
    if 0 < len(again) <= 5:
        code, log, alone, still = pytest_run(name + "-alone", build_dir, env, [*extra, *again])
        if code != 0:
            show_end(log, 120)
        for test in set(again) - set(still) if alone + len(still) == len(again) else ():
            bad.remove(test)
            passed, failed = passed + 1, failed - 1
            print(f"{test}: failed beside others, passed alone", flush=True)
    elif code != 0:
        failed = failed or 1
    for test in bad:
        tally.name(stage, test)
    if passed == 0:
        failed = failed or 1
    tally.add(stage, passed, failed, time.time() - began)


def main():
    os.chdir(TOP)
    os.makedirs(OUT, exist_ok=True)
    tally = Tally()
    stages = set(sys.argv[1:]) or {"unit", "san", "fuzz", "texts", "system", "system-san"}
    broken = 0
    if "unit" in stages:
        if build("tests", "build"):
            unit(tally, "unit tests", "build")
        else:
            broken += 1
            tally.name("unit tests", "the build")
    if stages & {"san", "system-san"}:
        if not build("all", "build-san", "SAN=1") or not build("tests", "build-san", "SAN=1"):
            broken += 1
            tally.name("sanitizers", "the build")
            stages -= {"san", "system-san"}
    if "san" in stages:
        unit(tally, "unit tests under sanitizers", "build-san", SAN_ENV)
    if "fuzz" in stages:
        if build("fuzzers", "build-fuzz", "SAN=1", "CC=clang", "CFLAGS=-g -O1 -fsanitize=fuzzer-no-link",
                 "FUZZ_LINK=-fsanitize=fuzzer"):
            fuzz(tally)
        else:
            broken += 1
            tally.name("fuzzers", "the build")
    if "texts" in stages:
        texts(tally)
    if "system" in stages:
        system(tally, "whole suite", "build")
    if "system-san" in stages:
        system(tally, "whole suite under sanitizers", "build-san", SAN_ENV, ["-m", "san"])
    for line in tally.named:
        print(line)
    print(f"{tally.passed} passed, {tally.failed + broken} failed")
    return 1 if tally.failed + broken else 0


if __name__ == "__main__":
    sys.exit(main())
