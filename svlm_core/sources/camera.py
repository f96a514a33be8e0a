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

"""Cameras attached to this machine."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import re
import sys
import threading
import time

import cv2
from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.source import Source


class Camera(Source):
    """A camera by its index or device; frames are stamped with the system clock when they are grabbed."""

    live = True
    frames_total = None

    def __init__(self, device: str) -> None:
        """Open the camera.

        Args:
            device: "0", "/dev/video0", or a link to such a device, as /dev/v4l/by-id has them: its name stays
                when the camera comes back under another number.

        Raises:
            SourceError: there is no such camera, it is in use, or this user may not open it.
        """
        self.name = device_name(device)
        self._closed = threading.Event()
        path = Path(f"/dev/video{device}" if device.isdigit() else device)
        if sys.platform == "linux":  # says more than OpenCV does
            _check_device(path, self.name)
        number = re.fullmatch(r"/dev/video([0-9]+)", os.path.realpath(path))
        if number is None:
            raise SourceError(f"{self.name} cannot be opened: {path} is not a video device (/dev/videoN)")
        self._device = cv2.VideoCapture(int(number[1]))
        if not self._device.isOpened():
            raise SourceError(f"{self.name} cannot be opened: it is missing, or another program uses it")
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest one waiting
        self.fps = max(0.0, self._device.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        """Frames until close(); SourceError when the camera stops delivering."""
        frames = 0
        try:
            while not self._closed.is_set():
                grabbed = self._device.grab()
                stamp_ns = time.time_ns()
                ok, bgr = self._device.retrieve() if grabbed else (False, None)
                if not ok or bgr is None:
                    raise SourceError(
                        f"{self.name} stopped delivering after {frames} frames; is it still connected?"
                    )
                yield Frame(stamp_ns, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self.name)
                frames += 1
        finally:
            self._device.release()

    def close(self) -> None:
        """End the iteration at its next frame; the iteration then lets go of the camera."""
        self._closed.set()


def device_name(device: str) -> str:
    """Name of a camera, for events and messages."""
    return f"camera {device}"


def _check_device(device: Path, name: str) -> None:
    """Raise SourceError when a Linux video device is missing or may not be opened."""
    if not device.exists():
        others = sorted(str(other) for other in Path("/dev").glob("video[0-9]*"))
        raise SourceError(
            f"{name} cannot be opened: there is no {device} (found: {', '.join(others) or 'none'})"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"{name} cannot be opened: no permission for {device}; add this user to the group video"
        )
