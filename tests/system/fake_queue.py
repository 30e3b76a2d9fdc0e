"""A queue for tests of deliver alone: jobs go out, results come back."""
import os
import select
import socket
import time
import types

import ipc

DONE, DEFERRED, FAILED, EXPANDED, DISCARDED = range(5)


def result(values):
    """A job_result with texts as text; targets as (addr, remote, new_sender, sender)."""
    r = types.SimpleNamespace(**{k: v.decode() if isinstance(v, bytes) and k != "targets" else v for k, v in values.items()})
    r.targets = [(t["addr"].decode(), t["remote"], t["new_sender"], t["sender"].decode())
                 for t in ipc.unpack_list("target", values["targets"])]
    return r


class FakeQueue:
    """Listens on run/NAME; one connection at a time."""

    def __init__(self, run_dir, name="queue-deliver", mode=0o666):
        path = os.path.join(run_dir, name)
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chmod(path, mode)
        self.listener.listen(5)
        self.conn = None
        self.slots = 0
        self.next_job = 1
        self.last_qid = 0
        self.kept = {}

    def accept(self, seconds=10):
        """Take the next connection; answers the hello."""
        if self.conn:
            self.conn.close()
        self.listener.settimeout(seconds)
        self.conn, _ = self.listener.accept()
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * ipc.FRAME_MAX)
        self.slots = 0
        self.conn.send(ipc.pack("hello", version=1, program="queue"))
        return self

    def qid(self):
        self.last_qid = max(self.last_qid + 1, int(time.time() * 1e6) * 8)
        return self.last_qid

    def job(self, content, rcpts, qid=None, repeat=0, sender="sender@example.net", final=0, in_file=None,
            envid="", client="192.0.2.7", size=None):
        """Send one; rcpts: addresses, or (address, orig_to) pairs; size: what is said of a file.  Returns (job, qid)."""
        qid = qid or self.qid()
        job, self.next_job = self.next_job, self.next_job + 1
        pairs = [r if isinstance(r, tuple) else (r, r) for r in rcpts]
        if in_file is None:
            in_file = len(content) > 64 * 1024
        frame = ipc.pack(
            "job", job=job, qid=qid, repeat=repeat, in_file=in_file, body_8bit=1, arrival_usec=int(time.time() * 1e6),
            size=len(content) if size is None else size, sender=sender, envid=envid, client_address=client, content=b"" if in_file else content,
            rcpts=ipc.pack_list("job_rcpt", [dict(index=i, addr=a, orig_to=o, final=final) for i, (a, o) in enumerate(pairs)]))
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
            return self.conn.recv(ipc.FRAME_MAX)
        except ConnectionResetError:
            return b""

    def take(self, seconds=10):
        """One frame is counted or kept; False if none came."""
        frame = self.frame(seconds)
        if frame is None:
            return False
        assert frame, "deliver has gone"
        name, values = ipc.unpack(frame)
        if name == "job_ready":
            self.slots += values["slots"]
        elif name == "job_results":
            assert values["qid"]
            for item in ipc.unpack_list("job_result", values["results"]):
                self.kept.setdefault(values["job"], []).append(result(item))
        else:
            assert name == "hello", name
        return True

    def results(self, job, n=1, seconds=10):
        """n final results of this job, by index; those of other jobs are kept for later."""
        end = time.monotonic() + seconds
        while len([r for r in self.kept.get(job, []) if not r.more]) < n:
            assert self.take(max(0, end - time.monotonic())), f"no results of job {job} in {seconds} s"
        return sorted(self.kept.pop(job), key=lambda x: x.index)

    def close(self):
        if self.conn:
            self.conn.close()
        self.listener.close()
