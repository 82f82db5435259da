"""Whatever is said to it, `lockgate` ends with success or with an error of its own, and never with a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.errors import InvalidConfiguration
from lockgate.report import TERMINATION_LIMIT, read_report
from lockgate.runner.command_line import execute
from lockgate.runner.invocation.arguments import glimpse, read_arguments
from lockgate.runner.invocation.configuration import read_configuration
from lockgate.runner.invocation.options import COMMANDS, OPTIONS
from lockgate.runner.invocation.project_file import FileSettings, read_project_file

# What Alembic warns of in a configuration that somebody made up is no concern of these tests.
pytestmark = pytest.mark.filterwarnings("ignore")

EXIT_CODES = {0, 10, 11, 12, 20, 21, 22, 23, 30}
PLAUSIBLE = (
    *("heads", "a1", "expand@head", "a1+1", "0s", "1h30m", "9" * 400 + "h", "5", "true", "json", "Block", "{}", "[]"),
    *('{"a": "b"}', '[{"sql": {"query": "SELECT 1"}}]', '[{"http": {"url": "http://[::1"}}]', "[" * 5000, "\udcff"),
    *('[{"indexes": {"ignore": ["*"]}}]', '[{"name": [1], "drift": {}}]', "0" * 7, "-1s", "\u0661s", "base", "a:b"),
)
# No NUL: neither a variable nor an argument of a process can hold one.
said = st.sampled_from(PLAUSIBLE) | st.text(st.characters(exclude_characters="\0"), max_size=30)
commands = st.sampled_from(COMMANDS)


@given(
    commands,
    st.dictionaries(st.sampled_from([option.field for option in OPTIONS]), said, max_size=4),
    st.dictionaries(st.sampled_from([option.variable for option in OPTIONS]), said, max_size=4),
    st.dictionaries(st.sampled_from([option.field for option in OPTIONS]), said, max_size=4),
)
def test_any_text_is_a_configuration_or_names_where_it_is_wrong(command, flags, environ, file):
    message = ""
    try:
        configuration = read_configuration(command, flags, environ, FileSettings("pyproject.toml", file))
    except InvalidConfiguration as error:
        message = str(error)
    else:
        assert 0 <= configuration.lock_wait < 10**9
    assert not message or any(option.flag in message or f"`{option.name}`" in message for option in OPTIONS)


@given(st.lists(st.sampled_from([*COMMANDS, *(option.flag for option in OPTIONS), "--output=json", "-x"]) | said))
def test_any_command_line_is_read_or_refused(argv):
    glimpse(argv)
    code = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(InvalidConfiguration):
        try:
            command, _ = read_arguments(argv)
            assert command in (*COMMANDS, "completion")
        except SystemExit as ended:  # --help and --version
            code = ended.code
    assert code == 0


KEYS = (*(option.name for option in OPTIONS), "tool", "colour", '"a b"', "args.x", "checks")
VALUES = (
    *("1", "1.5", "nan", "true", '"15m"', '"a\\u0000b"', "2026-01-01", "[]", "{a = 1}", "{a = 'b'}", "0x" + "f" * 5000),
    *("[{sql = {query = 'x'}}]", "[[1]]", "[{}]", "[" * 2000, "''", '"\\uD7FF"'),
)
lines = st.lists(st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=4)
toml = st.text(max_size=60) | st.binary(max_size=60) | lines.map("\n".join)


@given(st.sampled_from(["[tool.lockgate]\n", "[tool]\nlockgate = 3\n", "[[tool.lockgate]]\n", "# lockgate\n"]), toml)
def test_any_file_is_read_or_refused(head, content):
    content = content.encode() if isinstance(content, str) else content
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_bytes(head.encode() + content)
        message = "pyproject.toml"
        try:
            file = read_project_file("", Path(folder))
            read_configuration("migrate", {}, {}, file)
        except InvalidConfiguration as error:
            message = str(error)
        assert "pyproject.toml" in message


SCHEMES = ("postgresql", "postgresql+psycopg", "postgres", "postgresql+asyncpg", "oracle", "a+b+c", "1", "")
USERS = ("", "u:p@", "u:p@w@", "%zz:%@", "@", "u:s/?#@", "[::1")
PORTS = ("1", "", "0", "99999", "x", "-1")
DATABASES = ("d", "", "d?options=", "d?sslmode=no", "d?connect_timeout=x", "d?host=/nowhere", "d?=&&x", "%")
INI_KEYS = (
    *("script_location", "version_locations", "path_separator", "version_path_separator", "sqlalchemy.url"),
    *("version_table", "version_table_schema", "prepend_sys_path", "revision_environment", "file_template"),
)
INI_VALUES = ("migrations", "%(here)s/migrations", "nowhere", "%(", "%(x)s", "space", ":", "json:x", "\udcff")
REVISIONS = (
    *("revision, down_revision = 'a', None", "revision, down_revision = 'b', 'a'", "revision = down_revision = 'a'"),
    *("revision, down_revision = 'c', 'nowhere'", "raise SystemExit(3)", "1/0", "def", "revision = 3", "\0", ""),
)
SHOP = """\
from alembic import context
from sqlalchemy import create_engine
with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
INI = "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = sqlite:///shop.db\n"
FIRST = "revision, down_revision = 'a', None\ndef upgrade(): pass\ndef downgrade(): pass"
GOOD = ("sqlite:///shop.db", INI, "", SHOP, {"a.py": FIRST}, {})
ARGUMENTS = {"downgrade": ("base", "--downgrade", "Allow"), "baseline": ("a",)}
ENVIRONMENTS = (SHOP, "", "1/0", "raise SystemExit(2)", "import nowhere", "context", "from alembic import op; op.x()")
urls = (
    st.just("sqlite:///shop.db")
    | said
    | st.builds(
        "{}://{}127.0.0.1:{}/{}".format,
        *map(st.sampled_from, (SCHEMES, USERS, PORTS)),
        st.sampled_from(DATABASES) | said,
    )
)
ini_values = st.sampled_from(INI_VALUES) | said.map(lambda text: text.replace("\n", " "))
ini_lines = st.lists(st.builds("{} = {}".format, st.sampled_from(INI_KEYS), ini_values), max_size=5)
ini = st.text(max_size=80) | ini_lines.map(lambda lines: "\n".join(["[alembic]", *lines]))
revision_files = st.dictionaries(
    st.sampled_from(["a.py", "b.py", "\xe9.py", "c.txt"]), st.sampled_from(REVISIONS), max_size=3
)
odd_ones = st.sets(st.integers(0, 5), max_size=3)
"""Which parts of an environment are made up: where all are, the first one ends everything."""
variables = st.dictionaries(st.sampled_from([option.variable for option in OPTIONS]), said, max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(commands, st.tuples(urls, ini, toml, st.sampled_from(ENVIRONMENTS), revision_files, variables), odd_ones)
def test_any_environment_ends_with_a_report_and_a_documented_exit_code(command, made_up, odd):
    parts = zip(GOOD, made_up, strict=True)
    url, text, table, env, files, environ = (bad if i in odd else good for i, (good, bad) in enumerate(parts))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        _write(Path(folder), text, table, files, env)
        message = Path(folder, "message")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")}
        told = {**inherited, **environ, "DATABASE_URL": url, "LOCKGATE_OUTPUT": "json", "LOCKGATE_TIMEOUT": "0s"}
        told |= {
            "LOCKGATE_TERMINATION_MESSAGE": str(message),
            "PGCONNECT_TIMEOUT": "1",
            "LOCKGATE_DDL_LOCK_ATTEMPTS": "1",
        }
        stack.enter_context(mock.patch.dict(os.environ, told, clear=True))
        stack.enter_context(mock.patch("lockgate.runner.interruption.Interruption.listen"))
        stack.enter_context(mock.patch("lockgate.runner.migration.run.CONNECT_PATIENCE", 0.0))
        stack.enter_context(mock.patch.object(sys, "path", list(sys.path)))
        stack.enter_context(contextlib.chdir(folder))
        for argv in (["migrate"], [command, *ARGUMENTS.get(command, ())]):
            _ends_in_order(argv, message)


def _ends_in_order(argv, message):
    message.unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = execute(argv)
    report = read_report(output.getvalue())
    assert code in EXIT_CODES, output.getvalue() + errors.getvalue()
    assert report is not None
    assert (report.exit_code, "Traceback" in errors.getvalue()) == (code, False)
    if message.exists():
        assert len(message.read_bytes()) <= TERMINATION_LIMIT
        assert read_report(message.read_text()).exit_code == code


def _write(folder, text, table, files, env):
    with contextlib.suppress(UnicodeError):
        (folder / "alembic.ini").write_text(text, errors="surrogateescape")
    head = b"[tool.lockgate]\n" if "=" in str(table) else b"[tool.alembic]\n"
    (folder / "pyproject.toml").write_bytes(head + (table.encode() if isinstance(table, str) else table))
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(env)
    for name, source in files.items():
        (folder / "migrations" / "versions" / name).write_text(source)


def test_what_cannot_be_encoded_is_said_all_the_same(capsysbinary):
    assert execute(["migrate", "--target", "\udcff:"]) == 21
    assert rb"\udcff" in capsysbinary.readouterr().out


def test_json_stays_json_whatever_it_quotes(capsys, monkeypatch):
    monkeypatch.setenv("LOCKGATE_OUTPUT", "json")

    assert execute(["migrate", "--lock-wait", "\udcff\u2028\x85"]) == 21
    assert "\\udcff" in json.loads(capsys.readouterr().out)["message"]
