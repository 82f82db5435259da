"""The Job: one golden file per shape, and what must hold whatever the template says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_shapes import SHAPES, SPEC

from lockgate.job.manifests import build_job
from lockgate.job.overlay import overlay
from lockgate.job.pod_template import RESOURCES, Injection
from lockgate.resource import parse

GOLDEN = Path(__file__).parent / "golden"
INJECTION = Injection("registry.example.com/lockgate:1.0.0", "IfNotPresent")


def job(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": "default", "uid": "3b6a", "generation": 7}
    return build_job(parse({"metadata": metadata, "spec": {**SPEC, **spec}}), INJECTION)


def pod(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = job(**spec)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_job_is_as_in_the_golden_file(shape: str) -> None:
    """To accept a change, run with LOCKGATE_UPDATE_GOLDEN=1 and read the diff."""
    path = GOLDEN / f"{shape}.yaml"
    text = yaml.safe_dump(job(**SHAPES[shape]), sort_keys=False, width=120)
    if os.environ.get("LOCKGATE_UPDATE_GOLDEN"):
        path.write_text(text)

    assert text == path.read_text()


def test_the_init_container_gets_what_the_resource_says_in_place_of_the_operators_value() -> None:
    resources = {"requests": {"memory": "128Mi"}}

    assert pod()["initContainers"][0]["resources"] == RESOURCES
    assert set(RESOURCES) == {"requests", "limits"}
    assert pod(runner={"resources": resources})["initContainers"][0]["resources"] == resources
    assert pod(runner={"resources": {}})["initContainers"][0]["resources"] == {}
    assert pod(runner={})["initContainers"][0]["resources"] == RESOURCES


names = st.sampled_from(["migrate", "lockgate", "proxy", "HOME", "DATABASE_URL", "LOCKGATE_TARGET", "x"])
words = st.text("ab/$()-", max_size=5)
named = st.fixed_dictionaries({"name": names}, optional={"value": words, "mountPath": st.just("/lockgate")})
contexts = st.fixed_dictionaries({}, optional={"runAsUser": st.integers(1, 9), "readOnlyRootFilesystem": st.booleans()})
containers = st.fixed_dictionaries(
    {"name": names},
    optional={
        "image": words,
        "command": st.lists(words, max_size=2),
        "args": st.lists(words, max_size=2),
        "env": st.lists(named, max_size=3, unique_by=lambda entry: entry["name"]),
        "volumeMounts": st.lists(named, max_size=2),
        "securityContext": contexts,
    },
)
lists = st.lists(containers, max_size=3, unique_by=lambda entry: entry["name"])
templates = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(
                    st.sampled_from(
                        ["lockgate.dev/run", "lockgate.dev/migration", "app.kubernetes.io/managed-by", "x"]
                    ),
                    words,
                ),
                "annotations": st.dictionaries(st.sampled_from(["lockgate.dev/image", "x"]), words),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": lists,
                "initContainers": lists,
                "volumes": st.lists(named, max_size=3),
                "restartPolicy": st.sampled_from(["Always", "Never"]),
                "nodeSelector": st.dictionaries(words, words),
            },
        ),
    },
)


@given(templates)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_template_takes_away_what_safety_rests_on(template: dict[str, Any]) -> None:
    plain, made = job(), job(template=template)

    labels = {**plain["metadata"]["labels"], "lockgate.dev/run": made["metadata"]["name"].removeprefix("shop-")}
    for place in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert labels.items() <= place["labels"].items()
        assert "lockgate.dev/migration" not in place["labels"]
    assert made["metadata"]["ownerReferences"] == plain["metadata"]["ownerReferences"]
    spec = made["spec"]["template"]["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["automountServiceAccountToken"] is False
    assert [container["name"] for container in spec["containers"]] == ["migrate"]
    assert spec["initContainers"][0] == pod()["initContainers"][0]
    assert {"name": "lockgate", "emptyDir": {}} in spec["volumes"]
    main, ours = spec["containers"][0], pod()["containers"][0]
    assert (main["image"], main["command"], main.get("args")) == (ours["image"], ours["command"], None)
    free = ("HOME", "PYTHONDONTWRITEBYTECODE", "LOCKGATE_RUN")
    fixed = [entry for entry in ours["env"] if entry["name"] not in free]
    assert [entry for entry in main["env"] if entry in fixed] == fixed
    assert len({entry["name"] for entry in main["env"]}) == len(main["env"])
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pod_fits_the_restricted_pod_security_level(shape: str) -> None:
    spec = pod(**SHAPES[shape])

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(set(volume) - {"name"} <= {"emptyDir", "secret", "configMap", "projected"} for volume in spec["volumes"])


def test_the_url_comes_from_the_secret_and_nothing_else_does() -> None:
    sources = [entry for entry in pod()["containers"][0]["env"] if "valueFrom" in entry]

    assert sources == [
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
        {"name": "LOCKGATE_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]


def test_a_template_may_hand_back_what_the_image_says_about_its_user() -> None:
    spec = pod(template={"spec": {"securityContext": {"runAsUser": None, "runAsGroup": None}}})

    assert "runAsUser" not in spec["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_standbys_wait_as_long_as_the_leader_may_work() -> None:
    def wait(**spec: Any) -> str:
        entries = {entry["name"]: entry.get("value") for entry in pod(**spec)["containers"][0]["env"]}
        return str(entries["LOCKGATE_LOCK_WAIT"])

    assert wait() == "15m"
    assert wait(lock={"wait": "15m", "standbys": 1}) == "4500s"


def test_a_run_without_a_time_limit_has_no_deadline() -> None:
    assert job()["spec"]["activeDeadlineSeconds"] == 3600 + 900 + 600
    assert "activeDeadlineSeconds" not in job(timeouts={"run": "0s"})["spec"]


trees = st.recursive(
    st.none() | st.integers() | words,
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "spec"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, trees), st.dictionaries(words, trees))
def test_what_the_overlay_says_wins(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = overlay(base, over)

    for key, value in over.items():
        if value is None:
            assert key not in merged
        elif not isinstance(value, dict):
            assert merged[key] == value
    assert all(merged[key] == base[key] for key in base if key not in over and base[key] is not None)
