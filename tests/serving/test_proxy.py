"""The proxy's configuration of `impl/serving/deploy`, run by nginx where that is installed."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.peers.http_peer import free_port
from tests.waiting import wait_until

from .conftest import npy, pictures
from .test_deploy import DEPLOY

PROGRAMS = ("nginx", "openssl", "htpasswd")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)}")

PASSWORD = {"Authorization": "Basic " + base64.b64encode(b"user:secret").decode()}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A certificate for localhost, its key, and one user."""
    folder = tmp_path_factory.mktemp("proxy") / "tls"
    folder.mkdir()
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-out", "certificate.pem", "-keyout", "key.pem"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    subprocess.run(["htpasswd", "-bcB", "users", "user", "secret"], cwd=folder, check=True, capture_output=True)
    (folder / "users").chmod(0o644)
    return folder


class Proxy:
    """nginx in front of a server."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.context = ssl.create_default_context(cafile=folder / "tls" / "certificate.pem")

    def ask(self, method, path, body=None, **headers):
        """Return status, body and headers of an answer."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {**PASSWORD, **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers

    def log(self):
        """Return the access log."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def proxy(tls):
    """Start nginx in front of a port, with other paths than in a container."""
    folder = tls.parent
    with contextlib.ExitStack() as stack:

        def start(port):
            own = free_port()
            text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
            temporary = "".join(f"{name}_temp_path {folder}/temporary;" for name in TEMPORARY)
            for before, after in (
                ("http {", f"http {{ {temporary}"),
                ("server serving:8000;", f"server 127.0.0.1:{port};"),
                ("listen 443 ssl;", f"listen 127.0.0.1:{own} ssl;"),
                (" tls/", f" {tls}/"),
                ("/dev/stdout", f"{folder}/access.log"),
            ):
                assert before in text
                text = text.replace(before, after)
            (folder / "nginx.conf").write_text(text, encoding="utf-8")
            orders = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;"
            if os.geteuid() == 0:
                orders += "user root root;"  # others cannot read the folder of the tests
            arguments = ["-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log", "-g", orders]
            process = stack.enter_context(subprocess.Popen(["nginx", *arguments]))
            stack.callback(process.terminate)
            started = Proxy(folder, own)

            def answers():
                assert process.poll() is None, (folder / "error.log").read_text(encoding="utf-8")
                with contextlib.suppress(ConnectionRefusedError):
                    return started.ask("GET", "/health")
                return None

            wait_until(answers)
            return started

        yield start


def port_of(url):
    return int(url.rpartition(":")[2])


def test_it_passes_on_what_it_should(build, listen, proxy):
    nginx = proxy(port_of(listen(build())))
    status, answer, headers = nginx.ask("POST", "/predict", npy(pictures()), **{"Content-Type": "application/x-npy"})
    assert (status, answer["success"]) == (200, True)
    status, answer, _ = nginx.ask("POST", "/predict", b"nonsense")
    assert (status, answer["success"]) == (415, False)
    assert "the proxy" not in answer["error"], "the server's own reason"
    wait_until(lambda: headers["X-Request-Id"] in [line["request_id"] for line in nginx.log()])
    (line,) = (line for line in nginx.log() if line["request_id"] == headers["X-Request-Id"])
    assert (line["status"], line["method"], line["path"], line["user"]) == (200, "POST", "/predict", "user")


def test_it_refuses_in_json(build, listen, proxy):
    nginx = proxy(port_of(listen(build())))

    def refused(status, found):
        return found[:2] == (status, {"success": False, "error": f"the proxy refused the request: {status}"})

    assert refused(401, nginx.ask("GET", "/ready", Authorization=""))
    assert refused(401, nginx.ask("GET", "/ready", Authorization="Basic " + base64.b64encode(b"user:x").decode()))
    assert refused(404, nginx.ask("GET", "/metrics"))
    assert refused(413, nginx.ask("POST", "/predict", None, **{"Content-Length": str(65 * 2**20)}))


def test_it_limits_the_requests_of_an_address(build, listen, proxy):
    nginx = proxy(port_of(listen(build())))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: nginx.ask("GET", "/health")[0], range(400)))
    statuses = Counter(answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 100


def test_a_server_that_is_gone(proxy):
    status, answer, _ = proxy(free_port()).ask("GET", "/health")
    assert (status, answer["error"]) == (502, "the proxy refused the request: 502")
