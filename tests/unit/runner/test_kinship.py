"""Nothing of another application is ever taken back."""

from __future__ import annotations

import pytest

from lockgate.errors import Refused
from lockgate.runner.revisions.kinship import stranger

OWN = {"b2": ("b1",), "b1": ()}
"""The image's revisions."""


def judged(rows, lineage=None, replaced=()):
    return stranger(rows, OWN, lineage or {}, replaced=replaced, version_table="public.alembic_version")


@pytest.mark.parametrize(
    ("rows", "lineage"),
    [
        ((), {}),
        (("b2",), {}),
        (("c4",), {"c4": ("c3",), "c3": ("b2",)}),
        (("c4", "audit"), {"c4": ("b2",), "audit": ()}),
    ],
)
def test_an_image_may_take_back_what_builds_on_its_own_revisions(rows, lineage):
    assert judged(rows, lineage) is None


def test_a_version_table_without_any_revision_of_the_image_belongs_to_somebody_else():
    error = judged(("a2",), {"a2": ("a1",), "a1": ()})

    assert isinstance(error, Refused)
    assert error.message == (
        "public.alembic_version is at a2, which has no revision in common with this image:"
        " another application may have applied it. Nothing is taken back."
    )


def test_names_that_are_alike_prove_nothing_where_each_stands_for_something_else():
    assert isinstance(judged(("b2",), replaced=("b1", "b2")), Refused)
    assert judged(("b2",), replaced=("b2",)) is None
