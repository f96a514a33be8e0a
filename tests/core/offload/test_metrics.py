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

"""Counts as a scraper sees them."""

from __future__ import annotations

from pathlib import Path
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
import pytest
from svlm_core.offload import wire
from svlm_core.offload.metrics import MAX_KEYS, Metrics, NO_KEY, OTHER_KEYS
from svlm_core.offload.outcome import Ended, Lost
import yaml

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def result(**changes: object) -> wire.Result:
    values: dict[str, object] = {
        "epoch": 1,
        "seq": 4,
        "text": "red stops",
        "token_ids": [5, 6, 7],
        "prefill_tokens": 31,
        "cache_tokens": 80,
        "capacity_tokens": 400,
        "finish": "end",
        "stage_ms": {"preprocess": 1.0, "vision": 5.0, "cache": 2.0, "prefill": 7.0, "decode": 12.0},
        "server_ms": 30.0,
    }
    return wire.Result(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("tiny", ["cpu", "cuda:1"])


def test_everything_known_beforehand_begins_at_zero(metrics: Metrics) -> None:
    for code in wire.Code:
        assert value(metrics, "svlm_refusals_total", code=code.value) == 0
    for reason in Ended:
        assert value(metrics, "svlm_sessions_ended_total", reason=reason.value) == 0
    assert value(metrics, "svlm_worker_restarts_total", device="cuda:1") == 0
    assert value(metrics, "svlm_worker_up", device="cpu") == 0
    assert value(metrics, "svlm_server_info", model="tiny", protocol="1") == 1
    assert value(metrics, "process_start_time_seconds") > 0


def test_an_understood_chunk(metrics: Metrics) -> None:
    metrics.chunk_received("front", 2)
    metrics.chunk_understood("front", 2, result(), first_token_s=0.018)
    assert value(metrics, "svlm_frames_received_total", key="front") == 2
    assert value(metrics, "svlm_frames_total", key="front", outcome="used", reason="") == 2
    assert value(metrics, "svlm_request_success_total", finished_reason="end") == 1
    assert value(metrics, "svlm_prompt_tokens_total") == 31
    assert value(metrics, "svlm_generation_tokens_total") == 3
    assert value(metrics, "svlm_e2e_request_latency_seconds_sum") == pytest.approx(0.03)
    assert value(metrics, "svlm_time_to_first_token_seconds_sum") == pytest.approx(0.018)
    assert value(metrics, "svlm_time_per_output_token_seconds_sum") == pytest.approx(0.006)
    assert value(metrics, "svlm_request_stage_seconds_sum", stage="prefill") == pytest.approx(0.007)


def test_a_chunk_of_one_token_has_no_time_between_tokens(metrics: Metrics) -> None:
    metrics.chunk_understood("", 1, result(token_ids=[5]), first_token_s=None)
    assert value(metrics, "svlm_time_per_output_token_seconds_count") == 0
    assert value(metrics, "svlm_time_to_first_token_seconds_count") == 0


def test_gauges_say_what_is_now(metrics: Metrics) -> None:
    metrics.sessions(live=3, detached=1, limit=8, cache_tokens=300, capacity_tokens=1200)
    metrics.worker("cpu", up=True, running=2, waiting=1, since_decode_s=0.25)
    assert value(metrics, "svlm_kv_cache_usage_ratio") == 0.25
    assert value(metrics, "svlm_sessions", state="live") == 3
    assert value(metrics, "svlm_sessions_limit") == 8
    assert value(metrics, "svlm_num_requests_running", device="cpu") == 2
    assert value(metrics, "svlm_num_requests_waiting", device="cpu") == 1
    metrics.sessions(live=0, detached=0, limit=8, cache_tokens=0, capacity_tokens=0)
    assert value(metrics, "svlm_kv_cache_usage_ratio") == 0


def test_robots_cannot_make_series_without_end(metrics: Metrics) -> None:
    for number in range(MAX_KEYS + 50):
        metrics.received(f"robot{number}", 10)
    metrics.received("robot0", 10)
    metrics.received("", 7)
    keys = {dict(labels)["key"] for name, labels in samples(metrics) if name == "svlm_received_bytes_total"}
    assert len(keys) == MAX_KEYS + 2
    assert value(metrics, "svlm_received_bytes_total", key=OTHER_KEYS) == 500
    assert value(metrics, "svlm_received_bytes_total", key="robot0") == 20
    assert value(metrics, "svlm_received_bytes_total", key=NO_KEY) == 7


def test_labels_are_quoted(metrics: Metrics) -> None:
    metrics.sent('a"b\n\\', 3)
    assert value(metrics, "svlm_sent_bytes_total", key='a"b\n\\') == 3


def documented() -> str:
    return (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_the_documentation_names_every_metric_with_its_kind_and_labels(metrics: Metrics) -> None:
    metrics.chunk_understood("front", 2, result(), 0.1)
    metrics.received("front", 1)
    metrics.sent("front", 1)
    metrics.chunk_received("front", 2)
    metrics.round_trip("front", 1.0)
    kinds = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        if family.name.startswith("svlm_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            kinds[name] = (family.type if name != "svlm_server_info" else "1", labels)
    rows = re.findall(r"(?m)^\| `(svlm_\w+)` \| (\w+)(?:, by ([`\w, ]+))? \|", documented())
    assert {name: (kind, sorted(re.findall(r"\w+", labels))) for name, kind, labels in rows} == kinds


def test_alerts_in_the_documentation_ask_for_metrics_that_are_there(metrics: Metrics) -> None:
    _, block = re.findall(r"(?s)```yaml\n(.*?)```", documented())
    rules = yaml.safe_load(block)["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"svlm_\w+", rule["expr"])}
    families = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    assert len(asked) >= 7
    assert {re.sub("_(bucket|total)$", "", name) for name in asked} <= families


REASONS = st.sampled_from([*wire.Code, *Lost])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 9), st.none() | REASONS), max_size=30)
)
def test_frames_in_are_frames_used_and_dropped(
    chunks: list[tuple[str, int, wire.Code | Lost | None]],
) -> None:
    metrics = Metrics("tiny", ["cpu"])
    for key, frames, reason in chunks:
        metrics.chunk_received(key, frames)
        if reason is None:
            metrics.chunk_understood(key, frames, result(), 0.1)
        else:
            metrics.chunk_dropped(key, frames, reason)
    seen = samples(metrics)
    for key in {key for key, _, _ in chunks}:
        label = ("key", key or NO_KEY)
        received = seen["svlm_frames_received_total", (label,)]
        ended = sum(
            n for (name, labels), n in seen.items() if name == "svlm_frames_total" and label in labels
        )
        assert received == ended == sum(frames for name, frames, _ in chunks if name == key)
