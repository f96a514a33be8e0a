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

"""What happens in the world, second by second, and the one true sentence about it.

Plain discs of different colours cross a fixed room. They enter at a side, may stop and go on, and leave
completely. A newcomer is given a digit, which a panel in the corner shows during the second it enters and
never again: when the disc comes back, tens of seconds or many minutes later, its digit is to be found only
in what was said before. Seconds in which nothing new happens are silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIZE_PX = 84
RADIUS_PX = 10
WORLD_FPS = 2
COLOURS = ("red", "green", "blue", "yellow", "pink", "white")
DIGITS = "123456"
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ENTERS_HEADING = {"left": "right", "right": "left", "top": "down", "bottom": "up"}  # side -> heading
LEAVES_AT = {"left": "left", "right": "right", "up": "top", "down": "bottom"}  # heading -> side

SEEN_NOW, MOTION, MEMORY, SILENCE = "seen now", "motion", "memory", "silence"
SENSE = {"new": SEEN_NOW, "back": MEMORY, "stops": MOTION, "goes": MOTION, "gone": MOTION, "silence": SILENCE}

_SPEED_PX = (6.5, 9.0)  # per frame, on the way
_SPEED_LIMITS_PX = (4.5, 12.0)  # per frame, adjusted so that a disc is exactly out when its last second ends
_REST_S = 3  # seconds a colour stays away at least
_AWAY_S, _SAID_S = 9, 18  # it was gone for more than _AWAY_S and last named more than _SAID_S ago
_ATTEMPTS = 12


@dataclass(frozen=True)
class Disc:
    """One disc during one second: centre in the first and the second frame (px), and what it does."""

    colour: str
    first: tuple[float, float]
    second: tuple[float, float]
    motion: str  # "still", a direction, "in", or "out SIDE"


@dataclass(frozen=True)
class WorldSecond:
    """One second of the world with its truth.

    Attributes:
        index: seconds since the stream began.
        discs: what is in view.
        panel: the digit on the panel, None when it is dark.
        kind: "new", "back", "stops", "goes", "gone" or "silence".
        sentence: the true sentence, None for silence.
        age_s: for "back": seconds since the digit was last said; else None.
    """

    index: int
    discs: tuple[Disc, ...]
    panel: str | None
    kind: str
    sentence: str | None
    age_s: int | None

    @property
    def sense(self) -> str:
        """What the sentence needs: SEEN_NOW, MOTION, MEMORY; SILENCE when there is none."""
        return SENSE[self.kind]


@dataclass(frozen=True)
class WorldConfig:
    """How busy the world is.

    Attributes:
        cast: how many colours take part.
        at_once: most discs in view.
        renewal: share of returns in which the disc is a newcomer again, with a new digit.
        overdue_s: a colour gone for longer comes back next.
        lull: chance, per empty second, that nothing happens for a while.
        lull_s: shortest and longest lull, seconds (log-uniform).
    """

    cast: int = 5
    at_once: int = 2
    renewal: float = 0.25
    overdue_s: int = 50
    lull: float = 0.03
    lull_s: tuple[int, int] = (60, 600)


@dataclass(frozen=True)
class _Visit:
    """From entering to being gone: one disc a second, and what is to be said at which second."""

    discs: tuple[Disc, ...]
    verbs: dict[int, tuple[str, str]]  # second since entering -> (kind, argument)


def seconds(seed: int, config: WorldConfig | None = None) -> Iterator[WorldSecond]:
    """The world's seconds, without end; equal arguments give equal worlds.

    The random streams are NumPy's PCG64 Generator; worlds are equal across machines for one NumPy version.
    """
    return _Scene(seed, config or WorldConfig()).seconds()


class _Scene:
    """What is on the stage, step by step."""

    def __init__(self, seed: int, config: WorldConfig) -> None:
        self._rng = np.random.default_rng(seed)
        self._config = config
        self._cast = [COLOURS[i] for i in self._rng.choice(len(COLOURS), config.cast, replace=False)]
        never = -1000
        self._gone = dict.fromkeys(self._cast, never)  # second in which it was last seen
        self._named = dict.fromkeys(self._cast, never)  # second in which its digit was last said
        self._digit: dict[str, str] = {}
        self._lull_until = int(self._rng.integers(0, 4))
        # What was planned for seconds that did not come yet.
        self._discs: dict[int, list[Disc]] = {}
        self._said: dict[int, tuple[str, str, int | None]] = {}  # second -> (kind, sentence, age)
        self._panel: dict[int, str] = {}

    def seconds(self) -> Iterator[WorldSecond]:
        now = 0
        while True:
            self._arrivals(now)
            kind, sentence, age_s = self._said.pop(now, ("silence", None, None))
            discs = tuple(self._discs.pop(now, ()))
            yield WorldSecond(now, discs, self._panel.pop(now, None), kind, sentence, age_s)
            now += 1

    def _arrivals(self, now: int) -> None:
        """Perhaps let one disc enter in this second."""
        rng, config = self._rng, self._config
        present = [colour for colour in self._cast if self._gone[colour] >= now]
        if not present and now >= self._lull_until and rng.random() < config.lull:
            low, high = np.log(config.lull_s)
            self._lull_until = now + int(np.exp(rng.uniform(low, high)))
        free = [
            colour
            for colour in self._cast
            if now - self._gone[colour] >= max(_REST_S, _AWAY_S + 1) and now - self._named[colour] > _SAID_S
        ]
        if now < self._lull_until or now in self._said or len(present) >= config.at_once or not free:
            return
        if rng.random() < (0.7 if present else 0.4):
            return
        overdue = [c for c in free if c in self._digit and self._gone[c] < now - config.overdue_s]
        colour = min(overdue, key=self._gone.__getitem__) if overdue else free[rng.integers(len(free))]
        for _ in range(_ATTEMPTS):
            visit = _plan_visit(rng, colour)
            if visit is not None and self._fits(visit, now):
                self._admit(visit, colour, now)
                return

    def _fits(self, visit: _Visit, now: int) -> bool:
        """One sentence a second, and discs never touch."""
        if any(now + offset in self._said for offset in visit.verbs):
            return False
        apart = 2 * RADIUS_PX + 2
        for offset, disc in enumerate(visit.discs):
            for other in self._discs.get(now + offset, ()):
                for (x, y), (u, v) in ((disc.first, other.first), (disc.second, other.second)):
                    if max(abs(x - u), abs(y - v)) < apart:
                        return False
        return True

    def _admit(self, visit: _Visit, colour: str, now: int) -> None:
        newcomer = colour not in self._digit or self._rng.random() < self._config.renewal
        if newcomer:
            self._digit[colour] = self._panel[now] = DIGITS[self._rng.integers(len(DIGITS))]
        kind, age_s = ("new", None) if newcomer else ("back", now - self._named[colour])
        self._said[now] = (kind, f"{kind} {colour} {self._digit[colour]}", age_s)
        for offset, (verb, argument) in visit.verbs.items():
            self._said[now + offset] = (verb, f"{colour} {verb} {argument}".rstrip(), None)
        for offset, disc in enumerate(visit.discs):
            self._discs.setdefault(now + offset, []).append(disc)
        self._gone[colour] = now + len(visit.discs) - 1
        self._named[colour] = now


def _plan_visit(rng: np.random.Generator, colour: str) -> _Visit | None:
    """A random walk through the room: 1 to 3 legs with rests between; None when it would not fit the room."""
    side = list(ENTERS_HEADING)[rng.integers(4)]
    heading = ENTERS_HEADING[side]
    lane = rng.uniform(RADIUS_PX + 5, SIZE_PX - RADIUS_PX - 5)
    near, far = -RADIUS_PX, SIZE_PX + RADIUS_PX
    x, y = {"left": (near, lane), "right": (far, lane), "top": (lane, near), "bottom": (lane, far)}[side]
    speed = rng.uniform(*_SPEED_PX)
    legs = int(rng.integers(1, 4))
    wish_s = int(rng.integers(2, 5)) if legs > 1 else SIZE_PX
    discs: list[Disc] = []
    verbs: dict[int, tuple[str, str]] = {}
    while True:
        dx, dy = DIRECTIONS[heading]
        way_out = {"left": x - near, "right": far - x, "up": y - near, "down": far - y}[heading]
        out_s = max(1, round(way_out / (WORLD_FPS * speed)))
        leaves = legs == 1 or (wish_s >= out_s - 1 and way_out < 4 * speed)
        if leaves:
            leg_s, step = out_s, way_out / (WORLD_FPS * out_s)
        else:
            room_s = int((way_out - 2 * RADIUS_PX - 4) // (WORLD_FPS * speed))
            leg_s, step = max(1, min(wish_s, room_s)), speed
        if not _SPEED_LIMITS_PX[0] < step < _SPEED_LIMITS_PX[1]:
            return None
        for i in range(leg_s):
            first = (x + dx * step, y + dy * step)
            second = (x + 2 * dx * step, y + 2 * dy * step)
            last = leaves and i == leg_s - 1
            motion = "in" if not discs else f"out {LEAVES_AT[heading]}" if last else heading
            discs.append(Disc(colour, first, second, motion))
            x, y = second
        if leaves:
            if len(discs) < 2:
                return None
            verbs[len(discs) - 1] = ("gone", LEAVES_AT[heading])
            return _Visit(tuple(discs), verbs)
        margin = RADIUS_PX + 2
        if not (margin < x < SIZE_PX - margin and margin < y < SIZE_PX - margin):
            return None
        verbs[len(discs)] = ("stops", "")
        discs += [Disc(colour, (x, y), (x, y), "still")] * int(rng.integers(2, 7))
        heading = list(DIRECTIONS)[rng.integers(4)]
        verbs[len(discs)] = ("goes", heading)
        legs -= 1
        wish_s = int(rng.integers(2, 4))
