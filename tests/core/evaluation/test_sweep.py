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

"""Settings that vary."""

from __future__ import annotations

import pytest
from svlm_core.config import POLICIES, StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.evaluation.sweep import read_axis, read_policies, variants


def test_the_grid_by_hand() -> None:
    axes = dict([read_axis("vision_window_s=8,12.5"), read_axis("text_sink_tokens=0, 4")])
    assert axes == {"vision_window_s": (8.0, 12.5), "text_sink_tokens": (0, 4)}
    found = variants(StreamConfig(), {"policy": read_policies("full"), **axes})
    assert [variant.name for variant in found] == [
        "full vision_window_s=8 text_sink_tokens=0",
        "full vision_window_s=8 text_sink_tokens=4",
        "full vision_window_s=12.5 text_sink_tokens=0",
        "full vision_window_s=12.5 text_sink_tokens=4",
    ]
    assert found[2].settings == {"policy": "full", "vision_window_s": 12.5, "text_sink_tokens": 0}
    config = found[3].config
    assert (config.policy, config.vision_window_s, config.text_sink_tokens) == ("full", 12.5, 4)


def test_without_axes_there_is_one_stream() -> None:
    (only,) = variants(StreamConfig(), {})
    assert (only.name, only.settings, only.config) == ("streaming", {}, StreamConfig())


def test_values_of_every_type() -> None:
    assert read_axis("time_text=true,No") == ("time_text", (True, False))
    assert read_axis("protocol=svlm,streamingvlm") == ("protocol", ("svlm", "streamingvlm"))
    assert read_axis("max_new_tokens=8,8,4") == ("max_new_tokens", (8, 4)), "each once"
    assert read_policies("all") == POLICIES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vision_windows_s=8", "unknown field 'vision_windows_s'; did you mean 'vision_window_s'"),
        ("vision_window_s=8,wide", "must be vision_window_s=VALUE,VALUE,..., each a float"),
        ("vision_window_s", "each a float"),
        ("text_sink_tokens=0.5", "each a int"),
        ("time_text=maybe", "each a bool"),
    ],
)
def test_axes_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_axis(text)


def test_a_combination_that_is_not_allowed_is_refused_before_any_stream() -> None:
    with pytest.raises(ConfigError, match="vision_window_s"):
        variants(StreamConfig(), {"vision_window_s": (8.0, -1.0)})
