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

"""The settings: every mistake is named, and what comes later wins."""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from properties import invariant
import pytest
from svlm_core.config import read_yaml, StreamConfig
from svlm_core.errors import ConfigError

FIELDS = fields(StreamConfig)
WRONG_TYPE: dict[type, list[Any]] = {
    int: ["7", 1.5, True, None, [1]],
    float: ["7", "1e3", False, None, float("nan"), float("inf")],
    bool: ["yes", 1, None],
    str: [7, None, True, ["streaming"]],
}


def bad_values() -> list[Any]:
    cases = []
    for setting in FIELDS:
        values = list(WRONG_TYPE[type(setting.default)])
        if "minimum" in setting.metadata:
            values += [setting.metadata["minimum"] - 1, setting.metadata["maximum"] + 1]
        if "choices" in setting.metadata:
            values += ["", "Streaming"]
        cases += [pytest.param(setting, value, id=f"{setting.name}={value!r}") for value in values]
    return cases


@pytest.mark.parametrize(("setting", "value"), bad_values())
def test_a_bad_value_is_refused_by_name_in_one_line(setting: Field[Any], value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        StreamConfig().replace({setting.name: value}, "stream.yaml")
    message = str(caught.value)
    assert message.startswith(f"stream.yaml: {setting.name} must ")
    assert repr(value) in message
    assert "\n" not in message


@pytest.mark.parametrize("setting", [f for f in FIELDS if "minimum" in f.metadata], ids=lambda f: f.name)
def test_both_ends_of_a_range_are_allowed(setting: Field[Any]) -> None:
    around: dict[str, dict[str, Any]] = {  # what must change with a setting to fit it
        "chunk_s": {"vision_window_s": 3600.0, "fps": 10.0},
        "fps": {"chunk_s": 10.0},
        "vision_window_s": {"chunk_s": 0.1, "fps": 10.0},
        "min_visual_tokens": {"max_visual_tokens": 16384},
        "max_visual_tokens": {"min_visual_tokens": 1},
    }
    for end in ("minimum", "maximum"):
        values = {**around.get(setting.name, {}), setting.name: setting.metadata[end]}
        assert getattr(StreamConfig(**values), setting.name) == setting.metadata[end]


def test_every_setting_says_what_it_is() -> None:
    for setting in FIELDS:
        assert len(setting.metadata["help"]) > 10, setting.name


@invariant
@given(setting=st.sampled_from(FIELDS), data=st.data())
def test_a_misspelt_field_suggests_the_one_that_was_meant(setting: Field[Any], data: st.DataObject) -> None:
    name = setting.name
    assume(len(name) > len("top_p"))  # top_ could be either
    at = data.draw(st.integers(0, len(name) - 1))
    misspelt = name[:at] + name[at + 1 :]
    with pytest.raises(ConfigError, match=f"^my.yaml: unknown field '{misspelt}'; did you mean '{name}'\\?$"):
        StreamConfig().replace({misspelt: 1}, "my.yaml")


def test_an_unknown_field_like_no_other_lists_all_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        StreamConfig().replace({"zzz": 1}, "options")
    assert all(setting.name in str(caught.value) for setting in FIELDS)


@pytest.mark.parametrize("name", [1, None, True])
def test_a_field_name_that_is_no_text_is_unknown(name: Any) -> None:
    with pytest.raises(ConfigError, match=f"unknown field {name}"):
        StreamConfig().replace({name: 1}, "my.yaml")


def test_what_replaces_later_wins_and_the_rest_stays() -> None:
    base = StreamConfig()
    once = base.replace({"fps": 4.0, "prompt": "a", "top_k": 3}, "checkpoint")
    twice = once.replace({"prompt": "b"}, "options")
    assert (twice.fps, twice.prompt, twice.top_k) == (4.0, "b", 3)
    assert base == StreamConfig()
    assert {f.name for f in FIELDS if getattr(twice, f.name) != getattr(base, f.name)} == {
        "fps",
        "prompt",
        "top_k",
    }


def test_an_integer_is_good_enough_for_seconds() -> None:
    assert StreamConfig(chunk_s=2, vision_window_s=16).window_chunks == 8


@invariant
@given(
    frames=st.integers(1, 200), fps=st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 7.0, 25.0, 29.97, 60.0])
)
def test_a_chunk_holds_a_whole_number_of_frames(frames: int, fps: float) -> None:
    chunk_s = frames / fps
    assume(0.1 <= chunk_s <= 16.0)
    StreamConfig(chunk_s=chunk_s, fps=fps)
    half = (frames - 0.5) / fps
    assume(half >= 0.1)
    with pytest.raises(ConfigError, match="chunk_s x fps must be a whole number of frames"):
        StreamConfig(chunk_s=half, fps=fps)


