"""The frames between the daemons, for tests: the codec is made from lib/ipc_messages.h itself.

    c = Conn(path, program="smtpd")
    c.send("submit_lease", count=1)
    name, fields, fd = c.recv()
"""
import os
import re
import select
import socket
import struct
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FRAME_MAX = 160 * 1024
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


def _read_header():
    text = open(os.path.join(TOP, "lib", "ipc_messages.h")).read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S).replace("\\\n", " ")
    fields = {}
    for m in re.finditer(r"#define IPC_(\w+)\(F\)([^\n]*)", text):
        fields[m[1]] = re.findall(r"F\((\w+),\s*(\w+),", m[2])
    messages, elements = {}, {}
    for m in re.finditer(r"M\((\w+),\s*(0x[0-9a-f]+),\s*\w+,\s*\w+,\s*IPC_(\w+)\)", text):
        messages[m[1]] = (int(m[2], 16), fields[m[3]])
    for m in re.finditer(r"E\((\w+),\s*IPC_(\w+)\)", text):
        elements[m[1]] = fields[m[2]]
    return messages, elements


MESSAGES, ELEMENTS = _read_header()
BY_CODE = {code: name for name, (code, _) in MESSAGES.items()}


def _pack(fields, values):
    out = b""
    for kind, name in fields:
        value = values.get(name, b"" if kind == "slice" else 0)
        if kind == "slice":
            value = value.encode() if isinstance(value, str) else value
            out += struct.pack("<I", len(value)) + value
        else:
            out += int(value).to_bytes(SIZES[kind], "little")
    return out


def _unpack(fields, data, at):
    values = {}
    for kind, name in fields:
        if kind == "slice":
            n = int.from_bytes(data[at:at + 4], "little")
            values[name] = data[at + 4:at + 4 + n]
            assert len(values[name]) == n, "short frame"
            at += 4 + n
        else:
            values[name] = int.from_bytes(data[at:at + SIZES[kind]], "little")
            at += SIZES[kind]
    return values, at


def pack(name, **values):
    code, fields = MESSAGES[name]
    return struct.pack("<H", code) + _pack(fields, values)


def unpack(frame):
    name = BY_CODE[int.from_bytes(frame[:2], "little")]
    values, at = _unpack(MESSAGES[name][1], frame, 2)
    assert at == len(frame), "long frame"
    return name, values


def pack_list(name, items):
    return b"".join(_pack(ELEMENTS[name], item) for item in items)


def unpack_list(name, data):
    out, at = [], 0
    while at < len(data):
        values, at = _unpack(ELEMENTS[name], data, at)
        out.append(values)
    return out


class Closed(Exception):
    pass


class Conn:
    """One connection to a daemon's socket."""

    def __init__(self, path, program="test", timeout=10):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.timeout = timeout
        end = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.send("hello", version=1, program=program)

    def fileno(self):
        return self.sock.fileno()

    def send_raw(self, frame, fd=None):
        try:
            if fd is None:
                self.sock.send(frame)
            else:
                socket.send_fds(self.sock, [frame], [fd])
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed from e

    def send(self, name, fd=None, **values):
        self.send_raw(pack(name, **values), fd)

    def recv(self, timeout=None):
        """(name, fields, descriptor or None); hellos are skipped."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError
            try:
                frame, fds, _, _ = socket.recv_fds(self.sock, FRAME_MAX, 4)
            except ConnectionResetError as e:
                raise Closed from e
            if not frame:
                raise Closed
            name, values = unpack(frame)
            if name != "hello":
                return name, values, (fds[0] if fds else None)

    def ask(self, name, timeout=None, fd=None, **values):
        self.send(name, fd=fd, **values)
        return self.recv(timeout)

    def close(self):
        self.sock.close()
