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

"""Settings that vary: the grid of all combinations, one stream each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from svlm_core.config import POLICIES, StreamConfig
from svlm_core.errors import ConfigError

POLICY = "policy"
_WORDS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Variant:
    """One combination.

    Attributes:
        name: of its stream, unique in a sweep.
        settings: the fields that vary.
        config: all settings.
    """

    name: str
    settings: dict[str, Any]
    config: StreamConfig


def read_policies(text: str) -> tuple[str, ...]:
    """Read --policies: all, or names with commas.

    Raises:
        ConfigError: one is none.
    """
    names = list(POLICIES) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in POLICIES:
            raise ConfigError(f"--policies {name!r}: not one of all, {', '.join(POLICIES)}")
    return tuple(dict.fromkeys(names))


def read_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """Read FIELD=VALUE,VALUE,... of --sweep; `variants` finds out whether the values are allowed.

    Returns:
        The field, and the values in its type, all different.

    Raises:
        ConfigError: there is no such field, or a value is not of its type.
    """
    name, _, listed = text.partition("=")
    kinds = {field.name: type(field.default) for field in fields(StreamConfig)}
    if name not in kinds:
        StreamConfig().replace({name: None}, f"--sweep {text}")  # says which field may be meant
    try:
        values = [_read(value.strip(), kinds[name]) for value in listed.split(",")]
    except (KeyError, ValueError):
        kind = kinds[name].__name__
        raise ConfigError(f"--sweep {text}: must be {name}=VALUE,VALUE,..., each a {kind}") from None
    return name, tuple(dict.fromkeys(values))


def variants(config: StreamConfig, axes: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """All combinations, the last axis varying fastest; without axes the settings as they are.

    Args:
        config: what does not vary.
        axes: by field its values.

    Raises:
        ConfigError: a combination is not allowed.
    """
    found = []
    for values in product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        name = " ".join(_word(field, value) for field, value in settings.items())
        found.append(Variant(name or config.policy, settings, config.replace(settings, "--sweep")))
    return found


def _read(text: str, kind: type) -> Any:
    return _WORDS[text.lower()] if kind is bool else kind(text)


def _word(field: str, value: Any) -> str:
    if field == POLICY:
        return str(value)
    return f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
