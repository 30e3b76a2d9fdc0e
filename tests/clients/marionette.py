"""The little of Mozilla's remote protocol that a test needs: run JavaScript with all rights.

A message is "LENGTH:JSON"; a command [0, id, name, parameters], its answer
[1, id, error, result].
"""
import json
import socket
import time

ASYNC = """
const args = Array.from(arguments), resolve = args.pop();
(async () => { %s })().then(v => resolve({ok: v === undefined ? null : v}), e => resolve({error: `${e}\\n${e && e.stack}`}));
"""


class Marionette:
    def __init__(self, port, seconds):
        end = time.monotonic() + seconds
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
                break
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.input, self.last = b"", 0
        self._read()
        self.command("WebDriver:NewSession", {"capabilities": {}})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": int(seconds * 1000)})

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the program has ended")
        self.input += data

    def _read(self):
        while b":" not in self.input:
            self._more()
        length, _, self.input = self.input.partition(b":")
        while len(self.input) < int(length):
            self._more()
        text, self.input = self.input[:int(length)], self.input[int(length):]
        return json.loads(text)

    def command(self, name, parameters):
        self.last += 1
        text = json.dumps([0, self.last, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        while True:
            answer = self._read()
            if answer[1] == self.last:
                assert answer[2] is None, answer[2]
                return answer[3]

    def run(self, body, *args):
        """The value that the async function with this body and these `args` returns."""
        value = self.command("WebDriver:ExecuteAsyncScript",
                             {"script": ASYNC % body, "args": args, "sandbox": "system", "newSandbox": False})["value"]
        assert "error" not in value, value["error"]
        return value["ok"]

    def close(self):
        self.socket.close()
