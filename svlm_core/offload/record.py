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

"""What of a session outlives the server's process."""

from __future__ import annotations

from dataclasses import dataclass

from svlm_core.offload import wire


@dataclass(frozen=True)
class Record:
    """What outlives the server's process, of one session.

    Attributes:
        name: of the session.
        user: whose key it belongs to.
        epoch: of its last memory.
        last: `seq` of the newest chunk that was understood.
        said: the text so far; None if nothing was understood in this memory.
        result: of that chunk.
    """

    name: str
    user: str
    epoch: int
    last: int
    said: str | None
    result: wire.Result | None
