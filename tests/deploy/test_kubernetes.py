"""The manifests: valid by Kubernetes' own schemas, and what they name is there."""

from typing import Any, Final

import kubernetes_validate
import pytest

from redrush.config import load_campaign_file, load_deployment_file
from redrush.config.deployment_file import Duty
from redrush.http.server import STOP_DEADLINE_S
from tests.deploy.kubernetes import (
    MANIFESTS,
    Manifest,
    container,
    kustomization,
    labels,
    manifests,
    of_kind,
    pod,
    ports,
    selected,
    walk,
    workloads,
)

MADE_BY_HAND = {"redrush-secrets", "redrush-valkey-auth"}
"""Secrets are not in a repository: docs/deployment.md says how to make them."""


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _role(component: str) -> Manifest:
    (found,) = [workload for workload in of_kind("Deployment") if labels(workload)[COMPONENT] == component]
    return found


COMPONENT = "app.kubernetes.io/component"


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", manifests(), ids=_name)
def test_a_manifest_is_valid_by_the_schemas_of_kubernetes(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_refuse_a_misspelt_key() -> None:
    manifest = _role("gate")
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 35
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_kustomization_names_every_file_and_no_other() -> None:
    listed = set(kustomization()["resources"]) | {"kustomization.yaml"}
    for generator in kustomization()["configMapGenerator"]:
        listed |= set(generator["files"])
    assert listed == {path.name for path in MANIFESTS.iterdir()}


def test_the_campaign_and_the_deployment_file_are_fine() -> None:
    load_campaign_file(MANIFESTS / "event.toml")
    load_deployment_file(MANIFESTS / "deployment.toml")


@pytest.mark.parametrize("workload", workloads(), ids=_name)
def test_what_a_pod_refers_to_is_there(workload: Manifest) -> None:
    made = {generator["name"] for generator in kustomization()["configMapGenerator"]}
    claims = {claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim")}
    for volume in pod(workload)["volumes"]:
        if "configMap" in volume:
            assert volume["configMap"]["name"] in made
        if "secret" in volume:
            assert volume["secret"]["secretName"] in MADE_BY_HAND
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in claims
    volumes = {volume["name"] for volume in pod(workload)["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container(workload)["volumeMounts"]} == volumes
    assert container(workload)["image"] in {image["name"] for image in kustomization()["images"]}


@pytest.mark.parametrize("workload", workloads(), ids=_name)
def test_probes_and_services_use_ports_that_the_container_has(workload: Manifest) -> None:
    only = container(workload)
    used = [probe["port"] for probe in (*walk(only, "httpGet"), *walk(only, "tcpSocket"))]
    for service in of_kind("Service"):
        selector = service["spec"].get("selector")
        if selector and selector.items() <= labels(workload).items():
            used += [port["targetPort"] for port in service["spec"]["ports"]]
    assert set(used) <= set(ports(workload))


def test_ports_are_those_of_the_deployment_file() -> None:
    deployment = load_deployment_file(MANIFESTS / "deployment.toml")
    assert ports(_role("gate")) == {"http": deployment.gate.address.port, "control": deployment.gate.control.port}
    assert ports(_role("query")) == {"http": deployment.query.address.port, "control": deployment.query.control.port}
    assert ports(_role("payments")) == {
        "http": deployment.payments.address.port,
        "control": deployment.payments.control.port,
        "notices": 9105,
    }
    assert ports(_role("settle")) == {"control": deployment.controls["settle"].port}
    assert ports(_role("control")) == {"control": deployment.control.control.port}
    # The kubelet's probes and the monitoring come from outside of the pod.
    assert {address.host for address in deployment.controls.values()} == {"0.0.0.0"}
    for workload in of_kind("Deployment"):
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(ports(workload)["control"])


def test_every_set_has_two_servers_under_the_names_of_the_deployment_file_and_a_recorder() -> None:
    deployment = load_deployment_file(MANIFESTS / "deployment.toml")
    servers = {stateful["metadata"]["name"]: stateful for stateful in of_kind("StatefulSet")}
    services = {service["metadata"]["name"]: service for service in of_kind("Service")}
    recorders = [workload for workload in of_kind("Deployment") if labels(workload)[COMPONENT] == "recorder"]
    assert len(servers) == len(deployment.sets) == len(recorders)
    for spec in deployment.sets:
        server = servers[f"redrush-{spec.id}"]
        assert server["spec"]["serviceName"] == server["metadata"]["name"]
        headless = services[server["metadata"]["name"]]["spec"]
        assert headless["clusterIP"] == "None"
        assert headless["selector"].items() <= labels(server).items()
        names = [f"redrush-{spec.id}-{number}.redrush-{spec.id}" for number in range(server["spec"]["replicas"])]
        assert [address.host for address in spec.addresses] == names
        assert {address.port for address in spec.addresses} == {ports(server)["valkey"]}
        assert [spec.id] == [
            container(workload)["args"][-1] for workload in recorders if labels(workload)["redrush/set"] == spec.id
        ]
        # Two copies of a set on one node are one copy.
        (rule,) = walk(pod(server), "requiredDuringSchedulingIgnoredDuringExecution")
        assert rule[0]["topologyKey"] == "kubernetes.io/hostname"
        assert rule[0]["labelSelector"]["matchLabels"].items() <= labels(server).items()


def test_secrets_are_files_where_the_deployment_file_looks_for_them() -> None:
    deployment = load_deployment_file(MANIFESTS / "deployment.toml")
    passwords = [login.password for login in deployment.valkey.logins.values() if login.password is not None]
    looked_for = {*(str(password.file) for password in passwords), str(deployment.sets[0].records.file)}
    assert len(looked_for) == len(Duty) + 1
    mounted: set[str] = set()
    for workload in of_kind("Deployment"):
        directory = next(m["mountPath"] for m in container(workload)["volumeMounts"] if m["name"] == "secrets")
        (items,) = walk(pod(workload)["volumes"], "items")
        mounted |= {f"{directory}/{item['path']}" for item in items}
        assert {f"{directory}/{item['path']}" for item in items} <= looked_for
    assert mounted == looked_for


READ: Final = {
    # Who faces the crowd cannot reach the records.
    "gate": {"gate.password"},
    "query": {"records.dsn"},
    "recorder": {"settlement.password", "records.dsn"},
    "settle": {"settlement.password"},
    "payments": {"settlement.password", "records.dsn"},
    "control": {"warden.password"},
}
"""Which secrets a role reads, and no other."""


@pytest.mark.parametrize("workload", of_kind("Deployment"), ids=_name)
def test_a_role_is_handed_the_secrets_that_it_reads(workload: Manifest) -> None:
    (items,) = walk(pod(workload)["volumes"], "items")
    assert {item["key"] for item in items} == READ[labels(workload)[COMPONENT]]
    assert all(item["key"] == item["path"] for item in items)


def test_a_gate_that_ends_is_given_the_time_to_drain() -> None:
    (hook,) = walk(container(_role("gate")), "preStop")
    drain_s = int(hook["exec"]["command"][1])
    assert pod(_role("gate"))["terminationGracePeriodSeconds"] > drain_s + STOP_DEADLINE_S


def test_roles_that_must_be_alone_are_alone() -> None:
    for component in ("settle", "control", "payments"):
        role = _role(component)["spec"]
        assert (role["replicas"], role["strategy"]["type"]) == (1, "Recreate")


@pytest.mark.parametrize("workload", workloads(), ids=_name)
def test_no_pod_has_more_rights_than_it_needs(workload: Manifest) -> None:
    spec, only = pod(workload), container(workload)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in only["resources"]["limits"]


def test_budgets_and_the_autoscaler_are_about_pods_that_exist() -> None:
    for budget in of_kind("PodDisruptionBudget"):
        assert len(selected(budget["spec"]["selector"]["matchLabels"])) == 1, _name(budget)
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]["name"]
    (gate,) = [workload for workload in of_kind("Deployment") if workload["metadata"]["name"] == target]
    # A number of replicas here would undo the autoscaler's at every apply.
    assert "replicas" not in gate["spec"]
    for constraint in pod(gate)["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels(gate).items()


NEEDED = [
    ("gate", "valkey", "valkey"),
    ("recorder", "valkey", "valkey"),
    ("settle", "valkey", "valkey"),
    # What is left of a sale and of a packet between people is settled at the sets.
    ("payments", "valkey", "valkey"),
    ("found", "valkey", "valkey"),
    ("control", "valkey", "valkey"),
    ("valkey", "valkey", "valkey"),
    ("control", "gate", "http"),
    # Switches: without them an operator's change reaches nobody.
    ("gate", "control", "control"),
    ("query", "control", "control"),
    ("payments", "control", "control"),
    ("recorder", "control", "control"),
    ("settle", "control", "control"),
]
"""Who talks to whom, at which port."""


@pytest.mark.parametrize(("source", "target", "port"), NEEDED)
def test_the_network_lets_through_what_roles_say_to_each_other(source: str, target: str, port: str) -> None:
    assert _let_in(source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [("query", "valkey", "valkey"), ("gate", "recorder", "control"), ("valkey", "control", "control")],
)
def test_the_network_lets_through_nothing_else(source: str, target: str, port: str) -> None:
    assert not _let_in(source, target, port)


def test_what_faces_the_crowd_may_go_to_the_sets_and_to_the_switches() -> None:
    (policy,) = [found for found in of_kind("NetworkPolicy") if found["metadata"]["name"] == "gate"]
    reached = {
        (peer["podSelector"]["matchLabels"][COMPONENT], port["port"])
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", [])
        for port in rule["ports"]
    }
    servers = {ports(server)["valkey"] for server in of_kind("StatefulSet")}
    assert reached == {*(("valkey", port) for port in servers), ("control", ports(_role("control"))["control"])}


def test_the_switches_are_looked_for_at_the_service_of_the_control_role() -> None:
    found = load_deployment_file(MANIFESTS / "deployment.toml").control.found_at
    (service,) = [service for service in of_kind("Service") if service["metadata"]["name"] == found.host]
    assert service["spec"]["selector"].items() <= labels(_role("control")).items()
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(found.port, "control")]


def _let_in(source: str, target: str, port: str) -> bool:
    for policy in of_kind("NetworkPolicy"):
        chosen = policy["spec"]["podSelector"].get("matchLabels", {})
        if chosen.get(COMPONENT) != target:
            continue
        for rule in policy["spec"]["ingress"]:
            peers = [peer["podSelector"] for peer in rule["from"] if "podSelector" in peer]
            if port in [entry["port"] for entry in rule["ports"]] and any(_selects(peer, source) for peer in peers):
                return True
    return False


def _selects(peer: dict[str, Any], component: str) -> bool:
    if "matchLabels" in peer:
        return bool(peer["matchLabels"][COMPONENT] == component)
    (expression,) = peer["matchExpressions"]
    assert (expression["key"], expression["operator"]) == (COMPONENT, "In")
    return component in expression["values"]
