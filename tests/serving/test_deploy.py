"""What `impl/serving/deploy` says, as far as a machine without containers can check it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from impl.serving import VARIANTS, ServingConfig
from impl.serving.__main__ import parse
from impl.variant import best_of

from .conftest import npy, pictures

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "impl" / "serving" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))


def instructions():
    """Return the instructions of the Dockerfile: (name, arguments)."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", lines, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in lines.splitlines() if line.strip()]


def arguments(name):
    return [text for found, text in instructions() if found == name]


def test_the_dockerfile_copies_what_there_is_and_the_server_takes_its_arguments():
    for copied in arguments("COPY"):
        *sources, _target = shlex.split(copied)
        assert sources
        assert all((ROOT / source).exists() for source in sources)
    python, option, module, *given = json.loads(arguments("ENTRYPOINT")[0])
    assert (python, option, module) == ("python", "-m", "impl.serving")
    options, config = parse(given)
    assert (options.variant, options.host, options.log_json) == (best_of(VARIANTS), "0.0.0.0", True)  # noqa: S104
    assert config == ServingConfig()
    assert f"{options.port}" in arguments("EXPOSE")
    uid, _, gid = arguments("USER")[0].partition(":")
    assert min(int(uid), int(gid)) > 0


def test_the_dockerfile_installs_what_make_does():
    """The same pinned uv, and the extra of the cases from the lock."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    version = re.search(r"^UV_VERSION := (.+)$", makefile, re.MULTILINE)[1]
    (install, _) = arguments("RUN")
    assert f"uv=={version} " in install
    assert "-r pyproject.toml --extra cases -c requirements.lock" in " ".join(install.split())
    assert "UV_TORCH_BACKEND=cpu" in install


def checks():
    yield json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    yield COMPOSE["services"]["serving"]["healthcheck"]["test"][1:]


def test_health_checks_follow_the_server(build, listen):
    app = build()
    url = listen(app)
    (script,) = {script for _, script, _ in checks()}

    def healthy(path, url=url):
        return subprocess.run([sys.executable, script, url + path], cwd=ROOT, check=False).returncode == 0

    for python, _, address in checks():
        assert python == "python"
        path = address.removeprefix("http://127.0.0.1:8000")
        assert path in {"/health", "/ready"}
        assert healthy(path)
    app.extensions["serving"].drain()
    assert healthy("/health")
    assert not healthy("/ready")
    assert not healthy("/health", "http://127.0.0.1:9")


def test_a_health_check_imports_nothing_of_ours():
    """Importing the package would import torch, every ten seconds."""
    for _, script, _ in checks():
        imports = re.findall(r"^(?:import|from) (\w+)", (ROOT / script).read_text(encoding="utf-8"), re.MULTILINE)
        assert set(imports) == {"sys", "urllib"}


def test_compose_mounts_what_there_is():
    services = COMPOSE["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            if source.startswith("./") and source != "./tls":  # the user's own
                assert (DEPLOY / source).is_file()
            elif not source.startswith("./"):
                assert source in COMPOSE["volumes"]
    serving = services["serving"]
    assert (DEPLOY / serving["build"]["context"]).resolve() == ROOT
    assert (ROOT / serving["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert serving["read_only"] is True
    grace = int(serving["stop_grace_period"].removesuffix("s"))
    assert 1e3 * grace > ServingConfig.timeout_ms
    (mounted,) = (volume for volume in serving["volumes"] if volume.startswith("cache:"))
    assert dict([arguments("ENV")[0].split()[0].split("=")])["ML_PERFORMANCE_SUITE_CACHE"] == mounted.partition(":")[2]


def test_the_proxy_has_the_servers_limits():
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert f"client_max_body_size {ServingConfig.max_body_mb:.0f}m;" in text
    read = int(re.search(r"proxy_read_timeout (\d+)s;", text)[1])
    assert 1e3 * read > ServingConfig.timeout_ms
    assert "serving:8000" in text
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["serving:8000"]


@pytest.fixture
def metrics(build):
    client = build(cache_mb=1).test_client()
    for _ in range(2):
        assert client.post("/predict", data=npy(pictures())).status_code == 200
    assert client.post("/predict", data=b"nonsense").status_code == 415
    return client.get("/metrics").text


def test_prometheus_reads_the_metrics(metrics):
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    assert families["serving_requests"].type == "counter"
    outcomes = {
        sample.labels["outcome"]: sample.value
        for sample in families["serving_requests"].samples
        if sample.name == "serving_requests_total"
    }
    assert outcomes == {"200": 2, "415": 1}
    for name in ("serving_request_seconds", "serving_model_seconds", "serving_queue_seconds", "serving_batch_images"):
        assert families[name].type == "histogram"
        assert families[name].documentation
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "metrics"], input=metrics, text=True, check=True)


def test_the_dashboard_shows_metrics_that_there_are(metrics):
    names = {sample.name for family in text_string_to_metric_families(metrics) for sample in family.samples}
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"\bserving_\w+", expression)}
    assert used
    assert used <= names, f"no such metrics: {sorted(used - names)}"
    own = {name for name in names if name.startswith("serving_") and not name.endswith("_created")}
    shown = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in used}
    assert {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in own} == shown, "a metric has no panel"


def test_the_dashboards_panels_do_not_overlap():
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
