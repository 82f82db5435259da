"""The revisions of a database as one graph: those of the image, and those that only ``lockgate.history`` still has.

What was applied is what has to be taken back. So a revision of the image whose file says something else by now is
replaced by its stored source, unless the two differ in nothing but the downgrade: then somebody has corrected that one.
Stored revisions are modules in memory: images may have no folder to write to.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alembic.script import Script
from alembic.script.revision import RevisionMap

from lockgate.errors import DatabaseAhead
from lockgate.runner.database import outcome
from lockgate.runner.records import history
from lockgate.runner.revisions.reversibility import differs_only_in_downgrade, reads_files

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

    from lockgate.runner.records.lineage import Stored

__all__ = ["Assembled", "assemble", "is_genuine"]

_ESCAPED = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


@dataclass
class Assembled:
    """A revision graph, with what is known of the origin of its revisions."""

    script: ScriptDirectory
    stored: set[str] = field(default_factory=set)
    """Revisions taken from lockgate.history."""
    obstacles: dict[str, str] = field(default_factory=dict)
    """Why the stored source of a revision cannot be used."""
    notes: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


def assemble(script: ScriptDirectory, contained: Iterable[str], stored: Mapping[str, Stored]) -> Assembled:
    """Join the image's revisions with those that the database contains; DatabaseAhead where nobody has one."""
    own = {revision.revision: revision for revision in script.walk_revisions()}
    contained = set(contained)
    nowhere = sorted(contained - set(own) - set(stored))
    if nowhere:
        raise DatabaseAhead(
            f"The database contains {', '.join(nowhere)}, which this image does not, and lockgate.history has no"
            " record of it.",
            advice="Use an image that contains it.",
        )
    result = Assembled(copy.copy(script), sources={name: history.source_of(item.path) for name, item in own.items()})
    folder = os.path.dirname(next(iter(own.values())).path) if own else script.dir
    scripts: dict[str, Any] = {name: _usable(item.module, name, item.path) for name, item in own.items()}
    for name in sorted(contained & set(stored)):
        if name not in own or _is_replaced(result, name, stored[name]):
            path = os.path.join(folder, f"{name}.py")
            scripts[name] = _usable(_module(result, name, stored[name], path), name, path)
    result.script.revision_map = RevisionMap(scripts.values)
    _compare_parents(result, stored)
    return result


def is_genuine(stored: Stored) -> bool:
    """Return whether a source is the one that was recorded; a database that is not in UTF-8 may keep it escaped."""
    plain = _ESCAPED.sub(lambda found: chr(int(found.group()[2:], 16)), stored.source)
    return any(
        hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() == stored.sha256 for text in (stored.source, plain)
    )


def _is_replaced(result: Assembled, name: str, stored: Stored) -> bool:
    """Return whether the stored source takes the place of the image's file."""
    file = result.sources[name]
    if not stored.source or hashlib.sha256(file.encode()).hexdigest() == stored.sha256:
        return False
    if differs_only_in_downgrade(file, stored.source):
        result.notes[name] = "its downgrade was edited after it was applied: the image's is used"
        return False
    result.notes[name] = "its file was edited after it was applied: what was applied is used"
    return True


def _module(result: Assembled, name: str, stored: Stored, path: str) -> ModuleType:
    """Return a stored revision as a module; one that cannot be used is an obstacle, and a module that does nothing."""
    result.stored.add(name)
    result.sources[name] = stored.source
    if reads_files(stored.source):
        result.notes[name] = "it reads files beside it, which lockgate.history does not keep"
    module = ModuleType(f"lockgate_history_{name}")
    module.__file__ = path
    if not stored.source:
        result.obstacles[name] = "lockgate.history has no source of it"
    elif not is_genuine(stored):
        result.obstacles[name] = "its source in lockgate.history is not the one that was applied (SHA-256 differs)"
    else:
        try:
            exec(compile(stored.source, path, "exec"), module.__dict__)  # noqa: S102  # a revision, as Alembic runs it
        except Exception as error:  # a revision is the user's code: anything can come out of it
            result.obstacles[name] = f"its source in lockgate.history cannot be imported here: {outcome.brief(error)}"
    if name in result.obstacles:
        module = ModuleType(module.__name__)
    module.__dict__.setdefault("down_revision", stored.parents)
    return module


def _usable(module: Any, name: str, path: Any) -> Any:
    """Return Alembic's Script: of a module without ``downgrade`` it makes no step."""
    if not callable(getattr(module, "downgrade", None)):
        given, module = module, ModuleType(name)
        module.__dict__.update(vars(given), downgrade=None)
    return Script(module, name, path)


def _compare_parents(result: Assembled, stored: Mapping[str, Stored]) -> None:
    for name in sorted(result.stored - set(result.obstacles)):
        revision: Any = result.script.get_revision(name)
        if set(revision._all_down_revisions) != set(stored[name].parents):
            result.obstacles[name] = "its source in lockgate.history names other parents than were recorded"
