"""Waits: every outcome once, within the rate."""

import collections
import concurrent.futures
import http.server
import json
import os
import pathlib
import random
import re
import subprocess
import threading
import time

from parts import KEY, OUTCOMES, ROOT, TRACED, Fleet, call, free_port, wait_for, work_id


DELIVER = {"handler": {"service": "Outcomes", "key": "{id}", "handler": "record"}}


def outcomes(fleet):
    """A user's handler that counts outcomes in its state."""
    port = free_port()
    fleet.run("outcomes", [OUTCOMES, f"{fleet.host}:{port}"])
    body = {"uri": f"http://{fleet.host}:{port}"}
    wait_for("the user's handler", lambda: call(f"{fleet.admin}/deployments", "POST", body)[0] < 300)
    return DELIVER


def counts(fleet):
    return {job: int(value) for job, value in fleet.states("Outcomes", "count").items()}


def watch(fleet, jobs, options):
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for status, answer in pool.map(
            lambda job: fleet.invoke(f"Job/{job}/watch", {"options": options}), jobs
        ):
            assert status == 200, (status, answer)


def killed(fleet, crew, count, kills, longest, kill_server):
    """Jobs of at most `longest` milliseconds on workers that are killed, as is a server in the end. Returns how often each
    outcome arrived at a user's handler, and the answers to callers that waited."""
    deliver = outcomes(fleet)
    ids = []
    for number in range(count):
        end = "failed" if number % 10 == 0 else "completed"
        steps = [{"status": 2, "for": f"{random.randrange(2000, longest)}ms"}]
        ids.append(fleet.control("jobs", "POST", {"steps": steps, "end": end})["id"])
    watch(fleet, ids, {"interval_ms": 1000, "deliver": deliver})
    # Callers that wait, across all kills.
    pool = concurrent.futures.ThreadPoolExecutor(100)
    waited = random.sample(ids, min(count // 4, 100))
    waits = {job: pool.submit(fleet.invoke, f"Job/{job}/wait", None, f"{job}-{random.random()}") for job in waited}
    for _ in range(kills):
        time.sleep(random.uniform(0.2, 0.8))
        process = random.choice(crew)
        process.kill()
        process.start()
    kill_server()
    end = time.monotonic() + 300
    while len(counts(fleet)) < count and time.monotonic() < end:
        time.sleep(0.2)
    # What is doubled may come later.
    time.sleep(3)
    got = counts(fleet)
    return {job: got.get(job, 0) for job in ids}, {job: future.result() for job, future in waits.items()}


def waiting(full):
    """Jobs on three workers, which are killed: a user's handler gets every outcome exactly once."""
    count, kills = (2000, 40) if full else (200, 6)
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        crew = fleet.workers(3)

        def kill_server():
            fleet.restart_engine()
            fleet.ready()

        began = time.monotonic()
        got, answers = killed(fleet, crew, count, kills, 30_000 if full else 12_000, kill_server)
        seconds = time.monotonic() - began
        assert set(got.values()) == {1}, collections.Counter(got.values())
        states = fleet.states("Job", "job")
        ends = collections.Counter(state["outcome"]["end"] for state in states.values())
        assert ends == {"completed": count - count // 10, "failed": count // 10}, ends
        for job, (status, answer) in answers.items():
            assert status == 200 and answer["job"] == job, (status, answer)
        late = [state["outcome"]["ended_ms"] - state["began_ms"] for state in states.values()]
        polls = sum(state["outcome"]["attempts"] for state in states.values())
        print(f"    {count} jobs, {kills} kills of workers and 1 of the server: every outcome once, {len(answers)} of "
              f"{len(answers)} callers answered; {polls} polls, {seconds:.0f} s, the last wait took {max(late) / 1000:.0f} s",
              flush=True)


def limit(full):
    """A rate holds over three workers, with a pause that the service asks for in between."""
    rate, count, seconds = (100, 600, 6) if full else (50, 300, 10)
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(3)
        status, answer = fleet.invoke("Credential/default/set_limits", {"per_second": rate})
        assert status == 200 and answer["per_second"] == rate, (status, answer)
        time.sleep(1.1)
        for number in range(count):
            fleet.control("jobs", "POST", {"id": f"j{number}", "end": "processing"})
        watch(fleet, [f"j{number}" for number in range(count)], {"interval_ms": 1000})
        time.sleep(seconds / 2)
        fleet.control("faults", "POST", {"on": "polls", "fault": "rate-limited-5"})
        paused = wait_for("the pause", lambda: fleet.invoke("Credential/default/limits")[1]["paused_until_ms"])
        time.sleep(5 + seconds / 2)
        answers = fleet.polls()
        polls = sorted(request["at_ms"] / 1000 for request in answers)
        assert sum(request["http_status"] == 429 for request in answers) == 1
        peak, first = 0, 0
        for last, at in enumerate(polls):
            while at - polls[first] >= 1:
                first += 1
            peak = max(peak, last - first + 1)
        before = [at for at in polls if at < paused / 1000 - 5.5]
        in_pause = [at for at in polls if paused / 1000 - 4.5 < at < paused / 1000 - 0.05]
        began = [at for at in polls if paused / 1000 - 5 <= at <= paused / 1000 - 4.5]
        mean = len(before) / (before[-1] - before[0])
        print(f"    limit {rate}/s: mean {mean:.0f}/s, peak {peak} in any second; of the pause of 5 s: {len(began)} polls "
              f"in its first half second, {len(in_pause)} after that", flush=True)
        # Between a permit and the arrival of its poll, a quarter of a second may pass on a machine with other load.
        assert peak <= rate * 1.25 + 5 and mean <= rate * 1.03, (peak, mean)
        assert mean >= rate * 0.7, mean
        assert not in_pause, in_pause
        fleet.invoke("Credential/default/set_limits", {"per_second": None})


def triggers(full):
    """Triggers that are forged create nothing; doubled ones cost at most one poll."""
    forged = 1000 if full else 100
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(3)
        # By default, the engine pauses a call that fails 70 times, which would be lost until someone resumes it.
        for service in ("Translation", "Job", "Credential", "Deliver", "Files"):
            policy = call(f"{fleet.admin}/services/{service}")[1]["retry_policy"]
            assert policy["max_attempts"] > 1_000_000, (service, policy)
        fleet.control("jobs", "POST", {"id": "job", "steps": [{"status": 2, "for": "6s"}], "end": "completed"})
        # Without a trigger, the end would be noticed after five minutes.
        watch(fleet, ["job"], {"interval_ms": 300_000})
        wait_for("the first poll", lambda: fleet.invoke("Job/job/outcome")[1]["attempts"] == 1)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            calls = [pool.submit(fleet.invoke, f"Job/forged-{number}/poll_now") for number in range(forged)]
            assert all(future.result()[0] == 200 for future in calls)
        assert set(fleet.states("Job", "job")) == {"job"}
        time.sleep(6)
        before = fleet.control("jobs/job")["polls"]
        barrier, latencies = threading.Barrier(10), []

        def trigger():
            barrier.wait()
            began = time.monotonic()
            assert fleet.invoke("Job/job/poll_now")[0] == 200
            latencies.append(time.monotonic() - began)

        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            for future in [pool.submit(trigger) for _ in range(10)]:
                future.result()
        wait_for("the outcome", lambda: fleet.invoke("Job/job/outcome")[1]["outcome"], 10)
        polls = fleet.control("jobs/job")["polls"] - before
        assert polls == 1, polls
        print(f"    {forged} forged triggers: no state; 10 at once: {polls} poll, "
              f"answered in {max(latencies) * 1000:.0f} ms at most", flush=True)


class Callbacks:
    """A program that is called back, and breaks the connection now and then before it answers."""

    def __init__(self):
        self.keys, self.traces, calls = collections.Counter(), {}, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                calls.keys[self.headers["idempotency-key"]] += 1
                calls.traces[self.headers["idempotency-key"]] = self.headers["traceparent"]
                if sum(calls.keys.values()) % 5 == 0:
                    return
                self.send_response(204)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


def files(full):
    """Files of completed jobs, saved by workers that are killed, in one folder; and callbacks."""
    count, kills = (100, 30) if full else (20, 6)
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        folder = fleet.folder / "files"
        crew = fleet.workers(3, None, "--output", folder)
        # Its target is not registered yet. That does not stop the job.
        early = fleet.control("jobs", "POST", {"end": "completed"})["id"]
        watch(fleet, [early], {"interval_ms": 500, "deliver": DELIVER})
        wait_for("the outcome", lambda: fleet.invoke(f"Job/{early}/outcome")[1]["outcome"])
        callbacks = Callbacks()
        ids = [fleet.control("jobs", "POST", {"end": "completed"})["id"] for _ in range(count)]
        watch(fleet, ids, {"interval_ms": 500, "save": True, "deliver": {"url": callbacks.url}})
        for _ in range(kills):
            time.sleep(random.uniform(0.05, 0.3))
            process = random.choice(crew)
            process.kill()
            process.start()
        outcomes(fleet)
        saved = lambda: fleet.states("Files", "saved")
        wait_for("all files", lambda: len(saved()) == count, 120)
        assert all(len(files) == 4 for files in saved().values()), saved()
        assert fleet.invoke(f"Job/{ids[0]}/outcome")[1]["saved"] == saved()[ids[0]]
        paths = [path for files in saved().values() for path in files]
        names = sorted(file.name for file in folder.iterdir())
        assert len(set(paths)) == 4 * count and names == sorted(path.split("/")[-1] for path in paths), names
        wait_for("all callbacks", lambda: set(callbacks.keys) == set(ids), 120)
        wait_for("the delivery to the late target", lambda: counts(fleet) == {early: 1})
        more = sum(callbacks.keys.values()) - count
        print(f"    {count} jobs, {kills} kills: {len(paths)} files, none left half; every callback made, {more} of "
              f"{count + more} again", flush=True)


def traces(full):
    """The W3C trace context of a caller reaches its handler and its callback, by the options or by the HTTP request."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(1)
        handler, callbacks = outcomes(fleet), Callbacks()
        wanted = {}
        for number, (deliver, traceparent) in enumerate(
            (deliver, traceparent) for deliver in (handler, {"url": callbacks.url}) for traceparent in (trace, None)
        ):
            for way in ("options", "request"):
                options = {"interval_ms": 500, "deliver": deliver}
                headers = {}
                if traceparent and way == "options":
                    options["traceparent"] = traceparent
                elif traceparent:
                    headers["traceparent"] = traceparent
                job = fleet.control("jobs", "POST", {"end": "completed"})["id"]
                url = f"{fleet.ingress}/restate/call/Job/{job}/watch"
                status, answer = call(url, "POST", {"options": options}, headers)
                assert status == 200, (status, answer)
                wanted[job] = (traceparent, way, "url" in deliver)
        calls = {job for job, (_, _, is_url) in wanted.items() if is_url}
        wait_for("the outcomes", lambda: set(counts(fleet)) == set(wanted) - calls and set(callbacks.keys) == calls)
        got = fleet.states("Outcomes", "traceparent") | callbacks.traces
        for job, (traceparent, way, is_url) in wanted.items():
            assert got.get(job) == traceparent, (way, is_url, got.get(job))
        print(f"    {len(wanted)} outcomes: the trace of the caller arrived with the {len(wanted) // 2} that had one",
              flush=True)


def again(full):
    """What happens once more, after something ended early: a wait, a timer, a failed job, an outcome that was unknown."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(2)
        deliver, posts = outcomes(fleet), lambda: sum(fleet.jobs_per_source().values())
        slow = {"steps": [{"status": 2, "for": "4s"}], "end": "completed"}

        # The handler is told the timeout of a wait, and the end of its job, for which somebody else waited again.
        job = fleet.control("jobs", "POST", slow)["id"]
        watch(fleet, [job], {"interval_ms": 300, "timeout_ms": 600, "deliver": deliver})
        wait_for("the timeout", lambda: counts(fleet).get(job) == 1)
        watch(fleet, [job], {"interval_ms": 300})
        wait_for("the end after the timeout", lambda: counts(fleet).get(job) == 2)

        # An administrator ends the call that is the job's timer. The next one who waits sets it again.
        job = fleet.control("jobs", "POST", slow)["id"]
        watch(fleet, [job], {"interval_ms": 300_000, "deliver": deliver})
        wait_for("the first poll", lambda: fleet.invoke(f"Job/{job}/outcome")[1]["attempts"] == 1)
        sql = f"SELECT id FROM sys_invocation WHERE target_service_key = '{job}' AND status = 'scheduled'"
        (row,) = wait_for("the timer", lambda: fleet.query(sql))
        assert call(f"{fleet.admin}/invocations/{row['id']}/kill", "PATCH")[0] in (200, 202)
        wait_for("the kill", lambda: not fleet.query(sql))
        state = fleet.states("Job", "job")[job] | {"due_ms": 1}
        body = {"object_key": job, "new_state": {"job": list(json.dumps(state).encode())}}
        assert call(f"{fleet.admin}/services/Job/state", "POST", body)[0] in (200, 202)
        wait_for("the state", lambda: fleet.states("Job", "job")[job]["due_ms"] == 1)
        watch(fleet, [job], {})
        wait_for("a poll after the kill", lambda: fleet.invoke(f"Job/{job}/outcome")[1]["attempts"] == 2)
        # An interval of another caller counts.
        watch(fleet, [job], {"interval_ms": 300})
        wait_for("the end after the kill", lambda: counts(fleet).get(job) == 1)

        # A creation whose outcome was unknown: who is told stays the same if an operator finds the job.
        fleet.control("faults", "POST", {"on": "creations", "fault": "closed-before-headers", "times": 1})
        options = {"interval_ms": 300, "deliver": deliver}
        assert fleet.create(1, options)[0] == "outcome_unknown"
        job = fleet.control("jobs", "POST", slow)["id"]
        assert fleet.invoke(f"Translation/{work_id(1)}/adopt", "")[0] == 400
        assert fleet.invoke(f"Translation/{work_id(1)}/adopt", job)[0] == 200
        wait_for("the end of the adopted job", lambda: counts(fleet).get(job) == 1)

        # A job that failed is created again, and so is one for a call that asks for it; but not by a call that is repeated.
        def create(name, **more):
            work = work_id(name)
            request = {"url": f"https://example.com/{'fail' if name == 2 else name}.mp4", "language": "es"}
            body = {"work": {"id": work, "credential": "default", "request": request}, "options": options, **more}
            status, answer = fleet.invoke(f"Translation/{work}/create", body)
            assert status == 200, (status, answer)
            return answer["created"]

        before = posts()
        failed = create(2, call="a")
        # Its wait has begun when the id is known.
        assert fleet.invoke(f"Job/{failed['job']}/wait")[1]["end"] == "failed"
        assert create(2, call="a")["is_reused"] and posts() == before + 1
        second = create(2, call="b")
        assert second["replaces"]["job"] == failed["job"] and second["replaces"]["reason"], second
        assert posts() == before + 2
        first = create(3)
        other = create(3, allow_duplicate=True, call="c")
        assert other["job"] != first["job"] and posts() == before + 4
        assert create(3, allow_duplicate=True, call="c")["job"] == other["job"] and posts() == before + 4
        # Who forgets one of two jobs does not pay for a third.
        forget = f"Translation/{work_id(3)}/forget"
        assert fleet.invoke(forget, {"job": first["job"]})[0] == 200
        assert create(3)["job"] == other["job"] and posts() == before + 4
        assert fleet.invoke(forget, {})[0] == 200 and fleet.invoke(forget, {})[0] == 404
        # A credential that no worker has.
        body = {"work": {"id": "nobody.1", "credential": "nobody", "request": {"url": "https://a.example/", "language": "es"}}}
        answer = fleet.invoke("Translation/nobody.1/create", body)[1]["not_created"]
        assert "no credential named" in answer["message"] and answer["help"], answer
        print("    a wait, a timer, an adopted job and a failed one: each outcome was told, nothing was paid for twice",
              flush=True)


def spans(full):
    """The spans of a worker with OpenTelemetry are children of its caller's."""
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        env = {"AKOOL_API_HOST": fleet.api, "AKOOL_API_KEY": KEY, "INGRESS": fleet.ingress, "ADMIN": fleet.admin}
        worker = fleet.run("traced", [TRACED, f"127.0.0.1:{free_port()}"], env)
        fleet.registered()
        options = {"interval_ms": 300, "traceparent": f"00-{trace}-{parent}-01"}
        job = fleet.create(1, options)[1]["job"]
        assert fleet.invoke(f"Job/{job}/wait")[1]["end"] == "completed"
        text = pathlib.Path(worker.log).read_text()
        found = {}
        for span in re.split(r"^Span #\d+$", text, flags=re.M)[1:]:
            field = lambda name: re.search(rf"^\t{name} *: (\S+)", span, re.M)[1]
            found.setdefault(field("Name"), []).append((field("TraceId"), field("ParentSpanId")))
        for name in ("akool.fleet.create", "akool.fleet.poll"):
            assert found.get(name) and set(found[name]) == {(trace, parent)}, (name, found)
        for name in ("akool.create", "akool.poll"):
            assert found.get(name) and {own for own, _ in found[name]} == {trace}, (name, found)
        print(f"    {sum(map(len, found.values()))} spans of a creation and its wait are part of the caller's trace",
              flush=True)


def client(full):
    """The Rust client, with a first address at which nobody listens."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(2)
        env = {**os.environ, "FLEET": f"http://127.0.0.1:{free_port()},{fleet.ingress}"}
        command = ["cargo", "test", "--quiet", "-p", "akool-restate", "--test", "client", "--", "--ignored"]
        subprocess.run(command, env=env, cwd=ROOT, check=True)
