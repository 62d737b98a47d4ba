"""What a fleet costs: polls per second and CPU with one to four workers, latency, recovery, memory, disk."""

import os
import pathlib
import re
import statistics
import subprocess
import time

from creation import Load
from parts import Fleet, Proxy, call, wait_for
from waiting import watch

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(process):
    """Seconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process):
    """Megabytes that a process keeps in memory."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


def disk(folder):
    """Megabytes in a folder."""
    return int(subprocess.run(["du", "-sm", folder], capture_output=True, text=True).stdout.split()[0])


def attempts(fleet):
    return sum(state["poll"]["attempts"] for state in fleet.states("Job", "job").values())


def measure(full):
    """Prints figures; checks nothing."""
    jobs, seconds = (2000, 20) if full else (300, 5)
    load = os.getloadavg()[0]
    print(f"    {os.cpu_count()} cores, load {load:.1f} before", flush=True)
    for workers in (1, 2, 3, 4):
        with Fleet() as fleet:
            fleet.sandbox()
            fleet.server()
            crew = fleet.workers(workers)
            empty = disk(fleet.folder / "data")
            for number in range(jobs):
                fleet.control("jobs", "POST", {"id": f"j{number}", "end": "processing"})
            watch(fleet, [f"j{number}" for number in range(jobs)], {"interval_ms": 1000})
            time.sleep(3)
            began, polls = time.monotonic(), attempts(fleet)
            before = [cpu(process) for process in [fleet.engine, *crew]]
            time.sleep(seconds)
            polls = attempts(fleet) - polls
            elapsed = time.monotonic() - began
            engine, *rest = [cpu(process) - was for process, was in zip([fleet.engine, *crew], before)]
            shares = [f"{one / max(sum(rest), 0.01):.0%}" for one in rest]
            print(f"    {workers} workers, {jobs} jobs polled as fast as possible: {polls / elapsed:.0f} polls/s; CPU per "
                  f"poll: engine {engine / max(polls, 1) * 1000:.2f} ms, workers {sum(rest) / max(polls, 1) * 1000:.2f} ms "
                  f"(shares {', '.join(shares)}); memory: engine {memory(fleet.engine):.0f} MB, worker "
                  f"{memory(crew[0]):.0f} MB; disk {empty} MB empty, {disk(fleet.folder / 'data')} MB now", flush=True)
            if workers == 4:
                recovery(fleet, crew)


def recovery(fleet, crew):
    """How long polls stop when workers, or the server, are killed."""
    for name, kill in (("three of four workers", lambda: [process.kill() for process in crew[:3]]),
                       ("the server", fleet.restart_engine)):
        times = []
        for _ in range(3):
            before = wait_for("the sandbox", lambda: fleet.control("state"))["requests"]
            kill()
            began = time.monotonic()
            wait_for("polls", lambda: fleet.control("state")["requests"] > before + 100)
            times.append(time.monotonic() - began)
            for process in crew:
                if not process.is_running():
                    process.start()
            time.sleep(3)
        print(f"    killed {name}: 100 more polls after {statistics.median(times):.1f} s (median of 3)", flush=True)
    latencies = []
    fleet.invoke("Credential/default/set_limits", {"per_second": 1})
    time.sleep(3)
    for number in range(50):
        began = time.monotonic()
        call(f"{fleet.ingress}/restate/call/Job/j{number}/poll_now", "POST")
        latencies.append((time.monotonic() - began) * 1000)
    latencies.sort()
    print(f"    poll_now, otherwise idle: median {latencies[25]:.0f} ms, p95 {latencies[47]:.0f} ms", flush=True)


def window(full):
    """Prints the time between the check of a claim's age and the arrival of its request, and the rate of creation."""
    with Fleet() as fleet:
        proxy, arrived = Proxy(fleet.sandbox(), 0), {}
        proxy.on_post = lambda source: arrived.setdefault(source, time.time() * 1000)
        fleet.server()
        os.environ["RUST_LOG"] = "akool_restate=debug"
        crew = fleet.workers(3, proxy.url)
        del os.environ["RUST_LOG"]
        load, began = Load(fleet, 900), time.monotonic()
        time.sleep(10 if full else 3)
        results = load.finish()
        rate = len(results) / (time.monotonic() - began)
        checked = {}
        for process in crew:
            for line in pathlib.Path(process.log).read_text().splitlines():
                if found := re.search(r'creating source="([^"]*)" at_ms=(\d+)', line):
                    checked[found[1]] = int(found[2])
        gaps = sorted(arrived[source] - checked[source] for source in arrived if source in checked)
        assert len(gaps) > 0.9 * len(results), (len(gaps), len(results))
        print(f"    {len(gaps)} creations, {rate:.0f}/s with 24 callers: from the check to the arrival of the request median "
              f"{statistics.median(gaps):.0f} ms, p99 {gaps[int(len(gaps) * 0.99)]:.0f} ms, at most {gaps[-1]:.0f} ms",
              flush=True)
