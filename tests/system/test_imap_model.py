"""Random IMAP commands from several sessions against a model in Python.

The model knows what every mailbox holds and what each session was told; every
answer is compared with it, at the end a fresh session and the Maildir are.  In
between the user's process is killed, other tools put in, flag and remove
files, and mailboxes come and go.

PP_MODEL_COMMANDS (700) and PP_MODEL_SEED (random) make it longer, and the same again.
"""
import glob
import os
import random
import re
import signal
import time

import pytest
from conftest import wait_until
from imap_wire import Closed, Wire

COMMANDS = int(os.environ.get("PP_MODEL_COMMANDS", "700"))
SEED = int(os.environ.get("PP_MODEL_SEED", "0")) or random.randrange(1, 10**9)
SESSIONS = 4
SYSTEM = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
KEYWORDS = ["$Label1", "$Forwarded", "Junk", "work"]
LETTERS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "T": "\\Deleted", "D": "\\Draft"}


class Message:
    def __init__(self, text, flags):
        self.text, self.flags = text, set(flags)


class Mailbox:
    def __init__(self):
        self.messages = {}		# by UID, ascending
        self.uidvalidity = None		# as first seen
        self.uidnext = 1

    def add(self, message, uid=None):
        """UID None: the next; UIDs may leave gaps after a crash."""
        uid = uid or self.uidnext
        assert uid >= self.uidnext, (uid, self.uidnext)
        self.messages[uid] = message
        self.uidnext = uid + 1
        return uid


