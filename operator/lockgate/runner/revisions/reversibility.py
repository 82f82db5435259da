"""Whether a revision can be taken back, as far as its source tells before anything runs. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from lockgate.masking import masked

__all__ = ["Reversal", "differs_only_in_downgrade", "reads_files", "reversal"]


class Reversal(NamedTuple):
    """What taking a revision back would come to."""

    obstacle: str = ""
    """Why it cannot be taken back."""
    note: str = ""
    """What a person should know although it can."""


def reversal(source: str, module: Any) -> Reversal:
    """Judge a revision by its source and its module: no ``downgrade``, one that raises, one that does nothing.

    A module may also say of itself that it is ``irreversible``: True, or why.
    """
    marked = getattr(module, "irreversible", False)
    if marked:
        return Reversal(f"it says that it is irreversible{f': {marked}' if isinstance(marked, str) else ''}")
    if not callable(getattr(module, "downgrade", None)):
        return Reversal("it has no function downgrade")
    body = _body(source, "downgrade")
    if body is None:  # imported, decorated or assigned: only running it would tell
        return Reversal()
    raised = _raised(body)
    if raised:
        return Reversal(f"its downgrade raises {raised}")
    upgrade = _body(source, "upgrade")
    if _is_empty(body) and not (upgrade is not None and _is_empty(upgrade)):
        return Reversal(note="its downgrade is empty: the revision is taken off the version table, nothing is undone")
    return Reversal()


def differs_only_in_downgrade(one: str, other: str) -> bool:
    """Return whether two sources mean the same but for comments, layout, docstrings, and what ``downgrade`` does."""
    try:
        return _meaning(one) == _meaning(other)
    except (SyntaxError, ValueError):
        return False


def reads_files(source: str) -> bool:
    """Return whether a revision looks for files beside itself."""
    return any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(_parsed(source)))


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _body(source: str, name: str) -> list[ast.stmt] | None:
    """Return what a plain function at the top of the module does, without its docstring; None where there is none."""
    found = [node for node in _parsed(source).body if isinstance(node, ast.FunctionDef) and node.name == name]
    if len(found) != 1 or found[0].decorator_list:
        return None
    return found[0].body


def _is_empty(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Constant)))
        for node in body
    )


def _raised(body: list[ast.stmt]) -> str:
    """Return what the function raises whenever it is called, or nothing."""
    for node in body:
        if isinstance(node, ast.Raise):
            return masked(ast.unparse(node.exc))[:120] if node.exc else "an error"
        if any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
            return ""
    return ""


def _meaning(source: str) -> list[str]:
    return [ast.dump(node) for node in _statements(ast.parse(source))]


def _statements(module: ast.Module) -> Iterator[ast.stmt]:
    for node in module.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text and not (isinstance(node, ast.FunctionDef) and node.name == "downgrade"):
            yield node
