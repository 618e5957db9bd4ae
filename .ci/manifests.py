"""Lints and renders the Helm chart by Helm's own library, and looks at every pod.

    manifests.py OUT

Writes into OUT what the chart renders to, for the schema check, and every portcullis.toml that a shipped
file carries, for `portcullis check`. Fails when a pod breaks the rules below, when the chart accepts what
it must refuse, or when chart and hand-written manifests have grown apart.
"""

import sys
from pathlib import Path

import yaml
from helm_python import HelmError
from helm_python.chart import Chart, lint

CHART = Path("deploy/helm/portcullis")
STANDALONE = Path("deploy/kubernetes/standalone.yaml")
SIDECAR = Path("deploy/kubernetes/sidecar.yaml")

complaints: list[str] = []


def demand(holds: bool, what: str) -> None:
    if not holds:
        complaints.append(what)


def documents(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(found: list[dict], kind: str) -> dict:
    (one,) = (document for document in found if document["kind"] == kind)
    return one


def rendered(values: dict, where: Path) -> list[dict]:
    report = lint(str(CHART), values, strict=True, namespace="portcullis")
    # "Icon is recommended" is what Helm says of a chart without a picture.
    serious = [m for m in report["messages"] if m["severity"] > 1] + report["errors"]
    demand(not serious, f"{CHART}: {serious}")
    with Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="portcullis", namespace="portcullis")
    manifests = [text for name, text in files.items() if name.endswith(".yaml") and text.strip()]
    where.write_text("\n---\n".join(manifests), encoding="utf-8")
    return documents(where.read_text(encoding="utf-8"))


def refused(values: dict, why: str) -> None:
    try:
        with Chart.load(str(CHART)) as chart:
            chart.render(values, name="portcullis", namespace="portcullis")
    except HelmError:
        return
    complaints.append(f"{CHART}: renders {why}")


def look_at_pod(source: str, spec: dict) -> None:
    """The restricted Pod Security Standard, and what else this product's pods promise."""
    pod = spec.get("securityContext", {})
    demand(pod.get("runAsNonRoot") is True, f"{source}: may run as root")
    demand(pod.get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{source}: no seccomp profile")
    demand(spec.get("automountServiceAccountToken") is False, f"{source}: has a token of the cluster")
    demand(spec.get("enableServiceLinks") is False, f"{source}: is told of every service")
    for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        demand(not spec.get(name), f"{source}: {name}")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        known = {"persistentVolumeClaim"} if volume["name"] == "audit" else {"configMap", "secret"}
        demand(kinds <= known, f"{source}: volume {volume['name']} is {kinds}")
        if "secret" in volume:
            demand(volume["secret"].get("defaultMode") == 0o440, f"{source}: {volume['name']} is readable")
    for container in spec.get("initContainers", []) + spec["containers"]:
        at = f"{source}: container {container['name']}"
        own = container.get("securityContext", {})
        demand(own.get("allowPrivilegeEscalation") is False, f"{at} may gain privileges")
        demand(own.get("readOnlyRootFilesystem") is True, f"{at} has a root that can be written")
        demand(own.get("capabilities", {}).get("drop") == ["ALL"], f"{at} keeps capabilities")
        demand(not own.get("privileged"), f"{at} is privileged")
        demand(own.get("runAsUser", pod.get("runAsUser", 0)) >= 10_000, f"{at} has a low user id")
        demand(not container.get("env") and not container.get("envFrom"), f"{at} has an environment")
        demand("memory" in container.get("resources", {}).get("limits", {}), f"{at} has no memory limit")
        for probe in ("livenessProbe", "readinessProbe"):
            demand(probe in container, f"{at} has no {probe}")
        for mount in container.get("volumeMounts", []):
            writable = mount["name"] == "audit"
            demand(writable or mount.get("readOnly") is True, f"{at}: {mount['mountPath']} can be written")


def look_at_all(source: str, found: list[dict]) -> None:
    deployment = of_kind(found, "Deployment")
    look_at_pod(source, deployment["spec"]["template"]["spec"])
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    guards = [d for d in found if d["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "Service")]
    for guard in guards:
        spec = guard["spec"]
        chosen = spec.get("podSelector", spec.get("selector"))
        chosen = chosen.get("matchLabels", chosen)
        demand(chosen.items() <= labels.items(), f"{source}: {guard['kind']} selects no pod of it")
    policy = of_kind(found, "NetworkPolicy")["spec"]
    demand(set(policy["policyTypes"]) == {"Ingress", "Egress"}, f"{source}: a direction is open")


def may_connect(source: str, found: list[dict], expected: set[int]) -> None:
    """Where a pod may connect: to these ports, and nowhere to all places."""
    rules = of_kind(found, "NetworkPolicy")["spec"]["egress"]
    ports = {port["port"] for rule in rules for port in rule["ports"]}
    demand(ports == expected, f"{source}: may connect to {sorted(ports)}")
    demand(all(rule.get("to") for rule in rules), f"{source}: may connect to every place")


def same(hand: list[dict], chart: list[dict]) -> None:
    """The chart with its defaults is the hand-written file, names and labels apart."""
    pods = [of_kind(found, "Deployment")["spec"]["template"]["spec"] for found in (hand, chart)]
    demand(pods[0] == pods[1], f"{STANDALONE} and {CHART}: the pods differ")
    for direction in ("ingress", "egress"):
        rules = [of_kind(found, "NetworkPolicy")["spec"][direction] for found in (hand, chart)]
        demand(rules[0] == rules[1], f"{STANDALONE} and {CHART}: {direction} differs")


def main() -> int:
    out = Path(sys.argv[1])
    hand = documents(STANDALONE.read_text(encoding="utf-8"))
    beside = documents(SIDECAR.read_text(encoding="utf-8"))
    config = of_kind(hand, "ConfigMap")["data"]["portcullis.toml"]
    chart = rendered({"config": config}, out / "chart.yaml")
    varied = yaml.safe_load((CHART / "ci/values.yaml").read_text(encoding="utf-8"))
    other = rendered(varied, out / "chart-varied.yaml")
    refused({}, "without a configuration")
    refused({"config": config, "replicaCount": 2}, "a value that it does not know")
    refused({"config": config, "image": {"repository": "x", "digest": "sha256:1"}}, "a digest that is none")
    for source, found in [
        (str(STANDALONE), hand),
        (str(SIDECAR), beside),
        (str(CHART), chart),
        (f"{CHART} (ci/values.yaml)", other),
    ]:
        look_at_all(source, found)
    same(hand, chart)
    # Names, providers, and what telemetry.endpoint and upstream.proxy.url are in the documented configuration.
    for source, found in [(str(STANDALONE), hand), (str(SIDECAR), beside), (str(CHART), chart)]:
        may_connect(source, found, {53, 443, 4318, 3128})
    may_connect(f"{CHART} (ci/values.yaml)", other, {53, 8080})
    for name, found in [("standalone", hand), ("sidecar", beside), ("chart", chart)]:
        text = of_kind(found, "ConfigMap")["data"]["portcullis.toml"]
        (out / f"{name}.toml").write_text(text, encoding="utf-8")
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print("4 pods looked at; the chart lints, renders, refuses, and is the hand-written deployment")
    return bool(complaints)


sys.exit(main())
