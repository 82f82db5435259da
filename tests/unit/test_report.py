"""The report survives its way through a termination message and a log."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lockgate.report import (
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


@given(reports)
def test_a_report_line_reads_back_as_the_same_report(report: Report) -> None:
    assert read_report(f"something else\n{report_line(report)}\n") == report


@given(reports)
def test_a_termination_message_always_fits_and_keeps_the_verdict(report: Report) -> None:
    text = termination_message(report)

    read = read_report(text)
    assert len(text.encode()) <= TERMINATION_LIMIT or len(report.reason) > 200
    assert read is not None
    assert (read.outcome, read.reason, read.exit_code) == (report.outcome, report.reason, report.exit_code)
    assert read.truncated or read == report


@given(st.text())
def test_text_that_is_no_report_is_none_and_never_an_error(text: str) -> None:
    assert read_report(text) is None
    assert fold([text]) is None


def test_fields_that_a_newer_runner_added_are_ignored() -> None:
    newer = json.loads(report_line(Report("Succeeded", "Migrated", "Done."))) | {"colour": "green"}

    assert read_report(json.dumps(newer)) == Report("Succeeded", "Migrated", "Done.")


def test_the_newest_progress_line_counts_whatever_is_printed_between() -> None:
    first = progress_line("2026-01-01T00:00:00Z", "plan", Progress(pending=2))
    last = progress_line("2026-01-01T00:00:01Z", "applied", Progress(pending=1, step="1/2 a1 first"))

    assert fold([first, "INFO application says hello", last, "{broken"]) == Progress(pending=1, step="1/2 a1 first")
