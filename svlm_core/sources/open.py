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

"""From what the user typed to a source."""

from __future__ import annotations

from pathlib import Path
import re
from urllib.parse import parse_qsl, urlsplit

from svlm_core.errors import SourceError
from svlm_core.sources.bag import BagSource
from svlm_core.sources.bag_files import is_bag
from svlm_core.sources.camera import Camera, device_name
from svlm_core.sources.folder import ImageFolder
from svlm_core.sources.network import NetworkStream, public_name, SCHEMES
from svlm_core.sources.source import Source
from svlm_core.sources.video import VideoFile
from svlm_core.sources.world import WorldSource

ACCEPTED = (
    "a video file, a folder of pictures, a bag (FOLDER, FILE.mcap or FILE.db3, with ?topic=/NAME if it has "
    "several image topics), a camera (0 or /dev/video0), rtsp://HOST/PATH, http://HOST/PATH, or "
    "world://SEED?seconds=N"
)


def open_source(spec: str, folder_fps: float = 2.0) -> Source:
    """Open a source of frames.

    Args:
        spec: the path of a video or of a folder of pictures, the path of a bag, with "?topic=/NAME" to choose
            an image topic, a camera's index or device ("0"; a file of that name is "./0"), an RTSP or HTTP
            URL, or "world://SEED", with "?seconds=N" to end it.
        folder_fps: frame rate of a folder of pictures, which has none of its own.

    Raises:
        SourceError: the spec is none of these, or what it names cannot be opened.
    """
    if _is_device(spec):
        return Camera(spec)
    if _is_network(spec):
        return NetworkStream(spec)
    scheme, separator, _ = spec.partition("://")
    if separator and scheme.lower() == "world":
        return _world(spec)
    if not spec or (separator and not Path(spec).exists()):
        raise SourceError(f"unknown source {spec!r}; accepted are {ACCEPTED}")
    path = Path(spec)
    if not path.exists():
        before, separator, options = spec.rpartition("?")
        if separator and Path(before).exists() and is_bag(Path(before)):
            return _bag(spec, Path(before), options)
        raise SourceError(f"{spec}: there is no such file or folder; accepted are {ACCEPTED}")
    if is_bag(path):
        return BagSource(path)
    return ImageFolder(path, folder_fps) if path.is_dir() else VideoFile(path)


def is_live(spec: str) -> bool:
    """Whether the spec names a camera or a network stream, which can be lost and come back."""
    return _is_device(spec) or _is_network(spec)


def live_name(spec: str) -> str:
    """The name that the source of a live spec has, opened or not; free of passwords."""
    return device_name(spec) if _is_device(spec) else public_name(spec)


def _is_device(spec: str) -> bool:
    """An index, or anything in /dev, where udev rules name cameras as they like; /dev/shm holds files."""
    return re.fullmatch(r"[0-9]{1,4}|/dev/(?!shm/).+", spec) is not None


def _is_network(spec: str) -> bool:
    scheme, separator, _ = spec.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def _bag(spec: str, path: Path, query: str) -> BagSource:
    """Read PATH?topic=/NAME."""
    options = parse_qsl(query, keep_blank_values=True)
    if [name for name, _ in options] != ["topic"] or not options[0][1]:
        raise SourceError(f"{spec}: {query!r} is not understood; write {path}?topic=/front/image_raw")
    return BagSource(path, options[0][1])


def _world(spec: str) -> WorldSource:
    """Read world://SEED?seconds=N."""
    parts = urlsplit(spec)
    options = parse_qsl(parts.query, keep_blank_values=True)
    unknown = [name for name, _ in options if name != "seconds"]
    if unknown or parts.path.strip("/") or parts.fragment or len(options) > 1:
        extra = unknown[0] if unknown else (parts.path + parts.fragment or parts.query)
        raise SourceError(
            f"{spec}: {extra!r} is not understood; write world://SEED or world://SEED?seconds=N"
        )
    seed = _whole(parts.netloc)
    if seed is None:
        raise SourceError(f"{spec}: the seed must be a whole number from 0 on, got {parts.netloc!r}")
    if not options:
        return WorldSource(seed)
    seconds = _whole(options[0][1])
    if not seconds:
        raise SourceError(f"{spec}: seconds must be a whole number above 0, got {options[0][1]!r}")
    return WorldSource(seed, seconds)


def _whole(text: str) -> int | None:
    """The number that up to 18 decimal digits spell, else None."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
