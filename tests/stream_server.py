"""A camera's video server as a process of its own, which tests kill and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

# Sends one MPEG-TS over and over, a picture's worth of bytes at a time, until it is killed.
SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

body = Path(sys.argv[2]).read_bytes()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        while True:
            for at in range(0, len(body), 1880):
                self.wfile.write(body[at : at + 1880])
                time.sleep(0.005)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class StreamServer:
    """A camera's server as a process of its own, always at one address."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StreamServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://me:secret@127.0.0.1:{self.port}/live.ts"

    def start(self) -> None:
        command = [sys.executable, "-c", SERVER, str(self.port), str(self._clip)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
