"""What deploy/ and compose.yaml say is true of the code: settings, commands, roles, metrics. Programs read the rest."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from alerts.configuration import read_configuration
from alerts.metrics.catalogue import CATALOGUE
from app.cli.verbs import app
from app.service import END_S, ROLES
from app.settings import SECRETS, Settings, variable_name
from tests.api.house import Api, House

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kustomize" / "base"
OVERLAY = DEPLOY / "kustomize" / "overlays" / "example"
DASHBOARD = DEPLOY / "grafana" / "bellwether.json"
RULES = DEPLOY / "prometheus" / "bellwether.rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "bellwether.rules.test.yml"
ALERTS = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = {variable_name(field) for field in Settings.model_fields}
SECRET_FILES = {f"{variable_name(field)}_FILE" for field in SECRETS}
SINGLE_ROLES = sorted(role for role in ROLES if role != "all")


def documents(*names: str) -> Iterator[dict[str, Any]]:
    """The objects of files of the base."""
    for name in names:
        yield from yaml.safe_load_all((BASE / name).read_text())


def queries() -> Iterator[tuple[str, str]]:
    """Every PromQL text with the place it stands at."""
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]


def exposed(text: str) -> dict[str, set[str]]:
    """Every series name of an exposition with the names of its labels; of an empty family, by its declaration."""
    found: dict[str, set[str]] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        endings = {"histogram": ("_bucket", "_count", "_sum")}.get(kind, ("",))
        found |= {name + ending: set() for ending in endings}
    for name, labels in re.findall(r"^(bellwether_\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@functools.cache
def commands() -> Any:
    """All commands: putting them together takes a while, and the pages name dozens."""
    return typer.main.get_command(app)


def walk(command: list[str]) -> Any:
    """The command that ``command`` names, its options checked on the way."""
    found = commands()
    words = [each for each in command if not each.startswith("-")]
    for word in words:
        if not getattr(found, "commands", None):
            break
        assert word in found.commands, command
        found = found.commands[word]
    known = {option for each in found.params for option in each.opts}
    assert {each for each in command if each.startswith("-")} <= known, command
    return found


@pytest.fixture
def metrics(tmp_path: Path) -> dict[str, set[str]]:
    """What /metrics of a real application exposes, once something has happened."""
    house = House(tmp_path)
    api = Api(house.services())
    house.add_alert(house.add_account("acme", risk_level="high"), "acme")
    house.outbox.sync_destinations(house.parts.book.page.destinations, house.dial.now)
    event = '{"id": "1", "type": "user.login", "account_id": "acme", "user_id": "u", '
    house.take_in([json.loads(event + '"occurred_at": "2026-11-22T09:00:00Z"}')])
    api.post("/v1/events", content=b"[{}, 1]", headers={"Content-Type": "application/json"})
    return exposed(api.get("/metrics").text)


# --- what watches the service


def test_every_metric_of_the_alerts_and_the_dashboard_is_exposed(metrics: dict[str, set[str]]) -> None:
    unknown = {
        name: place
        for place, query in queries()
        for name in re.findall(r"\bbellwether_\w+", query)
        if name not in metrics
    }
    assert unknown == {}


def test_every_label_of_the_alerts_and_the_dashboard_is_one_of_its_metric(
    metrics: dict[str, set[str]],
) -> None:
    of_the_scrape = {"job", "instance"}
    for place, query in queries():
        for name, matchers in re.findall(r"\b(bellwether_\w+)\{([^}]*)\}", query):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - of_the_scrape
            known = metrics.get(name, set())
            assert not known or labels <= known, f"{place}: {name} has {known}, not {labels - known}"


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = [
        each for test in yaml.safe_load(RULE_TESTS.read_text())["tests"] for each in test["alert_rule_test"]
    ]
    names = {alert["alert"] for alert in ALERTS}
    assert {each["alertname"] for each in tests if each.get("exp_alerts")} == names
    assert {each["alertname"] for each in tests if not each.get("exp_alerts")} == names


def test_every_alert_says_what_it_means_and_how_bad_it_is() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"].keys() == {"summary", "description"}, alert["alert"]


def test_the_page_says_of_every_alert_where_to_look_first() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    rows = re.findall(r"^\| ((?:`Bellwether\w+`(?:, )?)+) \| .+ \|$", page, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"\w+", row)]
    assert sorted(listed) == sorted(alert["alert"] for alert in ALERTS)
    assert len(listed) == 18, "the page says eighteen"


def test_the_page_names_every_setting_of_kafka() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for name in Settings.model_fields:
        if name.startswith("kafka_"):
            assert f"`{variable_name(name)}" in page, name


def test_a_signal_of_the_page_ends_no_container_and_runuser_ends_its_own_options() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    # `docker compose kill`, of whatever signal, counts as a stop: what dies later is not started again.
    assert re.findall(r"^ *docker compose kill", page, re.MULTILINE) == []
    assert "\nSTOPSIGNAL SIGTERM\n" in (ROOT / "Dockerfile").read_text()
    for command in re.findall(r"^ *runuser (.*)$", page, re.MULTILINE):
        assert command.startswith("--user=bellwether -- /"), command


def test_the_commands_that_alerts_and_panels_name_exist() -> None:
    texts = [text for alert in ALERTS for text in alert["annotations"].values()]
    texts += [panel.get("description", "") for panel in json.loads(DASHBOARD.read_text())["panels"]]
    named = re.findall(r"`bellwether ([a-z -]+)`", "\n".join(texts))
    assert len(named) >= 5
    for command in named:
        walk(command.split())


def test_the_commands_of_the_page_exist() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    named = re.findall(
        r"(?:bin/|`| )bellwether ((?:db|topics|serve|positions|doctor|health|alerts|risk|keys)[^`\n;|]*)",
        page,
    )
    assert len(named) >= 20
    for command in named:
        walk(command.replace("%j", "consumer").split())


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert (
                target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            )
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables, panel["title"]
            assert 'job=~"$job"' in target["expr"], panel["title"]
            assert not re.search(r"rate\([^\[]*\[(?!\$__rate_interval)", target["expr"]), panel["title"]


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} lies over {other}"


# --- compose.yaml


def test_every_role_is_a_service_of_compose() -> None:
    commands = {name: service["command"] for name, service in SERVICES.items() if "build" in service}
    served = sorted(command[2] for command in commands.values() if command[0] == "serve")
    assert served == SINGLE_ROLES
    for command in commands.values():
        walk([re.sub(r"\$\{\w+:-(\w+)\}", r"\1", str(each)) for each in command])


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_of_compose_waits_for_can_come(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        health = SERVICES[other].get("healthcheck", {"disable": True})
        match wanted["condition"]:
            case "service_healthy":
                assert health.get("test"), f"{other} has no health"
            case "service_completed_successfully":
                assert "restart" not in SERVICES[other], f"{other} never ends"
                assert health.get("disable"), f"{other} is over before it is healthy"
            case condition:
                raise AssertionError(f"{name} waits for {other} to be {condition}, which tells nothing")


def test_up_and_wait_takes_the_end_of_what_runs_once_for_success() -> None:
    # `up --wait` fails for a container that ended, unless another waits for just that.
    once = {name for name, service in SERVICES.items() if "restart" not in service}
    ends = {
        other
        for service in SERVICES.values()
        for other, wanted in service.get("depends_on", {}).items()
        if wanted["condition"] == "service_completed_successfully"
    }
    assert once == ends == {"migrate", "topics"}


def test_a_service_of_compose_can_be_scaled() -> None:
    for role in SINGLE_ROLES:
        service = SERVICES[role]
        assert "container_name" not in service
        assert role == "api" or "ports" not in service


def test_compose_runs_the_kafka_that_the_tests_run() -> None:
    pom = (ROOT / "tests" / "servers" / "pom.xml").read_text()
    tested = re.search(r"<kafka.version>(.+)</kafka.version>", pom)
    assert tested
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_compose_mounts_the_secrets_it_names_and_holds_none() -> None:
    made = set(re.findall(r"^make (\w+) ", (DEPLOY / "make-secrets").read_text(), re.MULTILINE))
    assert set(COMPOSE["secrets"]) == made
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./deploy/secrets/{name}"}
    for name, service in SERVICES.items():
        given = set(service.get("secrets", []))
        files = [value for key, value in service.get("environment", {}).items() if key.endswith("_FILE")]
        assert {Path(file).name for file in files} == given, name
        assert all(file.startswith("/run/secrets/") for file in files), name


def test_git_ignores_what_make_secrets_writes() -> None:
    assert (DEPLOY / "secrets" / ".gitignore").read_text().split() == ["*", "!.gitignore"]


@pytest.mark.parametrize("role", SINGLE_ROLES)
def test_there_is_more_time_to_drain_than_a_role_takes(role: str) -> None:
    compose = int(SERVICES[role]["stop_grace_period"].removesuffix("s"))
    (pod,) = documents("probes.yaml")
    kubernetes = pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert min(compose, kubernetes) >= END_S + 5


# --- settings, wherever they are given


def given_settings() -> Iterator[tuple[str, str]]:
    """Each BELLWETHER_* name that a deployment sets, with the place."""
    for name, service in SERVICES.items():
        for key in service.get("environment", {}):
            if key.startswith("BELLWETHER_"):
                yield f"compose.yaml: {name}", key
    for file in [*BASE.glob("*.yaml"), *OVERLAY.glob("*.yaml"), *BASE.glob("*.env"), *OVERLAY.glob("*.env")]:
        for key in re.findall(r"^(?: *- name: )?(BELLWETHER_\w+)", file.read_text(), re.MULTILINE):
            yield str(file.relative_to(ROOT)), key


def test_every_setting_of_a_deployment_is_one() -> None:
    given = list(given_settings())
    assert len(given) > 30
    assert [each for each in given if each[1] not in SETTINGS | SECRET_FILES] == []


def test_no_secret_is_given_but_as_a_file() -> None:
    secrets = {variable_name(field) for field in SECRETS}
    # The one exception takes the image's own address away, so that the file's holds.
    emptied = "BELLWETHER_DATABASE_URL"
    assert {key for _, key in given_settings() if key in secrets} == {emptied}
    assert all(service["environment"][emptied] == "" for service in SERVICES.values() if "build" in service)
    (pod,) = documents("pod.yaml")
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert {"name": emptied, "value": ""} in container["env"]


@pytest.mark.parametrize("file", [DEPLOY / "rules" / "bellwether.yaml", OVERLAY / "bellwether.yaml"])
def test_the_rule_files_of_a_deployment_are_sound(file: Path) -> None:
    assert read_configuration(file.read_text(), file.name, CATALOGUE).rules


# --- kubernetes


def test_every_role_is_a_deployment() -> None:
    found = [
        each for each in documents(*(f"{role}.yaml" for role in SINGLE_ROLES)) if each["kind"] == "Deployment"
    ]
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in found]
    assert sorted(container["args"][2] for container in containers) == SINGLE_ROLES
    for container in containers:
        walk(container["args"])


def test_every_deployment_may_lose_a_node() -> None:
    budgets = [each["spec"]["selector"]["matchLabels"] for each in documents("disruption.yaml")]
    deployments = [
        each for each in documents(*(f"{role}.yaml" for role in SINGLE_ROLES)) if each["kind"] == "Deployment"
    ]
    for deployment in deployments:
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert deployment["spec"]["template"]["metadata"]["labels"] == labels
        assert labels in budgets
        assert deployment["spec"]["replicas"] >= 2


def test_the_jobs_do_what_a_start_needs() -> None:
    jobs = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in documents("prepare.yaml")}
    commands = {name: job["containers"][0]["args"] for name, job in jobs.items()}
    assert commands["bellwether-migrate"] == ["db", "upgrade"]
    for command in commands.values():
        walk(command)


def test_no_object_holds_a_secret() -> None:
    for file in [*BASE.glob("*.yaml"), *OVERLAY.glob("*.yaml")]:
        for each in yaml.safe_load_all(file.read_text()):
            assert each.get("kind") != "Secret", file.name
            assert "secretGenerator" not in each, file.name
