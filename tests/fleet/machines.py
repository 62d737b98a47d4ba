"""The deployment of docs/fleet: its files are valid, and three machines that are set up like that work."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

from cluster import identity, network, not_tested
from creation import LOG, in_flight
from parts import AKOOL, KEY, ROOT, SERVER, Fleet, wait_for

FOLDER = ROOT / "docs/fleet"
REQUIREMENTS = "kubernetes-validate==1.37.0"
PEERS = ROOT / "target/fleet-deployment"
# Runs in that environment, since Python has no YAML.
DUMP = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"


def validators():
    """A virtual environment with the schemas of Kubernetes."""
    if not (PEERS / "bin/kubernetes-validate").exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([PEERS / "bin/pip", "install", "-q", REQUIREMENTS], check=True)
    return PEERS / "bin"


def manifest():
    """The objects of the manifest, by kind."""
    dump = [validators() / "python", "-c", DUMP, FOLDER / "kubernetes.yaml"]
    objects = json.loads(subprocess.run(dump, check=True, capture_output=True).stdout)
    return {one["kind"]: one for one in objects}


def deploy(full):
    """The systemd units and the Kubernetes manifest are valid, name no secret, and have options that the program knows."""
    validate = [validators() / "kubernetes-validate", "--strict", "--quiet"]
    for version in ("1.29", "1.37"):
        subprocess.run([*validate, "--kubernetes-version", version, FOLDER / "kubernetes.yaml"], check=True)
    objects = manifest()
    assert "Secret" not in objects, "secrets do not belong into a manifest"
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    accepted(worker["args"])
    with Fleet() as fleet:
        # It is not empty: the schemas refuse a mistake.
        wrong = fleet.folder / "wrong.yaml"
        wrong.write_text((FOLDER / "kubernetes.yaml").read_text().replace("readOnlyRootFilesystem", "readOnlyRoot"))
        assert subprocess.run([*validate, wrong], capture_output=True, check=False).returncode != 0
        units = []
        for unit in FOLDER.glob("*.service"):
            # The programs are not installed here.
            text = unit.read_text().replace("/usr/local/bin/restate-server", "/bin/true")
            text = text.replace("/usr/local/bin/akool", AKOOL)
            (fleet.folder / unit.name).write_text(text)
            units.append(fleet.folder / unit.name)
        verify = ["systemd-analyze", "verify", "--man=no", *units]
        verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert verified.returncode == 0 and not verified.stderr, verified.stderr
        for unit in units:
            rated = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
            rated = subprocess.run(rated, capture_output=True, text=True, check=False)
            level = re.search(r"exposure level for \S+: (.*) \S*$", rated.stdout.strip())
            assert rated.returncode == 0 and level, rated.stdout + rated.stderr
            print(f"    {unit.name}: exposure level {level[1]}", flush=True)
    unit = (FOLDER / "akool-worker.service").read_text().replace("\\\n", " ")
    accepted(shlex.split(re.search(r"^ExecStart=\S+ (.*)$", unit, re.M)[1]))
    for name in FOLDER.iterdir():
        assert "PRIVATE KEY-" not in name.read_text() and KEY not in name.read_text(), name


def accepted(args):
    """The program knows all these options: it complains of the file that is missing, not of them."""
    args = [re.sub(r"^.*/api-key$", "--api-key-file=/nonexistent/api-key", arg) for arg in args if arg != "--api-key-file"]
    done = subprocess.run([AKOOL, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "/nonexistent/api-key" in done.stderr, (args, done.stderr)


def by_node_toml(fleet, number, addresses, key, folder):
    """The configuration of a systemd machine, with its own name and addresses."""
    text = (FOLDER / "node.toml").read_text()
    text = text.replace('node-name = "node-1"', f'node-name = "node-{number + 1}"')
    text = text.replace("force-node-id = 1\n", f"force-node-id = {number + 1}\n")
    text = text.replace("auto-provision = true ", f"auto-provision = {str(number == 0).lower()} ")
    for setting in ("bind-address = \"", "advertised-address = \"http://"):
        text = text.replace(f"{setting}10.0.0.1:", f"{setting}{addresses[number]}:")
    for other, address in enumerate(addresses):
        text = text.replace(f'"http://10.0.0.{other + 1}:5122"', f'"http://{address}:5122"')
    text = text.replace("/run/credentials/restate.service/identity.pem", str(key)).replace("/var/lib/restate", str(folder))
    config = fleet.folder / f"machine-{number}.toml"
    config.write_text(text)
    return [SERVER, "--no-logo", "--listen-mode", "tcp", "--config-file", config], {}


def by_manifest(fleet, number, addresses, key, folder):
    """The environment of the pod's server."""
    pod = manifest()["StatefulSet"]["spec"]["template"]["spec"]
    (server,) = pod["initContainers"]
    env = {"POD_NAME": f"restate-{number}"}
    for variable in server["env"]:
        value = variable.get("value", "").replace("$(POD_NAME)", env["POD_NAME"])
        for other, address in enumerate(addresses):
            value = value.replace(f"restate-{other}.restate.akool.svc", address)
        value = {"/var/lib/restate": str(folder), "/etc/restate/identity.pem": str(key)}.get(value, value)
        env.setdefault(variable["name"], value)
    path = f"{pathlib.Path(SERVER).parent}{os.pathsep}{os.environ['PATH']}"
    return [*server["command"], *server["args"]], {**env, "PATH": path}


