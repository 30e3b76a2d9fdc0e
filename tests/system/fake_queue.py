"""A queue for tests of deliver and relay alone: jobs go out, results come back, as ipc.h and ipc_messages.h say."""
import os
import select
import socket
import struct
import time

HELLO, JOB_READY, JOB, JOB_RESULTS = 0x0001, 0x0201, 0x0202, 0x0203
DONE, DEFERRED, FAILED, EXPANDED, DISCARDED = range(5)
FRAME_MAX = 160 * 1024


def put_slice(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<I", len(data)) + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, size):
        value = int.from_bytes(self.data[self.at:self.at + size], "little")
        self.at += size
        return value

    def slice(self):
        n = self.number(4)
        value = self.data[self.at:self.at + n]
        assert len(value) == n
        self.at += n
        return value

    def more(self):
        return self.at < len(self.data)


class Result:
    def __init__(self, r):
        self.index = r.number(4)
        self.outcome = r.number(1)
        self.dsn = r.slice().decode()
        self.relay = r.slice().decode()
        self.text = r.slice().decode()
        self.remote = r.slice().decode()
        self.connect_usec, self.transfer_usec = r.number(4), r.number(4)
        self.targets = []
        t = Reader(r.slice())
        while t.more():
            self.targets.append((t.slice().decode(), t.number(1), t.number(1), t.slice().decode()))
        self.more = r.number(1)

    def __repr__(self):
        return f"<{self.index}: {('DONE', 'DEFERRED', 'FAILED', 'EXPANDED', 'DISCARDED')[self.outcome]} {self.dsn} {self.relay} {self.text} {self.targets}>"


class FakeQueue:
    """Listens on run/NAME; one connection at a time."""

    def __init__(self, run_dir, name="queue-deliver", mode=0o666):
        path = os.path.join(run_dir, name)
        if os.path.exists(path):
            os.unlink(path)
        back = os.getcwd()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.chdir(run_dir)
        try:
            self.listener.bind(name)
        finally:
            os.chdir(back)
        os.chmod(path, mode)
        self.listener.listen(5)
        self.conn = None
        self.slots = 0
        self.next_job = 1
        self.last_qid = 0

    def accept(self, seconds=10):
        """Take the next connection; answers the hello."""
        if self.conn:
            self.conn.close()
        self.listener.settimeout(seconds)
        self.conn, _ = self.listener.accept()
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * FRAME_MAX)
        self.slots = 0
        self.conn.send(struct.pack("<HH", HELLO, 1) + put_slice("queue"))
        return self

    def qid(self):
        self.last_qid = max(self.last_qid + 1, int(time.time() * 1e6) * 8)
        return self.last_qid

    def job(self, content, rcpts, qid=None, repeat=0, sender="sender@example.net", final=0, in_file=None, job=None,
            envid="", client="192.0.2.7"):
        """Send one; rcpts: addresses, or (address, orig_to) pairs.  Returns (job, qid)."""
        qid = qid or self.qid()
        job = job or self.next_job
        self.next_job = max(self.next_job, job) + 1
        items = b""
        for i, rcpt in enumerate(rcpts):
            addr, orig = rcpt if isinstance(rcpt, tuple) else (rcpt, rcpt)
            items += struct.pack("<I", i) + put_slice(addr) + put_slice(orig) + struct.pack("<BB", final, 0) + put_slice("")
        if in_file is None:
            in_file = len(content) > 64 * 1024
        frame = struct.pack("<HQQBBBQQ", JOB, job, qid, repeat, in_file, 1, int(time.time() * 1e6), len(content))
        frame += put_slice(sender) + put_slice(envid) + b"\0" + put_slice(client) + put_slice(items)
        frame += put_slice(b"" if in_file else content)
        if in_file:
            fd = os.memfd_create("content")
            os.write(fd, content)
            try:
                socket.send_fds(self.conn, [frame], [fd])
            finally:
                os.close(fd)
        else:
            self.conn.send(frame)
        return job, qid

    def frame(self, seconds=10):
        """The next frame, or None after that time; b'' when the other side has gone."""
        if not select.select([self.conn], [], [], seconds)[0]:
            return None
        try:
            return self.conn.recv(FRAME_MAX)
        except ConnectionResetError:
            return b""

    def results(self, job, n=1, seconds=10):
        """n final results of this job, by index; those of other jobs are kept for later."""
        if not hasattr(self, "kept"):
            self.kept = {}
        end = time.monotonic() + seconds
        while len([r for r in self.kept.get(job, []) if not r.more]) < n:
            frame = self.frame(max(0, end - time.monotonic()))
            assert frame, f"no results of job {job} in {seconds} s" if frame is None else "deliver has gone"
            r = Reader(frame)
            code = r.number(2)
            if code == JOB_READY:
                self.slots += r.number(2)
            elif code == JOB_RESULTS:
                number, qid = r.number(8), r.number(8)
                assert qid
                items = Reader(r.slice())
                while items.more():
                    self.kept.setdefault(number, []).append(Result(items))
            else:
                assert code == HELLO, hex(code)
        return sorted(self.kept.pop(job), key=lambda x: x.index)

    def close(self):
        if self.conn:
            self.conn.close()
        self.listener.close()
