"""What a revision's source tells of taking it back, and which source counts."""

from __future__ import annotations

import hashlib
from types import ModuleType

import pytest

from lockgate.errors import InvalidRevisions
from lockgate.runner.records.lineage import Stored
from lockgate.runner.revisions.reversibility import Reversal, differs_only_in_downgrade, reads_files, reversal
from lockgate.runner.revisions.stored_revisions import is_genuine
from lockgate.runner.revisions.way_back import above, tips

UP = "def upgrade():\n    work()\n\n\n"


def judged(source: str) -> Reversal:
    module = ModuleType("revision")
    exec(source, module.__dict__)  # noqa: S102  # written above
    return reversal(source, module)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (UP, "no function downgrade"),
        (UP + "def downgrade():\n    raise NotImplementedError", "raises NotImplementedError"),
        (UP + "def downgrade():\n    '''Never.'''\n    print()\n    raise Exception('no')", "raises Exception('no')"),
        ("irreversible = True\n" + UP + "def downgrade():\n    pass", "says that it is irreversible"),
    ],
)
def test_an_obstacle_is_seen_before_anything_runs(source, said):
    assert said in judged(source).obstacle


@pytest.mark.parametrize(
    "body",
    [
        "work()",
        "if x:\n        return\n    raise NotImplementedError",
        "if x:\n        raise NotImplementedError\n    work()",
        "return work()",
    ],
)
def test_what_may_work_is_no_obstacle(body):
    assert judged(UP + f"def downgrade():\n    {body}") == Reversal()


@pytest.mark.parametrize("body", ["pass", "'''Nothing to do.'''", "return", "return None", "..."])
def test_an_empty_downgrade_is_noted_unless_the_upgrade_is_empty_too(body):
    assert "nothing is undone" in judged(UP + f"def downgrade():\n    {body}").note
    assert judged(f"def upgrade():\n    pass\ndef downgrade():\n    {body}") == Reversal()


def test_comments_and_the_downgrade_are_all_that_may_differ():
    applied = UP + "def downgrade():\n    wrong()"

    assert differs_only_in_downgrade('"""doc"""\n' + UP + "def downgrade():  # mended\n    right()", applied)
    assert not differs_only_in_downgrade(applied.replace("work", "play"), applied)
    assert not differs_only_in_downgrade("def", applied)


def test_a_revision_that_looks_for_files_beside_it_is_recognised():
    assert reads_files("import pathlib\nhere = pathlib.Path(__file__)")
    assert not reads_files("file = 1")


def test_a_source_is_genuine_also_where_the_database_had_to_keep_it_escaped():
    source = "# caf\u00e9 \u2192 \U0001f600 \\n\n"
    sha = hashlib.sha256(source.encode()).hexdigest()

    assert is_genuine(Stored((), "", source, sha))
    assert is_genuine(Stored((), "", source.encode("ascii", "backslashreplace").decode(), sha))
    assert not is_genuine(Stored((), "", source + " ", sha))


GRAPH = {"a": (), "b": ("a",), "c": ("b",), "d": ("b",), "e": ("c", "d"), "x": (), "y": ("x", "c")}


def test_what_builds_on_a_head_is_taken_back_newest_first_and_other_branches_stay():
    order = above(GRAPH, ["b"], GRAPH)

    assert set(order) == {"c", "d", "e", "y"}
    assert all(order.index(name) < order.index(parent) for name in order for parent in GRAPH[name] if parent in order)
    assert above(GRAPH, ["e"], GRAPH) == []
    assert tips(set(GRAPH) - set(order), GRAPH) == ("b", "x")


def test_a_circle_is_an_error():
    with pytest.raises(InvalidRevisions, match="circle"):
        above(["p", "q"], ["a"], {"a": (), "p": ("q", "a"), "q": ("p",)})
