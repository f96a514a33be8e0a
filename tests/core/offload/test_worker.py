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

"""What a worker does before it serves."""

from __future__ import annotations

import gc
import time

import pytest
from svlm_core.errors import ConfigError
from svlm_core.offload import wire
from svlm_core.offload.launcher import WorkerConfig
from svlm_core.offload.worker import load, settle

PAUSE_S = 0.02  # with torch and transformers in it, it would be ten times that


@pytest.mark.parametrize("field", ["prompt", "previous_text"])
def test_a_setting_that_no_welcome_holds_is_named_before_anybody_is_served(field: str) -> None:
    longest = "x" * wire.MAX_QUERY

    def config(text: str) -> WorkerConfig:
        settings = (({field: text}, "here"),)
        return WorkerConfig("0", "tiny", "cpu", "float32", "", 0, settings, 8)

    _, settings = load(config(longest))
    assert getattr(settings, field) == longest
    with pytest.raises(ConfigError, match=f"^{field}: {wire.MAX_QUERY + 1} characters; .* at most"):
        load(config(f"{longest}x"))


def test_once_a_model_is_loaded_collecting_garbage_holds_nobody_up() -> None:
    try:
        settle()
        began_s = time.thread_time()
        gc.collect()
        assert time.thread_time() - began_s < PAUSE_S
    finally:
        gc.unfreeze()
