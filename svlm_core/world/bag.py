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

"""A bag of the world: its camera's topic as a robot would record it, and its truth."""

from __future__ import annotations

from collections.abc import Callable
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from svlm_core.errors import ConfigError
from svlm_core.frames import NS_PER_S
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WORLD_FPS
from svlm_core.world.truth import truth_line

STORAGES = ("mcap", "sqlite3")
IMAGES = ("raw", "png", "jpeg")
TOPIC = "/camera/image_raw"  # what stream_node listens to
TRUTH = "truth.jsonl"
START_NS = 1_700_000_000 * NS_PER_S  # stamps do not depend on when the bag is made

_FRAME_ID = "camera"
_JPEG_QUALITY = 90


def write_bag(
    seed: int, length_s: int, out: Path, storage: str, images: str, progress: Callable[[int], object]
) -> Path:
    """Write a rosbag2 folder and, in it, TRUTH with one object a second.

    Args:
        seed: which world.
        length_s: length, seconds.
        out: the folder; it must not exist.
        storage: one of STORAGES.
        images: one of IMAGES: sensor_msgs/Image on TOPIC, or CompressedImage on TOPIC/compressed. PNG loses
            nothing, JPEG does.
        progress: called with the number of new seconds.

    Returns:
        The path of the truth.

    Raises:
        ConfigError: a number is out of range, the folder exists, it cannot be written, or rosbags is missing.
    """
    if seed < 0 or length_s < 1:
        raise ConfigError(
            f"--seed must not be negative and --seconds must be at least 1; got {seed} and {length_s}"
        )
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
        from rosbags.typesys import get_typestore, Stores
    except ImportError as error:
        raise ConfigError(f"{out}: bags are written by rosbags: pip install 'svlm_ros[bags]'") from error
    message = _Messages(get_typestore(Stores.LATEST), images)
    renderer = Renderer(seed)
    try:
        with Writer(out, version=9, storage_plugin=StoragePlugin[storage.upper()]) as bag:
            topic = bag.add_connection(message.topic, message.kind, typestore=message.types)
            with (out / TRUTH).open("w", encoding="utf-8") as truth:
                for second in itertools.islice(seconds(seed), length_s):
                    truth.write(truth_line(second) + "\n")
                    for k, rgb in enumerate(renderer.frames(second)):
                        stamp_ns = START_NS + (second.index * WORLD_FPS + k) * NS_PER_S // WORLD_FPS
                        bag.write(topic, stamp_ns, message.serialised(rgb, stamp_ns))
                    progress(1)
    except (OSError, WriterError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{out}: cannot be written ({reason})") from error
    return out / TRUTH


class _Messages:
    """Makes image messages.

    Attributes:
        types: the message types.
        topic: where they belong.
        kind: their type.
    """

    def __init__(self, types: Any, images: str) -> None:
        self.types = types
        self._images = images
        self.topic = TOPIC if images == "raw" else f"{TOPIC}/compressed"
        self.kind = "sensor_msgs/msg/Image" if images == "raw" else "sensor_msgs/msg/CompressedImage"

    def serialised(self, rgb: np.ndarray, stamp_ns: int) -> memoryview:
        """The picture, uint8 [H, W, 3], as CDR bytes."""
        types = self.types.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=_FRAME_ID)
        height, width = rgb.shape[:2]
        if self._images == "raw":
            data = np.ascontiguousarray(rgb).reshape(-1)
            message = types[self.kind](header, height, width, "rgb8", 0, 3 * width, data)
        else:
            bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if self._images == "jpeg" else []
            _, data = cv2.imencode(f".{self._images}", bgr, options)
            message = types[self.kind](header, f"rgb8; {self._images} compressed bgr8", data.reshape(-1))
        serialised: memoryview = self.types.serialize_cdr(message, self.kind)
        return serialised