class Session:
    """What one client knows."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.wire = world.connect()
        self.name = None		# selected mailbox
        self.box = None			# the Mailbox; it may have been deleted and made anew under its name
        self.readonly = False
        self.view, self.flags = [], {}	# UIDs by number; flags by UID as last told

    def __repr__(self):
        return f"session {self.number} in {self.name}"

    def unselect(self):
        self.name, self.box, self.view, self.flags = None, None, [], {}

    def told(self, untagged, expunge=True):
        """Take untagged data in; they have to agree with the model.  The FETCH responses, as dicts."""
        fetches = []
        for r in untagged:
            w = r.words
            if len(w) > 1 and w[1] == b"EXISTS":
                self.exists(int(w[0]))
            elif len(w) > 1 and w[1] == b"EXPUNGE":
                assert expunge, f"{self}: {r} where it is forbidden"
                uid = self.view.pop(int(w[0]) - 1)
                assert uid not in self.box.messages, f"{self}: EXPUNGE of {uid}, which is there"
                self.flags.pop(uid, None)
            elif len(w) > 1 and w[1] == b"FETCH":
                fetches.append(self.fetched(int(w[0]), w[2]))
            elif w[0] == b"BYE":
                raise AssertionError(f"{self}: {r}")
        for uid in {f["uid"] for f in fetches if b"FLAGS" in f} & set(self.box.messages if fetches else ()):
            # What was told first may be as old as the last answer; what was told last is the truth.
            flags = self.box.messages[uid].flags
            assert self.flags[uid] == flags, f"{self}: flags of {uid}: told {self.flags[uid]}, are {flags}"
        return fetches

    def exists(self, n):
        last = self.view[-1] if self.view else 0
        new = [uid for uid in self.box.messages if uid > last]
        assert len(self.view) + len(new) >= n >= len(self.view), f"{self}: {n} EXISTS, knows {self.view}, new {new}"
        self.view += new[:n - len(self.view)]

    def fetched(self, number, items):
        assert 1 <= number <= len(self.view), f"{self}: FETCH of {number}, knows {len(self.view)}"
        uid = self.view[number - 1]
        data = dict(zip(items[::2], items[1::2]))
        message = self.box.messages.get(uid)
        if b"UID" in data:
            assert int(data[b"UID"]) == uid, f"{self}: {number} is {uid}, told {data}"
        if message is not None and b"FLAGS" in data:
            self.flags[uid] = {f.decode() for f in data[b"FLAGS"]} - {"\\Recent"}
        if message is not None and b"RFC822.SIZE" in data:
            assert int(data[b"RFC822.SIZE"]) == len(message.text)
        for key in (b"BODY[]", b"RFC822"):
            if message is not None and key in data:
                assert data[key] == message.text, f"{self}: text of {uid}"
        data["uid"] = uid
        return data

    def all_told(self):
        """After NOOP: it knows the truth."""
        if self.box is None:
            return
        there = list(self.box.messages)
        assert self.view == there, f"{self}: knows {set(self.view) - set(there)} too many, {set(there) - set(self.view)} not"
        for uid, flags in self.flags.items():
            assert flags == self.box.messages[uid].flags, f"{self}: flags of {uid} changed and nobody said so"


class World:
    def __init__(self, suite, seed):
        self.suite, self.random = suite, random.Random(seed)
        self.boxes = {"INBOX": Mailbox(), "Sent": Mailbox(), "Archive": Mailbox()}
        self.n = 0			# messages made
        self.trace = []
        self.sessions = [Session(self, i) for i in range(SESSIONS)]
        self.folders = 0

    def connect(self):
        """Who logs in while the process is being killed is told to try again."""
        for _ in range(100):
            wire = Wire(self.suite.port("imaps"), "alice@example.test", self.suite.password("alice"), self.suite.tls, login=False)
            status, _ = wire.ask(f'LOGIN alice@example.test {self.suite.password("alice")}')
            if status == b"OK":
                return wire
            assert wire.text.startswith(b"[UNAVAILABLE]"), wire.text
            wire.close()
            time.sleep(0.02)
        raise AssertionError("nobody can log in")

    def ask(self, s, command, ok=True):
        self.trace.append(f"{s.number} {command if isinstance(command, str) else command[:80]}")
        status, untagged = s.wire.ask(command)
        self.trace.append(f"    {status} {s.wire.text[:100]} {[u.raw[:60] for u in untagged][:8]}")
        if ok:
            assert status == b"OK", f"{s}: {command[:200]}: {status} {s.wire.text}"
        return status, untagged

    def text(self):
        self.n += 1
        filler = "x" * self.random.choice((0, 1, 50, 500, 5000))
        eight = "ä" if self.random.random() < 0.2 else ""
        return (f"From: a{self.n}@example.net\r\nSubject: number {self.n} {'even' if self.n % 2 == 0 else 'odd'}\r\n"
                f"Message-ID: <{self.n}@model>\r\n\r\n{filler}{eight}\r\nend {self.n}\r\n").encode()

    def some_flags(self):
        return self.random.sample(SYSTEM + KEYWORDS, self.random.choice((0, 1, 1, 2, 3)))

    def pick(self, s, live=False):
        """A random set for s: (as written, UIDs meant, by UID?)."""
        rnd, by_uid = self.random, self.random.random() < 0.5
        at = range(len(s.view))
        if not s.view:
            return None
        kind = rnd.randrange(4)
        if kind == 0:
            chosen = [rnd.choice(at)]
        elif kind == 1:
            a, b = sorted((rnd.choice(at), rnd.choice(at)))
            chosen = list(range(a, b + 1))
        elif kind == 2:
            chosen = list(at)
        else:
            chosen = sorted(set(rnd.choices(at, k=3)))
        if live:
            chosen = [i for i in chosen if s.view[i] in s.box.messages]
            if not chosen:
                return None
        uids = [s.view[i] for i in chosen]
        numbers = uids if by_uid else [i + 1 for i in chosen]
        if kind == 2 and not live:
            written = "1:*"
        elif kind == 1 and not live:
            written = f"{numbers[-1]}:{numbers[0]}" if rnd.random() < 0.3 else f"{numbers[0]}:{numbers[-1]}"
            if by_uid:	# a range of UIDs also means those not told yet
                uids = [u for u in s.view if numbers[0] <= u <= numbers[-1]]
        else:
            written = ",".join(map(str, numbers))
        return written, uids, by_uid

    # -- commands; each returns without a word when it makes no sense now --

    def do_select(self, s):
        name, readonly = self.random.choice(list(self.boxes)), self.random.random() < 0.15
        _, untagged = self.ask(s, f'{"EXAMINE" if readonly else "SELECT"} "{name}"')
        s.unselect()
        s.name, s.box, s.readonly = name, self.boxes[name], readonly
        s.told(untagged)
        for r in untagged:
            m = re.match(rb"OK \[(UIDVALIDITY|UIDNEXT) (\d+)\]", r.raw)
            if m and m.group(1) == b"UIDNEXT":
                assert int(m.group(2)) >= s.box.uidnext
            elif m:
                self.uidvalidity(s.box, int(m.group(2)))
        s.all_told()

    def uidvalidity(self, box, value):
        assert box.uidvalidity in (None, value)
        box.uidvalidity = value

    def do_noop(self, s):
        _, untagged = self.ask(s, self.random.choice(("NOOP", "CHECK" if s.box else "NOOP")))
        s.told(untagged)
        s.all_told()

    def do_idle(self, s):
        tag = s.wire.send("IDLE")
        first = s.wire.read()
        early = []
        while not first.raw.startswith(b"+"):
            early.append(first)
            first = s.wire.read()
        s.wire.write(b"DONE\r\n")
        status, untagged = s.wire.finish(tag)
        assert status == b"OK"
        s.told([type(r)(r.raw[2:]) for r in early] + untagged)
        s.all_told()

    def do_append(self, s):
        name, text, flags = self.random.choice(list(self.boxes)), self.text(), self.some_flags()
        _, untagged = self.ask(s, f'APPEND "{name}" ({" ".join(flags)}) {{{len(text)}+}}\r\n'.encode() + text)
        m = re.match(rb"\[APPENDUID (\d+) (\d+)\]", s.wire.text)
        self.uidvalidity(self.boxes[name], int(m.group(1)))
        self.boxes[name].add(Message(text, flags), int(m.group(2)))
        s.told(untagged)

    def do_store(self, s):
        picked = self.pick(s) if not s.readonly else None
        if picked is None:
            return
        written, uids, by_uid = picked
        sign, flags, silent = self.random.choice(("+", "-", "")), self.some_flags(), self.random.random() < 0.3
        gone = any(u not in s.box.messages for u in uids)
        for uid in uids:
            if uid in s.box.messages:
                have = s.box.messages[uid].flags
                have |= set(flags) if sign == "+" else set()
                have -= set(flags) if sign == "-" else set()
                if sign == "":
                    s.box.messages[uid].flags = set(flags)
                if silent:
                    s.flags[uid] = set(s.box.messages[uid].flags)
        _, untagged = self.ask(s, f'{"UID " if by_uid else ""}STORE {written} {sign}FLAGS{".SILENT" if silent else ""} '
                                  f'({" ".join(flags)})', ok=not gone)
        told = {f["uid"] for f in s.told(untagged, expunge=by_uid)}
        if not silent:
            assert told >= {u for u in uids if u in s.box.messages and u in s.view}, f"{s}: not all flags told"

    def do_fetch(self, s):
        picked = self.pick(s)
        if picked is None:
            return
        written, uids, by_uid = picked
        items = self.random.choice(("FLAGS", "(UID FLAGS RFC822.SIZE INTERNALDATE)", "(ENVELOPE)", "BODY.PEEK[]",
                                    "(FLAGS BODYSTRUCTURE)", "(BODY[] UID)", "FULL", "(RFC822 FLAGS)"))
        if re.search(r"BODY\[\]|RFC822 ", items) and not s.readonly:
            for uid in uids:
                if uid in s.box.messages:
                    s.box.messages[uid].flags.add("\\Seen")
        gone = any(u not in s.box.messages for u in uids)
        _, untagged = self.ask(s, f'{"UID " if by_uid else ""}FETCH {written} {items}', ok=not gone)
        got = {f["uid"] for f in s.told(untagged, expunge=by_uid)}
        if not gone:
            assert got >= set(uids), f"{s}: {written}: got {got}, wanted {uids}"

    def do_search(self, s):
        if s.box is None:
            return
        flag, sign = self.random.choice(SYSTEM[:5]), self.random.choice(("", "UN"))
        odd, low = self.random.choice(("even", "odd")), self.random.choice(s.view) if s.view else 1
        keys = {
            "ALL": lambda u, m: True,
            f"{sign}{flag[1:].upper()}": lambda u, m: (flag in m.flags) == (sign == ""),
            f"UNKEYWORD {KEYWORDS[0]}": lambda u, m: KEYWORDS[0] not in m.flags,
            f"SUBJECT {odd}": lambda u, m: f" {odd}\r".encode() in m.text,
            f"NOT UID 1:{low}": lambda u, m: u > low,
            "LARGER 400": lambda u, m: len(m.text) > 400,
            'BODY "end"': lambda u, m: True,
        }
        chosen = self.random.sample(list(keys), 2)
        either = self.random.random() < 0.3
        by_uid = self.random.random() < 0.5
        text = f'{"UID " if by_uid else ""}SEARCH {"OR (%s) (%s)" % tuple(chosen) if either else " ".join(chosen)}'
        knew = list(s.view)
        _, untagged = self.ask(s, text)
        found = [r.words[1:] for r in untagged if r.words[0] == b"SEARCH"]
        assert len(found) == 1
        numbers = [int(n) for n in found[0]]
        got = {n if by_uid else knew[n - 1] for n in numbers}
        want = {u for u, m in s.box.messages.items() if u in knew and (any if either else all)(keys[k](u, m) for k in chosen)}
        new = {u for u in s.box.messages if u not in knew}
        # It may search what this session was told last, if it then tells what has changed.
        late = {f["uid"] for f in s.told([r for r in untagged if r.words[0] != b"SEARCH"], expunge=by_uid)}
        got = {u for u in got if u in s.box.messages} - new - late
        want -= late
        assert got == want, f"{s}: {text}: {sorted(got)}, should be {sorted(want)}"

    def do_copy(self, s):
        move = not s.readonly and self.random.random() < 0.5
        picked = self.pick(s, live=True)
        to = self.random.choice([n for n in self.boxes])
        if picked is None or (move and self.boxes[to] is s.box) or (not move and len(self.boxes[to].messages) > 40):
            return
        written, uids, by_uid = picked
        status, untagged = self.ask(s, f'{"UID " if by_uid else ""}{"MOVE" if move else "COPY"} {written} "{to}"')
        code = s.wire.text
        for r in untagged:
            code = r.raw[3:] if r.raw.startswith(b"OK [COPYUID") else code
        m = re.match(rb"\[COPYUID (\d+) ([0-9:,]+) ([0-9:,]+)\]", code)
        assert m, f"{s}: no COPYUID: {code}"
        self.uidvalidity(self.boxes[to], int(m.group(1)))
        pairs = list(zip(numbers_of(m.group(2)), numbers_of(m.group(3)), strict=True))
        assert sorted(p[0] for p in pairs) == sorted(uids), f"{s}: {pairs} for {uids}"
        for source, target in sorted(pairs, key=lambda p: p[1]):
            message = s.box.messages[source]
            self.boxes[to].add(Message(message.text, message.flags), target)
        if move:
            for uid in uids:
                del s.box.messages[uid]
        s.told(untagged)

    def do_expunge(self, s):
        if s.box is None or s.readonly:
            return
        what = self.random.choice(("EXPUNGE", "UID EXPUNGE", "CLOSE", "UNSELECT"))
        picked = self.pick(s) if what == "UID EXPUNGE" else None
        if what == "UID EXPUNGE" and (picked is None or not picked[2]):
            return
        if what != "UNSELECT":
            # What this session was not told of yet is not removed by it.
            for uid in [u for u in s.view if u in s.box.messages and "\\Deleted" in s.box.messages[u].flags]:
                if picked is None or uid in picked[1]:
                    del s.box.messages[uid]
        _, untagged = self.ask(s, f"{what} {picked[0]}" if picked else what)
        if what in ("CLOSE", "UNSELECT"):
            s.unselect()
        else:
            s.told(untagged)

    def do_status(self, s, name=None):
        name = name or self.random.choice(list(self.boxes))
        box = self.boxes[name]
        _, untagged = self.ask(s, f'STATUS "{name}" (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)')
        told = [r.words[2] for r in untagged if r.words[0] == b"STATUS"][0]
        got = {k: int(v) for k, v in zip(told[::2], told[1::2])}
        assert got[b"MESSAGES"] == len(box.messages), f"{name}: {got}"
        assert got[b"UNSEEN"] == sum("\\Seen" not in m.flags for m in box.messages.values()), f"{name}: {got}"
        assert got[b"UIDNEXT"] >= box.uidnext
        self.uidvalidity(box, got[b"UIDVALIDITY"])
        s.told([r for r in untagged if r.words[0] != b"STATUS"])

    def do_folders(self, s):
        rnd = self.random
        mine = [n for n in self.boxes if n.startswith("Box")]
        used = {x.name for x in self.sessions}
        free = [n for n in mine if n not in used]
        kind = rnd.choice(("create", "create", "delete", "rename", "list"))
        self.folders += 1
        new = f"Box{self.folders}" + rnd.choice(("", "&AOQ-"))
        if kind == "create" and len(mine) < 5:
            _, untagged = self.ask(s, f'CREATE "{new}"')
            self.boxes[new] = Mailbox()
        elif kind == "delete" and free:
            name = rnd.choice(free)
            _, untagged = self.ask(s, f'DELETE "{name}"')
            del self.boxes[name]
        elif kind == "rename" and free:
            name = rnd.choice(free)
            _, untagged = self.ask(s, f'RENAME "{name}" "{new}"')
            self.boxes[new] = self.boxes.pop(name)
        else:
            _, untagged = self.ask(s, 'LIST "" "*"')
            names = {r.words[3].decode() for r in untagged if r.words[0] == b"LIST"}
            assert names == set(self.boxes) | {"Drafts", "Trash", "Junk"}, names
        s.told(untagged)

    # -- others --

    def path(self, name):
        return os.path.join(self.suite.maildir("alice"), "" if name == "INBOX" else "." + name)

    def do_foreign(self, s):
        """Another tool adds, flags or removes a file."""
        name = self.random.choice(list(self.boxes))
        box, path = self.boxes[name], self.path(name)
        files = sorted(f for f in glob.glob(f"{path}/new/*") + glob.glob(f"{path}/cur/*"))
        kind = self.random.choice(("add", "flag", "remove"))
        self.trace.append(f"- {kind} a file of {name}")
        if kind == "add":
            text = self.text()
            with open(f"{path}/tmp/foreign{self.n}", "wb") as f:
                f.write(text.replace(b"\r\n", b"\n"))
            owner = os.stat(path)
            os.chown(f"{path}/tmp/foreign{self.n}", owner.st_uid, owner.st_gid)
            os.rename(f"{path}/tmp/foreign{self.n}", f"{path}/new/{int(time.time())}.F{self.n}.other")
            box.add(Message(text, ()))
            self.do_status(s, name)	# somebody looks: now it has its UID
        elif files:
            file = self.random.choice(files)
            uid = self.uid_of(box, file)
            if kind == "remove":
                os.unlink(file)
                del box.messages[uid]
            else:
                base, _, letters = os.path.basename(file).partition(":2,")
                letters = "".join(sorted(set(letters) ^ {self.random.choice("SRFT")}))
                os.rename(file, f"{path}/cur/{base}:2,{letters}")
                flags = box.messages[uid].flags
                box.messages[uid].flags = {f for f in flags if f in KEYWORDS} | {LETTERS[c] for c in letters if c in LETTERS}

    def uid_of(self, box, file):
        with open(file, "rb") as f:
            text = f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        letters = set(file.partition(":2,")[2])
        same = [u for u, m in box.messages.items() if m.text == text]
        exact = [u for u in same if {LETTERS[c] for c in letters if c in LETTERS} == box.messages[u].flags - set(KEYWORDS)]
        if len(same) > 1:	# copies look alike: keep out of what cannot be told apart
            raise Ambiguous
        assert exact, f"{file}: {[box.messages[u].flags for u in same]}"
        return exact[0]

    # -- parked --

    def drop(self, name):
        """Another program delivers; nobody looks at once."""
        text, path = self.text(), self.path(name)
        with open(f"{path}/tmp/dropped{self.n}", "wb") as f:
            f.write(text.replace(b"\r\n", b"\n"))
        owner = os.stat(path)
        os.chown(f"{path}/tmp/dropped{self.n}", owner.st_uid, owner.st_gid)
        self.boxes[name].add(Message(text, ()))
        os.rename(f"{path}/tmp/dropped{self.n}", f"{path}/new/{int(time.time())}.D{self.n}.other")

    def processes(self):
        """alice's: children of imapd that have her Maildir open."""
        found, parent = [], self.suite.daemon_pid("imapd")
        with open(f"/proc/{parent}/task/{parent}/children") as f:
            for pid in f.read().split():
                try:
                    if any(self.suite.maildir("alice") in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")):
                        found.append(pid)
                except OSError:
                    continue
        return found

    def parked(self):
        """All sessions in IDLE, their process gone, changes from outside: each hears of what concerns it."""
        self.trace.append("- all are parked")
        tags = []
        for s in self.sessions:
            if s.box is None:
                self.do_select(s)
        for s in self.sessions:
            tags.append(s.wire.send("IDLE"))
            early = []
            while not (r := s.wire.read()).raw.startswith(b"+"):
                early.append(type(r)(r.raw[2:]))
            s.told(early)
        wait_until(lambda: not self.processes(), 20, "the user's process to end")
        names = self.random.sample(list(self.boxes), 2)
        for name in names:
            self.drop(name)
            for file in sorted(glob.glob(f"{self.path(name)}/cur/*"))[:3]:
                self.change(name, file)
        for s, tag in zip(self.sessions, tags):
            s.wire.write(b"DONE\r\n")
            status, untagged = s.wire.finish(tag)
            assert status == b"OK"
            s.told(untagged)
            self.do_noop(s)
        for name in names:
            self.do_status(self.sessions[0], name)	# somebody looks: now they have their UIDs

    def change(self, name, file):
        """Remove it, or another flag."""
        box, base = self.boxes[name], os.path.basename(file).partition(":2,")[0]
        try:
            uid = self.uid_of(box, file)
        except Ambiguous:
            return
        if self.random.random() < 0.4:
            os.unlink(file)
            del box.messages[uid]
            return
        letters = "".join(sorted(set(file.rpartition(":2,")[2]) ^ {self.random.choice("SRFT")}))
        os.rename(file, f"{self.path(name)}/cur/{base}:2,{letters}")
        box.messages[uid].flags = {f for f in box.messages[uid].flags if f in KEYWORDS} | {LETTERS[c] for c in letters if c in LETTERS}

    # -- kill -9 --

    def user_pids(self):
        """alice's imap process: the one that holds her sessions."""
        logins = re.findall(r"imap-login\[\d+\]: Login: user=<alice@example\.test>.*?mpid=(\d+)", self.suite.log())
        return [int(logins[-1])] if logins else []

    def kill(self):
        for pid in self.user_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for s in self.sessions:
            s.wire.close()
        self.reconnect()

    def reconnect(self):
        for i in range(SESSIONS):
            self.sessions[i] = Session(self, i)

    def do_kill(self, s):
        self.trace.append("- kill")
        self.kill()

    def do_kill_in_flight(self, s):
        """Killed in the middle of a MOVE or APPEND: whatever came of it, nothing is lost and nothing is there twice."""
        picked = self.pick(s, live=True) if not s.readonly else None
        to = self.random.choice(list(self.boxes))
        if picked is None or self.boxes[to] is s.box:
            return
        written, uids, by_uid = picked
        before = sorted(m.text for box in (s.box, self.boxes[to]) for m in box.messages.values())
        source = s.name
        self.trace.append(f"- kill while {s} moves {written} to {to}")
        s.wire.send(f'{"UID " if by_uid else ""}MOVE {written} "{to}"')
        time.sleep(self.random.random() * 0.004)
        self.kill()
        self.reread(source)
        self.reread(to)
        after = sorted(m.text for box in (self.boxes[source], self.boxes[to]) for m in box.messages.values())
        assert after == before, "MOVE lost or doubled something"

    def reread(self, name):
        """Take a mailbox as it is; what was there under a UID must be the same message with the same flags."""
        s, box = self.sessions[0], self.boxes[name]
        old = box.messages
        _, untagged = self.ask(s, f'EXAMINE "{name}"')
        _, untagged = self.ask(s, "UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
        box.messages = {}
        for r in untagged:
            if len(r.words) > 1 and r.words[1] == b"FETCH":
                data = dict(zip(r.words[2][::2], r.words[2][1::2]))
                uid = int(data[b"UID"])
                box.messages[uid] = Message(data[b"BODY[]"], {f.decode() for f in data[b"FLAGS"]} - {"\\Recent"})
                if uid in old:
                    assert old[uid].text == data[b"BODY[]"] and old[uid].flags == box.messages[uid].flags, f"{name} {uid}"
                else:
                    assert uid >= box.uidnext, f"{name}: UID {uid} is given twice"
        box.uidnext = max([box.uidnext] + [u + 1 for u in box.messages])
        self.ask(s, "UNSELECT")
        s.unselect()

    # -- the end --

    def check_all(self):
        fresh = Session(self, 99)
        for name, box in self.boxes.items():
            self.ask(fresh, f'SELECT "{name}"')
            fresh.unselect()
            fresh.name, fresh.box, fresh.view = name, box, list(box.messages)
            _, untagged = self.ask(fresh, "UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[])")
            assert [f["uid"] for f in fresh.told(untagged)] == list(box.messages), name
            on_disk = []
            for file in glob.glob(f"{self.path(name)}/new/*") + glob.glob(f"{self.path(name)}/cur/*"):
                with open(file, "rb") as f:
                    text = f.read().replace(b"\r\n", b"\n")
                letters = file.partition(":2,")[2]
                on_disk.append((text, sorted(LETTERS[c] for c in letters if c in LETTERS)))
            wanted = [(m.text.replace(b"\r\n", b"\n"), sorted(m.flags & set(SYSTEM))) for m in box.messages.values()]
            assert sorted(on_disk) == sorted(wanted), f"{name}: the Maildir differs"
        fresh.wire.close()


class Ambiguous(Exception):
    pass


def numbers_of(text):
    for part in text.decode().split(","):
        a, _, b = part.partition(":")
        yield from range(int(a), int(b or a) + 1)


WEIGHTS = {"select": 8, "noop": 10, "idle": 4, "append": 18, "store": 18, "fetch": 18, "search": 12, "copy": 10, "expunge": 8,
           "status": 5, "folders": 4, "foreign": 4, "kill": 0.4, "kill_in_flight": 0.6}


def test_model(make_suite):
    suite = make_suite(users=("alice",), login_sessions_per_client=1000, user_process_idle="1s")
    world = World(suite, SEED)
    try:
        for n in range(COMMANDS):
            if n % 500 == 400:
                world.parked()
            s = world.random.choice(world.sessions)
            name = world.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if s.box is None and name in ("store", "fetch", "search", "copy", "expunge", "kill_in_flight"):
                name = "select"
            try:
                getattr(world, "do_" + name)(s)
            except Ambiguous:
                pass
        world.check_all()
    except (AssertionError, Closed) as e:
        raise AssertionError(f"PP_MODEL_SEED={SEED}: {e}\n" + "\n".join(world.trace[-60:]) + suite.log()[-1500:]) from e
