"""What a fleet costs: one JSON object per sample, of which `crates/akool-bench` makes its row `fleet`.

The engine has one core of its own, and everything else has the others. So a limit is that of one core of the engine, and a
worker that is added takes nothing from it.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import re
import statistics
import time

from cluster import loopbacks
from creation import Load
from parts import AKOOL, KEY, Fleet, Proxy, call, wait_for
from waiting import killed, watch

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
ENGINE = ("taskset", "--cpu-list", str(CORES[0]))
# As `akool fleet up` does.
PARTITIONS = {"RESTATE_DEFAULT_NUM_PARTITIONS": str(max(len(CORES) // 2, 1))}
# Jobs that are polled as fast as possible, for each worker: each again 10 ms after its last poll.
BUSY_JOBS, BUSY_MS = 100, 10
# Jobs that are polled once a second, for the lag.
CALM_JOBS, CALM_MS = 100, 1000
# The part of a core that a small worker has. Four of them stay below what one core of the engine can do.
SHARE = 0.02
WORKERS = 4
# The cases, which `crates/akool-bench/src/fleet.rs` names too.
SMALL, LARGE = "small workers", "workers without a limit"


def sample(case, variant, **figures):
    print(json.dumps({"case": case, "variant": variant, "figures": figures}), flush=True)


def named(count):
    return f"{count} worker{'s' if count > 1 else ''}"


def cpu(processes):
    """Seconds of CPU that processes have used."""
    total = 0
    for process in processes:
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(process):
    """Mebibytes that a process keeps in memory."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


@contextlib.contextmanager
def shares():
    """Control groups that give each process that is added a small part of a core, until the end of this context."""
    one = pathlib.Path("/sys/fs/cgroup/cpu")
    root, groups, period = one if one.is_dir() else pathlib.Path("/sys/fs/cgroup"), [], 100_000
    quota = int(period * SHARE)

    def add(process):
        group = root / f"fleet-{process.pid}"
        group.mkdir()
        groups.append(group)
        if root == one:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {period}")
        (group / "cgroup.procs").write_text(str(process.pid))

    try:
        if root != one:
            (root / "cgroup.subtree_control").write_text("+cpu")
        yield add
    except OSError as error:
        raise SystemExit(f"cannot limit a process to a part of a core: {error}; run this as root, outside of a container")
    finally:
        for group in groups:
            for process in (group / "cgroup.procs").read_text().split():
                (root / "cgroup.procs").write_text(process)
            group.rmdir()


def requests(fleet):
    return wait_for("the sandbox", lambda: fleet.control("state"))["requests"]


def until(fleet, more, seconds=60):
    """Waits for so many more requests."""
    before = requests(fleet)
    wait_for(f"{more} polls", lambda: requests(fleet) >= before + more, seconds)


def busy(fleet, case, variant, engine, crew, seconds):
    """One sample of polls as fast as possible."""
    until(fleet, 2 * BUSY_JOBS * len(crew))
    began, polls, used = time.monotonic(), requests(fleet), [cpu(engine), cpu(crew)]
    time.sleep(seconds)
    elapsed, polls = time.monotonic() - began, requests(fleet) - polls
    of_engine, of_crew = cpu(engine) - used[0], cpu(crew) - used[1]
    figures = {"polls": polls / elapsed, "client_cpu": of_crew / polls * 1000}
    if engine:
        figures |= {"engine_cpu": of_engine / polls * 1000, "engine_load": of_engine / elapsed * 100}
    sample(case, variant, **figures)


def add_jobs(fleet, count, name="j"):
    ids = [f"{name}{number}" for number in range(count)]
    for id in ids:
        fleet.control("jobs", "POST", {"id": id, "end": "processing"})
    return ids


def wait_here(fleet, name, ids, interval_ms):
    """One machine without an engine waits for the same jobs."""
    command = [AKOOL, "--base-url", fleet.api, "--quiet", "wait", "--interval", f"{interval_ms}ms", "--timeout", "none", *ids]
    return fleet.run(name, command, {"AKOOL_API_KEY": KEY, "AKOOL_LEDGER": str(fleet.folder / name) + ".db"})


def forget(fleet, jobs):
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda job: fleet.invoke(f"Job/{job}/forget"), jobs))


