"""The documents know the same names as the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate import errors, reasons

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])

FIRST = re.compile(r"[A-Z]\w+")
"""A reason, in the first column of a table."""


def leaves(kind: type[errors.LockgateError]) -> Iterator[type[errors.LockgateError]]:
    for below in kind.__subclasses__():
        yield below
        yield from leaves(below)


def words(document: Path) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", document.read_text()))


def test_every_reason_of_the_operator_is_explained() -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}

    assert known - words(ROOT / "docs/reasons.md") == set()


def test_every_error_that_a_run_can_end_with_is_explained() -> None:
    known = {leaf.__name__ for leaf in leaves(errors.LockgateError) if not issubclass(leaf, errors.ClusterError)}

    assert known - {"RetryLater", "Permanent"} - words(ROOT / "docs/reasons.md") == set()


def test_the_reasons_of_a_refusal_are_explained_where_the_page_says_blocked() -> None:
    sections = (ROOT / "docs/reasons.md").read_text().split("\n## ")
    refused = next(section for section in sections if section.startswith("Refused"))
    failed = next(section for section in sections if section.startswith("Failed"))
    reasons_in = {
        name: {reason for line in part.splitlines() if line[:1] == "|" for reason in FIRST.findall(line.split("|")[1])}
        for name, part in (("refused", refused), ("failed", failed))
    }
    permanent = [leaf for leaf in leaves(errors.Permanent) if leaf.exit_code > 1]

    assert {leaf.__name__ for leaf in permanent if leaf.exit_code == 22} <= reasons_in["refused"]
    assert {leaf.__name__ for leaf in permanent if leaf.exit_code != 22} <= reasons_in["failed"]
    assert reasons_in["refused"] & reasons_in["failed"] == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_inside_the_documents_leads_somewhere(document: Path) -> None:
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", document.read_text()):
        file = (document.parent / target).resolve() if target else document
        anchors = {
            re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
            for line in (file.read_text().splitlines() if file.suffix == ".md" and file.is_file() else ())
            if line.startswith("#")
        }
        if not file.exists() or (anchor and anchor not in anchors):
            missing.append(f"{target}#{anchor}")

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_the_documents_name_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text()))

    assert named - targets == set()
