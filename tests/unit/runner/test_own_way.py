"""Whether env.py connects in a way of its own is asked before any session is opened, of its text."""

from __future__ import annotations

import pytest

from lockgate.runner.database.tls import is_stricter
from lockgate.runner.revisions.own_way import has_own_way, names_own_way


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ('engine = create_engine(url, connect_args={"sslmode": "verify-full"})', True),
        ('engine = create_engine(url, connect_args={"password": token()})', True),
        ("engine = create_engine(url, connect_args=arguments)", True),
        ('section["sqlalchemy.connect_args"] = {**arguments}', True),
        ('@event.listens_for(engine, "do_connect")', True),
        ('engine = create_engine("postgresql+psycopg://", creator=connect)', True),
        ('engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)', True),
        ('url = f"{settings.url}?sslmode=require"', True),
        ("context = ssl.create_default_context()", True),
        ("engine = create_engine(url, poolclass=pool.NullPool)", False),
        ("connectable = engine_from_config(section, prefix='sqlalchemy.', poolclass=pool.NullPool)", False),
        ('engine = create_engine(url, connect_args={"connect_timeout": 5, "options": "-csearch_path=shop"})', False),
        ('engine = create_engine(url, connect_args={"connect_timeout": 5, "host": "db"})', True),
        ('engine = create_engine(url, connect_args={"server_settings": {"jit": "off"}})', True),
    ],
)
def test_a_way_of_its_own_is_known_by_what_changes_who_logs_in_and_over_what(source, own):
    assert names_own_way(source) is own


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("from shop.db import engine", "shop/db.py"),
        ("from shop import db", "shop/db.py"),
        ("from shop.db import (\n    engine,\n)", "shop/db/__init__.py"),
        ("import os, shop.db as database", "shop/db.py"),
    ],
)
def test_modules_that_env_py_imports_are_read_and_not_run(line, file, tmp_path):
    module = tmp_path / "src" / file
    module.parent.mkdir(parents=True)
    (tmp_path / "env.py").write_text(f"from alembic import context\n{line}\n")

    module.write_text("raise SystemExit('never')\n")
    assert not has_own_way(tmp_path / "env.py", tmp_path, "src")

    module.write_text("engine = create_engine(url, connect_args=tls)\n")
    assert has_own_way(tmp_path / "env.py", tmp_path, "src")


def test_a_file_that_is_not_there_names_nothing(tmp_path):
    assert not has_own_way(tmp_path / "env.py", tmp_path, ".")


@pytest.mark.parametrize(
    ("mode", "other", "stricter"),
    [
        ("verify-full", "prefer", True),
        ("prefer", "disable", True),
        ("prefer", "prefer", False),
        ("disable", "require", False),
        ("verify-full", "", False),
        ("", "disable", False),
    ],
)
def test_a_mode_of_tls_is_stricter_only_where_both_are_known(mode, other, stricter):
    assert is_stricter(mode, other) is stricter
