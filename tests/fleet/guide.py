"""The five commands of docs/fleet.md, on a machine of their own as far as the network is concerned."""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import types

from creation import LOG, in_flight
from parts import AKOOL, KEY, OWN_ENGINE, ROOT, SERVER, Fleet, call, wait_for

VIDEOS = 200


def commands():
    """The lines of the block below the comment, as they are in the book."""
    text = (ROOT / "docs/fleet.md").read_text()
    block = re.search(r"<!-- not run: tests/fleet/guide.py [^>]*-->\n```sh\n(.*?)```", text, re.S)
    lines = block[1].splitlines()
    assert len(lines) == 5, f"the guide has {len(lines)} commands"
    return lines


def guide(full):
    """Five commands translate 200 videos on three workers, of which two are killed in the middle."""
    alone = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    if not alone:
        print("    NOTE: no network namespace is permitted here, so the guide's own ports of this machine are used",
              flush=True)
    script = "ip link set lo up && exec \"$@\"" if alone else "exec \"$@\""
    prefix = ["unshare", "--net", "--kill-child"] if alone else []
    subprocess.run([*prefix, "sh", "-c", script, "sh", sys.executable, __file__], check=True)


def own_engine(full):
    """The example that drives the poller with a folder as queue: killed again and again, it loses no wait."""
    kills = 20 if full else 5
    with Fleet() as fleet:
        fleet.sandbox()
        steps = [{"status": 2, "for": "6s"}]
        jobs = [fleet.control("jobs", "POST", {"steps": steps, "end": end})["id"]
                for end in ("completed", "failed", "completed")]
        queue = fleet.folder / "queue"
        env = {"AKOOL_API_HOST": fleet.api, "AKOOL_API_KEY": KEY}
        engine = fleet.run("engine", [OWN_ENGINE, queue, *jobs], env)
        entries = lambda: [json.loads((queue / job).read_text()) for job in jobs if (queue / job).exists()]
        wait_for("the first polls", lambda: all(entry["state"]["attempts"] for entry in entries()) and entries())
        engine.command = [OWN_ENGINE, str(queue)]
        for _ in range(kills):
            time.sleep(0.2)
            engine.kill()
            engine.start()
        wait_for("the ends", lambda: not entries() and not engine.is_running())
        lines = (fleet.folder / "engine.log").read_text().split("\n")[:-1]
        ends = collections.Counter(line.split(" after ")[0] for line in lines)
        wanted = [f"{job}: {end}" for job, end in zip(jobs, ("Completed", "Failed", "Completed"))]
        assert set(ends) == set(wanted), lines
        polls = sum(int(line.split(" after ")[1].split()[0]) for line in lines)
        print(f"    {len(jobs)} jobs, {kills} kills of the process: every end told, after {polls} polls", flush=True)


def children(parent):
    """The processes that a shell started, with their command lines."""
    found = {}
    for child in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):
            found[int(child)] = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[1:-1]
    return found


def run(fleet, folder):
    fleet.api, fleet.ingress, fleet.admin = "http://127.0.0.1:4010", "http://127.0.0.1:8080", "http://127.0.0.1:9070"
    for url in (fleet.api, fleet.ingress, fleet.admin):
        with contextlib.suppress(OSError):
            call(url)
            raise SystemExit(f"{url} is in use by another program")
    programs = [str(pathlib.Path(AKOOL).parent), str(pathlib.Path(SERVER).parent)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AKOOL", "RESTATE"))}
    env |= {"RUST_LOG": LOG, "PATH": os.pathsep.join([*programs, env["PATH"]]), "HOME": str(folder), "TMPDIR": str(folder)}
    env |= {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("STATE", "CONFIG", "CACHE")}
    log = folder / "log"
    with log.open("wb") as output:
        shell = subprocess.Popen(["bash", "-e"], stdin=subprocess.PIPE, stdout=output, stderr=output, env=env, text=True,
                                 cwd=folder, start_new_session=True)
    began = time.monotonic()

    def enter(line):
        print(f"    $ {line}", flush=True)
        shell.stdin.write(line + "\n")
        shell.stdin.flush()

    try:
        setup, sandbox, up, more, translate = commands()
        enter(setup)
        enter(sandbox)
        wait_for("the sandbox", lambda: call(fleet.api)[0])
        enter(up)
        wait_for("the server", lambda: call(f"{fleet.ingress}/restate/health")[0] == 200)
        fleet.registered()
        enter(more)
        workers = wait_for("the workers", lambda: crew(shell.pid))
        wait_for("what they print", lambda: log.read_text().count("worker listens") == 2)

        before = fleet.control("state")["jobs"]

        def created():
            return fleet.control("state")["jobs"] - before

        enter(translate)
        shell.stdin.close()
        # In the middle: some are created and run, and the others wait. Who is killed while it creates leaves that creation
        # as unknown, which the check `kills` counts.
        wait_for("creations", lambda: created() >= 50)
        wait_for("a moment without creations", lambda: not in_flight([types.SimpleNamespace(log=log)]))
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        killed, running = time.monotonic(), created()
        assert running < VIDEOS, running
        print(f"    two of three workers killed after {running} creations", flush=True)
        report = folder / "outcomes.jsonl"
        wait_for("the outcomes", lambda: is_over(shell.pid), 400)
        rows = [json.loads(line) for line in report.read_text().splitlines()]
        states = fleet.states("Job", "job")
        ends = collections.Counter(state["outcome"]["end"] for state in states.values())
        sources = fleet.jobs_per_source()
        assert len(sources) == VIDEOS and set(sources.values()) == {1}, (len(sources), collections.Counter(sources.values()))
        assert ends == {"completed": VIDEOS}, ends
        outcomes = collections.Counter(
            (row["source"], job["status"]) for row in rows for job in row["languages"])
        assert len(outcomes) == VIDEOS and set(outcomes.values()) == {1}, outcomes.most_common(3)
        assert {status for _, status in outcomes} == {"completed"}, outcomes
        print(f"    {VIDEOS} creations in the sandbox, {len(rows)} outcomes, each once; "
              f"{time.monotonic() - killed:.0f} s after them, {time.monotonic() - began:.0f} s in all", flush=True)
    except BaseException:
        print(log.read_text()[-4000:], flush=True)
        raise
    finally:
        shell.stdin.close()
        # The shell may have ended before the others of its group. `fleet up` stops its server if it is asked to end.
        with contextlib.suppress(OSError):
            os.killpg(shell.pid, signal.SIGTERM)
            for _ in range(300):
                shell.poll()
                os.killpg(shell.pid, 0)
                time.sleep(0.1)
            os.killpg(shell.pid, signal.SIGKILL)


def crew(shell):
    """The two workers that were started besides the one of `fleet up`."""
    found = [child for child, words in children(shell).items() if words[:2] == [b"fleet", b"worker"]]
    return found if len(found) == 2 else None


def is_over(shell):
    """Whether the last command has ended."""
    return not any(b"translate" in words for words in children(shell).values())


if __name__ == "__main__":
    with Fleet() as everything, tempfile.TemporaryDirectory(prefix="guide-") as scratch:
        run(everything, pathlib.Path(scratch))
