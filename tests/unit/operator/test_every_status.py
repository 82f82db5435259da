"""Whatever a container prints: the status that is made of it fits the CustomResourceDefinition."""

from __future__ import annotations

from typing import Any

from any_status import lives
from crd_schema import objections, status_schema
from hypothesis import HealthCheck, given, settings


@given(lives())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_a_container_prints_the_status_fits_the_schema(statuses: list[dict[str, Any]]) -> None:
    for status in statuses:
        assert list(objections(status, status_schema())) == []
        assert {} not in status.values(), "server-side apply would make null of it"
