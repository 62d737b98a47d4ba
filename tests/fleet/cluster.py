"""Three servers: one is killed, cut off, or has a full disk. And what another host and a web page reach."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

from creation import Load, verify
from parts import AKOOL, KEY, SERVER, Fleet, Proxy, call, free_port, wait_for
from waiting import counts, outcomes, watch


def loopbacks():
    """Addresses of this machine that no other run uses."""
    base = f"127.{random.randrange(1, 255)}.{random.randrange(255)}"
    return [f"{base}.{number}" for number in (1, 2, 3)]


class Run:
    """Waits and creations that go on while something happens to one node."""

    def __init__(self, fleet, api, jobs, seconds, *options):
        self.fleet = fleet
        self.proxy = Proxy(api, 0.1)
        fleet.workers(3, self.proxy.url, *options)
        # The third node stays.
        fleet.use_node(2)
        deliver = outcomes(fleet)
        self.ids = []
        for _ in range(jobs):
            steps = [{"status": 2, "for": f"{random.randrange(2000, int(seconds * 1000))}ms"}]
            self.ids.append(fleet.control("jobs", "POST", {"steps": steps, "end": "completed"})["id"])
        watch(fleet, self.ids, {"interval_ms": 1000, "deliver": deliver})
        self.load = Load(fleet, 900 - jobs)

    def finish(self, event):
        in_flight, events = CALLERS_AT_MOST, 1
        results = self.load.finish()
        wait_for("all outcomes", lambda: len(counts(self.fleet)) >= len(self.ids), 300)
        got = counts(self.fleet)
        assert set(got) == set(self.ids) and set(got.values()) == {1}, got
        states = self.fleet.states("Job", "job")
        gaps = [states[job]["outcome"]["ended_ms"] - states[job]["began_ms"] for job in self.ids]
        verify(self.fleet, self.proxy, results, in_flight, events)
        print(f"    {event}: {len(self.ids)} of {len(self.ids)} outcomes once, the last after {max(gaps) / 1000:.0f} s",
              flush=True)


# Every call that is open at the event, and those that its end interrupts.
CALLERS_AT_MOST = 48


def node_killed(full):
    """One of three nodes is killed, and starts again later."""
    with Fleet() as fleet:
        fleet.sandbox()
        nodes = fleet.cluster(loopbacks())
        run = Run(fleet, fleet.api, 120 if full else 40, 20 if full else 8)
        time.sleep(3)
        nodes[0].kill()
        time.sleep(8 if full else 5)
        nodes[0].start()
        time.sleep(2)
        run.finish("one node killed")


def identity(folder):
    """A key of a cluster: the file with the private one, and the public one as Restate writes it."""
    file = folder / "identity.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
    der = subprocess.run(["openssl", "pkey", "-in", file, "-pubout", "-outform", "DER"], check=True, capture_output=True)
    number, text = int.from_bytes(der.stdout[-32:], "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return file, f"publickeyv1_{text}"


@contextlib.contextmanager
def network(count):
    """Network namespaces on a bridge. Yields the address of this side, and each namespace's name, link and address."""
    name = f"f{os.getpid() % 100_000}"
    prefix = f"10.{random.randrange(128, 255)}.{random.randrange(255)}"

    def ip(*words, check=True):
        return subprocess.run(["ip", *words], check=check, capture_output=not check).returncode == 0

    hosts = [(f"{name}n{number}", f"{name}v{number}", f"{prefix}.{number + 10}") for number in range(count)]
    if not ip("netns", "add", hosts[0][0], check=False):
        yield None
        return
    try:
        ip("link", "add", name, "type", "bridge")
        ip("addr", "add", f"{prefix}.1/24", "dev", name)
        ip("link", "set", name, "up")
        for number, (space, link, address) in enumerate(hosts):
            if number:
                ip("netns", "add", space)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", link, "master", name, "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
        yield f"{prefix}.1", hosts, ip
    finally:
        for space, link, _ in hosts:
            ip("link", "del", link, check=False)
            ip("netns", "del", space, check=False)
        ip("link", "del", name, check=False)


def not_tested(what):
    print(f"!!! NOT TESTED: this machine does not permit {what}", file=sys.stderr, flush=True)


