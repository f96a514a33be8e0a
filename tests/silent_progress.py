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

"""A progress bar for tests."""

from __future__ import annotations


class Silent:
    """A progress bar that shows nothing; Ctrl-C comes at its n-th update."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self._interrupt_at, self.updates = interrupt_at, 0

    def update(self, n: int = 1) -> None:
        self.updates += n
        if self.updates == self._interrupt_at:
            raise KeyboardInterrupt

    def set_postfix_str(self, s: str, refresh: bool) -> None:
        pass
