"""Has schemathesis call a running Portcullis by docs/openapi.json, each listener for some seconds.

    openapi.py SANDBOX PORTCULLIS FOLDER

The sandbox starts one between simulated providers, all on loopback. The document is given what only a run
can know: an application's key, an origin, a capture session, a token. Whatever a call answers must be
documented: its status, content type, headers and schema, and never 5xx; a wrong body must be refused, and
so must a caller without credentials.
"""

import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

DOCUMENT = Path("docs/openapi.json")
SECONDS = {"public": 25, "private": 12, "admin": 3}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
]


def call(place: dict, url: str, body: dict, **headers: str) -> dict:
    trust = ssl.create_default_context(cafile=place["ca"])
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(asked, context=trust, timeout=5) as answer:
        return json.load(answer)


def prepared(place: dict) -> tuple[dict, dict[str, str]]:
    """The document with examples that work here, and the header that makes each listener listen."""
    key = {"Portcullis-Key": place["portcullis_key"]}
    opened = {"origin": place["shop"], "max_cards": 100, "ttl_seconds": 3600}
    session = call(place, f"{place['private']}/v1/capture-sessions", opened, **key)["id"]
    card = {"card": {"number": "5519 2838 1203 0000", "cvv": "123", "exp_month": "12", "exp_year": "2077"}}
    bearer = {"Authorization": f"Bearer {session}"}
    tokens = [call(place, f"{place['public']}/v1/tokens", card, **bearer)["card"]["token"] for _ in range(2)]
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    paths = document["paths"]
    # It would stop what is to be asked.
    del paths["/drain"]
    body = paths["/v1/capture-sessions"]["post"]["requestBody"]["content"]["application/json"]
    body["examples"] = {"opened": {"value": opened}}
    body = paths["/v1/tokens"]["post"]["requestBody"]["content"]["application/json"]
    refreshed = {"card": {"token": tokens[0], "cvv": "321"}}
    body["examples"] = {"card": {"value": card}, "cvv": {"value": refreshed}}
    asked = {"method": "POST", "path": "/paymega/api/payment-invoices", "headers": {"Content-Type": "application/json"}}
    sent, refused = ({**asked, "body": body} for body in ({"data": {}}, {"data": {"n": "5519283812030000"}}))
    body = paths["/v1/explain"]["post"]["requestBody"]["content"]["application/json"]
    body["examples"] = {"sent": {"value": sent}, "refused": {"value": refused}}
    for method, token in (("get", tokens[0]), ("delete", tokens[1])):
        of = paths["/v1/tokens/{token}"]
        of[method]["parameters"] = [{**of["parameters"][0], "example": token}]
    del paths["/v1/tokens/{token}"]["parameters"]
    form = paths["/v1/form/{capture_session}"]
    form["parameters"] = [{**form["parameters"][0], "example": session}]
    for item in paths.values():
        item.pop("servers")
    return document, {"public": f"Authorization: Bearer {session}", "private": f"Portcullis-Key: {key['Portcullis-Key']}"}


def main() -> None:
    sandbox, portcullis, folder = sys.argv[1:]
    running = subprocess.Popen(
        [sandbox, "--any-port", "--json", "--portcullis", portcullis],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        place = json.loads(running.stdout.readline())
        document, headers = prepared(place)
        schema = Path(folder) / "openapi.json"
        schema.write_text(json.dumps(document), encoding="utf-8")
        failed = [tag for tag in SECONDS if not agrees(tag, place, schema, headers)]
    finally:
        running.terminate()
        running.wait()
    if failed:
        sys.exit(f"openapi: the {', '.join(failed)} listener does not do as {DOCUMENT} says")


def agrees(tag: str, place: dict, schema: Path, headers: dict[str, str]) -> bool:
    command = ["schemathesis", "--no-color", "run", str(schema), "--url", place[tag], "--tls-verify", place["ca"],
               "--include-tag", tag, "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
               "--max-time", str(SECONDS[tag]), "--generation-database", "none", "--seed", "1",
               "--warnings", "off", "--suppress-health-check", "all"]
    if tag in headers:
        command += ["--header", headers[tag]]
    return subprocess.run(command, cwd=schema.parent).returncode == 0


main()
