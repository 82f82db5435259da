"""The workflow of examples/github-actions: valid by GitHub's schema, and its `run:` steps at work in a real repository.

What is GitHub's own (runners, services, actions, concurrency) is not run here. A `uses:` step counts by what it leaves
behind: a checkout, and a Python. The database is the tests' PostgreSQL in place of the job's service.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOW = Path(__file__).parents[3] / "examples/github-actions/migrations.yml"
ACTIONS = {"actions/checkout@v5", "actions/setup-python@v6"}
SHELLS = {None: ("bash", "-e"), "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail")}
"""What GitHub calls a script with, without and with `shell: bash`."""


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@dataclass
class Event:
    """What GitHub knows about a push or a pull request: the contexts that expressions read."""

    contexts: dict[str, str]
    ran: list[str] = field(default_factory=list)
    """Which steps have run, by their name or their first line."""
    failed: str = ""
    output: str = ""

    def expand(self, text: str) -> str:
        """Replace `${{ ... }}`; an expression that is not a known context is a mistake in the workflow."""
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: self.contexts[found[1]], text)

    def holds(self, condition: str) -> bool:
        """Evaluate the one kind of `if` that the workflow has: context == 'value'."""
        found = re.fullmatch(r"([\w.]+) == '([^']*)'", condition)
        assert found is not None, condition
        return self.contexts[found[1]] == found[2]

    def run(self, job: dict[str, Any], folder: Path, environ: dict[str, str]) -> None:
        """Run the job's steps in order, until one fails."""
        own = {name: self.expand(value) for name, value in job.get("env", {}).items()}
        for step in job["steps"]:
            if "uses" in step:
                assert step["uses"] in ACTIONS
                continue
            self.ran.append(step.get("name") or step["run"].splitlines()[0])
            variables = {name: self.expand(value) for name, value in step.get("env", {}).items()}
            script = folder.parent / "step.sh"
            script.write_text(self.expand(step["run"]))
            done = subprocess.run(
                [*SHELLS[step.get("shell")], str(script)],
                cwd=folder / step.get("working-directory", "."),
                env=environ | own | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            self.output += done.stdout
            if done.returncode:
                self.failed = self.ran[-1]
                return


@pytest.fixture
def workflow() -> dict[str, Any]:
    return yaml.safe_load(WORKFLOW.read_text())


@pytest.fixture
def repository(tmp_path: Path, release: Callable[[Path, int], None]) -> Callable[[int, int], Path]:
    """Make a clone as `actions/checkout` leaves it: release ``proposed``, with ``main`` at its origin."""

    def make(main: int, proposed: int) -> Path:
        origin, clone = tmp_path / "origin", tmp_path / "work/shop"
        origin.mkdir()
        git(origin, "init", "-q")
        release(origin, main)
        git(origin, "add", "--all")
        git(origin, "commit", "-qm", "main")
        git(tmp_path, "clone", "-q", str(origin), str(clone))
        git(clone, "switch", "-q", "--detach")
        release(clone, proposed)
        return clone

    return make


@pytest.fixture
def act(workflow, machine, database, tmp_path) -> Callable[..., Event]:
    """Let GitHub react to an event in a checkout."""

    def react(folder: Path, **contexts: str) -> Event:
        event = Event({"secrets.DATABASE_URL": database.url()} | {f"github.{k}": v for k, v in contexts.items()})
        for job in workflow["jobs"].values():
            if event.holds(job["if"]):
                here = dict(job)
                if "services" in job:
                    # A database of its own, under another address than the one that the job publishes it at.
                    assert "@localhost:5432/" in job["env"]["DATABASE_URL"]
                    here["env"] = job["env"] | {"DATABASE_URL": database.url()}
                event.run(here, folder, machine | {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")})
        return event

    return react


def test_the_workflow_is_valid_by_the_schema_that_github_publishes() -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW))
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_has_the_name_and_the_password_that_the_url_has(workflow) -> None:
    job = workflow["jobs"]["plan"]
    account = job["services"]["postgres"]["env"]

    assert f"//{account['POSTGRES_USER']}:{account['POSTGRES_PASSWORD']}@" in job["env"]["DATABASE_URL"]
    assert job["env"]["DATABASE_URL"].endswith(f":5432/{account['POSTGRES_USER']}")  # the image calls it as the user


def test_only_one_job_migrates_at_a_time_and_none_is_ended_by_the_next(workflow) -> None:
    assert workflow["jobs"]["migrate"]["concurrency"]["cancel-in-progress"] is False


def test_a_pull_request_plans_and_tries_its_own_revisions_and_no_others(act, repository, database, tmp_path) -> None:
    event = act(repository(2, 4), event_name="pull_request", base_ref="main")

    assert event.failed == "", event.output
    assert event.ran[-3:] == ["What this pull request would apply", "Apply it", "Is all well afterwards?"]
    plan = (tmp_path / "summary.md").read_text()
    assert "0005" in plan
    assert "ADD CONSTRAINT one_account_per_address" in plan
    assert "fill in the currency" not in plan
    assert database.rows("SELECT version_num FROM alembic_version") == [("0005",)]


def test_a_pull_request_whose_revision_fails_fails_where_it_is_applied(act, repository) -> None:
    event = act(repository(2, 3), event_name="pull_request", base_ref="main")

    assert event.failed == "Apply it", event.output
    assert "one_account_per_address" in event.output


def test_a_push_to_main_migrates_and_checks_the_real_database(act, repository, database) -> None:
    event = act(repository(2, 2), event_name="push")

    assert event.failed == "", event.output
    assert event.ran[-2:] == ["lockgate migrate", "lockgate check"]
    assert database.rows("SELECT version_num FROM alembic_version") == [("0004",)]
    assert "s3cret" not in event.output
