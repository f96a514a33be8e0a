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

"""A training recipe: one YAML file, read into dataclasses and validated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, MISSING
from pathlib import Path
from typing import Any, TypeVar

from svlm_core.config import read_yaml, StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.world.features import SymbolDictionary

T = TypeVar("T")
KINDS = ("scene", "repeat", "recall", "drill", "stream", "rehearsal")
_PLAIN: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
_ABOVE_ZERO = {
    *("steps", "learning_rate", "size", "share", "chunk_s", "processes", "save_steps", "log_steps"),
    *("clips", "clip_s", "stream_s", "rank", "alpha", "epochs", "clips_per_row", "rows_per_step"),
}


@dataclass(frozen=True)
class ModelShape:
    """Size of a Qwen2.5-VL that is made from nothing; names as in transformers' configs."""

    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 384
    vision_hidden_size: int = 96
    vision_depth: int = 2
    vision_num_heads: int = 4
    vision_intermediate_size: int = 192
    rope_theta: float = 10000.0


@dataclass(frozen=True)
class Feed:
    """One kind of batch in a stage.

    Attributes:
        kind: "scene" (single pictures), "repeat", "recall", "drill" (text only) or "stream" (SFT chunks)
            or "rehearsal" (answers on top of a running stream's cache).
        size: samples in a batch, per process.
        share: how often, relative to the stage's other feeds.
        chunk_s: seconds in an SFT chunk.
        overlap_s: seconds by which the chunks of one stream overlap.
        previous_text: SFT chunks begin with what was said before.
        start: part of the stage, 0 to 1, at which the feed begins.
        stop: part of the stage at which it ends.
    """

    kind: str
    size: int
    share: float = 1.0
    chunk_s: int = 24
    overlap_s: int = 8
    previous_text: bool = True
    start: float = 0.0
    stop: float = 1.0


@dataclass(frozen=True)
class Weights:
    """How much each kind of token counts in the loss.

    Attributes:
        word: words of a sentence but the last.
        argument: the last word: direction, side.
        memory_digit: a digit that only old text tells.
        new_digit: a digit read from the panel.
        quiet: the silence mark where nothing is to be said.
        closing: the silence mark behind a sentence.
        end_of_turn: the end of the turn.
    """

    word: float = 1.5
    argument: float = 2.5
    memory_digit: float = 4.0
    new_digit: float = 2.85
    quiet: float = 1.0
    closing: float = 0.2
    end_of_turn: float = 0.1


@dataclass(frozen=True)
class Stage:
    """One optimisation from first to last step with a schedule of its own.

    Attributes:
        name: names the stage's folder; the order of stages is the order in the file.
        steps: optimiser steps.
        learning_rate: peak, reached after `warmup_steps`; falls as a cosine to `floor` of it.
        feeds: what is trained on.
        vision: the vision tower learns.
        language: the language model learns.
        pixels: samples hold pictures; else the world's symbols stand in for the vision tower.
        vision_rate: the vision tower's learning rate, relative.
        feature_weight: weight of the regression of the world's symbols in the loss.
        renewal: share of returns with a new digit, in the worlds trained on.
        forget: share of sentences left out of samples.
        weights: of the kinds of tokens in the loss.
    """

    name: str
    steps: int
    learning_rate: float
    feeds: tuple[Feed, ...]
    vision: bool = False
    language: bool = True
    pixels: bool = False
    vision_rate: float = 1.0
    feature_weight: float = 0.0
    warmup_steps: int = 50
    floor: float = 0.04
    renewal: float = 0.25
    forget: float = 0.03
    weights: Weights = field(default_factory=Weights)


