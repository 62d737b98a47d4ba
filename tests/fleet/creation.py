"""Creation at most once, whatever is killed."""

import collections
import concurrent.futures
import pathlib
import random
import re
import signal
import threading
import time

from parts import Fleet, Proxy, call, free_port, source, wait_for, work_id

# With this, a worker's log says when it claims a work, and when the outcome is recorded.
LOG = "akool_restate=debug"
# How many creations the callers have under way at a time.
CALLERS = 24


class Load:
    """Callers that create works until they are told to stop."""

    def __init__(self, fleet, limit=10_000):
        self.fleet, self.limit = fleet, limit
        self.results, self.next = {}, 0
        self.lock, self.stopping, self.paused = threading.Lock(), threading.Event(), threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(CALLERS)
        self.futures = [self.pool.submit(self.caller) for _ in range(CALLERS)]

    def caller(self):
        while not self.stopping.is_set():
            if self.paused.is_set():
                time.sleep(0.02)
                continue
            with self.lock:
                number, self.next = self.next, self.next + 1
                if number >= self.limit:
                    self.next = self.limit
                    return
            result = self.fleet.create(number)
            with self.lock:
                self.results[number] = result

    def finish(self):
        self.stopping.set()
        for future in self.futures:
            future.result()
        return self.results


def in_flight(crew):
    """The sources that these workers have claimed, and whose outcome the engine has not confirmed to the attempt."""
    found = set()
    for process in crew:
        claimed = set()
        for what, name in re.findall(r'(claiming|recorded) source="([^"]*)"', pathlib.Path(process.log).read_text()):
            if what == "claiming" and name in claimed:
                # The engine gave up the attempt that had the first claim.
                found.add(name)
            (claimed.add if what == "claiming" else claimed.discard)(name)
        found |= claimed
    return found


def verify(fleet, proxy, results, in_flight, kills):
    """No work has two POSTs, and each has an outcome that is true. `in_flight`: the sources of which an outcome may be
    unknown, since they were in flight at a kill; or how many there may be."""
    kinds = collections.Counter(kind for kind, _ in results.values())
    requested = len(results)
    at_most_once = max(proxy.posts.values(), default=0)
    created = fleet.jobs_per_source()
    assert at_most_once <= 1, f"POSTs per work: {at_most_once}"
    assert max(created.values(), default=0) <= 1, "the sandbox created two jobs for one work"
    assert kinds["created"] + kinds["outcome_unknown"] == requested, kinds
    unknown = {source(number) for number, (kind, _) in results.items() if kind == "outcome_unknown"}
    if isinstance(in_flight, set):
        assert unknown <= in_flight, unknown - in_flight
        in_flight = len(in_flight)
    assert len(unknown) <= in_flight, (kinds, in_flight)
    for number, (kind, value) in results.items():
        if kind == "created":
            assert created[source(number)] == 1 and not value["is_reused"], (number, value)
    unsent = sum(1 for number, (kind, _) in results.items()
                 if kind == "outcome_unknown" and not proxy.posts[source(number)])
    # What the engine stores says the same, and nothing is left over.
    states = fleet.states("Translation", "work")
    unknown = [id for id, state in states.items() if "outcome_unknown" in (state["creation"] or {})]
    assert len(unknown) == kinds["outcome_unknown"], (len(unknown), kinds)
    assert not any(state["is_claimed"] for state in states.values())
    print(f"    {requested} works, {kills} kills: {kinds['created']} created, {kinds['outcome_unknown']} unknown "
          f"({unsent} of them never sent; {in_flight} in flight at the kills), at most {at_most_once} POST per work",
          flush=True)
    return unknown


