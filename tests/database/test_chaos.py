"""Runners, sessions, connections and the server itself are killed at random moments, and nothing comes of it.

``LOCKGATE_CHAOS_SEED`` repeats the choices of a run, but not the moments, which are the machine's;
``LOCKGATE_CHAOS_KILLS`` makes it longer.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from broken_network import Proxy
from fork_server import ForkServer, Runner
from random_history import counted, write_project

KILLS = int(os.environ.get("LOCKGATE_CHAOS_KILLS", "200"))
SEED = int(os.environ.get("LOCKGATE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
DATABASES, RUNNERS = 3, 3
"""Databases that are migrated at the same time, and runners for each."""
PATIENCE = 240
"""Seconds without a finished database after which something hangs."""

LOGGED = re.compile(r"^Exception during reset or similar\n(?:(?!\{).*\n)*", re.MULTILINE)
"""What SQLAlchemy's pool logs, with a traceback, of a connection that broke at the wrong moment."""

AGAIN = {-signal.SIGKILL, 10, 11, 12, 30}
"""Ends after which a Job starts the next pod."""


class Target:
    """A database on its way to its target, and the runners that bring it there."""

    def __init__(self, chaos, number):
        self.chaos, self.number = chaos, number
        self.name = f"chaos_{number}"
        chaos.administer(f"CREATE DATABASE {self.name}")
        self.driver, style = chaos.dice.choice(
            [
                *(("psycopg", "slow"), ("psycopg2", "slow"), ("asyncpg", "slow_async"), ("psycopg", "slow_async")),
                *(("psycopg", "resumed_commits"), ("psycopg2", "resumed_commits")),
            ]
        )
        self.folder = chaos.folder / self.name
        environment = Path(__file__).parent.parent / "projects" / style / "migrations"
        self.revisions = write_project(self.folder, environment, chaos.dice, commits=style == "resumed_commits")
        self.runners: list[Runner] = []
        self.ended: list[Runner] = []
        self.pods = 0
        for _ in range(RUNNERS):
            self.start()

    def start(self):
        """Start another pod."""
        self.pods += 1
        environ = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.chaos.url(self.name, self.driver, self.chaos.proxy.port),
            "LOCKGATE_OUTPUT": "json",
            "LOCKGATE_HALF_APPLIED": "Resume",
            "LOCKGATE_POD": f"{self.name}-{self.pods}",
        }
        output, pod = self.folder / f"pod-{self.pods}", environ["LOCKGATE_POD"]
        self.runners.append(self.chaos.forks.start(self.folder, output, pod, environ, "migrate"))

    def tend(self):
        """Look after the runners: those that ended for a passing reason are replaced until one has succeeded."""
        for runner in [runner for runner in self.runners if runner.code is not None]:
            self.runners.remove(runner)
            self.ended.append(runner)
            said = runner.output.read_text()
            early = runner.code == -signal.SIGTERM and not said  # it was not listening yet
            assert runner.code == 0 or early or runner.code in AGAIN, f"{self.name}: exit code {runner.code}\n{said}"
            assert "Traceback" not in LOGGED.sub("", said), f"{self.name}: {said}"
            assert "please report" not in said, f"{self.name}: {said}"
            if not any(other.code == 0 for other in self.ended):
                self.start()

    def is_done(self):
        """Say whether all runners have ended, the last of them well."""
        return not self.runners

    def verify(self):
        """Look for anything that should not be."""
        chaos, said = self.chaos, f"{self.name} ({self.folder})"
        rows = lambda query: chaos.rows(self.name, query)  # noqa: E731  # short, and only here
        expected = [(revision,) for revision in self.revisions]
        assert rows("SELECT version_num FROM alembic_version") == expected[-1:], said
        assert rows("SELECT revision FROM lockgate.history ORDER BY id") == expected, said
        assert sorted(rows("SELECT revision FROM counted")) == counted(self.folder), said
        assert rows("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == [], said
        assert rows("SELECT count(*) FROM lockgate.unverified") == [(0,)], said
        for table in ("lockgate.index_work", "lockgate.statements"):
            if rows(f"SELECT to_regclass('{table}') IS NOT NULL") == [(True,)]:
                assert rows(f"SELECT * FROM {table}") == [], said
        deadline = time.monotonic() + 60
        while left := rows(
            "SELECT a.pid, a.application_name, a.state, a.query FROM pg_stat_activity a"
            " WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()"
        ):
            assert time.monotonic() < deadline, f"{said}: {left}"
            time.sleep(0.2)
        chaos.administer(f"DROP DATABASE {self.name}")


class Chaos:
    """Everything that can be killed, and the dice that say what is next."""

    def __init__(self, server, proxy, forks, folder, seed):
        self.server, self.proxy, self.forks, self.folder = server, proxy, forks, folder
        self.dice = random.Random(seed)
        self.targets: list[Target] = []
        self.made = self.finished = 0
        self.killed: dict[str, int] = {}
        self.next: list[Callable[[], bool]] = []
        """What is to be killed next, shuffled: every way has its share of each fifty."""

    def url(self, database, driver, port):
        """Return the URL of a database, through the proxy or not."""
        return self.server.url(database, driver).replace(f":{self.server.port}/", f":{port}/")

    def rows(self, database, query):
        """Ask the server itself."""
        url = self.server.url(database).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def administer(self, statement):
        """Run a statement in the maintenance database."""
        return self.rows("postgres", statement)

    def run(self, kills):
        """Kill this many times, and let everything come to its end."""
        deadline = time.monotonic() + PATIENCE
        while sum(self.killed.values()) < kills or self.targets:
            while len(self.targets) < DATABASES and sum(self.killed.values()) < kills:
                self.made += 1
                self.targets.append(Target(self, self.made))
            if sum(self.killed.values()) < kills:
                time.sleep(self.dice.expovariate(4))  # the moment is what is random here
                self.kill()
            else:
                time.sleep(0.05)
            for target in list(self.targets):
                target.tend()
                if target.is_done():
                    target.verify()
                    self.targets.remove(target)
                    self.finished += 1
                    deadline = time.monotonic() + PATIENCE
            assert time.monotonic() < deadline, self.hanging()

    def hanging(self):
        """Tell what the runners that do not end said last."""
        return "\n".join(
            f"{target.name} pod {runner.pid}: {runner.output.read_text()[-1500:]}"
            for target in self.targets
            for runner in target.runners
        )

    def kill(self):
        """Kill something, if it lives."""
        if not self.next:
            ways = {
                self.kill_process: 15,
                self.end_process: 10,
                self.end_session: 15,
                self.reset_connection: 6,
                self.reset_everything: 2,
                self.cut_connection: 1,
                self.stop_server: 1,
            }
            self.next = [way for way, share in ways.items() for _ in range(share)]
            self.dice.shuffle(self.next)
        way = self.next.pop()
        if way():
            self.killed[way.__name__] = self.killed.get(way.__name__, 0) + 1
        else:
            self.next.insert(0, way)

    def _any_runner(self):
        """Choose a runner, mostly one that migrates: there is more to break."""
        alive = [runner for target in self.targets for runner in target.runners]
        names = {row[0] for row in self.administer("SELECT application_name FROM pg_stat_activity")}
        busy = [runner for runner in alive if any(re.match(rf"lockgate {runner.pod} c\d+$", name) for name in names)]
        chosen = busy if busy and self.dice.random() < 0.7 else alive
        return self.dice.choice(chosen) if chosen else None

    def kill_process(self):
        """SIGKILL."""
        runner = self._any_runner()
        return runner is not None and runner.send(signal.SIGKILL)

    def end_process(self):
        """SIGTERM, as Kubernetes does it."""
        runner = self._any_runner()
        return runner is not None and signal.SIGTERM not in runner.signals and runner.send(signal.SIGTERM)

    def end_session(self):
        """pg_terminate_backend of any session of ours, the one that migrates first of all."""
        busy = self.dice.choice(["TRUE", "application_name LIKE '%leader'", "state <> 'idle'"])
        found = self.administer(
            "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'chaos%' AND application_name LIKE 'lockgate%'"
            f" AND {busy} ORDER BY pid"
        )
        return bool(found) and self.administer(f"SELECT pg_terminate_backend({self.dice.choice(found)[0]})")[0][0]

    def reset_connection(self):
        """RST on one connection."""
        links = self.proxy.links
        if links:
            self.proxy.reset(self.dice.choice(links))
        return bool(links)

    def reset_everything(self):
        """RST on all connections, as when a firewall forgets them."""
        links = self.proxy.links
        for link in links:
            self.proxy.reset(link)
        return bool(links)

    def cut_connection(self):
        """One connection on which no packet arrives any more, in either direction."""
        links = self.proxy.links
        if links:
            self.proxy.cut(self.dice.choice(links))
        return bool(links)

    def stop_server(self):
        """Stop the server, at once or in an orderly way, and start it again a moment later."""
        self.server.service.stop(self.dice.choice([signal.SIGQUIT, signal.SIGINT]))
        time.sleep(self.dice.uniform(0, 1))
        self.server.service.start()
        return True


@pytest.mark.parametrize("kind", ["system", "embedded"])
def test_whatever_is_killed_every_revision_is_applied_once_and_nothing_is_left(
    kind, postgres_server, tmp_path, capsys, missing
):
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server.postgres_server(kind))
        except postgres_server.ServerBinariesMissing as error:
            missing(str(error))
        forks = stack.enter_context(ForkServer())
        proxy = stack.enter_context(Proxy(server.port))
        with capsys.disabled():
            print(f"\nLOCKGATE_CHAOS_SEED={SEED} ({kind})")  # to repeat it
        chaos = Chaos(server, proxy, forks, tmp_path, SEED)

        chaos.run(KILLS // 2)

        with capsys.disabled():
            print(f"{chaos.finished} databases, killed: {chaos.killed}")  # what it was worth
    assert sum(chaos.killed.values()) == KILLS // 2
    assert len(chaos.killed) == 7 or KILLS < 100  # each way, on each server
