"""Lines of docs/fleet.md for operators: webhooks, the alarm, a backup."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from parts import AKOOL, KEY, ROOT, Fleet, call, free_port, wait_for
from waiting import counts, outcomes, watch


def block(words):
    """The block of the book that has these words."""
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```", (ROOT / "docs/fleet.md").read_text(), re.M | re.S)
    (found,) = [text for _, text in blocks if words in text]
    return found


class Hook:
    """Takes the service's messages, so that a test can resend and change them."""

    def __init__(self):
        self.bodies, hook = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


def webhooks(full):
    """Signed messages become polls. Forged ones do not, and doubled ones cost none."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(1)
        listener = f"127.0.0.1:{free_port()}"
        line = block("webhook listen").replace("http://127.0.0.1:8080", fleet.ingress)
        line = line.replace("akool --json webhook listen", f"{AKOOL} --json webhook listen --listen {listener}")
        env = {"AKOOL_CLIENT_ID": "sandbox-client", "AKOOL_API_KEY": KEY}
        listening = fleet.run("webhooks", ["bash", "-euo", "pipefail", "-c", line], env, prefix=("setsid", "--wait"))
        try:
            wait_for("the listener", lambda: call(f"http://{listener}/")[0] == 405)
            hook, others = Hook(), Hook()
            job, other = [fleet.control("jobs", "POST", {"steps": [{"status": 2, "for": "6s"}], "end": "completed",
                                                         "webhook_url": one.url})["id"] for one in (hook, others)]
            # A job of the sandbox begins at its first poll.
            poll = f"{fleet.api}/api/open/v3/content/video/infobymodelid?video_model_id={other}"
            assert call(poll, headers={"x-api-key": KEY})[0] == 200
            # Without a trigger, the end would be noticed after five minutes.
            watch(fleet, [job], {"interval_ms": 300_000})
            wait_for("the first poll", lambda: fleet.invoke(f"Job/{job}/outcome")[1]["attempts"] == 1)
            wait_for("the message of the end", lambda: hook.bodies and others.bodies and is_over(fleet, job))
            time.sleep(1)
            genuine = hook.bodies[-1]
            post = lambda body: call(f"http://{listener}/", "POST", body)[0]
            forged = [{**genuine, "signature": genuine["signature"][::-1]}, {**genuine, "nonce": "other"},
                      {**genuine, "dataEncrypt": genuine["dataEncrypt"][::-1]}]
            assert [post(body) for body in forged] == [400] * len(forged)
            time.sleep(1)
            assert fleet.control(f"jobs/{job}")["polls"] == 1, "a forged message led to a poll"
            assert [post(genuine) for _ in range(20 if full else 5)].count(200) >= 1
            wait_for("the outcome", lambda: fleet.invoke(f"Job/{job}/outcome")[1]["outcome"], 20)
            polls = fleet.control(f"jobs/{job}")["polls"]
            assert polls == 2, polls
            # Genuine, for a job that the fleet does not wait for.
            assert post(others.bodies[-1]) == 200
            time.sleep(1)
            assert set(fleet.states("Job", "job")) == {job}, other
            print(f"    {len(forged)} forged messages: no poll; a signed one, sent again and again: {polls - 1} poll",
                  flush=True)
        finally:
            os.killpg(listening.pid, signal.SIGTERM)


def is_over(fleet, job):
    return fleet.control(f"jobs/{job}")["status"] == 3


def alarm(full):
    """The query of the book finds a call that keeps failing, and says why."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(1)
        status, answer = fleet.invoke("Job/job/watch", {"origin": {"credential": "nobody"}})
        assert status == 200, answer
        line = block("backing-off").replace("http://127.0.0.1:9070", fleet.admin)

        def rows():
            done = subprocess.run(["bash", "-euc", line], check=True, capture_output=True)
            return json.loads(done.stdout)["rows"]

        (row,) = wait_for("the alarm", rows)
        assert row["target"] == "Job/job/poll" and "no credential named" in row["last_failure"], row
        print(f"    {row['target']}: {row['last_failure'][:90]}", flush=True)


def backup(full):
    """A copy of a stopped server's folder continues elsewhere: no job is created again, and no outcome is lost."""
    works = 40 if full else 10
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        fleet.workers(1)
        handler = outcomes(fleet)
        for number in range(works):
            fleet.create(number, {"interval_ms": 1000, "deliver": handler})
        fleet.engine.stop()
        data = fleet.folder / "data"
        shutil.copytree(data, fleet.folder / "copy", symlinks=True)
        shutil.rmtree(data)
        (fleet.folder / "copy").rename(data)
        fleet.engine.start()
        fleet.ready()
        for number in range(works):
            kind, value = fleet.create(number)
            assert kind == "created" and value["is_reused"], (kind, value)
        wait_for("the outcomes", lambda: len(counts(fleet)) == works)
        assert set(counts(fleet).values()) == {1}
        assert set(fleet.jobs_per_source().values()) == {1}
        print(f"    {works} works found again in the copy, every outcome once", flush=True)
