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

"""Which videos are held out: whole videos, so that no stretch of one is on both sides."""

from __future__ import annotations

import hashlib


def is_held_out(video: str, share: float) -> bool:
    """Whether a video is held out; it depends on the name alone, so new videos never move the old ones.

    Args:
        video: name of the video's file.
        share: of all videos that are to be held out, 0 to 1.
    """
    digest = hashlib.sha256(video.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
