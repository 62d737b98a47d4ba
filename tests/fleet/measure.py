"""What a fleet costs: polls per second and CPU with one to four workers, latency, recovery, memory, disk."""

import os
import pathlib
import statistics
import subprocess
import time

from parts import Fleet, call, wait_for
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
            before = fleet.control("state")["requests"]
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