def partition(full):
    """One of three nodes is cut off from everything, for 30 s. Workers check the identity of the cluster."""
    with network(3) as made:
        if not made:
            return not_tested("network namespaces")
        here, hosts, ip = made
        with Fleet(here) as fleet:
            file, public = identity(fleet.folder)
            fleet.sandbox()
            prefixes = [("ip", "netns", "exec", space) for space, _, _ in hosts]
            fleet.cluster([address for _, _, address in hosts], prefixes, file)
            run = Run(fleet, fleet.api, 120 if full else 40, 40 if full else 20, "--identity-key", public)
            time.sleep(3)
            began = time.time()
            ip("link", "set", hosts[0][1], "down")
            before = len(run.load.results)
            time.sleep(30 if full else 10)
            during = len(run.load.results) - before
            ip("link", "set", hosts[0][1], "up")
            time.sleep(10 if full else 5)
            run.finish(f"one node cut off for {time.time() - began:.0f} s, {during} creations meanwhile")


def full_disk(full):
    """The disk of one of three nodes is full for a while."""
    with Fleet() as fleet:
        disk = fleet.folder / "node-0"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", disk]).returncode:
            return not_tested("mounts")
        try:
            fleet.sandbox()
            nodes = fleet.cluster(loopbacks())
            run = Run(fleet, fleet.api, 120 if full else 40, 40 if full else 15)
            time.sleep(3)
            filler = disk / "filler"
            with contextlib.suppress(OSError), open(filler, "wb", 0) as file:
                while True:
                    file.write(bytes(1 << 20))
            free = shutil.disk_usage(disk).free
            before = len(run.load.results)
            time.sleep(20 if full else 8)
            during, state = len(run.load.results) - before, "runs" if nodes[0].is_running() else "ended by itself"
            filler.unlink()
            if not nodes[0].is_running():
                nodes[0].start()
            time.sleep(5)
            run.finish(f"disk full ({free} bytes free): the node {state}, {during} creations meanwhile")
        finally:
            for node in fleet.nodes:
                node.kill()
            subprocess.run(["umount", disk], check=True)


