"""What a run is told: flags over variables over defaults, and clear words about what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidConfiguration
from lockgate.runner.durations import parse_duration, spoken
from lockgate.runner.invocation.checks import IndexCheck, SqlCheck
from lockgate.runner.invocation.configuration import read_configuration
from lockgate.runner.invocation.options import OPTIONS


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default():
    assert read_configuration("migrate", {}, {}).target == "heads"
    assert read_configuration("migrate", {}, {"LOCKGATE_TARGET": "a1"}).target == "a1"
    assert read_configuration("migrate", {"target": "b2"}, {"LOCKGATE_TARGET": "a1"}).target == "b2"


def test_an_empty_variable_is_as_good_as_none():
    assert read_configuration("migrate", {}, {"LOCKGATE_LOCK_WAIT": ""}).lock_wait == 900


def test_the_url_comes_from_the_variable_that_is_named():
    environ = {"SHOP_URL": "postgresql://db/shop", "LOCKGATE_DATABASE_ENV": "SHOP_URL"}

    assert read_configuration("migrate", {}, environ).url == "postgresql://db/shop"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOCKGATE_LOCK_WAIT", "soon"),
        ("LOCKGATE_RUN_TIMEOUT", "-1s"),
        ("LOCKGATE_DDL_LOCK_ATTEMPTS", "0"),
        ("LOCKGATE_DATABASE_AHEAD", "accept"),
        ("LOCKGATE_OUTPUT", "yaml"),
        ("LOCKGATE_ARGS", "[]"),
        ("LOCKGATE_ARGS", '{"a": 1}'),
        ("LOCKGATE_TARGET", "+1"),
        ("LOCKGATE_TARGET", "a:b"),
        ("LOCKGATE_DATABASE_ENV", "DATABASE-URL"),
        ("LOCKGATE_CHECKS", "{}"),
        ("LOCKGATE_CHECKS", '[{"http": {}}]'),
        ("LOCKGATE_CHECKS", '[{"sql": {"query": ""}}]'),
        ("LOCKGATE_CHECKS", '[{"sql": {"query": "SELECT 1", "expects": "1"}}]'),
        ("LOCKGATE_CHECKS", '[{"indexes": {}, "sql": {"query": "SELECT 1"}}]'),
        ("LOCKGATE_CHECKS", json.dumps([{"indexes": {}}] * 51)),
    ],
)
def test_a_bad_value_names_the_flag_and_the_variable(variable, value):
    flag = next(option.flag for option in OPTIONS if option.variable == variable)

    with pytest.raises(InvalidConfiguration) as caught:
        read_configuration("migrate", {}, {variable: value})

    assert flag in caught.value.message
    assert variable in caught.value.message


def test_what_only_wait_knows_is_no_matter_to_migrate():
    assert read_configuration("migrate", {}, {"LOCKGATE_TIMEOUT": "soon"}).timeout == 600
    with pytest.raises(InvalidConfiguration):
        read_configuration("wait", {}, {"LOCKGATE_TIMEOUT": "soon"})


def test_the_index_check_is_on_unless_it_is_configured():
    sql = {"sql": {"query": "SELECT 1", "expect": "1"}}

    assert read_configuration("migrate", {}, {}).checks == (IndexCheck(),)
    assert read_configuration("migrate", {}, {"LOCKGATE_CHECKS": json.dumps([sql])}).checks == (
        IndexCheck(),
        SqlCheck("sql-1", "SELECT 1", "1"),
    )
    ignoring = json.dumps([{"indexes": {"ignore": ["*"]}}])
    assert read_configuration("migrate", {}, {"LOCKGATE_CHECKS": ignoring}).checks == (IndexCheck(ignore=("*",)),)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds, milliseconds):
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"

    assert parse_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.35, "350ms"), (2.5, "2.5s"), (30, "30s"), (180, "3m"), (3600, "1h"), (3900, "1h5m")]
)
def test_durations_are_said_shortly(seconds, said):
    assert spoken(seconds) == said


@pytest.mark.parametrize("target", ["+1", "-1", "expand@+1", "expand@-2"])
def test_a_target_that_counts_from_where_the_database_is_is_refused(target):
    with pytest.raises(InvalidConfiguration, match="a retry would go further"):
        read_configuration("migrate", {"target": target}, {})


def test_a_target_that_counts_from_a_revision_is_taken():
    assert read_configuration("migrate", {"target": "a1b2+1"}, {}).target == "a1b2+1"
