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

import socket
import threading
import time

import numpy as np
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources import network
from svlm_core.sources.network import NetworkStream


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
        f"http://{serve(write_video('a.ts', frames=60, noise=True).read_bytes(), length=0)}"
    )
    seen = 0
    with pytest.raises(SourceError, match=r"live.ts: the stream broke after \d+ frames: "):
        for _ in source:
            seen += 1
    assert seen > 30


def test_a_server_that_falls_silent_is_an_error(write_video, monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = []

        def answer():
            for _ in range(2):
                silent.append(server.accept()[0])
                silent[-1].recv(4096)
                if len(silent) == 1:
                    silent[0].sendall(b"HTTP/1.0 200 OK\r\n\r\n" + write_video("a.ts").read_bytes())

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/live.ts"
        with pytest.raises(SourceError, match=r"the stream broke after \d+ frames: silence for 1 s"):
            list(NetworkStream(url))
        with pytest.raises(SourceError, match="cannot be opened: silence for 1 s"):
            NetworkStream(url)
        for connection in silent:
            connection.close()


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
