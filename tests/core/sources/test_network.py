import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from svlm_core.errors import SourceError
from svlm_core.sources.network import NetworkStream


@pytest.fixture
def serve(monkeypatch):
    """Serves bytes at http://127.0.0.1:PORT/live.ts until the test ends."""
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(body: bytes, with_length: bool = True) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                if with_length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}/live.ts"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_frames_come_with_the_time_of_their_arrival_until_the_server_ends(write_video, serve):
    address = serve(write_video("a.ts").read_bytes())
    before_ns = time.time_ns()
    with NetworkStream(f"http://{address}") as source:
        frames = list(source)
    assert len(frames) == 30
    stamps = [frame.stamp_ns for frame in frames]
    assert before_ns < stamps[0] and stamps == sorted(stamps) and stamps[-1] < time.time_ns()
    assert source.live and source.frames_total is None and source.fps == 10


def test_damage_on_the_way_costs_pictures_but_does_not_end_the_stream(write_video, serve):
    data = bytearray(write_video("a.ts", frames=60, noise=True).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = np.random.default_rng(0).bytes(9000)
    frames = list(NetworkStream(f"http://{serve(bytes(data))}"))
    assert 15 < len(frames) < 60


def test_a_connection_that_is_lost_is_an_error_after_the_frames_that_came(write_video, serve):
    source = NetworkStream(
        f"http://{serve(write_video('a.ts', frames=60, noise=True).read_bytes(), with_length=False)}"
    )
    seen = 0
    with pytest.raises(SourceError, match=r"live.ts: the stream broke after \d+ frames: "):
        for _ in source:
            seen += 1
    assert seen > 30


def test_close_ends_the_stream(write_video, serve):
    source = NetworkStream(f"http://{serve(write_video('a.ts').read_bytes())}")
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_passwords_do_not_appear_in_names_and_messages(write_video, serve):
    address = serve(write_video("a.ts").read_bytes())
    with NetworkStream(f"http://me:secret@{address}?key=secret") as source:
        assert source.name == f"http://{address}"
    with pytest.raises(SourceError, match="^http://127.0.0.1:1/x cannot be opened: ") as caught:
        NetworkStream("http://me:secret@127.0.0.1:1/x?key=secret")
    assert "secret" not in str(caught.value)


def test_what_is_no_video_is_refused(serve):
    with pytest.raises(SourceError, match="cannot be opened: "):
        NetworkStream(f"http://{serve(b'hello ' * 500)}")
