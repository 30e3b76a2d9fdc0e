"""Sessions that wait are parked: their process ends, and a change, input or the end of time brings them back."""
import os
import re
import time

import pytest
from conftest import wait_until
from imap_wire import Closed, Wire


@pytest.fixture(scope="module")
def quick(make_suite):
    """Its users' processes end after a second."""
    return make_suite(user_process_idle="1s")


def wire(suite, user="alice"):
    return Wire(suite.port("imaps"), suite.address(user), suite.password(user), suite.tls)


def processes(suite, user="alice"):
    """The imap processes of a user that are alive now."""
    pids = set(re.findall(rf"imap-login\[\d+\]: Login: user=<{user}@example\.test>.*?mpid=(\d+)", suite.log()))
    return {p for p in pids if os.path.exists(f"/proc/{p}")} | {str(p) for p in children(suite, user)}


def children(suite, user):
    """Of the parent of imapd, by uid and what they have open: those in the user's Maildir."""
    found = []
    parent = suite.daemon_pid("imapd")
    with open(f"/proc/{parent}/task/{parent}/children") as f:
        for pid in f.read().split():
            try:
                if any(suite.maildir(user) in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")):
                    found.append(int(pid))
            except OSError:
                continue
    return found


def idle(w):
    tag = w.send("IDLE")
    while not w.read().raw.startswith(b"+"):
        pass
    return tag


def parked(suite, user="alice"):
    wait_until(lambda: not processes(suite, user), 20, "the user's process to end")


def next_word(w):
    return w.read().raw


def test_new_mail_wakes(quick):
    w = wire(quick)
    w.ask("SELECT INBOX")
    tag = idle(w)
    for n in range(1, 4):
        parked(quick)
        quick.send("alice", subject=f"number {n}")
        assert next_word(w) == b"* %d EXISTS" % n
        assert next_word(w).endswith(b"RECENT")
    parked(quick)
    w.write(b"DONE\r\n")
    assert w.finish(tag)[0] == b"OK"
    status, untagged = w.ask("FETCH 1:* BODY[HEADER.FIELDS (SUBJECT)]")
    assert status == b"OK" and len([u for u in untagged if b"BODY[" in u.raw]) == 3
    w.ask("LOGOUT")
    w.close()


def test_what_others_did_meanwhile(quick):
    w = wire(quick, "bob")
    for n in range(5):
        w.ask(b"APPEND INBOX {13+}\r\nsubject: %d\r\n\r\n" % n)
    w.ask("SELECT INBOX")
    tag = idle(w)
    parked(quick, "bob")
    path = quick.files("bob")
    by_subject = {open(p, "rb").read()[9:10]: p for p in path}
    os.unlink(by_subject[b"1"])
    assert next_word(w) == b"* 2 EXPUNGE"
    parked(quick, "bob")
    other = wire(quick, "bob")		# and by another session, in a folder that is watched
    other.ask("SELECT INBOX")
    other.ask("STORE 1 +FLAGS (\\Flagged later)")
    heard = [next_word(w) for _ in range(3)]
    assert any(b"FETCH" in h and b"\\Flagged" in h and b"later" in h for h in heard), heard
    assert any(h.startswith(b"* FLAGS") for h in heard), heard
    other.ask("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    other.ask("EXPUNGE")
    gone = []
    while len(gone) < 2:
        word = next_word(w)
        if word.endswith(b"EXPUNGE"):
            gone.append(word)
    other.ask("LOGOUT")
    other.close()
    w.write(b"DONE\r\n")
    assert w.finish(tag)[0] == b"OK"
    status, untagged = w.ask("FETCH 1:* FLAGS")
    assert len([u for u in untagged if b"FETCH" in u.raw]) == 2
    w.close()


def test_after_login(quick):
    """Nothing selected: input wakes it, and what ENABLE did is not forgotten."""
    w = wire(quick)
    assert w.ask("ENABLE IMAP4rev2")[0] == b"OK"
    parked(quick)
    status, untagged = w.ask("SELECT INBOX")
    assert status == b"OK" and not any(b"RECENT" in u.raw for u in untagged)	# IMAP4rev2 has none
    w.close()


def test_gone_client(quick):
    """No process is started to hear that a parked client has gone; the log has it."""
    w = wire(quick)
    w.ask("SELECT INBOX")
    idle(w)
    parked(quick)
    before = len(re.findall(r"imap\(alice@example\.test\).*Connection closed|Connection closed.*alice", quick.log()))
    w.close()
    wait_until(lambda: len(re.findall(r"imap\(alice@example\.test\).*Connection closed|Connection closed.*alice", quick.log())) > before,
               20, "the end in the log")
    assert not processes(quick)


def test_idle_for_too_long(make_suite):
    suite = make_suite(users=("alice",), user_process_idle="1s", imap_timeout="4s")
    w = wire(suite)
    w.ask("SELECT INBOX")
    idle(w)
    parked(suite)
    assert next_word(w).startswith(b"* BYE")
    with pytest.raises(Closed):
        w.read()
    w.close()


def test_folder_is_deleted(quick):
    w, other = wire(quick), wire(quick)
    other.ask("CREATE Doomed")
    w.ask("SELECT Doomed")
    idle(w)
    other.close()
    parked(quick)
    other = wire(quick)
    assert other.ask("DELETE Doomed")[0] == b"OK"
    assert next_word(w).startswith(b"* BYE")
    other.close()
    w.close()


def test_many_of_one_user(quick):
    """All are woken, by one process."""
    ws = [wire(quick, "bob") for _ in range(6)]
    for w in ws:
        w.ask("SELECT INBOX")
        idle(w)
    parked(quick, "bob")
    quick.send("bob", subject="to all")
    assert len({next_word(w) for w in ws}) == 1
    assert len(processes(quick, "bob")) == 1
    for w in ws:
        w.close()


def test_stop_tells_parked_sessions(make_suite):
    suite = make_suite(users=("alice",), user_process_idle="1s")
    w = wire(suite)
    w.ask("SELECT INBOX")
    idle(w)
    parked(suite)
    began = time.monotonic()
    suite.stop()
    assert next_word(w).startswith(b"* BYE")
    assert time.monotonic() - began < 30
    w.close()