@dataclass(frozen=True)
class Recipe:
    """Everything `svlm train` needs.

    Attributes:
        stages: in order.
        stream: StreamConfig fields that samples are made for and that become the checkpoint's own defaults.
        export: StreamConfig fields in which those defaults differ, found best once the model was there.
        model: the model's size.
        processes: data-parallel processes on this machine, one thread each.
        seed: of weights and samples.
        save_steps: optimiser steps between checkpoints to resume from.
        log_steps: optimiser steps between two lines of loss and accuracy.
    """

    stages: tuple[Stage, ...]
    stream: dict[str, Any]
    export: dict[str, Any] = field(default_factory=dict)
    model: ModelShape = ModelShape()
    processes: int = 2
    seed: int = 0
    save_steps: int = 200
    log_steps: int = 50

    @property
    def stream_config(self) -> StreamConfig:
        """The stream settings that samples are made for."""
        return StreamConfig().replace(self.stream, "stream")

    @property
    def stream_defaults(self) -> dict[str, Any]:
        """What the exported checkpoint's `stream.yaml` says."""
        return {**self.stream, **self.export}


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigError: names the file and the field.
    """
    data = read_yaml(path)
    try:
        stages = []
        for number, stage in enumerate(take(data, "stages", list)):
            where = f"stages[{number}]"
            feeds = tuple(build(Feed, feed, f"{where}.feeds") for feed in take(stage, "feeds", list))
            weights = build(Weights, stage.get("weights", {}), f"{where}.weights")
            stages.append(build(Stage, {**stage, "feeds": feeds, "weights": weights}, where))
            _check_feeds(feeds, f"{where}.feeds")
        take(data, "stream", dict)
        shape = build(ModelShape, data.get("model", {}), "model")
        _check_shape(shape)
        recipe = build(Recipe, {**data, "stages": tuple(stages), "model": shape}, "recipe")
        recipe.stream_config.replace(recipe.export, "export")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return recipe


def _check_shape(shape: ModelShape) -> None:
    for whole, part in (
        ("hidden_size", "num_attention_heads"),
        ("num_attention_heads", "num_key_value_heads"),
        ("vision_hidden_size", "vision_num_heads"),
    ):
        if getattr(shape, part) < 1 or getattr(shape, whole) % getattr(shape, part):
            raise ConfigError(f"model.{whole} must be a multiple of {part}")
    try:
        SymbolDictionary(shape.hidden_size)
    except ValueError as error:
        raise ConfigError(f"model.hidden_size is too small: {error}") from error


def take(data: Any, name: str, kind: type[T]) -> T:
    """A list or mapping of a recipe, which must be there; ConfigError names it."""
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind) or not value:
        raise ConfigError(f"{name} must be a {'list' if kind is list else 'mapping'} that is not empty")
    return value


def build(kind: type[T], data: Any, where: str) -> T:
    """Make a dataclass of a mapping; ConfigError names an unknown, missing or ill-typed field."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where} must be a mapping, got {data!r}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise ConfigError(f"{where}: unknown field {name!r}; the fields are {', '.join(sorted(known))}")
    for name, setting in known.items():
        if name in data:
            _check(f"{where}.{name}", data[name], str(setting.type))
        elif setting.default is MISSING and setting.default_factory is MISSING:
            raise ConfigError(f"{where}: the field {name!r} is missing")
    return kind(**data)


def _check(name: str, value: Any, kind: str) -> None:
    """Check a plain value; `kind` is its annotation. No number of a recipe is negative."""
    if kind not in _PLAIN:
        return
    if not isinstance(value, _PLAIN[kind]) or isinstance(value, bool) != (kind == "bool"):
        hint = " (YAML reads 2e-3 as text: write 2.0e-3)" if kind == "float" else ""
        raise ConfigError(f"{name} must be of type {kind}, got {value!r}{hint}")
    least_excluded = name.rpartition(".")[2] in _ABOVE_ZERO
    if isinstance(value, (int, float)) and (value < 0 or (value == 0 and least_excluded)):
        raise ConfigError(f"{name} must {'be above 0' if least_excluded else 'not be negative'}, got {value}")


def _check_feeds(feeds: Sequence[Feed], where: str) -> None:
    for feed in feeds:
        if feed.kind not in KINDS:
            raise ConfigError(f"{where}: kind must be one of {', '.join(KINDS)}; got {feed.kind!r}")
        if feed.overlap_s >= feed.chunk_s:
            raise ConfigError(
                f"{where}: overlap_s ({feed.overlap_s}) must be less than chunk_s ({feed.chunk_s})"
            )
    for begin in (0.0, *(feed.stop for feed in feeds)):
        if begin < 1 and not any(feed.start <= begin < feed.stop for feed in feeds):
            raise ConfigError(f"{where}: no feed from {begin:g} of the stage on; see start and stop")
