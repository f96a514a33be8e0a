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

"""Rates, means and quantiles from two scrapes, against numpy and a known history."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
import math
import socket

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from prometheus_client import CollectorRegistry, generate_latest, Histogram
import pytest
from svlm_core.errors import ConfigError
from svlm_core.offload.metrics import CONTENT_TYPE, Metrics
from svlm_core.offload.scrape import base_url, NoServerError, Scrape, scrape, Window
from svlm_core.offload.status import Page, StatusServer

READY = (True, "ready")
BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


def text(uptime_s: float, **counters: float) -> str:
    samples = {"svlm_uptime_seconds": uptime_s, **counters}
    return "".join(f"{name} {value}\n" for name, value in samples.items())


def test_rates_are_by_the_servers_clock() -> None:
    before, now = (
        Scrape.parse(text(10.0, svlm_x_total=5), READY),
        Scrape.parse(text(14.0, svlm_x_total=13), READY),
    )
    window = Window(before, now)
    assert (window.length_s, window.count("svlm_x_total"), window.rate("svlm_x_total")) == (4.0, 8.0, 2.0)
    assert Window(None, now).rate("svlm_x_total") == pytest.approx(13 / 14)
    assert window.rate("svlm_unknown_total") == 0


def test_values_are_summed_over_labels_that_are_not_asked_for() -> None:
    lines = 'svlm_f_total{outcome="used",key="a"} 3\nsvlm_f_total{outcome="dropped",key="a"} 1\n'
    lines += 'svlm_f_total{outcome="used",key="b"} 10\n'
    seen = Scrape.parse(text(1.0) + lines, READY)
    assert seen.value("svlm_f_total") == 14
    assert seen.value("svlm_f_total", key="a") == 4
    assert seen.value("svlm_f_total", outcome="used", key="b") == 10
    assert seen.label("svlm_f_total", "key") == ["a", "b"]


def of_histogram(values: list[float]) -> str:
    registry = CollectorRegistry()
    histogram = Histogram("svlm_h", "", buckets=BOUNDS, registry=registry)
    for value in values:
        histogram.observe(value)
    return generate_latest(registry).decode()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0005, 1.0), max_size=20),
    st.lists(st.floats(0.0005, 1.0), min_size=1, max_size=60),
    st.sampled_from([0.05, 0.5, 0.95, 0.99]),
)
def test_a_quantile_is_in_the_bucket_of_the_true_one(
    earlier: list[float], later: list[float], q: float
) -> None:
    before = Scrape.parse(text(1.0) + of_histogram(earlier), READY)
    window = Window(before, Scrape.parse(text(2.0) + of_histogram(earlier + later), READY))
    true = float(np.quantile(later, q, method="inverted_cdf"))
    edges = (0.0, *BOUNDS)
    bucket = int(np.searchsorted(BOUNDS, true))
    assert edges[bucket] <= window.quantile(q, "svlm_h") <= edges[bucket + 1]
    assert window.mean("svlm_h") == pytest.approx(np.mean(later))


def test_nothing_observed_is_not_a_number() -> None:
    seen = Scrape.parse(text(1.0) + of_histogram([0.3]), READY)
    assert math.isnan(Window(seen, seen).quantile(0.5, "svlm_h"))
    assert math.isnan(Window(seen, seen).mean("svlm_h"))
    assert math.isnan(Window(None, seen).quantile(0.5, "svlm_unknown"))


def test_beyond_the_last_bound_it_is_that_bound() -> None:
    assert Window(None, Scrape.parse(text(1.0) + of_histogram([7.0]), READY)).quantile(0.5, "svlm_h") == 1.0


def serve(body: Callable[[], bytes], ready: bool = True) -> StatusServer:
    pages = {
        "/metrics": lambda: Page(HTTPStatus.OK, CONTENT_TYPE, body()),
        "/ready": lambda: Page.of_verdict(ready, "as it is"),
    }
    return StatusServer("127.0.0.1:0", pages)


def test_what_the_metrics_say_comes_back() -> None:
    metrics = Metrics("tiny", ["cpu"])
    metrics.received("r1", 42)
    with serve(metrics.text, ready=False) as server:
        seen = scrape(server.url)
    assert seen.value("svlm_received_bytes_total", key="r1") == 42
    assert seen.uptime_s > 0
    assert seen.ready == (False, "as it is")


@pytest.mark.parametrize("body", [b"<html>", b"up 1\n", b'x{a="b} 1\n', b"", b"\xff\xfe"])
def test_something_else_at_the_address_is_said(body: bytes) -> None:
    with serve(lambda: body) as server, pytest.raises(NoServerError, match="what answers there"):
        scrape(server.url)


def test_nothing_at_the_address_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NoServerError, match=f"{url} does not answer: Connection refused"):
            scrape(url)


@pytest.mark.parametrize(
    "given_url",
    ["localhost:9577", "http://localhost:9577", "http://localhost:9577/", "http://localhost:9577/metrics"],
)
def test_addresses(given_url: str) -> None:
    assert base_url(given_url) == "http://localhost:9577"


@pytest.mark.parametrize(
    "given_url", ["", "ftp://a:1", "http://a:b", "a:99999", "http://a/other", "file:///x"]
)
def test_what_is_no_address_is_refused(given_url: str) -> None:
    with pytest.raises(ConfigError, match="--metrics takes HOST:PORT"):
        base_url(given_url)
