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

"""docs/protocol.md says what wire.py does."""

from __future__ import annotations

from pathlib import Path
import re
from typing import get_args

import msgspec
import pytest
from svlm_core.config import StreamConfig
from svlm_core.offload import session, wire
from svlm_core.offload.serving import ServeConfig

PAGE = Path("docs/protocol.md").read_text(encoding="utf-8")
ROBOT, SERVER = PAGE.split("\n## Server to robot\n")
SERVER, REST = SERVER.split("\n## How a stream goes\n")
MESSAGES = [
    *((ROBOT, kind) for kind in get_args(wire.FromRobot)),
    *((SERVER, kind) for kind in get_args(wire.FromServer)),
]

EXCHANGE = [
    wire.Hello(wire.VERSION, "r7", camera="front", settings={"prompt": "Warn me"}),
    wire.Welcome(wire.VERSION, 12, wire.Restored.NOTHING, -1, {"fps": 2.0}, "tiny", 1),
    wire.Chunk(12, 0, 0, [1000, 501000], 84, 84, wire.Picture.JPEG, 1000.0),
    wire.Result(12, 0, "new red 7", [274, 300, 2], 34, 38, 1369, "end", {"decode": 8.5}, 17.25),
    wire.Ping(1, 1.5),
    wire.Pong(1),
    wire.Bye(),
]


@pytest.mark.parametrize(("page", "kind"), MESSAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_message_and_field_is_described(page: str, kind: type[msgspec.Struct]) -> None:
    name = str(kind.__struct_config__.tag)
    assert f"\n**{name}** " in page
    text = page.split(f"\n**{name}** ")[1].split("\n**")[0]
    for field in msgspec.structs.fields(kind):
        assert f"`{field.name}`" in text, f"{name}.{field.name}"


def test_no_message_is_described_that_does_not_exist() -> None:
    known = {str(kind.__struct_config__.tag) for _, kind in MESSAGES}
    assert set(re.findall(r"^\*\*(\w+)\*\* ", ROBOT + SERVER, re.MULTILINE)) == known


def test_every_code_is_explained_once() -> None:
    table = REST.split("\n## Codes\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [code.value for code in wire.Code]


def test_every_value_of_an_enumeration_is_named() -> None:
    for value in (*wire.Restored, *wire.Picture):
        assert f'"{value.value}"' in PAGE


def test_the_settings_that_change_live_are_named() -> None:
    live = [f.name for f in StreamConfig.__dataclass_fields__.values() if f.metadata.get("live")]
    assert ", ".join(f"`{name}`" for name in live) in " ".join(ROBOT.split())


def test_the_numbers_are_right() -> None:
    page = " ".join(PAGE.split())
    config = ServeConfig()
    megabytes_per_s = config.bytes_per_s / 1e6
    for name, value in [
        ("header", f"{wire.MAX_HEADER_BYTES} bytes"),
        ("a picture", f"{wire.MAX_IMAGE_BYTES} bytes"),
        ("a message, all parts", f"{wire.MAX_MESSAGE_BYTES} bytes"),
        ("pictures in a chunk", wire.MAX_IMAGES),
        ("pixels in a chunk, all pictures", wire.MAX_CHUNK_PIXELS),
        ("a side of a picture", f"{wire.MAX_SIDE_PX} px"),
        ("`text`, `said`", f"{wire.MAX_TEXT} characters"),
        ("`query`, a string setting", f"{wire.MAX_QUERY} characters"),
        (
            "messages of one key",
            f"{config.messages_per_s:.0f} a second on average, {2 * config.messages_per_s:.0f} at once",
        ),
        (
            "bytes of one key",
            f"{megabytes_per_s:.0f} MB a second on average, {2 * megabytes_per_s:.0f} MB at once",
        ),
    ]:
        assert f"| {name} | {value} |" in page
    assert f"at least every {wire.HEARTBEAT_S} s" in page
    assert f"has said nothing for {wire.DEAD_AFTER_S} s" in page
    assert f"for {config.keep_cache_s:.0f} s" in page and f"for {config.keep_text_s / 3600:.0f} h" in page
    assert f"up to {session.MAX_REQUESTS} may wait" in page


def test_the_bytes_are_those_of_the_messages() -> None:
    blocks = re.findall(r"```\n([0-9a-f \n]+)```", PAGE)
    assert [bytes.fromhex(block) for block in blocks] == [wire.pack(message)[0] for message in EXCHANGE]
