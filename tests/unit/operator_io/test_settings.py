from __future__ import annotations

import json
import logging
import sys

import pytest

from lockgate.process.log_format import JsonFormatter
from lockgate.process.settings import parse

IMAGE = {"LOCKGATE_OPERATOR_IMAGE": "registry.example.com/lockgate:1"}


def test_the_environment_is_enough() -> None:
    settings = parse(
        [],
        IMAGE
        | {
            "LOCKGATE_NAMESPACES": "shop, web,,shop",
            "LOCKGATE_OPERATOR_IMAGE_PULL_POLICY": "Never",
            "LOCKGATE_RUNNER_RESOURCES": '{"limits":{"memory":"64Mi"}}',
            "LOCKGATE_LEADER_ELECTION": "False",
            "LOCKGATE_LISTEN": "[::]:9000",
            "LOCKGATE_LOG_FORMAT": "text",
            "LOCKGATE_LOG_LEVEL": "debug",
            "POD_NAMESPACE": "lockgate-system",
            "POD_NAME": "lockgate-1",
        },
    )
    assert settings.namespaces == ("shop", "web")
    assert settings.image == "registry.example.com/lockgate:1"
    assert settings.image_pull_policy == "Never"
    assert settings.runner_resources == {"limits": {"memory": "64Mi"}}
    assert settings.leader_election is False
    assert (settings.host, settings.port) == ("::", 9000)
    assert (settings.log_format, settings.log_level) == ("text", "DEBUG")
    assert (settings.pod_namespace, settings.pod_name) == ("lockgate-system", "lockgate-1")


def test_defaults_are_for_a_cluster() -> None:
    settings = parse([], IMAGE)
    assert settings.namespaces == ()
    assert settings.leader_election is True
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert settings.log_format == "json"
    assert settings.workers == 4
    assert set(settings.runner_resources) == {"requests", "limits"}


def test_a_flag_wins_over_the_environment() -> None:
    settings = parse(["--image", "other", "--namespaces", "a"], IMAGE | {"LOCKGATE_NAMESPACES": "b"})
    assert settings.image == "other"
    assert settings.namespaces == ("a",)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "LOCKGATE_OPERATOR_IMAGE"),
        ([], IMAGE | {"LOCKGATE_LEADER_ELECTION": "maybe"}, "neither true nor false"),
        ([], IMAGE | {"LOCKGATE_RUNNER_RESOURCES": '{"limits": 1}'}, "is not JSON such as"),
        ([], IMAGE | {"LOCKGATE_LOG_FORMAT": "xml"}, "none of json, text"),
        ([], IMAGE | {"LOCKGATE_LOG_LEVEL": "loud"}, "none of DEBUG"),
        ([], IMAGE | {"LOCKGATE_OPERATOR_IMAGE_PULL_POLICY": "Sometimes"}, "none of Always"),
        ([], IMAGE | {"LOCKGATE_WORKERS": "0"}, "from 1 to 100"),
        (["--listen", "8080:"], IMAGE, "give host:port"),
    ],
)
def test_what_cannot_be_right_is_refused_with_a_sentence(
    arguments: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, environment)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_log_line_is_one_json_object_also_with_a_traceback() -> None:
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        record = logging.LogRecord("lockgate", logging.ERROR, "f.py", 1, "failed: %s", ("ü",), sys.exc_info())
    record.reason = "Unexpected"
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["level"] == "error"
    assert line["message"] == "failed: ü"
    assert line["reason"] == "Unexpected"
    assert line["traceback"].endswith("second line")
