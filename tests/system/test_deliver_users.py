"""deliver for users of the machine: their Maildir, .forward, commands and files, each as that user.

The users stand in a passwd of our own, mounted over /etc/passwd for these processes alone.
"""
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
import time

import pytest

from conftest import BIN
from fake_queue import DEFERRED, DONE, EXPANDED, FAILED
from test_deliver import MESSAGE, make_deliver  # noqa: F401 (a fixture)

UID = {"carla": 30001, "dirk": 30002, "ghost": 30003}
ME = "carla@mail.example.test"


def can_mount():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "-m", "mount", "--bind", "/etc/hostname", "/etc/passwd"], capture_output=True).returncode == 0


pytestmark = [pytest.mark.san, pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")]


@pytest.fixture(scope="module")
def homes():
    folder = tempfile.mkdtemp(prefix="pp-homes-")
    os.chmod(folder, 0o755)
    lines = open("/etc/passwd").read()
    for name, uid in UID.items():
        home = os.path.join(folder, name)
        lines += f"{name}:x:{uid}:{uid}:{name}:{home}:/bin/sh\n"
        if name != "ghost":
            os.mkdir(home)
            os.chmod(home, 0o700)
            os.chown(home, uid, uid)
    with open(os.path.join(folder, "passwd"), "w") as f:
        f.write(lines)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_machine(homes, argv=()):
    return ["unshare", "-m", "sh", "-c", f"mount --bind {homes}/passwd /etc/passwd; exec \"$@\"", "sh", *argv]


@pytest.fixture(scope="module")
def machine(make_deliver, homes):  # noqa: F811
    d = make_deliver(start=False, wrap=as_machine(homes))
    d.suite.configure(system_users="true")
    with open(os.path.join(d.suite.dir, "aliases"), "w") as f:
        f.write("dirk: \\dirk, far@else.example\ncrew: carla, dirk\nboss: carla+boss\n")
    subprocess.run(as_machine(homes, [os.path.join(BIN, "newaliases"), "-C", d.suite.conf]), check=True)
    return d.start()


@pytest.fixture(autouse=True)
def clean(homes):
    home = os.path.join(homes, "carla")
    for name in os.listdir(home):
        path = os.path.join(home, name)
        if name.startswith(".forward") or name in ("box", "out"):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    yield


def forward(homes, text, name=".forward", uid=None, mode=0o600):
    path = os.path.join(homes, "carla", name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    os.chown(path, UID["carla"] if uid is None else uid, UID["carla"])
    return path


def script(homes, text):
    path = os.path.join(homes, "carla", "script")
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def mails(homes, user="carla"):
    new = os.path.join(homes, user, "Maildir", "new")
    return sorted(os.path.join(new, f) for f in os.listdir(new)) if os.path.isdir(new) else []


def targets(r):
    assert r.outcome == EXPANDED, r
    return [t[0] for t in r.targets]


def follow(machine, r, orig=ME):
    """Deliver what an expansion gave."""
    return [machine.one((t[0], orig), final=1) for t in r.targets if not t[1]]


def test_mailbox(machine, homes):
    before = mails(homes)
    r = machine.one(ME)
    assert (r.outcome, r.relay, r.dsn) == (DONE, "local", "2.0.0"), r
    path, = set(mails(homes)) - set(before)
    st = os.stat(path)
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (UID["carla"], UID["carla"], 0o600)
    assert b"\r\nDelivered-To: carla@mail.example.test\r\n" in open(path, "rb").read()
    big = b"Subject: x\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y\r\n" * 100000
    assert machine.one("carla+x@localhost", big).outcome == DONE
    assert max(os.path.getsize(p) for p in mails(homes)) > len(big)


def test_many_at_once(machine, homes):
    before = len(mails(homes))
    jobs = [machine.queue.job(MESSAGE, [ME])[0] for _ in range(50)]
    assert all(machine.queue.results(j, 1, 30)[0].outcome == DONE for j in jobs)
    assert len(mails(homes)) == before + 50


def test_repeat(machine, homes):
    job, qid = machine.queue.job(MESSAGE, [ME])
    machine.queue.results(job)
    n = len(mails(homes))
    r = machine.one(ME, qid=qid, repeat=1)
    assert r.outcome == DONE and "already" in r.text and len(mails(homes)) == n


def test_alias_of_the_same_name(machine, homes):
    r = machine.one("dirk@mail.example.test")
    assert targets(r) == ["dirk@mail.example.test", "far@else.example"]
    assert [x.outcome for x in follow(machine, r, "dirk@mail.example.test")] == [DONE]
    assert len(mails(homes, "dirk")) == 1


def test_nothing_is_delivered_as_root(machine):
    assert machine.one("root@mail.example.test").outcome == EXPANDED	# somebody is found for him
    r = machine.one("root@mail.example.test", final=1)
    assert (r.outcome, r.dsn) == (FAILED, "5.1.1")


@pytest.mark.parametrize("head", [b"Delivered-To: carla@mail.example.test\r\n", b"Received: from a by b\r\n" * 51])
def test_loops(machine, head):
    """With final=1 too: what a .forward gave is not looked at before."""
    for final in (0, 1):
        r = machine.one(ME, head + MESSAGE, final=final)
        assert (r.outcome, r.dsn) == (FAILED, "5.4.6"), r


def test_map_that_makes_a_user_root(machine, homes):
    """V11: the root parent does not take a uid of 0 from a map, whoever wrote it."""
    path = os.path.join(machine.suite.dir, "maps", "routes.cdb")
    good = open(path, "rb").read()
    number = struct.pack("<I", UID["carla"])
    assert good.count(number * 2) == 1

    def use(data):
        with open(path + ".x", "wb") as f:
            f.write(data)
        os.rename(path + ".x", path)
        time.sleep(1.1)

    before = mails(homes)
    machine.stop()		# no mailbox process of hers from before
    machine.start()
    use(good.replace(number * 2, bytes(8)))
    r = machine.one(ME, final=1)
    assert r.outcome == DEFERRED and "root" in r.text and mails(homes) == before, r
    use(good)
    assert machine.one(ME, final=1).outcome == DONE


def test_missing_home_waits_and_hurts_nobody(machine):
    r = machine.one("ghost@mail.example.test")
    assert (r.outcome, r.dsn) == (DEFERRED, "4.3.0"), r
    assert machine.one(ME).outcome == DONE


@pytest.mark.parametrize("text,want", [
    ("far@else.example\n", ["far@else.example"]),
    ("\\carla, far@else.example\n", [ME, "far@else.example"]),
    ("far@else.example\ncarla\n", ["far@else.example", ME]),
    ("carla@mail.example.test, alice@example.test\n", [ME, "alice@example.test"]),
    ("# comment\n\nfar@else.example # no\n", None),		# a mistake: the mailbox
    ("dirk\n", ["dirk@mail.example.test", "far@else.example"]),
])
def test_forward(machine, homes, text, want):
    forward(homes, text)
    r = machine.one(ME)
    if want is None:
        assert r.outcome == DONE and ".forward:3:" in machine.log()
    else:
        assert targets(r) == want


def test_empty_forward_is_normal_delivery(machine, homes):
    forward(homes, "\n# nothing\n")
    n = len(mails(homes))
    assert machine.one(ME).outcome == DONE and len(mails(homes)) == n + 1


def test_forward_by_way_of_an_alias(machine, homes):
    forward(homes, "one@else.example\n")
    forward(homes, "two@else.example\n", ".forward+boss")
    assert targets(machine.one("crew@mail.example.test")) == ["one@else.example", "dirk@mail.example.test", "far@else.example"]
    assert targets(machine.one("boss@mail.example.test")) == ["two@else.example"]
    assert targets(machine.one("carla+boss@mail.example.test")) == ["two@else.example"]
    assert targets(machine.one("carla+other@mail.example.test")) == ["one@else.example"]
    assert targets(machine.one('carla+../boss@mail.example.test'.replace("../", "%2f"))) == ["one@else.example"]


def test_forward_of_a_detail_alone(machine, homes):
    forward(homes, "two@else.example\n", ".forward+boss")
    assert targets(machine.one("carla+boss@mail.example.test")) == ["two@else.example"]
    assert machine.one("carla+other@mail.example.test").outcome == DONE
    assert machine.one(ME).outcome == DONE


@pytest.mark.parametrize("how,words", [
    ("writable", "group or others may write it"), ("other", "belongs to somebody else"), ("link", "Too many levels"),
    ("hard", "more than one name"), ("fifo", "not a regular file"), ("folder", "not a regular file"),
    ("large", "larger than"),
])
def test_forward_that_is_passed_over(machine, homes, how, words):
    """V11, CONVENTIONS section 3: ignored with a line in the log; the mail goes to the mailbox."""
    home = os.path.join(homes, "carla")
    path = os.path.join(home, ".forward")
    if how == "writable":
        forward(homes, "far@else.example\n", mode=0o620)
    elif how == "other":
        forward(homes, "far@else.example\n", uid=UID["dirk"], mode=0o644)
    elif how == "link":
        real = forward(homes, "far@else.example\n", "out")
        os.symlink(real, path)
    elif how == "hard":
        os.link(forward(homes, "far@else.example\n", "out"), path)
    elif how == "fifo":
        os.mkfifo(path)
        os.chown(path, UID["carla"], UID["carla"])
    elif how == "folder":
        os.mkdir(path)
        os.chown(path, UID["carla"], UID["carla"])
    elif how == "large":
        forward(homes, "# x\n" * 2_000_000 + "far@else.example\n")
    n = len(mails(homes))
    r = machine.one(ME)
    assert r.outcome == DONE, r
    assert len(mails(homes)) == n + 1 and words in machine.log()


def test_command_of_a_user(machine, homes):
    out = os.path.join(homes, "carla", "out")
    path = script(homes, f"(id -u; id -g; id -G; pwd; env; cat) > {out}\n")
    forward(homes, f'"|{path} -x", \\carla\n')
    r = machine.one("carla+ext@mail.example.test")
    assert targets(r) == [f"~carla+ext|{path} -x", ME]
    results = follow(machine, r, "carla+ext@mail.example.test")
    assert [x.outcome for x in results] == [DONE, DONE], results
    lines = open(out).read().split("\n")
    assert lines[:4] == ["30001", "30001", "30001", os.path.join(homes, "carla")]
    for want in (f"HOME={homes}/carla", "USER=carla", "LOGNAME=carla", "SHELL=/bin/sh", "EXTENSION=ext", "LOCAL=carla",
                 "RECIPIENT=carla@mail.example.test", "ORIGINAL_RECIPIENT=carla+ext@mail.example.test",
                 "Delivered-To: carla@mail.example.test", "Hello."):
        assert want in lines, want


def test_file_of_a_user(machine, homes):
    box = os.path.join(homes, "carla", "box")
    forward(homes, f"{box}\n")
    assert [x.outcome for x in follow(machine, machine.one(ME))] == [DONE]
    st = os.stat(box)
    assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (UID["carla"], 0o600)
    assert open(box).read().startswith("From sender@example.net ")
    forward(homes, f"{homes}/dirk/box\n")			# not hers
    r = follow(machine, machine.one(ME))[0]
    assert r.outcome == DEFERRED and not os.path.exists(os.path.join(homes, "dirk", "box"))


def test_only_what_the_forward_says(machine, homes):
    """What queue says is believed only if the user's own file says so too."""
    path = script(homes, f"touch {homes}/carla/out\n")
    forward(homes, "far@else.example\n")
    for action in (f"~carla|{path}", f"~carla|/usr/bin/touch {homes}/carla/out", f"~carla/{homes}/carla/out".replace("//", "/"),
                   f"~carla+x|{path}", f"~dirk|{path}", f"|{path}", f"~carla+../../dirk|{path}"):
        r = machine.one((action, ME), final=1)
        assert r.outcome == DEFERRED, (action, r)
    assert not os.path.exists(os.path.join(homes, "carla", "out"))


def test_include_of_a_user(machine, homes):
    listed = forward(homes, "alice@example.test\nfar@else.example\n", ".forward-list")
    forward(homes, f":include:{listed}\n")
    assert targets(machine.one(ME)) == ["alice@example.test", "far@else.example"]
    os.chown(listed, UID["dirk"], UID["dirk"])		# hers alone, or root's
    os.chmod(listed, 0o644)
    assert machine.one(ME).outcome == DEFERRED and "belongs to somebody else" in machine.log()
    # Read as her: what only root may read is not.
    forward(homes, ":include:/etc/shadow\n")
    r = machine.one(ME)
    assert r.outcome == DEFERRED and "/etc/shadow" in r.text, r


def test_forward_loop_between_users(machine, homes):
    """V17: to each other and back: everybody's own address in the end means the mailbox."""
    forward(homes, "dirk2@mail.example.test, \\dirk\n")
    r = machine.one(ME)
    assert targets(r) == ["dirk2@mail.example.test", "dirk@mail.example.test"]
    forward(homes, "carla+a\n")
    assert targets(machine.one(ME)) == ["carla+a@mail.example.test"]


def test_each_process_has_its_user_alone(machine, homes):
    """Landlock and uid of the mailbox process, read from the kernel."""
    assert machine.one(ME).outcome == DONE
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                status = open(f"/proc/{pid}/status").read()
            except OSError:
                continue
            if re.search(r"^Uid:\s30001\s30001\s30001", status, re.M):
                found.append(status)
    assert found
    for status in found:
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status and re.search(r"CapEff:\s0+\n", status)
        assert re.search(r"^Groups:\s30001\s*$", status, re.M)
