# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""A camera's video server as a process of its own, which tests kill and start again.

`python stream_server.py http|rtsp PORT CLIP` sends one MPEG-TS over and over until it is killed: over HTTP,
or in RTP packets (RFC 2250) inside the TCP connection of an RTSP session.
"""

from __future__ import annotations

from collections.abc import Iterator
import http.server
import itertools
from pathlib import Path
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import time

PACKET_BYTES = 7 * 188  # as many packets of an MPEG-TS as fit into one of an Ethernet
PAUSE_S = 0.003
MP2T, RTP_VERSION_2, CHANNEL = 33, 0x80, 0
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track0\r\n"


class StreamServer:
    """Starts and kills the server, always at one address."""

    def __init__(self, clip: Path, scheme: str = "http") -> None:
        self._clip, self._scheme = clip, scheme
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = f"{scheme}://127.0.0.1:{self.port}/live"
        self.url = f"{scheme}://me:secret@127.0.0.1:{self.port}/live"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StreamServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def start(self) -> None:
        command = [sys.executable, __file__, self._scheme, str(self.port), str(self._clip)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def packets(clip: bytes) -> Iterator[bytes]:
    for at in itertools.cycle(range(0, len(clip), PACKET_BYTES)):
        yield clip[at : at + PACKET_BYTES]
        time.sleep(PAUSE_S)


class Http(http.server.BaseHTTPRequestHandler):
    clip = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        for packet in packets(self.clip):
            self.wfile.write(packet)


class Rtsp(socketserver.StreamRequestHandler):
    clip = b""

    def handle(self) -> None:
        while request := self.rfile.readline().decode().split():
            method, url = request[:2]
            headers = dict(line.split(": ", 1) for line in iter(self._line, ""))
            body = SDP if method == "DESCRIBE" else ""
            answer = {
                "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY",
                "DESCRIBE": f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
                f"Content-Length: {len(SDP)}",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1",
                "PLAY": "Session: 1",
            }[method]
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{answer}\r\n\r\n{body}".encode())
            if method == "PLAY":
                self._play()

    def _line(self) -> str:
        return self.rfile.readline().decode().strip()

    def _play(self) -> None:
        for number, packet in enumerate(packets(self.clip)):
            stamp = int(time.monotonic() * 90_000) & 0xFFFFFFFF
            rtp = struct.pack(">BBHII", RTP_VERSION_2, MP2T, number & 0xFFFF, stamp, 1) + packet
            self.wfile.write(struct.pack(">BBH", ord("$"), CHANNEL, len(rtp)) + rtp)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    handler = {"http": Http, "rtsp": Rtsp}[sys.argv[1]]
    handler.clip = Path(sys.argv[3]).read_bytes()
    Server(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()
