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

"""The storage files of a rosbag2 recording, read by rosbags; broken ones as far as they go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
import re
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TYPE_CHECKING

from svlm_core.config import read_yaml
from svlm_core.errors import ConfigError, SourceError
from svlm_core.frames import NS_PER_S
from svlm_core.sources.bag_codecs import BrokenDataError, inflate_file
from svlm_core.sources.bag_rescue import CDR, RawMessage, rescue
from svlm_core.sources.folder import natural_key

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader

_STORAGE = re.compile(r".*\.(mcap|db3)(\.zstd)?")
_METADATA = "metadata.yaml"


class Topic(NamedTuple):
    """A topic of a bag: name, type ("sensor_msgs/msg/Image"), messages (0 where nothing says how many)."""

    name: str
    kind: str
    messages: int


def is_bag(path: Path) -> bool:
    """Whether the path is a storage file of rosbag2, or a folder with one in it."""
    return bool(_storage_files(path) if path.is_dir() else _STORAGE.fullmatch(path.name))


class BagFiles:
    """One recording: a folder, whose files follow each other, or a single file.

    Attributes:
        topics: what was recorded.
        length_s: from the first message of any topic to the last, seconds; 0.0 where nothing says.
    """

    def __init__(self, path: Path) -> None:
        """See what is there.

        Raises:
            SourceError: there is no such bag, or the rosbags library is not installed.
        """
        if not path.exists():
            raise SourceError(f"{path}: there is no such file or folder")
        if not is_bag(path):
            raise SourceError(f"{path}: not a bag; a bag is a .mcap or .db3 file, or a folder with some")
        try:
            import rosbags  # noqa: F401  only whether it is there
        except ImportError as error:
            raise SourceError(f"{path}: bags are read by rosbags: pip install 'svlm_ros[bags]'") from error
        self._files = [path] if path.is_file() else _storage_files(path)
        described = _described(path / _METADATA) if path.is_dir() else None
        if described is None:  # a single file, or the recorder was killed before it wrote the description
            self.topics, self.length_s = self._examine()
            return
        names, self.topics, self.length_s = described
        listed = [path / name for name in names]
        if any(file.exists() for file in listed):
            self._files = listed

    def messages(self, topic: str) -> Iterator[RawMessage]:
        """The topic's messages in the order of recording.

        Raises:
            SourceError: a file is missing, damaged or cut off; all messages before that have been handed out.
        """
        for file in self._files:
            try:
                yield from _messages(file, topic)
            except BrokenDataError as error:
                raise SourceError(f"{file}: {error}") from error
            except OSError as error:
                raise SourceError(f"{file}: cannot be read ({error.strerror})") from error

    def _examine(self) -> tuple[list[Topic], float]:
        """Topics, and the length in seconds, from the files themselves."""
        counts: Counter[tuple[str, str]] = Counter()
        length_ns = 0
        for file in self._files:
            try:
                found, file_ns, broken = _contents(file)
            except OSError as error:
                raise SourceError(f"{file}: cannot be read ({error.strerror})") from error
            counts.update(found)
            length_ns += file_ns
            if broken and not counts:
                raise SourceError(f"{file}: no bag, or nothing is left of it: {broken}")
        return [Topic(*topic, messages) for topic, messages in sorted(counts.items())], length_ns / NS_PER_S


def _contents(file: Path) -> tuple[Counter[tuple[str, str]], int, str]:
    """Messages by topic and type, the nanoseconds they span, and why they end early, "" if they do not."""
    counts: Counter[tuple[str, str]] = Counter()
    with _unpacked(file) as (storage, broken), _opened(storage) as reader:
        if reader is not None:
            for connection in reader.connections:
                counts[str(connection.topic), str(connection.msgtype)] += connection.msgcount
            return counts, reader.duration, broken
        first_ns = last_ns = 0
        try:
            for message in rescue(storage):
                first_ns = first_ns or message.recorded_ns
                last_ns = message.recorded_ns
                counts[message.topic, message.kind] += 1
        except BrokenDataError as error:
            broken = broken or str(error)
    return counts, last_ns - first_ns, broken


def _messages(file: Path, topic: str) -> Iterator[RawMessage]:
    """One file's messages of a topic; BrokenDataError where it breaks."""
    if not file.exists():
        raise BrokenDataError(f"missing, though {_METADATA} names it")
    with _unpacked(file) as (storage, broken), _opened(storage) as reader:
        if reader is None:
            yield from (message for message in rescue(storage) if message.topic == topic)
        else:
            yield from _indexed(reader, topic)
    if broken:
        raise BrokenDataError(broken)


def _indexed(reader: Reader, topic: str) -> Iterator[RawMessage]:
    connections = [
        connection
        for connection in reader.connections
        if connection.topic == topic and getattr(connection.ext, "serialization_format", CDR) == CDR
    ]
    if not connections:  # rosbags would take that for all
        return
    try:
        for connection, recorded_ns, data in reader.messages(connections):
            yield RawMessage(topic, connection.msgtype, recorded_ns, data)
    except Exception as error:  # rosbags promises no particular one for damaged data
        raise BrokenDataError(f"damaged ({' '.join(str(error).split())})") from error


@contextmanager
def _opened(storage: Path) -> Iterator[Reader | None]:
    """The library's reader; None where it refuses the file, or would miss what SQLite keeps beside it."""
    from rosbags.rosbag2 import Reader

    ahead = storage.with_name(f"{storage.name}-wal")  # written by a recorder that was killed
    reader: Reader | None = None
    if not ahead.exists() or not ahead.stat().st_size:
        try:
            reader = Reader(storage)
            reader.open()
        except Exception:  # ReaderError, but also what struct, apsw and others say to damaged data
            reader = None
    try:
        yield reader
    finally:
        if reader is not None:
            reader.close()


@contextmanager
def _unpacked(file: Path) -> Iterator[tuple[Path, str]]:
    """The file, unpacked if it is compressed, and why it ends before its end, "" when it does not."""
    if file.suffix != ".zstd":
        yield file, ""
        return
    with TemporaryDirectory(prefix="svlm-bag-") as folder:
        storage = Path(folder) / file.stem
        yield storage, inflate_file(file, storage)


def _storage_files(folder: Path) -> list[Path]:
    """A folder's storage files in the order in which they were recorded."""
    files = [file for file in folder.iterdir() if _STORAGE.fullmatch(file.name) and file.is_file()]
    return sorted(files, key=lambda file: natural_key(file.name))


def _described(metadata: Path) -> tuple[list[str], list[Topic], float] | None:
    """File names, topics and length in seconds from metadata.yaml; None when it does not say them."""
    try:
        about: Any = read_yaml(metadata)["rosbag2_bagfile_information"]
        names = [PurePath(name).name for name in about["relative_file_paths"]]
        topics = [
            Topic(
                str(counted["topic_metadata"]["name"]),
                str(counted["topic_metadata"]["type"]),
                int(counted["message_count"]),
            )
            for counted in about["topics_with_message_count"]
        ]
        return names, topics, int(about["duration"]["nanoseconds"]) / NS_PER_S
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None
