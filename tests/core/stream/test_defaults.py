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

"""The checkpoint's settings come first, then the user's."""

from __future__ import annotations

from pathlib import Path
import shutil

import pytest
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config


def copied(checkpoint: Path, folder: Path, stream_yaml: str = "") -> StreamModel:
    """The checkpoint under another name, with a stream.yaml of its own."""
    shutil.copytree(checkpoint, folder)
    if stream_yaml:
        (folder / "stream.yaml").write_text(stream_yaml, encoding="utf-8")
    return load_model(str(folder))


def test_a_model_without_wishes_gets_the_defaults(small_model: StreamModel) -> None:
    assert stream_config(small_model) == StreamConfig()


def test_the_users_options_win_over_the_checkpoint_and_later_ones_over_earlier(
    random_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    model = copied(random_checkpoints["qwen2_vl"], tmp_path / "m", "top_k: 5\nmax_new_tokens: 9\nprompt: a\n")
    config = stream_config(
        model, ({"prompt": "b", "max_new_tokens": 8}, "file"), ({"prompt": "c"}, "options")
    )
    assert (config.top_k, config.max_new_tokens, config.prompt) == (5, 8, "c")


@pytest.mark.parametrize("name", ["StreamingVLM", "streamingvlm-7b"])
def test_a_released_checkpoint_gets_the_token_stream_it_was_trained_on(
    random_checkpoints: dict[str, Path], tmp_path: Path, name: str
) -> None:
    model = copied(random_checkpoints["qwen2_vl"], tmp_path / name)
    assert stream_config(model).protocol == "streamingvlm"
    assert stream_config(model, ({"protocol": "svlm"}, "options")).protocol == "svlm"


def test_a_mistake_is_reported_with_where_it_came_from(
    random_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    model = copied(random_checkpoints["qwen2_vl"], tmp_path / "m", "top_q: 0.5\n")
    with pytest.raises(ConfigError, match=r"m: stream.yaml: unknown field 'top_q'; did you mean 'top_"):
        stream_config(model)
    model.stream_defaults.clear()
    with pytest.raises(ConfigError, match=r"^options: fps must "):
        stream_config(model, ({"fps": -1.0}, "options"))