def kills(full):
    """Random kills of workers, three running, and of the server."""
    wanted, of_workers, of_server = (108, 18, 3) if full else (6, 6, 1)
    total = collections.Counter()
    # The sandbox lists 1,000 jobs, so each round has fewer, and ends when they are created.
    while total["worker"] < wanted:
        with Fleet() as fleet:
            proxy = Proxy(fleet.sandbox(), 0.4)
            fleet.server()
            crew = fleet.workers(3, proxy.url, log=LOG)
            load = Load(fleet, 950)
            open_claims = set()
            plan = ["worker"] * of_workers + ["server"] * of_server
            random.shuffle(plan)
            for victim in plan:
                time.sleep(random.uniform(0.2, 0.8))
                if load.next >= load.limit - CALLERS:
                    break
                if victim == "server":
                    fleet.engine.kill()
                    open_claims |= in_flight(crew)
                    fleet.engine.start()
                else:
                    process = random.choice(crew)
                    process.kill()
                    open_claims |= in_flight([process])
                    time.sleep(random.uniform(0, 0.3))
                    process.start()
                total[victim] += 1
            time.sleep(1)
            results = load.finish()
            unknown = verify(fleet, proxy, results, open_claims, sum(total.values()))
            resolve(fleet, proxy, unknown, results)
    print(f"    kills: {dict(total)}", flush=True)
    if full:
        assert total["worker"] >= 100, total


def resolve(fleet, proxy, unknown, results):
    """An operator resolves outcomes that are unknown: with the job that was found, or by forgetting them."""
    jobs = {job["source"]: job["id"] for job in fleet.control("jobs")["jobs"] if "source" in job}

    def one(id):
        number = int(id.split(".")[1], 16)
        # A creation does not repeat it before that.
        assert fleet.create(number)[0] == "outcome_unknown"
        found = jobs.get(source(number))
        if found:
            status, answer = fleet.invoke(f"Translation/{id}/adopt", found)
            assert status == 200 and answer["created"]["job"] == found, (status, answer)
        else:
            # It takes a while: until no attempt can send a request any more.
            assert fleet.invoke(f"Translation/{id}/forget", {})[0] == 200
        kind, value = fleet.create(number)
        assert kind == "created" and value["is_reused"] == bool(found), (kind, value)

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(one, unknown))
    assert max(proxy.posts.values()) <= 1


def sigterm(full):
    """A normal stop leaves no creation unknown."""
    for _ in range(2 if full else 1):
        stop_normally(10 if full else 6)


def stop_normally(stops):
    times = []
    with Fleet() as fleet:
        proxy = Proxy(fleet.sandbox(), 0.3)
        fleet.server()
        crew = fleet.workers(3, proxy.url)
        load = Load(fleet, 990)
        for _ in range(stops):
            time.sleep(random.uniform(0.2, 0.5))
            process = random.choice(crew)
            assert load.next < load.limit - CALLERS
            times.append(process.stop())
            assert process.process.returncode == 0, process.process.returncode
            process.start()
        results = load.finish()
        verify(fleet, proxy, results, set(), stops)
        print(f"    stopped in {min(times):.1f} to {max(times):.1f} s", flush=True)


def sigstop(full):
    """A worker that was stopped for longer than the engine waits for it sends nothing when it continues."""
    for _ in range(2 if full else 1):
        suspend(4 if full else 2, 24 if full else 22)
    engine_stopped()


def suspend(rounds, seconds):
    with Fleet() as fleet:
        # Without a delay, much of a creation is between its claim and its request.
        proxy = Proxy(fleet.sandbox(), 0)
        fleet.server()
        crew = fleet.workers(3, proxy.url, log=LOG)
        # The engine gives up an attempt after 8 s + 2 s instead of minutes. A claim is too old after 20 s.
        change = {"inactivity_timeout": "8s", "abort_timeout": "2s"}
        status, answer = call(f"{fleet.admin}/services/Translation", "PATCH", change)
        assert status == 200, (status, answer)
        load, open_claims = Load(fleet, 950), set()
        late = []
        for _ in range(rounds):
            time.sleep(random.uniform(0.3, 0.8))
            assert load.next < load.limit - CALLERS, "too few works for so many rounds"
            victims = random.sample(crew, 2)
            for process in victims:
                process.signal(signal.SIGSTOP)
            stopped, before = time.monotonic(), set(proxy.posts)
            # The third worker records what became of the works of the stopped ones; nothing else begins.
            load.paused.set()
            time.sleep(seconds)
            unknown = {work for work, state in fleet.states("Translation", "work").items()
                       if "outcome_unknown" in (state["creation"] or {})}
            sent = {name for name in proxy.posts}
            open_claims |= in_flight(victims)
            for process in victims:
                process.signal(signal.SIGCONT)
            time.sleep(2)
            # An attempt that was stopped before its claim makes it now, and the engine gives up the attempt.
            open_claims |= in_flight(victims)
            # A POST that arrived only now, for a work that was recorded as unknown.
            late += [work for work in unknown
                     if source(int(work.split(".")[1], 16)) in set(proxy.posts) - sent]
            assert time.monotonic() - stopped > 20 and before <= set(proxy.posts)
            load.paused.clear()
        results = load.finish()
        verify(fleet, proxy, results, open_claims, rounds * 2)
        print(f"    POSTs after `unknown` was recorded: {len(late)}", flush=True)
        assert not late, late


