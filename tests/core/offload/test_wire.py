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

"""The messages of the link: what goes in comes out, what does not belong is refused by its code."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import msgpack
import pytest
from svlm_core.offload import wire

ROBOT: wire.Reader[wire.FromRobot] = wire.Reader(wire.FromRobot)
SERVER: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)
CHUNK = wire.Chunk(3, 7, 5, [10, 20], 84, 112, wire.Picture.JPEG, 900.0, "what is it?")


def test_a_chunk_travels_with_its_pictures() -> None:
    parts = wire.pack(CHUNK, [b"one", b"two"])
    assert ROBOT.read(parts) == CHUNK and parts[1:] == [b"one", b"two"]


def test_a_header_is_plain_msgpack() -> None:
    """Another language needs no library of ours."""
    header = msgpack.unpackb(wire.pack(wire.Ping(4))[0])
    assert header == {"t": "ping", "n": 4, "round_trip_ms": 0.0}
    assert ROBOT.read([msgpack.packb(header)]) == wire.Ping(4)


def test_fields_of_newer_peers_are_ignored() -> None:
    assert ROBOT.read([msgpack.packb({"t": "ping", "n": 1, "mood": ["fine"]})]) == wire.Ping(1)


@pytest.mark.parametrize(
    ("code", "header"),
    [
        ("schema", {"t": "ping"}),
        ("schema", {"t": "ping", "n": -1}),
        ("schema", {"t": "ping", "n": "1"}),
        ("schema", {"t": "nonsense"}),
        ("schema", {"t": "result"}),
        ("schema", [1, 2]),
        ("schema", {"t": "hello", "v": 1, "session": "no spaces"}),
        ("schema", {"t": "hello", "v": 1, "session": "a" * 65}),
        ("schema", {"t": "hello", "v": 1, "session": "a", "settings": {"fps": [2.0]}}),
        ("schema", {"t": "hello", "v": 1, "session": "a", "said": "x" * (wire.MAX_TEXT + 1)}),
        ("version", {"t": "hello", "v": 2, "session": "a"}),
        ("version", {"t": "greeting", "v": 2}),
        ("too_large", {"t": "ping", "n": 1, "more": "x" * wire.MAX_HEADER_BYTES}),
    ],
)
def test_what_does_not_belong_is_refused(code: str, header: Any) -> None:
    if isinstance(header, dict) and header.get("t") == "nonsense":
        header["v"] = wire.VERSION
    with pytest.raises(wire.WireError) as refused:
        ROBOT.read([msgpack.packb(header)])
    assert refused.value.code.value == code


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_there_is_a_picture_for_each_stamp(pictures: int) -> None:
    with pytest.raises(wire.WireError, match="pictures where 2 belong"):
        ROBOT.read(wire.pack(CHUNK, [b"x"] * pictures))


def test_only_a_chunk_has_pictures() -> None:
    with pytest.raises(wire.WireError, match="1 pictures where 0 belong"):
        ROBOT.read(wire.pack(wire.Ping(1), [b"x"]))


@pytest.mark.parametrize(
    ("pictures", "length"), [(1, wire.MAX_IMAGE_BYTES + 1), (6, wire.MAX_MESSAGE_BYTES // 6 + 1)]
)
def test_sizes_are_checked_before_anything_is_read(pictures: int, length: int) -> None:
    with pytest.raises(wire.WireError) as refused:
        ROBOT.read([b"\xc1", *[bytes(length)] * pictures])
    assert refused.value.code is wire.Code.TOO_LARGE


def test_nesting_without_end_is_refused() -> None:
    deep = msgpack.packb({"t": "ping", "n": 1, "x": 0})[:-1] + b"\x91" * 200_000
    with pytest.raises(wire.WireError):
        ROBOT.read([deep])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_no_bytes_do_more_than_be_refused(parts: list[bytes]) -> None:
    for reader in (ROBOT, SERVER):
        with pytest.raises(wire.WireError):
            reader.read([b"\xc1", *parts])
        with suppress(wire.WireError):
            reader.read(parts)


@given(st.data())
def test_every_message_comes_out_as_it_went_in(data: st.DataObject) -> None:
    results = st.builds(
        wire.Result,
        epoch=st.integers(0, 9),
        seq=st.integers(0, (1 << 63) - 1),
        text=st.text(max_size=50),
        token_ids=st.lists(st.integers(0, 1 << 20), max_size=9),
        prefill_tokens=st.integers(0, 99),
        cache_tokens=st.integers(0, 99),
        capacity_tokens=st.integers(0, 99),
        finish=st.sampled_from(["end", "length"]),
        stage_ms=st.dictionaries(st.sampled_from(["vision", "decode"]), st.floats(0, 9)),
        server_ms=st.floats(0, 1e3),
    )
    errors = st.builds(wire.Error, code=st.sampled_from(wire.Code), id=st.none() | st.integers(0, 5))
    message = data.draw(results | errors)
    assert SERVER.read(wire.pack(message)) == message
