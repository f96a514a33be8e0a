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

"""Bags, written by the rosbags library and then cut, split, compressed and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
import shutil
import sqlite3
import struct
import subprocess
import sys

from bags import (
    cut,
    IMAGE,
    image,
    PERIOD_NS,
    picture,
    png,
    split,
    START_NS,
    storage_file,
    STORAGES,
    STORE,
    STRING,
    SUFFIXES,
    write_bag,
)
from hypothesis import given
from hypothesis import strategies as st
import lz4.frame
import numpy as np
from properties import invariant
import pytest
from rosbags.rosbag2 import CompressionMode
from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.bag import BagSource
from svlm_core.sources.open import open_source
from svlm_core.sources.paced import Paced

TOPIC = "/front/image_raw"
COUNT = 12


def images(numbers: range = range(COUNT)) -> dict[str, list[object]]:
    return {TOPIC: [image(number) for number in numbers]}


def taken(source: BagSource) -> tuple[list[Frame], str]:
    """The frames, and what ended them ("" for the end of the bag)."""
    frames = []
    try:
        for frame in source:
            frames.append(frame)
    except SourceError as error:
        assert "\n" not in str(error)
        return frames, str(error)
    return frames, ""


def assert_pictures(frames: list[Frame], numbers: range) -> None:
    assert [frame.stamp_ns for frame in frames] == [START_NS + number * PERIOD_NS for number in numbers]
    for frame, number in zip(frames, numbers, strict=True):
        np.testing.assert_array_equal(frame.rgb, picture(number))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compression", list(CompressionMode))
@pytest.mark.parametrize("make", [image, png])
def test_every_storage_and_compression_gives_the_recorded_pictures(
    storage: str, compression: CompressionMode, make: object, tmp_path: Path
) -> None:
    if (storage, compression) == ("sqlite3", CompressionMode.STORAGE):
        return  # SQLite has no such thing
    assert callable(make)
    bag = write_bag(tmp_path / "bag", {TOPIC: [make(k) for k in range(COUNT)]}, storage, compression)
    for path in (bag, storage_file(bag)):
        source = BagSource(path)
        assert (source.name, source.frame_id, source.origin_ns) == (TOPIC, "lens", START_NS)
        assert (source.live, source.frames_total, source.broken) == (False, COUNT, 0)
        assert source.fps == pytest.approx(2, rel=0.1)
        frames, ended = taken(source)
        assert ended == ""
        assert_pictures(frames, range(COUNT))
        assert_pictures(list(source), range(COUNT)), "it can be read again"


@pytest.mark.parametrize("ending", [True, False])
def test_chunks_of_lz4_are_read_with_an_end_and_without(ending: bool, tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", images(), "mcap"))
    data = file.read_bytes()
    at = data.index(b"\x06", 8 + 9)  # the one chunk: opcode, length; times, size, checksum; "", records
    (length,) = struct.unpack_from("<Q", data, at + 1)
    content = data[at + 9 : at + 9 + length]
    packed = lz4.frame.compress(content[28 + 4 + 8 :])
    chunk = content[:28] + struct.pack("<I", 3) + b"lz4" + struct.pack("<Q", len(packed)) + packed
    end = struct.pack("<BQI", 0x0F, 4, 0) + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + data[:8]
    file.write_bytes(data[:at] + struct.pack("<BQ", 0x06, len(chunk)) + chunk + end * ending)
    frames, ended = taken(BagSource(file))
    assert_pictures(frames, range(COUNT))
    assert ended.endswith("" if ending else "cut off")
    assert bool(ended) != ending


@pytest.mark.parametrize("describe", [True, False])
@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", CompressionMode.NONE),
        ("mcap", CompressionMode.FILE),
        ("sqlite3", CompressionMode.MESSAGE),
    ],
)
def test_a_split_bag_is_one_recording_even_without_its_description(
    storage: str, describe: bool, compression: CompressionMode, tmp_path: Path
) -> None:
    ranges = [range(k, k + 3) for k in range(0, 33, 3)]  # eleven files: _10 comes after _9
    parts = [
        write_bag(tmp_path / f"part{k}", images(numbers), storage, compression)
        for k, numbers in enumerate(ranges)
    ]
    source = BagSource(split(tmp_path / "bag", parts, describe))
    assert source.frames_total == 33
    frames, ended = taken(source)
    assert ended == ""
    assert_pictures(frames, range(33))


def test_a_missing_file_of_a_split_bag_is_named_after_what_comes_before_it(tmp_path: Path) -> None:
    parts = [write_bag(tmp_path / f"part{k}", images(range(3 * k, 3 * k + 3))) for k in range(3)]
    bag = split(tmp_path / "bag", parts)
    (bag / "bag_1.mcap").unlink()
    frames, ended = taken(BagSource(bag))
    assert_pictures(frames, range(3))
    assert "breaks after frame 3 (1.0 s)" in ended
    assert f"{bag / 'bag_1.mcap'}: missing, though metadata.yaml names it" in ended


@pytest.mark.parametrize(
    "compression", [CompressionMode.NONE, CompressionMode.STORAGE, CompressionMode.MESSAGE]
)
@pytest.mark.parametrize("share", [0.3, 0.65, 0.97])
def test_a_cut_mcap_gives_every_whole_picture_before_the_cut(
    compression: CompressionMode, share: float, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", images(range(60)), "mcap", compression)
    file = cut(storage_file(bag), share)
    source = BagSource(bag)
    assert source.frames_total == 60, "so the description says"
    frames, ended = taken(source)
    # zstd gives its data in blocks of 128 KiB, 19 of these pictures
    lost = 19 if compression == CompressionMode.STORAGE else 1
    assert 60 * share - lost - 1 <= len(frames) <= 60 * share + 2
    assert_pictures(frames, range(len(frames)))
    assert (
        f"{TOPIC} breaks after frame {len(frames)} ({(len(frames) - 1) / 2:.1f} s): {file}: cut off" in ended
    )


def test_an_mcap_whose_recorder_was_killed_has_no_description_either(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(range(30)), "mcap")
    cut(storage_file(bag), 0.5)
    (bag / "metadata.yaml").unlink()
    source = BagSource(bag)
    frames, ended = taken(source)
    assert source.frames_total == len(frames) >= 14
    assert_pictures(frames, range(len(frames)))
    assert "cut off" in ended


@pytest.mark.parametrize("share", [0.75, 0.98])
def test_a_cut_sqlite_file_gives_what_sqlite_still_finds(share: float, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(range(60)), "sqlite3")
    cut(storage_file(bag), share)
    for path in (bag, storage_file(bag)):
        frames, ended = taken(BagSource(path))
        assert 60 * share - 6 <= len(frames) <= 60 * share
        assert_pictures(frames, range(len(frames)))
        assert "damaged or cut off (database disk image is malformed)" in ended


def test_what_a_killed_recorder_left_in_the_log_beside_a_sqlite_file_is_read(tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", images(), "sqlite3"))
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        newest = STORE.serialize_cdr(image(COUNT), IMAGE)
        database.execute(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)",
            (START_NS + 99 * PERIOD_NS, newest),
        )
        database.commit()
        killed = tmp_path / "killed"
        shutil.copytree(file.parent, killed)
    frames, ended = taken(BagSource(killed))
    assert ended == ""
    assert_pictures(frames, range(COUNT + 1))


def test_rows_of_a_damaged_database_may_hold_anything(tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", images(range(3)), "sqlite3"))
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE messages SET data = 'text' WHERE id = 1")
        database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 2")
        database.execute("INSERT INTO topics VALUES (9, x'00ff', 5, 'cdr', '', '')")
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (9, 2.5, 7)")
        database.commit()
    for log in (b"", b"no log"):  # read by rosbags, then from the beginning
        file.with_name(f"{file.name}-wal").write_bytes(log)
        source = BagSource(file)
        frames, ended = taken(source)
        assert ended == ""
        assert source.broken == 1 and source.fps >= 0
        assert {frame.stamp_ns for frame in frames} >= {START_NS + PERIOD_NS}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_cut_compressed_file_gives_what_can_be_unpacked(storage: str, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(range(80)), storage, CompressionMode.FILE)
    cut(storage_file(bag), 0.8)
    frames, ended = taken(BagSource(bag))
    assert 30 < len(frames) < 70
    assert_pictures(frames, range(len(frames)))
    assert "breaks after frame" in ended


@pytest.mark.parametrize("ending", [True, False])
def test_a_chunk_whose_checksum_is_another_ends_the_recording_before_it(ending: bool, tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", images(range(200)), "mcap"))
    data = bytearray(file.read_bytes())
    second = [at for at, opcode in records(data) if opcode == 0x06][1]
    struct.pack_into("<I", data, second + 9 + 24, 12345)
    file.write_bytes(data if ending else data[:-40])
    frames, ended = taken(BagSource(tmp_path / "bag"))
    assert_pictures(frames, range(len(frames)))
    assert len(frames) == 150, "of 200: a chunk is a mebibyte"
    assert "checksum" in ended


def records(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each record of an MCAP file begins, and its opcode."""
    at = 8
    while at + 9 < len(data) - 8:
        opcode, length = struct.unpack_from("<BQ", data, at)
        yield at, opcode
        at += 9 + length


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_that_are_no_pictures_are_passed_over_and_counted(storage: str, tmp_path: Path) -> None:
    good = [image(number) for number in range(COUNT)]
    whole = STORE.serialize_cdr(good[1], IMAGE)
    broken = {
        0: b"",
        1: bytes(whole[:40]),
        3: image(3, encoding="mystery"),
        5: image(5, step=3),
        6: image(6, rgb=np.zeros((4, 4, 3), np.uint8)),
        7: image(7, width=0, data=np.zeros(0, np.uint8)),
        8: b"\x00\x01\x00\x00" + b"\xff" * 64,
        9: b"\x28\xb5\x2f\xfd" + b"garbage",
    }
    bag = write_bag(tmp_path / "bag", {TOPIC: [broken.get(k, good[k]) for k in range(COUNT)]}, storage)
    source = BagSource(bag)
    frames, ended = taken(source)
    assert ended == ""
    assert [(frame.stamp_ns - START_NS) // PERIOD_NS for frame in frames] == [2, 4, 10, 11]
    assert source.broken == len(broken)
    assert source.origin_ns == START_NS + 2 * PERIOD_NS, "of the first picture"
    assert len(list(source)) == 4 and source.broken == len(broken), "counted anew"


def test_a_bag_without_one_picture_says_why(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", {TOPIC: [image(0, encoding="mystery")]})
    with pytest.raises(SourceError, match=f"{bag}: {TOPIC}: not one picture in it.*'mystery'"):
        BagSource(bag)


def test_a_header_without_a_stamp_gets_the_time_of_recording(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", {TOPIC: [image(0, stamp_ns=0), image(1)]})
    assert [frame.stamp_ns for frame in BagSource(bag)] == [START_NS + 7, START_NS + PERIOD_NS]


def test_a_closed_source_ends_at_its_next_frame(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", images()))
    seen = 0
    for _ in source:
        seen += 1
        source.close()
    assert seen == 1


def test_paced_it_keeps_what_it_knows(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", {TOPIC: [image(0), image(0), b"", image(0)]})
    paced = Paced(BagSource(bag))
    assert (paced.name, paced.frame_id, paced.origin_ns) == (TOPIC, "lens", START_NS)
    assert len(list(paced)) == 3
    assert paced.broken == 1


def text() -> object:
    return STORE.types[STRING](data="hello")


def test_the_spec_chooses_a_topic(tmp_path: Path) -> None:
    rear = "/rear/image_raw/compressed"
    bag = write_bag(tmp_path / "bag", {TOPIC: [image(0)], rear: [png(1)], "/chat": [text()]})
    for topic, number in ((TOPIC, 0), (rear, 1)):
        for path in (bag, storage_file(bag)):
            source = open_source(f"{path}?topic={topic}")
            assert isinstance(source, BagSource)
            assert_pictures(list(source), range(number, number + 1))
    only = write_bag(tmp_path / "only", {"/chat": [text()], rear: [png(0)]})
    assert open_source(str(only)).name == rear
    odd = write_bag(tmp_path / "odd?topic=x", images())
    assert_pictures(list(open_source(str(odd))), range(COUNT))


def test_a_wrong_choice_lists_what_there_is(tmp_path: Path) -> None:
    rear = "/rear/image_raw/compressed"
    bag = write_bag(tmp_path / "bag", {TOPIC: [image(0)], rear: [png(1)]})
    listed = f"{TOPIC} (Image), {rear} (CompressedImage)"
    chat = write_bag(tmp_path / "chat", {"/chat": [text()]})
    for spec, says in {
        f"{bag}": f"{bag}: several image topics, choose one of {listed}",
        f"{bag}?topic=/rear": f"{bag}: no image topic '/rear'; it has {listed}",
        f"{bag}?topic=": "'topic=' is not understood",
        f"{bag}?speed=2": f"'speed=2' is not understood; write {bag}?topic=/front/image_raw",
        f"{chat}": f"{chat}: no image topic in this bag; it has /chat",
        f"{tmp_path / 'none'}?topic=/a": "there is no such file or folder",
    }.items():
        with pytest.raises(SourceError) as caught:
            open_source(spec)
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bag.mcap", b"", "empty"),
        ("bag.mcap", b"this is no bag " * 99, "not an MCAP file"),
        ("bag.db3", b"", "no such table: topics"),
        ("bag.db3", b"this is no bag " * 99, "file is not a database"),
        ("bag.mcap.zstd", b"", "the compressed file is cut off"),
        ("bag.mcap.zstd", b"this is no bag " * 99, "damaged zstd data"),
    ],
)
def test_what_is_no_bag_is_refused_in_one_line(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(SourceError, match=f"{tmp_path / name}: no bag, or nothing is left of it.*{says}"):
            open_source(str(path))


@pytest.fixture(scope="module")
def small_bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Suffix -> content of a small storage file."""
    folder = tmp_path_factory.mktemp("bags")
    bags = {}
    for storage in STORAGES:
        for mode in (CompressionMode.NONE, CompressionMode.MESSAGE):
            bag = write_bag(folder / f"{storage}{mode}", images(range(3)), storage, mode)
            bags[f"{mode}{SUFFIXES[storage]}"] = storage_file(bag).read_bytes()
    return bags


@invariant
@given(
    which=st.integers(0, 3),
    cut_at=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255))),
)
def test_whatever_is_cut_or_changed_gives_pictures_or_one_line(
    which: int,
    cut_at: float,
    flips: list[tuple[float, int]],
    small_bags: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    suffix, data = sorted(small_bags.items())[which]
    damaged = bytearray(data[: int(len(data) * cut_at)])
    for at, value in flips:
        if damaged:
            damaged[int(at * len(damaged))] = value
    file = tmp_path_factory.mktemp("damaged") / f"bag{suffix}"
    file.write_bytes(damaged)
    try:
        frames = list(BagSource(file))
    except SourceError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(frames) <= 3
    finally:
        shutil.rmtree(file.parent)


def test_a_chunk_that_claims_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", images(), "mcap", CompressionMode.STORAGE))
    data = bytearray(cut(file, 0.9).read_bytes())
    at = data.index(b"\x06", 8 + 9)
    struct.pack_into("<Q", data, at + 9 + 16, 1 << 40)
    file.write_bytes(data)
    for path in (file, tmp_path / "bag"):
        with pytest.raises(SourceError, match=f"a chunk claims {1 << 40} bytes"):
            BagSource(path)


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", images())
    check = (
        "import sys; sys.modules['rosbags'] = None\n"
        "from svlm_core.errors import SourceError\n"
        "from svlm_core.sources.open import open_source\n"
        "try: open_source(sys.argv[1])\n"
        "except SourceError as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", check, str(bag)], capture_output=True, text=True, timeout=100
    )
    assert ended.stdout == f"{bag}: bags are read by rosbags: pip install 'svlm_ros[bags]'\n", ended.stderr
