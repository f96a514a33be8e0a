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

"""What operators learn from the front's observer."""

from __future__ import annotations

from contextlib import suppress
import logging
import socket

import pytest
from svlm_core.offload.observer import Observer
from svlm_core.offload.serving import DEFAULT_METRICS
from svlm_core.offload.status import parse_address, StatusServer


@pytest.fixture
def observer() -> Observer:
    return Observer("tiny", ["cpu"], room=8)


def test_pages_are_shown_where_they_are_wanted(observer: Observer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), observer.show("127.0.0.1:0") as server:
        assert isinstance(server, StatusServer)
        assert caplog.records[-1].url == f"{server.url}/metrics"  # type: ignore[attr-defined]
    with observer.show("") as server:
        assert server is None


def test_the_default_address_is_done_without_when_another_has_it(
    observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other:
        with suppress(OSError):  # taken already: as well
            other.bind(parse_address(DEFAULT_METRICS))
            other.listen()
        with observer.show(None) as server:
            assert server is None
    assert "no metrics are shown" in caplog.text
