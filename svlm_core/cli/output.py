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

"""What the command line says beside its results."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """One line of news, on stderr; from any thread."""
    sys.stderr.write(f"svlm: {line}\n")  # in one piece: threads speak at once
    sys.stderr.flush()
