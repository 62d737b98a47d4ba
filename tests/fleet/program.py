"""The program on a fleet: the same commands, events and exit codes as on one machine."""

import json
import os
import re
import subprocess

from parts import AKOOL, ROOT, Fleet, call, free_port

try:
    import jsonschema
except ImportError:
    jsonschema = None
    print("    NOTE: the Python package jsonschema is not installed, so the events are not validated", flush=True)

SCHEMA = json.loads((ROOT / "docs/events.schema.json").read_text())


def program(full):
    """`akool --fleet`: creates once, waits, resumes, lists, adopts and forgets; a worker serves metrics."""
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        metrics = free_port()
        fleet.workers(1, None, "--metrics", f"127.0.0.1:{metrics}")

        state = fleet.folder / "state"

        def akool(*args, code=0, env=None):
            """Runs the program without a credential, and returns its events."""
            clean = {name: value for name, value in os.environ.items() if not name.startswith("AKOOL_")}
            clean |= {"XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state)} | (env or {})
            command = [AKOOL, "--json", *args]
            if env is None:
                command += ["--fleet", fleet.ingress]
            done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
            assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
            events = [json.loads(line) for line in done.stdout.splitlines()]
            for event in events if jsonschema else []:
                jsonschema.validate(event, {**SCHEMA["$defs"][event["event"]], "$defs": SCHEMA["$defs"]})
            return events, done.stderr

        def of(events, name):
            return [event for event in events if event["event"] == name]

        def posts():
            listing = fleet.control("jobs")
            return sum(1 for job in listing["jobs"] if "source" in job)

        # Created once, and waited for; the same command finds what exists.
        talk = "https://example.com/talk.mp4"
        output = fleet.folder / "out"
        translate = ["translate", talk, "--to", "es,fr"]
        before = posts()
        events, _ = akool(*translate, "--output", str(output))
        assert len(of(events, "created")) == 2 and len(of(events, "completed")) == 2, events
        assert {event["language"] for event in of(events, "completed")} == {"es", "fr"}, events
        assert of(events, "update"), events
        files = sorted(path.name for path in output.iterdir())
        assert "talk.es.mp4" in files and "talk.fr.srt" in files and len(files) == 8, files
        events, _ = akool(*translate, env={"AKOOL_FLEET": fleet.ingress})
        assert len(of(events, "reused")) == 2 and len(of(events, "completed")) == 2, events
        assert posts() - before == 2, posts()
        events, _ = akool(*translate, "--allow-duplicate", "--no-wait")
        assert len(of(events, "created")) == 2 and posts() - before == 4, events

        # A file of videos.
        rows = 40 if full else 6
        videos = fleet.folder / "videos.csv"
        lines = "".join(f'https://example.com/{row}.mp4,"de,ja"\n' for row in range(rows))
        videos.write_text("url,to\n" + lines)
        report = fleet.folder / "report.jsonl"
        events, _ = akool("translate", "--from-file", str(videos), "--max-active", "5", "--report", str(report))
        (summary,) = of(events, "summary")
        assert summary["completed"] == summary["total"] == 2 * rows, summary
        assert len(report.read_text().splitlines()) == rows

        # What AKOOL rejects.
        events, _ = akool("translate", talk, "--to", "tlh", code=3)
        assert [event["code"] for event in of(events, "rejected")] == [1003], events

        # Status, and the list.
        events, _ = akool("jobs")
        assert len(events) == 4 + 2 * rows, len(events)
        job = events[0]
        assert {"id", "entry", "language", "status", "source", "requested_at"} <= job.keys(), job
        events, _ = akool("status", job["id"])
        assert events[0]["status"] == "completed" and events[0]["video"].startswith("http"), events
        events, _ = akool("status", "nobody", code=1)
        assert events[0]["kind"] == "unknown_job", events
        akool("jobs", "--pending")

        # A wait that times out continues in the fleet, and is resumed.
        slow = fleet.control("jobs", "POST", {"steps": [{"status": 2, "for": "4s"}], "end": "completed"})["id"]
        failing = fleet.control("jobs", "POST", {"steps": [], "end": "failed"})["id"]
        events, text = akool("wait", slow, "--timeout", "1s", code=4)
        assert [event["status"] for event in of(events, "gave_up")] == ["processing"], events
        assert f"--fleet {fleet.ingress}" in text, text
        events, _ = akool("wait", slow, failing, code=3)
        assert len(of(events, "completed")) == 1 and len(of(events, "failed")) == 1, events

        # An outcome that is unknown is created again by nobody, until someone says what became of it.
        unknown = [f"https://example.com/unknown-{number}.mp4" for number in range(2)]
        entries = []
        for url in unknown:
            fleet.control("faults", "POST", {"on": "creations", "fault": "closed-before-headers", "times": 1})
            events, _ = akool("translate", url, "--to", "es", code=7)
            entries.append(of(events, "outcome_unknown")[0]["entry"])
        before = posts()
        events, _ = akool("translate", unknown[0], "--to", "es", code=7)
        assert posts() == before, "nothing was sent again"
        events, _ = akool("jobs", "--pending")
        assert {event["entry"] for event in events if event["status"] == "outcome_unknown"} == set(entries), events
        akool("jobs", "--adopt", f"{entries[0]}:es={slow}")
        events, _ = akool("translate", unknown[0], "--to", "es")
        assert of(events, "reused")[0]["id"] == slow and posts() == before, events
        # Someone waited for this job before, and knew neither its language nor its source.
        events, _ = akool("jobs")
        (job,) = [event for event in events if event.get("id") == slow]
        assert (job["language"], job["source"], job["status"]) == ("es", unknown[0], "completed"), job
        akool("jobs", "--adopt", f"{entries[0]}x={slow}", code=1)
        akool("jobs", "--forget", f"{entries[1]}:es")
        akool("jobs", "--forget", "nobody", code=1)
        events, _ = akool("translate", unknown[1], "--to", "es", "--no-wait")
        assert len(of(events, "created")) == 1 and posts() == before + 1, events
        events, _ = akool("wait", "--pending")
        assert all(event["status"] == "completed" for event in of(events, "completed")), events

        # Metrics.
        status, text = call(f"http://127.0.0.1:{metrics}/metrics")
        assert status == 200, (status, text)
        values = {name: float(value) for name, value in re.findall(r"^(akool_\w+) (\S+)$", text, re.M)}
        created = 4 + 2 * rows + 1
        assert values["akool_jobs_created_total"] == created, (created, values)
        assert values["akool_jobs_unknown_total"] == 2 and values["akool_jobs_failed_total"] == 1, values
        assert values["akool_jobs_completed_total"] >= created - 2, values
        assert values["akool_polls_total"] > created and values["akool_credits_held_sum"] > 0, values
        assert 'akool_processing_seconds_bucket{le="+Inf"}' in text, text
        assert call(f"http://127.0.0.1:{metrics}/")[0] == 404
        print(f"    {created} jobs created by the program, {int(values['akool_polls_total'])} polls", flush=True)
        assert not state.exists(), "there is no ledger"
