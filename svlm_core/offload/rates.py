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

"""How much one key may send: a token bucket."""

from __future__ import annotations


class RateLimit:
    """Allows `per_s` units a second on average and `burst` at once; what a unit is, its user says."""

    def __init__(self, per_s: float, burst: float) -> None:
        """Begin with a full bucket. Both must be above zero."""
        if not (per_s > 0 and burst > 0):
            raise ValueError(f"per_s and burst must be above 0, got {per_s} and {burst}")
        self._per_s, self._burst = per_s, burst
        self._left = burst
        self._last_s: float | None = None

    def take(self, amount: float, now_s: float) -> bool:
        """Take `amount` units if they are there; what is refused takes nothing.

        Args:
            amount: units; more than `burst` is always refused.
            now_s: a monotonic clock.
        """
        if self._last_s is not None:
            self._left = min(self._burst, self._left + max(0.0, now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if amount > self._left:
            return False
        self._left -= amount
        return True