def upgrade(full):
    """A later release takes over from one with jobs waiting, at the same address; then the earlier one comes back."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        crew = fleet.workers(2)
        earlier = fleet.query("SELECT id, endpoint FROM sys_deployment")
        deliver = outcomes(fleet)
        count, ids = (300 if full else 60), []
        for _ in range(count):
            steps = [{"status": 2, "for": f"{random.randrange(8000, 16_000)}ms"}]
            ids.append(fleet.control("jobs", "POST", {"steps": steps, "end": "completed"})["id"])
        # What the first release stored of some of them: fewer members than now. No poll may come in between, since the state
        # with the older generation would make its timer void.
        watch(fleet, ids[:10], {"interval_ms": 6000, "deliver": deliver})
        polled = lambda: [job for job, state in fleet.states("Job", "job").items() if state["poll"]["attempts"] == 1]
        wait_for("the first polls", lambda: len(polled()) == 10)
        stored = fleet.states("Job", "job")
        for job in ids[:10]:
            state = stored[job]
            old = {name: state[name] for name in ("began_ms", "generation", "poll", "options")}
            body = {"object_key": job, "new_state": {"job": list(json.dumps(old).encode())}}
            status, answer = call(f"{fleet.admin}/services/Job/state", "POST", body)
            assert status in (200, 202), (status, answer)
        watch(fleet, ids[10:], {"interval_ms": 1000, "deliver": deliver})
        # Callers wait across the upgrade. Their calls belong to the first deployment.
        pool = concurrent.futures.ThreadPoolExecutor(20)
        waits = [pool.submit(fleet.invoke, f"Job/{job}/wait", None, f"{job}-w") for job in ids[:20]]
        time.sleep(2)
        later = fleet.worker_command(fleet.worker_port, fleet.api, "--advertise",
                                     f"http://127.0.0.1:{fleet.worker_port}/later")
        new = [fleet.run(f"later-{number}", later, {"AKOOL_API_KEY": KEY}) for number in (0, 1)]
        wait_for("the later release", lambda: len(fleet.query(
            "SELECT id FROM sys_deployment WHERE endpoint LIKE '%later%'")) == 1)
        for process in crew:
            process.stop()
        time.sleep(3)
        # Back to the earlier one, which registers itself again.
        crew[0].start()
        time.sleep(1)
        for process in new:
            process.stop()
        wait_for("all outcomes", lambda: len(counts(fleet)) >= count, 120)
        got = counts(fleet)
        assert set(got) == set(ids) and set(got.values()) == {1}, got
        for future in waits:
            assert future.result()[0] == 200, future.result()
        print(f"    {count} jobs waiting, {len(waits)} callers: upgraded and back, every outcome once; "
              f"deployments before: {len(earlier)}", flush=True)


def exposure(full):
    """What another host reaches by default, and what a page of another origin does."""
    with network(1) as made:
        if not made:
            return not_tested("network namespaces")
        here, ((space, _, _),), _ = made
        with Fleet() as fleet:
            fleet.sandbox()
            state = fleet.folder / "state"
            ports = [free_port() for _ in range(3)]
            ingress, admin, worker = (f"127.0.0.1:{port}" for port in ports)
            up = fleet.run("up", [AKOOL, "--base-url", fleet.api, "fleet", "up", "--restate-server", SERVER,
                                  "--ingress", ingress, "--admin", admin, "--listen", worker],
                           {"AKOOL_API_KEY": KEY, "XDG_STATE_HOME": str(state)})
            fleet.ingress, fleet.admin = f"http://{ingress}", f"http://{admin}"
            fleet.ready()
            fleet.registered()
            for port in ports:
                answer = subprocess.run(
                    ["ip", "netns", "exec", space, "curl", "-s", "-o", "/dev/null", "--noproxy", "*", "--max-time", "5",
                     f"http://{here}:{port}/"], check=False).returncode
                assert answer == 7, f"port {port} answers another host: curl returned {answer}"
            # A worker that anyone could call does not start; one with a key answers only its cluster.
            worker_port = free_port()
            open_to_all = [AKOOL, "--sandbox", "fleet", "worker", "--listen", f"{here}:{worker_port}"]
            refused = subprocess.run(open_to_all, capture_output=True, text=True, check=False)
            assert refused.returncode == 2 and "identity key" in refused.stderr, refused
            _, public = identity(fleet.folder)
            fleet.run("guarded", [*open_to_all, "--identity-key", public, "--admin", fleet.admin])
            command = ["ip", "netns", "exec", space, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy",
                       "*", "--http2-prior-knowledge", f"http://{here}:{worker_port}/discover"]
            wait_for("the guarded worker", lambda: subprocess.run(
                command, capture_output=True, text=True, check=False).stdout == "401")
            print("    another host: connection refused at ingress, admin API and worker; 401 from a worker with a key",
                  flush=True)
            page(fleet, f"http://{worker}/evil")
            # It ends its server.
            up.stop()
            assert up.process.returncode == 0, up.process.returncode
            with contextlib.suppress(OSError):
                call(f"{fleet.admin}/health", timeout=2)
                raise AssertionError("the server still runs")


def page(fleet, deployment):
    """A page of another origin, in Chromium, tries to start a job by all ways that a page has."""
    script = pathlib.Path(__file__).with_name("page.py")
    peers = script.parent.parent.parent / "target" / "page-peers"
    if not list(peers.glob("lib/*/site-packages/playwright")):
        subprocess.run([sys.executable, "-m", "venv", peers], check=True)
        subprocess.run([peers / "bin" / "pip", "install", "-q", "playwright==1.65.2"], check=True)
    before = fleet.control("state")["jobs"]
    deployments = len(fleet.query("SELECT id FROM sys_deployment"))
    subprocess.run([peers / "bin" / "python", script, fleet.ingress, fleet.admin, deployment], check=True)
    time.sleep(2)
    assert fleet.control("state")["jobs"] == before, "a page started a job"
    assert not fleet.states("Job", "job") and not fleet.states("Translation", "work")
    assert len(fleet.query("SELECT id FROM sys_deployment")) == deployments, "a page registered a worker"
    assert fleet.invoke("Credential/default/limits")[1]["per_second"] is None, "a page set a limit"
