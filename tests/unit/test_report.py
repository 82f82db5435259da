"""The report survives its way through a termination message and a log."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from hypothesis import given
from hypothesis import strategies as st

from lockgate.report import (
    _READERS,
    TERMINATION_LIMIT,
    Applied,
    CheckResult,
    Failure,
    Progress,
    Report,
    fold,
    progress_line,
    read_report,
    report_line,
    termination_message,
)

words = st.text(max_size=300)
reports = st.builds(
    Report,
    outcome=st.sampled_from(["Succeeded", "Failed", "Interrupted"]),
    reason=words,
    message=st.text(max_size=9000),
    exit_code=st.integers(0, 255),
    retryable=st.booleans(),
    current=st.lists(words, max_size=20).map(tuple),
    reached=st.lists(words, max_size=20).map(tuple),
    target=st.lists(words, max_size=20).map(tuple),
    pending=st.integers(0, 500),
    applied=st.lists(st.builds(Applied, revision=words, message=words, seconds=st.just(0.5)), max_size=60).map(tuple),
    failure=st.none() | st.builds(Failure, revision=words, statement=st.text(max_size=9000), error=words),
    checks=st.lists(st.builds(CheckResult, name=words, passed=st.booleans(), message=words), max_size=20).map(tuple),
    revisions=st.lists(words, max_size=300).map(tuple),
    warnings=st.lists(words, max_size=20).map(tuple),
)
progress = st.builds(
    Progress,
    current=st.lists(words, max_size=5).map(tuple),
    target=st.lists(words, max_size=5).map(tuple),
    pending=st.none() | st.integers(0, 500),
    step=words,
    statement=words,
    percent=st.none() | st.integers(0, 100),
    waiting_for=words,
    attempt=st.integers(1, 99),
    verifying=st.booleans(),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted({f.name for kind in (Report, Progress, Applied, Failure, CheckResult) for f in fields(kind)})
records = st.dictionaries(
    st.sampled_from(NAMES),
    anything | st.lists(st.dictionaries(st.sampled_from(NAMES), anything, max_size=5), max_size=3),
    max_size=12,
)


@given(reports)
def test_a_report_line_reads_back_as_the_same_report(report: Report) -> None:
    assert read_report(f"something else\n{report_line(report)}\n") == report


@given(reports)
def test_a_termination_message_always_fits_and_keeps_the_verdict(report: Report) -> None:
    text = termination_message(report)

    read = read_report(text)
    assert len(text.encode()) <= TERMINATION_LIMIT
    assert read is not None
    assert (read.outcome, read.reason[:50], read.exit_code) == (report.outcome, report.reason[:50], report.exit_code)
    assert read.truncated or read == report


@given(st.text())
def test_text_that_is_no_report_is_none_and_never_an_error(text: str) -> None:
    assert read_report(text) is None
    assert fold([text]) is None


@given(st.sampled_from(["report", "progress"]), records, st.binary(max_size=40))
def test_whatever_a_container_prints_is_read_as_values_of_the_right_type_or_not_at_all(kind, record, noise) -> None:
    line = json.dumps({"outcome": "Failed", "reason": "x", "message": "x", **record, "lockgate": kind})
    text = noise.decode(errors="replace") + "\n" + line + "\n" + noise.decode("latin-1")

    found = [value for value in (read_report(text), fold(text.splitlines())) if value is not None]
    for value in found:
        # What is read can be written: to the API server, which takes no NaN, no huge number, no half a character.
        json.dumps(asdict(value), allow_nan=False, ensure_ascii=False).encode()
        line = progress_line("now", "x", value) if isinstance(value, Progress) else report_line(value)
        assert (fold([line]) if isinstance(value, Progress) else read_report(line)) == value


@given(progress)
def test_progress_reads_back_as_it_was(value: Progress) -> None:
    assert fold([progress_line("2026-01-01T00:00:00Z", "plan", value)]) == value


@given(st.binary(max_size=300), st.integers(0, 4096))
def test_a_log_that_was_cut_anywhere_is_no_error(noise: bytes, cut: int) -> None:
    whole = report_line(Report("Failed", "MigrationFailed", "It failed. " * 40, failure=Failure("a1", "SELECT 1")))
    text = (noise + whole.encode())[cut:].decode(errors="replace")

    assert fold(text.splitlines()) is None
    assert read_report(text) in (None, read_report(whole))


def test_json_that_is_nested_without_end_is_no_error() -> None:
    line = '{"lockgate":' + "[" * 100_000

    assert read_report(line) is None
    assert fold([line]) is None


def test_every_field_of_a_report_is_read() -> None:
    nested = {"applied", "undone", "checks", "failure", "images"}

    for kind in (Report, Progress, Applied, Failure, CheckResult):
        assert {str(f.type) for f in fields(kind) if f.name not in nested} <= set(_READERS)


def test_fields_that_a_newer_runner_added_are_ignored() -> None:
    newer = json.loads(report_line(Report("Succeeded", "Migrated", "Done."))) | {"colour": "green"}

    assert read_report(json.dumps(newer)) == Report("Succeeded", "Migrated", "Done.")


def test_the_newest_progress_line_counts_whatever_is_printed_between() -> None:
    first = progress_line("2026-01-01T00:00:00Z", "plan", Progress(pending=2))
    last = progress_line("2026-01-01T00:00:01Z", "applied", Progress(pending=1, step="1/2 a1 first"))

    assert fold([first, "INFO application says hello", last, "{broken"]) == Progress(pending=1, step="1/2 a1 first")
