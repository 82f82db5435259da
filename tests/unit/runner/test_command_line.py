"""The command line says what it can do, and refuses what it cannot with a report like any other."""

from __future__ import annotations

import importlib.util
import io
import json
import re
from importlib.machinery import ModuleSpec

import pytest

from lockgate.report import Failure, Report, fold, read_report
from lockgate.runner.command_line import execute, main
from lockgate.runner.invocation.configuration import misspelt
from lockgate.runner.invocation.help_texts import DESCRIPTIONS
from lockgate.runner.invocation.options import COMMANDS, OPTIONS
from lockgate.runner.output.progress import Narrator, summary
from lockgate.runner.output.publication import Publisher
from lockgate.runner.output.redaction import Redactor


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_flag_its_variable_its_key_and_the_exit_codes(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "examples:" in said
    assert "exit codes:" in said
    for option in OPTIONS:
        names = option.variable if option.never_in_file else f"{option.variable}, {option.name}"
        assert (f"  {option.flag} " in said) == (f"[{names}]" in said) == (command in option.commands)
    assert max(map(len, said.splitlines())) < width


def test_the_list_of_commands_has_one_line_for_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])

    said = capsys.readouterr().out
    assert all(re.search(rf"^ +{command} +\w", said, re.MULTILINE) for command in DESCRIPTIONS), said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("migrat", "There is no command 'migrat'. Did you mean `migrate`?"),
        ("deploy", "The commands: migrate, wait,"),
        ("", "No command was given."),
        ("--output json migrate", "--output stands where a command is expected."),
        ("migrate --lock-wiat 1m", "There is no flag '--lock-wiat'. Did you mean `--lock-wait`?"),
        ("migrate --lock-w 1m", "There is no flag '--lock-w'. Did you mean `--lock-wait`?"),
        ("migrate --yes", "`lockgate migrate` has no --yes. See `lockgate migrate --help`."),
        ("migrate head", "If that is the revision to go to: `--target head`."),
        ("downgrade a b", "There is no argument 'b'."),
        ("upgrade head", "`lockgate migrate` does what `alembic upgrade heads` does."),
        ("revision -m orders", "works as ever: `alembic revision`"),
        ("migrate --lock-wait", "expected one argument"),
        ("unlock --yes=no", "ignored explicit argument"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_with_what_was_meant(line, said, capsys):
    assert execute(line.split()) == 21
    assert said in capsys.readouterr().out


def test_an_unknown_flag_is_a_configuration_error_with_a_report(capsys, monkeypatch):
    monkeypatch.setenv("LOCKGATE_OUTPUT", "json")

    assert execute(["migrate", "--fast"]) == 21
    report = read_report(capsys.readouterr().out)
    assert (report.reason, report.exit_code) == ("InvalidConfiguration", 21)
    assert "--fast" in report.message


def test_a_secret_in_a_bad_value_is_not_repeated(capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop:s3cret@db/shop")

    assert execute(["migrate", "--lock-wait", "postgresql://shop:s3cret@db/shop"]) == 21
    assert "s3cret" not in capsys.readouterr().out


def test_a_folder_without_a_configuration_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://shop:s3cret@127.0.0.1:1/shop")
    monkeypatch.setattr("lockgate.runner.interruption.Interruption.listen", lambda *_, **__: None)

    assert execute(["migrate"]) == 21
    assert str(tmp_path) in capsys.readouterr().out.replace("\n", "")


def test_progress_lines_fold_and_the_report_is_the_last_line(tmp_path):
    stream = io.StringIO()
    narrator = Narrator(output="json", redact=Redactor(["postgresql://shop:s3cret@db/shop"]), stream=stream)
    narrator.tell("applying", step="1/2 a1 s3cret", pending=2)
    narrator.tell("running", statement="SELECT\n  1", waiting_for="lock held by pid 7")
    publish = Publisher(narrator, str(tmp_path / "message"))

    assert publish(Report("Failed", "MigrationFailed", "s3cret", exit_code=20)) == 20
    narrator.tell("late")

    lines = stream.getvalue().splitlines()
    progress = fold(lines)
    assert (progress.step, progress.statement, progress.waiting_for) == ("1/2 a1 ***", "SELECT 1", "lock held by pid 7")
    assert json.loads(lines[-1])["lockgate"] == "report"
    assert json.loads((tmp_path / "message").read_text()) == json.loads(lines[-1])


def test_plain_output_is_for_people(capsys):
    narrator = Narrator(output="plain", redact=Redactor())
    narrator.tell("applying", "applying 1/2 a1 add orders", step="1/2 a1 add orders")
    narrator.tell("running", statement="SELECT 1")
    Publisher(narrator, "")(Report("Succeeded", "Migrated", "Applied 2 revisions."))

    assert capsys.readouterr().out == (
        "lockgate: applying 1/2 a1 add orders\nlockgate: Migrated: Applied 2 revisions.\n"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOCKGATE_OUPUT", ["LOCKGATE_OUTPUT"]),
        ("LOCKGATE_DATABASE_AHED", ["LOCKGATE_DATABASE_AHEAD"]),
        ("LOCKGATE_PORT", []),  # Kubernetes sets these for a Service of that name
        ("LOCKGATE_SERVICE_HOST", []),
        ("LOCKGATE_CACHE", []),
        ("LOCKGATE_OUTPUT", []),
        ("LOCKATE_OUTPUT", []),
    ],
)
def test_a_mistyped_variable_is_told_with_the_one_that_was_meant(name, meant):
    assert misspelt({name: "json"}) == [(name, one) for one in meant]


def test_the_same_line_twice_is_one_line(capsys):
    narrator = Narrator(output="plain", redact=Redactor())
    for sentence in ("No connection.", "No connection.", "waiting", "No connection."):
        narrator.tell("connecting", sentence)

    assert capsys.readouterr().out.splitlines() == [
        "lockgate: No connection.",
        "lockgate: waiting",
        "lockgate: No connection.",
    ]


def test_below_the_message_stands_only_what_it_does_not_say():
    failure = Failure(
        "a1", "\nCREATE TABLE t (\n\tid INTEGER\n)\n\n", "42P07", 'relation "t" is there (a1.py:3)', ("SELECT 1",)
    )
    message = 'Revision a1 failed at a1.py:3: relation "t" is there. Committed: (1) SELECT 1.'

    assert summary(Report("Failed", "HalfApplied", message, failure=failure)).splitlines()[1:] == [
        "  statement: ",
        "    CREATE TABLE t (",
        "        id INTEGER",
        "    )",
        "  sqlstate: 42P07",
    ]
    assert summary(Report("Failed", "DatabaseBusy", "The database is busy.", failure=failure)).splitlines()[-2:] == [
        '  error: relation "t" is there (a1.py:3)',
        "  committed: SELECT 1",
    ]


def test_a_reader_that_went_away_stops_nothing():
    stream = io.StringIO()
    stream.close()

    Narrator(output="json", redact=Redactor(), stream=stream).tell("applying", step="1/1 a1")


def test_a_folder_that_is_called_alembic_is_not_taken_for_alembic(capsys, monkeypatch):
    found = importlib.util.find_spec

    def without_origin(name):
        return ModuleSpec(name, None, is_package=True) if name == "alembic" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without_origin)
    monkeypatch.setenv("LOCKGATE_OUTPUT", "json")

    assert execute(["migrate"]) == 21
    assert read_report(capsys.readouterr().out).reason == "AlembicNotInstalled"
