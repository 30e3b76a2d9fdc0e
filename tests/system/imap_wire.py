"""A small IMAP client for tests: raw commands out, parsed responses in, nothing hidden.

A response is a list of values: atoms and strings as bytes, NIL as None,
parenthesised lists as lists; "[...]" of a response code is one atom for each word.
"""
import re
import socket


class Response:
    """One untagged or tagged response: .raw with its literals, .words as parsed."""

    def __init__(self, raw):
        self.raw = raw
        self._words = None

    @property
    def words(self):
        if self._words is None:
            self._words, at = parse_list(self.raw, 0, None)
        return self._words

    def __repr__(self):
        return repr(self.raw if len(self.raw) < 400 else self.raw[:400] + b"...")


def parse_list(text, at, end):
    """Values from text[at:] up to the octet `end` (or the end); (values, place behind)."""
    out = []
    while at < len(text):
        c = text[at:at + 1]
        if c == end:
            return out, at + 1
        if c == b" ":
            at += 1
        elif c == b"(":
            value, at = parse_list(text, at + 1, b")")
            out.append(value)
        elif c == b'"':
            m = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.S).match(text, at)
            out.append(re.sub(rb"\\(.)", rb"\1", m.group(1)))
            at = m.end()
        elif c in (b"{", b"~") and re.compile(rb"~?\{\d+\}\r\n").match(text, at):
            m = re.compile(rb"~?\{(\d+)\}\r\n").match(text, at)
            n = int(m.group(1))
            out.append(text[m.end():m.end() + n])
            at = m.end() + n
        else:
            m = re.compile(rb'(?:[^ ()"\[]|\[[^\]]*\])+|\[').match(text, at)
            assert m, (text[at:at + 60], text[:200])
            word = m.group(0)
            out.append(None if word == b"NIL" else word)
            at = m.end()
    assert end is None, f"{end} is missing in {text[:300]}"
    return out, at


class Closed(Exception):
    """The connection has ended."""


class Wire:
    """A connection that is logged in."""

    def __init__(self, port, user, password, tls=None, timeout=60, login=True):
        s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(s) if tls else s
        self.input = b""
        self.n = 0
        self.greeting = self.read()
        if login:
            status, _ = self.ask(f'LOGIN "{user}" "{password}"')
            assert status == b"OK", status

    def close(self):
        self.socket.close()

    def _more(self):
        try:
            data = self.socket.recv(262144)
        except (ConnectionError, TimeoutError) as e:
            raise Closed(repr(e)) from e
        if not data:
            raise Closed("end of file")
        self.input += data

    def read(self):
        """The next response, with its literals."""
        at = 0
        while True:
            end = self.input.find(b"\r\n", at)
            if end < 0:
                self._more()
                continue
            m = re.search(rb"\{(\d+)\}$", self.input[max(at, end - 24):end])
            if m is None:
                raw, self.input = self.input[:end], self.input[end + 2:]
                return Response(raw)
            at = end + 2 + int(m.group(1))
            while len(self.input) < at:
                self._more()

    def send(self, command):
        """Send with a new tag; the tag."""
        self.n += 1
        tag = b"t%d" % self.n
        self.write(tag + b" " + (command.encode() if isinstance(command, str) else command) + b"\r\n")
        return tag

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError) as e:
            raise Closed(repr(e)) from e

    def finish(self, tag):
        """Read up to the tagged answer; (status, its text, untagged responses)."""
        untagged = []
        while True:
            r = self.read()
            if r.raw.startswith(tag + b" "):
                status, _, text = r.raw[len(tag) + 1:].partition(b" ")
                self.text = text
                return status, untagged
            assert r.raw[:2] in (b"* ", b"+ "), r
            untagged.append(Response(r.raw[2:]))

    def ask(self, command):
        """Send and finish; .text is the text of the tagged answer."""
        return self.finish(self.send(command))
