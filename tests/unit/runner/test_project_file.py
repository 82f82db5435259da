"""pyproject.toml says once what is the same for every run, and a mistake in it is named with its key."""

from __future__ import annotations

import json
import sys

import pytest

from lockgate.errors import InvalidConfiguration
from lockgate.report import read_report
from lockgate.runner.command_line import execute
from lockgate.runner.invocation.checks import ExistsCheck, IndexCheck, SqlCheck
from lockgate.runner.invocation.configuration import read_configuration
from lockgate.runner.invocation.options import OPTIONS
from lockgate.runner.invocation.project_file import read_project_file


@pytest.fixture
def written(tmp_path):
    """Write a pyproject.toml with this below [tool.lockgate], and read it."""

    def write(text, named="", table="[tool.lockgate]\n"):
        (tmp_path / "pyproject.toml").write_text(table + text)
        return read_project_file(named, tmp_path)

    return write


def test_a_file_is_less_than_a_variable_and_more_than_a_default(written):
    file = written('target = "c3"\nddl-lock-attempts = 7\n')

    assert read_configuration("migrate", {}, {}, file).target == "c3"
    assert read_configuration("migrate", {}, {}, file).ddl_lock_attempts == 7
    assert read_configuration("migrate", {}, {"LOCKGATE_TARGET": ""}, file).target == "c3"
    assert read_configuration("migrate", {}, {"LOCKGATE_TARGET": "b2"}, file).target == "b2"
    assert read_configuration("migrate", {"target": "a1"}, {"LOCKGATE_TARGET": "b2"}, file).target == "a1"


def test_values_have_the_types_of_toml(written):
    file = written(
        """\
        lock-wait = "2m"
        [tool.lockgate.args]
        tenant = "a"
        [[tool.lockgate.checks]]
        name = "every order has a customer"
        sql = {query = "SELECT true", expect = true}
        [[tool.lockgate.checks]]
        exists.tables = ["orders"]
        """
    )
    configuration = read_configuration("migrate", {}, {}, file)

    assert (configuration.lock_wait, configuration.args) == (120.0, (("tenant", "a"),))
    assert configuration.checks == (
        IndexCheck(),
        SqlCheck("every order has a customer", "SELECT true", "true"),
        ExistsCheck("exists-2", ("orders",), (), ()),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lock-wiat = "1m"', "Did you mean `lock-wait`?"),
        ('lock_wait = "1m"', "Did you mean `lock-wait`?"),
        ('colour = "green"', "The keys are args, baseline, baseline-tables, checks, config,"),
        ("lock-wait = 60", 'is a number. It has to be a text, like "15m".'),
        ('ddl-lock-attempts = "7"', "is a text. It has to be a whole number, like 40."),
        ("ddl-lock-attempts = true", "is true or false, without quotes. It has to be a whole number"),
        ('args = "a=b"', "is a text. It has to be a table of texts"),
        ("args = {day = 2026-01-01}", "holds what JSON cannot, such as a date"),
        ("args = {day = 1}", "not a JSON object of strings"),
        ("checks = {}", "It has to be an array of tables, each below [[tool.lockgate.checks]]"),
        ("target = 2026-01-01", "is a date or a time"),
        ('target = "+1"', "a retry would go further"),
        ('database-url = "postgresql://shop:s3cret@db/shop"', "a database URL holds a password"),
        ('pod = "shop-7c"', "differs from one run to the next. Say --pod, or set LOCKGATE_POD."),
        ("yes = true", "a person has to say it"),
    ],
)
def test_a_mistake_names_the_key_and_the_file(written, tmp_path, text, said):
    with pytest.raises(InvalidConfiguration) as caught:
        read_configuration("migrate", {}, {}, written(text))

    key = text.partition(" ")[0]
    assert f"`{key}` in [tool.lockgate] of {tmp_path / 'pyproject.toml'}" in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_every_option_is_a_key_or_says_why_not(written):
    for option in OPTIONS:
        if option.never_in_file:
            with pytest.raises(InvalidConfiguration, match="cannot stand in a file"):
                written(f'{option.name} = "x"')
        elif option.toml is str and option.default:
            assert written(f"{option.name} = {json.dumps(option.default)}").values == {option.field: option.default}


def test_another_file_can_be_named_and_a_configuration_of_alembic_is_none(tmp_path, written):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "pyproject.toml").write_text('[tool.lockgate]\ntarget = "shop"\n')
    written('target = "here"')

    assert read_project_file("shop/pyproject.toml", tmp_path).values == {"target": "shop"}
    assert read_project_file("shop/alembic.ini", tmp_path).values == {"target": "here"}
    assert read_project_file("", tmp_path / "shop").values == {"target": "shop"}


def test_a_file_that_does_not_mention_lockgate_is_not_parsed(written):
    assert written("this is not TOML", table="").values == {}
    with pytest.raises(InvalidConfiguration, match=r"it is not TOML \(at line 2, column 6\)"):
        written("this is not TOML")


def test_a_python_that_reads_no_toml_complains_only_where_it_matters(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)

    assert written('dependencies = ["lockgate"]', table="[project]\n").values == {}
    with pytest.raises(InvalidConfiguration, match="Install tomli"):
        written('target = "a1"')


def test_a_refusal_goes_where_the_file_wants_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text('[tool.lockgate]\noutput = "json"\ndatabase-env = "SHOP_URL"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_URL", "postgresql://shop:s3cret@db/shop")

    assert execute(["migrate", "--target", "s3cret:"]) == 21
    said = capsys.readouterr().out
    assert read_report(said).reason == "InvalidConfiguration"
    assert "s3cret" not in said


def test_a_mistake_in_the_file_is_reported_where_the_flags_want_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text("[tool.lockgate]\npods = 3\n")
    monkeypatch.chdir(tmp_path)

    assert execute(["migrate", "--output=json", "--termination-message", str(tmp_path / "message")]) == 21
    assert "`pods`" in read_report(capsys.readouterr().out).message
    assert "`pods`" in read_report((tmp_path / "message").read_text()).message


def test_a_folder_that_is_gone_is_said(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert execute(["migrate"]) == 21
    assert "The working directory cannot be used" in capsys.readouterr().out
