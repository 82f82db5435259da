"""The manifests in the documents are accepted by a real API server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manifests() -> list[tuple[str, str]]:
    """Find every YAML block that is a whole object, with a name for it."""
    found = []
    for document in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
        blocks = re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
        found += [(f"{document.name}-{n}", block) for n, block in enumerate(blocks, 1) if "apiVersion:" in block]
    return found


@pytest.mark.parametrize("manifest", [pytest.param(block, id=name) for name, block in manifests()])
def test_a_manifest_in_the_documents_is_accepted(manifest: str, namespace: str, kubectl: Callable[..., object]) -> None:
    kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifest)
