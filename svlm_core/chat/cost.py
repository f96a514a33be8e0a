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

"""What asking an endpoint will cost, before it is asked."""

from __future__ import annotations

from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4.0  # of English, roughly
IMAGE_TOKENS = 300.0  # of a picture 512 px wide, roughly


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        requests: how many.
        tokens_in: of all of them.
        tokens_out: of all replies, at most.
        price_in: money for a million tokens in; None where it is not known.
        price_out: money for a million tokens out.
    """

    requests: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    price_in: float | None = None
    price_out: float | None = None

    def __str__(self) -> str:
        """One line for the user."""
        text = (
            f"{self.requests} requests, about {self.tokens_in / 1000:,.0f} thousand tokens in and at most "
            f"{self.tokens_out / 1000:,.0f} thousand out"
        )
        if self.price_in is None or self.price_out is None:
            return f"{text}; --price-in and --price-out turn this into money"
        money = (self.tokens_in * self.price_in + self.tokens_out * self.price_out) / 1e6
        return f"{text}, about {money:,.2f} in money"