def capacity(counts, rounds, seconds):
    """Polls as fast as possible, with one to four workers that have a small part of a core each, or no limit."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server(PARTITIONS, ENGINE)
        crew = fleet.workers(WORKERS)
        ids = add_jobs(fleet, BUSY_JOBS * WORKERS)
        for turn in range(rounds):
            # The limit of the engine varies less.
            for case, count in itertools.product((SMALL, LARGE) if turn < 2 else (SMALL,), counts):
                # Nothing is under way when workers change. What a worker does not answer would come back much later.
                forget(fleet, ids)
                for process in crew:
                    process.stop()
                for process in crew[:count]:
                    process.start()
                watch(fleet, ids[:BUSY_JOBS * count], {"interval_ms": BUSY_MS})
                with shares() as add:
                    if case == SMALL:
                        for process in crew[:count]:
                            add(process)
                        # Until the engine has opened its connections to all.
                        time.sleep(3)
                    busy(fleet, case, named(count), [fleet.engine], crew[:count], seconds)
        sample(LARGE, named(WORKERS), engine_memory=memory(fleet.engine), worker_memory=memory(crew[0]))
        recovery(fleet, crew, rounds)
        for process in [*crew, fleet.engine]:
            process.kill()
        for turn, case in itertools.product(range(rounds), (SMALL, LARGE)):
            with shares() as add:
                alone = wait_here(fleet, f"alone-{case}-{turn}", ids, BUSY_MS)
                if case == SMALL:
                    add(alone)
                busy(fleet, case, "no engine", [], [alone], seconds)
                alone.kill()


def recovery(fleet, crew, rounds):
    """How long polls stop when workers, or the server, are killed; and how long a trigger takes otherwise."""
    for variant, kill in (("three of four workers killed", lambda: [process.kill() for process in crew[:3]]),
                          ("the server killed", fleet.restart_engine)):
        for _ in range(rounds):
            kill()
            began = time.monotonic()
            until(fleet, 100)
            sample("recovery", variant, recovery=time.monotonic() - began)
            for process in crew:
                if not process.is_running():
                    process.start()
            until(fleet, WORKERS * BUSY_JOBS)
    fleet.invoke("Credential/default/set_limits", {"per_second": 1})
    time.sleep(3)
    latencies = []
    for number in range(50):
        began = time.monotonic()
        call(f"{fleet.ingress}/restate/call/Job/j{number}/poll_now", "POST")
        latencies.append((time.monotonic() - began) * 1000)
    latencies.sort()
    sample("otherwise idle", "poll_now", trigger=statistics.median(latencies), trigger_p95=latencies[47])


def calm(fleet, variant, rounds, seconds, has_engine=True):
    """Samples of the lag: how much later than it is due a poll arrives. Without an engine, how much later than its
    interval one arrives after the one before."""
    until(fleet, 3 * CALM_JOBS)
    for _ in range(rounds):
        due, arrivals = [], collections.defaultdict(list)
        for _ in range(seconds):
            if has_engine:
                due += [(job, state["due_ms"]) for job, state in fleet.states("Job", "job").items()]
            time.sleep(1)
        # The latest thousand.
        for request in fleet.control("requests")["requests"]:
            if "infobymodelid" in request["target"]:
                arrivals[request["target"].split("video_model_id=")[1]].append(request["at_ms"])
        if has_engine:
            lags = sorted(min(after) - at for job, at in due
                          if (after := [time for time in arrivals[job] if time >= at]))
        else:
            lags = sorted(later - earlier - CALM_MS for times in map(sorted, arrivals.values())
                          for earlier, later in zip(times, times[1:]))
        sample(f"{CALM_JOBS} polls per second", variant, lag=statistics.median(lags),
               lag_p99=lags[int(len(lags) * 0.99)])


def lag(rounds, seconds):
    for count in (1, WORKERS, 0):
        with Fleet() as fleet:
            fleet.sandbox()
            ids = add_jobs(fleet, CALM_JOBS)
            if count:
                fleet.server(PARTITIONS, ENGINE)
                fleet.workers(count)
                watch(fleet, ids, {"interval_ms": CALM_MS})
            else:
                wait_here(fleet, "alone", ids, CALM_MS)
            calm(fleet, named(count) if count else "no engine", rounds, seconds, count > 0)


def three_servers(rounds, seconds):
    """Three servers, together on the engine's core."""
    with Fleet() as fleet:
        fleet.sandbox()
        nodes = fleet.cluster(loopbacks(), (ENGINE,) * 3)
        crew, variant = fleet.workers(3), "3 workers, 3 servers"
        watch(fleet, add_jobs(fleet, CALM_JOBS), {"interval_ms": CALM_MS})
        calm(fleet, variant, rounds, seconds)
        watch(fleet, add_jobs(fleet, BUSY_JOBS * len(crew), "busy"), {"interval_ms": BUSY_MS})
        for _ in range(rounds):
            busy(fleet, LARGE, variant, nodes, crew, seconds)


def kills(jobs, of_workers, longest):
    """Outcomes at a handler that counts them, while workers and a server are killed."""
    for servers in (1, 3):
        with Fleet() as fleet:
            fleet.sandbox()
            if servers == 1:
                fleet.server()
            else:
                nodes = fleet.cluster(loopbacks())
                # The one that stays.
                fleet.use_node(2)
            crew = fleet.workers(3)

            def kill_server():
                if servers == 1:
                    fleet.restart_engine()
                    fleet.ready()
                else:
                    nodes[0].kill()
                    time.sleep(2)
                    nodes[0].start()

            got, answers = killed(fleet, crew, jobs, of_workers, longest, kill_server)
            variant = "1 server" if servers == 1 else "3 servers"
            sample(f"{jobs} jobs, {of_workers} workers and a server killed", variant,
                   lost=sum(times == 0 for times in got.values()), doubled=sum(times > 1 for times in got.values()),
                   unanswered=sum(status != 200 for status, _ in answers.values()))


def measure(full):
    """Prints samples; checks nothing."""
    rounds, seconds = (3, 6) if full else (1, 2)
    try:
        os.sched_setaffinity(0, CORES[1:] or CORES)
        capacity(range(1, WORKERS + 1) if full else (1, WORKERS), rounds, seconds)
        lag(min(rounds, 2), seconds)
        three_servers(min(rounds, 2), seconds)
    finally:
        os.sched_setaffinity(0, CORES)
    kills(*((200, 8, 8_000) if full else (60, 4, 4_000)))


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
