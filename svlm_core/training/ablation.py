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

"""What each ingredient of the training strategy buys: a recipe trained without it, streamed for hours.

The ingredients are those of StreamingVLM's SFT (arXiv 2510.09608, section 3.2): chunks that overlap, that
begin with the text said before, and that are longer than a moment. Stages without stream samples are the same
for all variants and are run once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
import shutil

from svlm_core.errors import ConfigError
from svlm_core.training.recipe import Feed, Recipe, Stage
import yaml

STRATEGY = "the strategy"


def _as_it_is(feed: Feed) -> Feed:
    return feed


def _no_overlap(feed: Feed) -> Feed:
    return replace(feed, overlap_s=0)


def _no_previous_text(feed: Feed) -> Feed:
    return replace(feed, previous_text=False)


def _single_clips(feed: Feed) -> Feed:
    """One second, seen alone, as a captioner is trained; as many seconds in a batch as before."""
    return replace(feed, size=feed.size * feed.chunk_s, chunk_s=1, overlap_s=0, previous_text=False)


VARIANTS: dict[str, Callable[[Feed], Feed]] = {
    STRATEGY: _as_it_is,
    "no overlap": _no_overlap,
    "no previous text": _no_previous_text,
    "single clips": _single_clips,
}


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe with and without each ingredient; stages that rehearse on running streams are left out.

    Raises:
        ConfigError: the recipe has no stream samples, so there is nothing to leave out.
    """
    stages = [stage for stage in recipe.stages if not _has(stage, "rehearsal")]
    if not any(_has(stage, "stream") for stage in stages):
        raise ConfigError("the recipe has no feed of kind stream: there is nothing to leave out")
    return {
        name: replace(recipe, stages=tuple(_changed(stage, change) for stage in stages))
        for name, change in VARIANTS.items()
    }


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe that load_recipe reads back."""
    plain = asdict(recipe)
    for stage in plain["stages"]:
        stage["feeds"] = [dict(feed) for feed in stage["feeds"]]
    plain["stages"] = list(plain["stages"])
    path.write_text(yaml.safe_dump(plain, sort_keys=False))


def share_stages(recipe: Recipe, done: Path, out: Path) -> None:
    """Copy the finished stages before the first with stream samples: they are the same for all variants."""
    for number, stage in enumerate(recipe.stages):
        folder = f"{number:02d}-{stage.name}"
        if _has(stage, "stream"):
            return
        if (done / folder).is_dir() and not (out / folder).exists():
            shutil.copytree(done / folder, out / folder)


def _has(stage: Stage, kind: str) -> bool:
    return any(feed.kind == kind for feed in stage.feeds)


def _changed(stage: Stage, change: Callable[[Feed], Feed]) -> Stage:
    feeds = tuple(change(feed) if feed.kind == "stream" else feed for feed in stage.feeds)
    return replace(stage, feeds=feeds)