def engine_stopped():
    """The engine stands still between a claim and its confirmation: the claim is too old then, and a new one is made."""
    with Fleet() as fleet:
        proxy = Proxy(fleet.sandbox(), 0)
        fleet.server()
        crew = fleet.workers(3, proxy.url, log="akool_restate=info")
        load, old, stops = Load(fleet, 900), 0, 0
        # A claim waits for its confirmation for a few milliseconds, so several stops may be needed to hit one.
        while not old and stops < 5:
            load.paused.clear()
            time.sleep(1)
            fleet.engine.signal(signal.SIGSTOP)
            load.paused.set()
            time.sleep(23)
            fleet.engine.signal(signal.SIGCONT)
            time.sleep(3)
            stops += 1
            old = sum(pathlib.Path(process.log).read_text().count("too old") for process in crew)
        results = load.finish()
        verify(fleet, proxy, results, CALLERS * stops, stops)
        assert old, "no claim was too old"
        print(f"    the engine stopped for 23 s: {old} claims too old, whose requests were sent with new claims only",
              flush=True)


def administrator(full):
    """An administrator kills an invocation in the middle of its POST."""
    with Fleet() as fleet:
        proxy = Proxy(fleet.sandbox(), 0)
        arrived, go_on = threading.Semaphore(0), threading.Semaphore(0)

        def hold(_):
            arrived.release()
            go_on.acquire(timeout=20)

        proxy.on_post = hold
        fleet.server()
        fleet.workers(3, proxy.url)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for number in range(10 if full else 3):
                work = work_id(number)
                body = {"work": {"id": work, "credential": "default",
                                 "request": {"url": source(number), "language": "es"}}}
                first = pool.submit(call, f"{fleet.ingress}/restate/call/Translation/{work}/create", "POST", body)
                assert arrived.acquire(timeout=20)
                sql = f"SELECT id FROM sys_invocation WHERE target_service_key = '{work}' AND status = 'running'"
                (row,) = wait_for("the invocation", lambda: fleet.query(sql))
                status, _ = call(f"{fleet.admin}/invocations/{row['id']}/kill", "PATCH")
                assert status in (200, 202), status
                assert first.result()[0] >= 400
                # The POST goes on, or not; nobody sends another.
                again = pool.submit(fleet.create, number)
                go_on.release()
                assert again.result()[0] == "outcome_unknown", again.result()
                assert fleet.create(number)[0] == "outcome_unknown"
        assert max(proxy.posts.values()) == 1, proxy.posts
        print(f"    {len(proxy.posts)} creations killed in the middle, all unknown, 1 POST each", flush=True)


def unreachable(full):
    """A request that was surely not sent is tried again, and given up after a while."""
    with Fleet() as fleet:
        api, port = fleet.sandbox(), free_port()
        fleet.server()
        fleet.workers(2, f"http://127.0.0.1:{port}")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            calls = [pool.submit(fleet.create, number) for number in range(5)]
            time.sleep(2.5)
            assert not any(call.done() for call in calls)
            proxy = Proxy(api, 0, port)
            assert [call.result()[0] for call in calls] == ["created"] * 5
        assert set(proxy.posts.values()) == {1}, proxy.posts
    if full:
        with Fleet() as fleet:
            fleet.server()
            fleet.workers(1, f"http://127.0.0.1:{free_port()}")
            kind, value = fleet.create(99)
            assert kind == "not_created" and value["kind"] == "connect" and value["is_retryable"], (kind, value)
            assert fleet.invoke(f"Translation/{work_id(99)}/status")[0] == 404, "nothing is left of it"
            print("    a creation was given up after 5 attempts", flush=True)
    print("    5 creations waited until the service could be reached, 1 POST each", flush=True)
