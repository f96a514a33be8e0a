"""How properties are checked: the same examples every time, however slow the machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

invariant = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
