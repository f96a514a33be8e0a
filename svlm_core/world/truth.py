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

"""What is true of the world, as JSON lines; docs/bags.md describes the format for recordings in general."""

from __future__ import annotations

import json

from svlm_core.world.scene import WorldSecond


def truth_line(second: WorldSecond) -> str:
    """One line about one second: its number, the sentence (null for silence), what that needs, its verb."""
    return json.dumps(
        {
            "second": second.index,
            "sentence": second.sentence,
            "kind": second.sense,
            "verb": second.kind,
            "age_s": second.age_s,
        }
    )
