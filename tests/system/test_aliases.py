"""Aliases through the whole suite: lists and their owners, circles, commands, and nobody left in the queue."""
import os
import re
import stat

import pytest

from conftest import wait_until


@pytest.fixture(scope="module")
def aliased(make_suite):
    s = make_suite(users=("alice", "bob", "owner"), start=False)
    out = os.path.join(s.dir, "out")
    os.mkdir(out)
    os.chmod(out, 0o777)
    os.chmod(s.dir, 0o711)
    script = os.path.join(out, "keep")
    with open(script, "w") as f:
        f.write(f"#!/bin/sh\ncat > {out}/mail.tmp && mv {out}/mail.tmp {out}/mail\n")
    os.chmod(script, 0o755)
    with open(os.path.join(s.dir, "domains", "example.test", "aliases"), "w") as f:
        f.write("team: alice, bob, nobody-here\nowner-team: owner\nloop1: loop2, bob\nloop2: loop1\ntwice: bob, bobby, bob\nbobby: bob\n")
    with open(os.path.join(s.dir, "aliases"), "w") as f:
        f.write(f'keep: "|{script}"\nbox: {out}/box\nnull: /dev/null\nfail: "|/bin/false"\nroot: alice@example.test\n')
    s.run(program="newaliases")
    return s.start()


def bodies(suite, user):
    return [open(f, "rb").read() for f in suite.files(user)]


def test_list_with_owner(aliased):
    """Members get it; the one who does not exist is the owner's business, not the sender's."""
    aliased.send("team@example.test", sender="alice@example.test", subject="to the team")
    aliased.wait_mail("bob", 1)
    wait_until(lambda: any(b"nobody-here@example.test" in b for b in bodies(aliased, "owner")), 20, "the bounce")
    mine, = [b for b in bodies(aliased, "bob") if b"to the team" in b]
    assert mine.startswith(b"Return-Path: <owner-team@example.test>\r\nX-Original-To: team@example.test\r\n"
                           b"Delivered-To: bob@example.test\r\n")
    assert not any(b"nobody-here" in b for b in bodies(aliased, "alice"))


def test_circle_comes_back(aliased):
    """V17."""
    before = len(aliased.files("bob"))
    aliased.send("loop1@example.test", sender="alice@example.test", subject="round and round")
    wait_until(lambda: any(b"alias loop: loop1@example.test -> loop2@example.test -> loop1@example.test" in
                           b" ".join(b.split()) for b in bodies(aliased, "alice")), 20, "the bounce")
    assert len(aliased.files("bob")) == before


def test_one_copy(aliased):
    before = len(aliased.files("bob"))
    aliased.send("twice@example.test", subject="once")
    aliased.wait_queue_empty()
    assert len(aliased.files("bob")) == before + 1


def test_actions(aliased):
    out = os.path.join(aliased.dir, "out")
    for name in ("keep", "box", "null", "fail"):
        aliased.send(f"{name}@mail.example.test", sender="bob@example.test", subject=f"for {name}")
    aliased.wait_queue_empty()
    assert "Subject: for keep\n" in open(os.path.join(out, "mail")).read()
    box = os.path.join(out, "box")
    assert "Subject: for box\n" in open(box).read() and stat.S_IMODE(os.stat(box).st_mode) == 0o600
    assert any(b"5.3.0" in b and b"for fail" in b for b in bodies(aliased, "bob"))
    assert re.search(r"to=<[^>]*>, orig_to=<keep@mail\.example\.test>, relay=local, .* dsn=2\.0\.0, status=sent", aliased.log())


def test_root_and_postmaster_reach_a_person(aliased):
    before = len(aliased.files("alice"))
    for who in ("root@mail.example.test", "postmaster@mail.example.test", "Postmaster@example.test", "root@localhost"):
        aliased.send(who)
    aliased.wait_mail("alice", before + 4)


def test_nothing_is_left(aliased):
    aliased.wait_queue_empty()
    assert not re.search(r"(?i)ledger.*differ", aliased.log())
