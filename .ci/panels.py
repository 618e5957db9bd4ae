"""Asks a real Prometheus every query of the dashboard while the sandbox pays.

    panels.py PROMETHEUS SANDBOX PORTCULLIS FOLDER

The sandbox plays all of its cases, Prometheus scrapes the Portcullis among them every second, with the
shipped alert rules loaded. Then every panel's query is asked over that time. A panel without data is a
fault, and so is a rule that cannot be evaluated.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE = 60


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def ask(base: str, path: str, **query: str) -> dict:
    with urllib.request.urlopen(f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
        return json.load(answer)["data"]


def until(seen, what: str):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found := seen():
                return found
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    sys.exit(f"panels: {what} within {PATIENCE} s")


def queries() -> list[tuple[str, str]]:
    dashboard = json.loads(Path("deploy/grafana/portcullis.json").read_text())
    targets = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [(title, text.replace("$instance", ".+").replace("$__rate_interval", "15s")) for title, text in targets]


def main() -> None:
    prometheus, sandbox, portcullis, folder = sys.argv[1:]
    place = Path(folder) / "prometheus"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    admin, port = free_port(), free_port()
    rules = Path("deploy/prometheus/alerts.yaml").absolute()
    (place / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n"
        f"rule_files: ['{rules}']\n"
        f"scrape_configs: [{{job_name: portcullis, static_configs: [{{targets: ['127.0.0.1:{admin}']}}]}}]\n"
    )
    watching = subprocess.Popen(
        [prometheus, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    )
    base, begun = f"http://127.0.0.1:{port}", time.time()
    try:
        until(lambda: ask(base, "status/buildinfo"), "Prometheus does not start")
        played = subprocess.run(
            [sandbox, "--once", "--admin-port", str(admin), "--portcullis", portcullis],
            capture_output=True, text=True,
        )
        if played.returncode != 0:
            sys.exit(f"panels: the sandbox failed\n{played.stdout[-2000:]}{played.stderr[-2000:]}")
        look(base, begun)
    finally:
        watching.terminate()
        watching.wait()


def look(base: str, begun: float) -> None:
    span = {"start": f"{begun:.0f}", "end": f"{time.time():.0f}", "step": "1"}
    empty = []
    for title, query in queries():
        found = ask(base, "query_range", query=query, **span)["result"]
        if not any(value not in ("NaN", "+Inf") for series in found for _, value in series["values"]):
            empty.append(f"{title}: {query}")
    loaded = [rule for group in ask(base, "rules")["groups"] for rule in group["rules"]]
    ill = [f"{rule['name']}: {rule['lastError']}" for rule in loaded if rule["health"] != "ok"]
    for complaint in [f"no data for {one}" for one in empty] + ill:
        print(f"panels: {complaint}")
    if empty or ill or not loaded:
        sys.exit(1)
    print(f"panels: {len(queries())} queries have data, {len(loaded)} rules are evaluated")


main()
