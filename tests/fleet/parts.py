"""The parts of a fleet, as processes on this machine: Restate servers, workers, the sandbox, and a proxy in front of it."""

import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
AKOOL = os.environ.get("AKOOL", str(ROOT / "target/debug/akool"))
OUTCOMES = os.environ.get("OUTCOMES", str(ROOT / "target/debug/examples/outcomes"))
TRACED = os.environ.get("TRACED", str(ROOT / "target/debug/examples/traced_worker"))
OWN_ENGINE = os.environ.get("OWN_ENGINE", str(ROOT / "target/debug/examples/own_engine"))
SERVER = os.environ.get("RESTATE_SERVER", "restate-server")
KEY = "sandbox-key-000000000000"
CREATE = "/api/open/v3/content/video/createbytranslate"
# The last address of a port that was free, so that no two parts get the same.
_taken = set()


def free_port():
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _taken:
            _taken.add(port)
            return port


def call(url, method="GET", body=None, headers=None, timeout=60):
    """Sends one request, and returns status and decoded body."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        headers = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body)
            headers.setdefault("content-type", "application/json")
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target, data, headers)
        response = connection.getresponse()
        raw = response.read()
        try:
            return response.status, json.loads(raw) if raw else None
        except ValueError:
            return response.status, raw.decode(errors="replace")
    finally:
        connection.close()


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if result := condition():
                return result
        time.sleep(0.05)
    raise SystemExit(f"{what}: not within {seconds} s")


class Process:
    """A process with its output in a file."""

    def __init__(self, command, log, env=None, prefix=()):
        self.command, self.log, self.env, self.prefix = [str(part) for part in command], log, env or {}, list(prefix)
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            env = {**os.environ, **self.env}
            self.process = subprocess.Popen(self.prefix + self.command, stdout=log, stderr=log, env=env)
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def kill(self):
        """Ends it at once, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, seconds=60):
        """Ends it with SIGTERM, and returns how long that took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        if self.process:
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return time.monotonic() - began


class Fleet:
    """A folder with everything that runs, which ends with this object."""

    def __init__(self, host="127.0.0.1"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fleet-"))
        self.processes, self.host = [], host
        self.failed = False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in reversed(self.processes):
            process.signal(signal.SIGCONT)
            process.kill()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"logs are in {self.folder}", flush=True)

    def run(self, name, command, env=None, prefix=()):
        # A server that is killed leaves folders behind.
        env = {"TMPDIR": str(self.folder), **(env or {})}
        process = Process(command, self.folder / f"{name}.log", env, prefix)
        self.processes.append(process)
        return process.start()

    # The sandbox.

    def sandbox(self, *options):
        log = self.folder / "sandbox.log"
        self.run("sandbox", [AKOOL, "sandbox", "--listen", "127.0.0.1:0", "--json", *options])

        def url():
            for line in log.read_text().splitlines():
                if '"listening"' in line:
                    return json.loads(line)["url"]

        self.api = wait_for("the sandbox", url)
        return self.api

    def control(self, path, method="GET", body=None):
        status, answer = call(f"{self.api}/__sandbox/{path}", method, body)
        assert status < 300, (path, status, answer)
        return answer

    def jobs_per_source(self):
        """How many jobs the sandbox created for each source: the number of POSTs that had an effect."""
        listing = self.control("jobs")
        assert listing["total"] <= 1000, "the sandbox lists at most 1,000 jobs"
        return collections.Counter(job["source"] for job in listing["jobs"] if "source" in job)

    def polls(self):
        """All polls that the sandbox has answered. Reading them takes the time of some, so read them at the end."""
        answer = self.control("requests")
        assert answer["total"] <= 1000, "the sandbox lists at most 1,000 requests"
        return [request for request in answer["requests"] if "infobymodelid" in request["target"]]

    # The engine.

    def server(self, env=None, prefix=()):
        """One server, with its ports for good."""
        self.ingress_port, self.admin_port, fabric = free_port(), free_port(), free_port()
        self.ingress, self.admin = f"http://127.0.0.1:{self.ingress_port}", f"http://127.0.0.1:{self.admin_port}"
        self.engine = self.run(
            "server",
            [SERVER, "--listen-mode", "tcp", "--no-logo"],
            {
                "RESTATE_BASE_DIR": str(self.folder / "data"),
                "RESTATE_NODE_NAME": "one",
                "RESTATE_BIND_IP": "127.0.0.1",
                "RESTATE_BIND_PORT": str(fabric),
                "RESTATE_INGRESS__BIND_PORT": str(self.ingress_port),
                "RESTATE_ADMIN__BIND_PORT": str(self.admin_port),
                "RESTATE_DISABLE_TELEMETRY": "true",
                # So that one call goes from a partition to another.
                "RESTATE_DEFAULT_NUM_PARTITIONS": "4",
                "RESTATE_LOG_FILTER": "warn",
                **(env or {}),
            },
            prefix,
        )
        self.ready()

    def ready(self):
        wait_for("the ingress", lambda: call(f"{self.ingress}/restate/health", timeout=2)[0] == 200)
        wait_for("the admin API", lambda: call(f"{self.admin}/health", timeout=2)[0] == 200)

    def restart_engine(self):
        self.engine.kill()
        self.engine.start()

    def cluster(self, hosts, prefixes=((), (), ()), identity=None):
        """Three servers, each with an address of its own. Calls go to the first that answers."""
        ports = [{name: free_port() for name in ("fabric", "ingress", "admin")} for _ in hosts]
        addresses = [f"http://{host}:{port['fabric']}" for host, port in zip(hosts, ports)]
        self.ingresses = [f"http://{host}:{port['ingress']}" for host, port in zip(hosts, ports)]
        self.admins = [f"http://{host}:{port['admin']}" for host, port in zip(hosts, ports)]
        self.nodes = []
        for number, (host, port) in enumerate(zip(hosts, ports)):
            data = self.folder / f"node-{number}"
            data.mkdir(exist_ok=True)
            config = self.folder / f"node-{number}.toml"
            lines = [
                f'cluster-name = "{self.folder.name}"', f'node-name = "node-{number}"', f'base-dir = "{data}"',
                f"force-node-id = {number + 1}", f"auto-provision = {str(number == 0).lower()}",
                "default-replication = 2", "disable-telemetry = true", 'log-filter = "warn"',
                f'bind-address = "{host}:{port["fabric"]}"', f'advertised-address = "{addresses[number]}"',
                "default-num-partitions = 4",
                "[metadata-client]", f"addresses = {json.dumps(addresses)}",
                "[ingress]", f'bind-address = "{host}:{port["ingress"]}"',
                f'advertised-address = "{self.ingresses[number]}"',
                "[admin]", f'bind-address = "{host}:{port["admin"]}"', f'advertised-address = "{self.admins[number]}"',
            ]
            if identity:
                lines += ["[worker.invoker]", f'request-identity-private-key-pem-file = "{identity}"']
            config.write_text("\n".join(lines))
            command = [SERVER, "--listen-mode", "tcp", "--no-logo", "--config-file", config]
            self.nodes.append(self.run(f"node-{number}", command, prefix=prefixes[number]))
        self.ingress, self.admin = self.ingresses[0], self.admins[0]
        for ingress in self.ingresses:
            wait_for(ingress, lambda: call(f"{ingress}/restate/health", timeout=2)[0] == 200)
        for admin in self.admins:
            wait_for(admin, lambda: call(f"{admin}/health", timeout=2)[0] == 200)
        return self.nodes

    def use_node(self, number):
        """The harness itself talks to this node from here on."""
        self.ingress, self.admin = self.ingresses[number], self.admins[number]

    def worker_command(self, port, api, *options):
        ingress = ",".join(getattr(self, "ingresses", [self.ingress]))
        return [AKOOL, "--base-url", api, "fleet", "worker", "--ingress", ingress, "--admin", self.admin,
                "--listen", f"{self.host}:{port}", *options]

    def workers(self, count, api=None, *options, log=None):
        """Workers that share an address, registered."""
        self.worker_port = free_port()
        command = self.worker_command(self.worker_port, api or self.api, *options)
        env = {"AKOOL_API_KEY": KEY} | ({"RUST_LOG": log} if log else {})
        self.crew = [self.run(f"worker-{number}", command, env) for number in range(count)]
        self.registered()
        return self.crew

    def registered(self, service="Translation"):
        wait_for(f"the registration of {service}", lambda: call(f"{self.admin}/services/{service}")[0] == 200)

    def query(self, sql):
        def rows():
            # A server that has just started cannot answer all queries.
            status, answer = call(f"{self.admin}/query", "POST", {"query": sql}, {"accept": "application/json"})
            return answer if status == 200 else None

        return wait_for(sql, rows)["rows"]

    def states(self, service, key):
        sql = f"SELECT service_key, value_utf8 FROM state WHERE service_name = '{service}' AND key = '{key}'"
        return {row["service_key"]: json.loads(row["value_utf8"]) for row in self.query(sql)}

    # Calls of the fleet.

    def invoke(self, path, body=None, key=None, patience=120, timeout=180):
        """Calls a handler. If the connection breaks, it is called again, with the same idempotency key."""
        headers = {"idempotency-key": key} if key else {}
        end = time.monotonic() + patience
        while True:
            try:
                status, answer = call(f"{self.ingress}/restate/call/{path}", "POST", body, headers, timeout)
                # A server that has just started answers before it knows its services.
                is_starting = status == 404 and isinstance(answer, dict) and answer.get("source") == "ingress"
                if status not in (502, 503, 504) and not is_starting:
                    return status, answer
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                return 0, "no answer"
            time.sleep(0.1)

    def create(self, number, options=None, **arguments):
        """Creates the work with this number, and returns what became of it."""
        work = work_id(number)
        request = {"url": source(number), "language": "es"}
        body = {"work": {"id": work, "credential": "default", "request": request},
                "options": options if options is not None else {"timeout_ms": 1}}
        status, answer = self.invoke(f"Translation/{work}/create", body, f"{work}-{random.random()}", **arguments)
        assert status == 200, (status, answer)
        (kind, value), = answer.items()
        return kind, value


def work_id(number):
    return f"default.{number:064x}"


def source(number):
    return f"https://example.com/{number}.mp4"


class Proxy:
    """Passes requests on to the sandbox, counts creations as they arrive, and delays their responses."""

    def __init__(self, api, delay=0.1, port=0):
        self.upstream = urllib.parse.urlsplit(api)
        self.delay, self.posts, self.open = delay, collections.Counter(), 0
        self.lock = threading.Lock()
        # Called when a creation has arrived, before it is passed on.
        self.on_post = lambda source: None
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                with contextlib.suppress(OSError):
                    return super().handle_one_request()
                self.close_connection = True

            def do_GET(self):
                self.forward(b"")

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path != CREATE:
                    return self.forward(body)
                name = json.loads(body)["url"]
                with proxy.lock:
                    proxy.posts[name] += 1
                    proxy.open += 1
                try:
                    proxy.on_post(name)
                    self.forward(body, random.uniform(0, 2 * proxy.delay))
                finally:
                    with proxy.lock:
                        proxy.open -= 1

            def forward(self, body, delay=0):
                connection = http.client.HTTPConnection(proxy.upstream.hostname, proxy.upstream.port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request(self.command, self.path, body or None, headers)
                response = connection.getresponse()
                data = response.read()
                connection.close()
                time.sleep(delay)
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
