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

"""Stretches of video that are commented on, and segments of them that are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """What one stream runs over.

    Attributes:
        id: unique in its benchmark.
        video: path of the video under the folder of videos.
        start_s: where it begins, seconds of the video.
        end_s: where it ends.
        before: what the human had said before start_s.
        title: of the video, "" without one.
    """

    id: str
    video: str
    start_s: float
    end_s: float
    before: str = ""
    title: str = ""


@dataclass(frozen=True)
class Segment:
    """What one comparison is about.

    Attributes:
        id: unique in its benchmark.
        stretch: id of the stretch it lies in.
        start_s: where it begins, seconds of the video.
        end_s: where it ends.
        reference: what the human said.
    """

    id: str
    stretch: str
    start_s: float
    end_s: float
    reference: str
