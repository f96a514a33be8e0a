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

"""Writes bags for tests, by the rosbags library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
import yaml

STORE = get_typestore(Stores.LATEST)
IMAGE, COMPRESSED, STRING = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
SUFFIXES = {"mcap": ".mcap", "sqlite3": ".db3"}
START_NS = 1_600_000_000 * 10**9
PERIOD_NS = 500_000_000


def picture(number: int, side_px: int = 48) -> np.ndarray:
    """Picture `number`: noise, so that a cut in a file cuts through it."""
    return np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)


def image(number: int, stamp_ns: int | None = None, rgb: np.ndarray | None = None, **fields: Any) -> Any:
    """A raw message of that picture, stamped PERIOD_NS after the one before."""
    rgb = picture(number) if rgb is None else rgb
    height, width = rgb.shape[:2]
    return STORE.types[IMAGE](
        **{
            "header": _header(number, stamp_ns),
            "height": height,
            "width": width,
            "encoding": "rgb8",
            "is_bigendian": 0,
            "step": 3 * width,
            "data": rgb.reshape(-1),
            **fields,
        }
    )


def png(number: int) -> Any:
    """The same picture as a CompressedImage, without loss."""
    _, data = cv2.imencode(".png", picture(number)[:, :, ::-1])
    return STORE.types[COMPRESSED](header=_header(number), format="rgb8; png compressed bgr8", data=data)


def write_bag(
    folder: Path,
    messages: dict[str, Sequence[Any]],
    storage: str = "mcap",
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """A bag of topic -> messages; raw bytes are written as they are, as images. Returns its folder."""
    writer = Writer(folder, version=9, storage_plugin=STORAGES[storage])
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        for topic, sequence in messages.items():
            kind = next(
                (message.__msgtype__ for message in sequence if not isinstance(message, bytes)), IMAGE
            )
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for number, message in enumerate(sequence):
                data = message if isinstance(message, bytes) else STORE.serialize_cdr(message, kind)
                writer.write(connection, START_NS + number * PERIOD_NS + 7, data)  # 7 ns after the stamp
    return folder


def split(folder: Path, parts: Sequence[Path], describe: bool = True) -> Path:
    """One bag whose files are those of the parts, numbered as a recorder numbers them."""
    folder.mkdir()
    merged: dict[str, Any] = {}
    names = []
    for number, part in enumerate(parts):
        about = yaml.safe_load((part / "metadata.yaml").read_text())
        (name,) = about["rosbag2_bagfile_information"]["relative_file_paths"]
        names.append(f"{folder.name}_{number}{name.removeprefix(part.name)}")
        (part / name).rename(folder / names[-1])
        if not merged:
            merged = about
        else:
            for topic, more in zip(
                merged["rosbag2_bagfile_information"]["topics_with_message_count"],
                about["rosbag2_bagfile_information"]["topics_with_message_count"],
                strict=True,
            ):
                topic["message_count"] += more["message_count"]
    merged["rosbag2_bagfile_information"]["relative_file_paths"] = names
    if describe:
        (folder / "metadata.yaml").write_text(yaml.safe_dump(merged))
    return folder


def storage_file(folder: Path) -> Path:
    """The one storage file of a bag."""
    (file,) = (file for file in folder.iterdir() if file.name != "metadata.yaml")
    return file


def cut(file: Path, share: float) -> Path:
    """Keep only the first part of a file."""
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    return file


def _header(number: int, stamp_ns: int | None = None) -> Any:
    stamp_ns = START_NS + number * PERIOD_NS if stamp_ns is None else stamp_ns
    stamp = STORE.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id="lens")
