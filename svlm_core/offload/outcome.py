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

"""Why chunks are lost and sessions end, where no code of the wire says it."""

from __future__ import annotations

from enum import Enum


class Lost(str, Enum):
    """Why the frames of a chunk that was taken were not used."""

    ENDED = "ended"  # the session ended before its turn
    WORKER = "worker"  # the worker died


class Ended(str, Enum):
    """Why a session ended, or its connection."""

    BYE = "bye"  # the robot said so
    SILENT = "silent"  # nothing heard for wire.DEAD_AFTER_S; the session is kept for a while
    SLOW = "slow"  # it did not fetch what it was sent
    REVOKED = "revoked"  # its key was taken back
    EXPIRED = "expired"  # nobody came back for it
    TAKEN = "taken"  # a newer connection took the session over, or this one began another
    REFUSED = "refused"  # its settings are wrong, or there is no memory for it