def machines(full):
    """Three machines with a server and a worker each, all on loopback but the port of the cluster. One dies."""
    for setup in (by_node_toml, by_manifest) if full else (by_node_toml,):
        with network(3) as made:
            if not made:
                return not_tested("network namespaces")
            here, hosts, _ = made
            with Fleet(here) as fleet:
                three(fleet, here, hosts, setup, 120 if full else 30)


def three(fleet, here, hosts, setup, videos):
    # The sandbox is on the loopback interface, since the program sends no credential to another host without TLS. So each
    # machine has a way to it at the same address.
    api = fleet.sandbox()
    port = api.rsplit(":", 1)[1]
    pipe = [sys.executable, pathlib.Path(__file__).with_name("pipe.py")]
    fleet.run("pipe", [*pipe, f"{here}:{port}", f"127.0.0.1:{port}"])
    key, public = identity(fleet.folder)
    parts = []
    for number, (space, _, _) in enumerate(hosts):
        folder = fleet.folder / f"machine-{number}"
        inside = ("ip", "netns", "exec", space)
        fleet.run(f"pipe-{number}", [*pipe, f"127.0.0.1:{port}", f"{here}:{port}"], prefix=inside)
        command, env = setup(fleet, number, [address for _, _, address in hosts], key, folder)
        env["RESTATE_LOG_FILTER"] = "warn"
        server = fleet.run(f"server-{number}", command, env, inside)
        worker = [AKOOL, "--base-url", api, "fleet", "worker", "--ingress", "http://127.0.0.1:8080", "--admin",
                  "http://127.0.0.1:9070", "--listen", "127.0.0.1:9080", "--identity-key", public]
        parts.append([server, fleet.run(f"worker-{number}", worker, {"AKOOL_API_KEY": KEY, "RUST_LOG": LOG}, inside)])
    inside = ["ip", "netns", "exec", hosts[0][0]]
    service = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:9070/services/Job"]
    for space, _, _ in hosts:
        wait_for("a worker", lambda: subprocess.run(["ip", "netns", "exec", space, *service], check=False).returncode == 0)
    # From outside, only the port of the cluster answers.
    for _, _, address in hosts:
        for port, code in ((5122, 0), (8080, 7), (9070, 7), (9080, 7)):
            probe = ["curl", "-s", "-o", "/dev/null", "--noproxy", "*", "--http2-prior-knowledge", "--max-time", "5",
                     f"http://{address}:{port}/"]
            got = subprocess.run(probe, check=False).returncode
            assert got == code, f"port {port} of {address}: curl returned {got}"
    rows = "url\n" + "".join(f"https://example.com/{video}.mp4\n" for video in range(videos))
    report, videos_file = fleet.folder / "report.jsonl", fleet.folder / "videos.csv"
    videos_file.write_text(rows)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AKOOL_")}
    translate = [*inside, AKOOL, "translate", "--fleet", "http://127.0.0.1:8080", "--from-file", str(videos_file),
                 "--to", "es", "--max-active", "1000", "--report", str(report)]
    began = time.monotonic()
    translating = subprocess.Popen(translate, env=clean, stdout=subprocess.DEVNULL)

    def created():
        return list(fleet.jobs_per_source().elements())

    # A machine that dies while it creates leaves that creation as unknown, which the check `kills` counts.
    wait_for("the creations", lambda: len(created()) == videos)
    wait_for("their records", lambda: not in_flight([worker for _, worker in parts]))
    # One machine dies, with its server and its worker.
    for part in parts[2]:
        part.kill()
    assert translating.wait(300) == 0
    sources = created()
    assert len(sources) == videos == len(set(sources)), (len(sources), len(set(sources)))
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(rows) == videos and all(job["status"] == "completed" for row in rows for job in row["languages"]), rows
    print(f"    {setup.__name__}: {videos} videos on three machines, one killed: {len(sources)} creations, {len(rows)} "
          f"outcomes in {time.monotonic() - began:.0f} s", flush=True)
    for server, worker in parts[:2]:
        assert worker.stop() < 30 and server.stop() < 30