def test_a_window_shorter_than_a_chunk_is_refused_with_both_names() -> None:
    with pytest.raises(ConfigError, match=r"vision_window_s \(1.0\) is shorter than chunk_s \(2.0\)"):
        StreamConfig(chunk_s=2.0, vision_window_s=1.0)


def test_visual_sizes_the_wrong_way_round_are_refused_with_both_names() -> None:
    with pytest.raises(ConfigError, match=r"min_visual_tokens \(9\) is larger than max_visual_tokens \(8\)"):
        StreamConfig(min_visual_tokens=9, max_visual_tokens=8)


@invariant
@given(chunks=st.integers(1, 300), chunk_s=st.sampled_from([0.1, 0.2, 0.5, 1.0, 2.0, 3.0]))
def test_the_window_is_counted_in_seconds_not_in_rounds(chunks: int, chunk_s: float) -> None:
    config = StreamConfig(chunk_s=chunk_s, fps=10.0, vision_window_s=round(chunks * chunk_s, 6))
    assert config.window_chunks == chunks


def test_a_yaml_mapping_is_read_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "stream.yaml"
    path.write_text("prompt: Was läuft?\nfps: 4.0\n", encoding="utf-8")
    assert read_yaml(path) == {"prompt": "Was läuft?", "fps": 4.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fps: [1,\nprompt: x: y", "not valid YAML"),
        (b"prompt: \xff\xfe", "not valid YAML"),
        (b"when: !!python/object/apply:os.getcwd []", "not valid YAML"),
        (b"- fps\n- 2", "must be a mapping"),
        (b"", "must be a mapping"),
    ],
    ids=["syntax", "bytes", "code", "list", "empty"],
)
def test_a_bad_yaml_file_is_refused_by_name_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "stream.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_yaml_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read"):
            read_yaml(path)


LIVE: dict[str, Any] = {
    **{"prompt": "p", "max_new_tokens": 1, "chunk_budget_s": 1.0, "temperature": 1.0, "top_p": 0.5},
    **{"top_k": 3, "repetition_penalty": 2.0, "sampling_seed": 1},
}


def test_fields_that_are_marked_live_may_change_all_at_once() -> None:
    assert {setting.name for setting in FIELDS if setting.metadata.get("live")} == set(LIVE)
    StreamConfig().check_live_change(StreamConfig(**LIVE))


@pytest.mark.parametrize("setting", [f for f in FIELDS if f.name not in LIVE], ids=lambda f: f.name)
def test_any_other_field_may_not_change_live_and_is_named(setting: Field[Any]) -> None:
    others: dict[type, Any] = {str: "other", bool: not setting.default}
    value = others.get(type(setting.default), setting.metadata.get("maximum"))
    if "choices" in setting.metadata:
        value = setting.metadata["choices"][1]
    before = StreamConfig(fps=10.0, vision_window_s=100.0)
    around = {"max_visual_tokens": 16384} if setting.name == "min_visual_tokens" else {}
    around |= {"vision_window_s": 3600.0} if setting.name == "chunk_s" else {}
    after = before.replace({**LIVE, **around, setting.name: value}, "test")
    with pytest.raises(ConfigError, match="cannot change while a stream runs; these can: prompt, ") as caught:
        before.check_live_change(after)
    refused = str(caught.value).split(" cannot ")[0].split(", ")
    assert set(refused) == {setting.name, *around}
