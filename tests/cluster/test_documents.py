"""The manifests in the documents, and those of the examples, are accepted by a real API server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_access import Access

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CHARTS = [file.parent for file in sorted(EXAMPLES.rglob("Chart.yaml"))]


def manifests() -> list[tuple[str, str]]:
    """Find every YAML block that is a whole object, with a name for it."""
    found = []
    for document in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *EXAMPLES.rglob("*.md")]):
        blocks = re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
        found += [(f"{document.name}-{n}", block) for n, block in enumerate(blocks, 1) if "apiVersion:" in block]
    return found


def files() -> list[Path]:
    """Find every manifest of the examples that is no part of a chart."""
    in_charts = {file for chart in CHARTS for file in chart.rglob("*.yaml")}
    return [
        file for file in sorted(EXAMPLES.rglob("*.yaml")) if "apiVersion:" in file.read_text() and file not in in_charts
    ]


@pytest.mark.parametrize("manifest", [pytest.param(block, id=name) for name, block in manifests()])
def test_a_manifest_in_the_documents_is_accepted(manifest: str, namespace: str, kubectl: Callable[..., object]) -> None:
    kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifest)


@pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(EXAMPLES))) for file in files()])
def test_a_manifest_of_the_examples_is_accepted(file: Path, namespace: str, kubectl: Callable[..., object]) -> None:
    kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", str(file))


@pytest.mark.parametrize("chart", [pytest.param(chart, id=str(chart.relative_to(EXAMPLES))) for chart in CHARTS])
def test_a_chart_of_the_examples_is_accepted(
    chart: Path, namespace: str, kubectl: Callable[..., object], access: Access
) -> None:
    rendered = access.helm("template", "shop", str(chart)).stdout
    kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)
