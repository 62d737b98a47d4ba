"""Starts `akool sandbox` for the tests. The variable AKOOL selects another program than the one on the path."""

import json
import os
import subprocess

import pytest
import requests


class Sandbox:
    key = "sandbox-key-000000000000"

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.pauses = []

    def control(self, method, path, body=None):
        """Sends a request to the control API, which openapi/sandbox.yaml describes."""
        response = self.session.request(method, f"{self.url}/__sandbox/{path}", json=body)
        assert response.ok, response.text
        return response.json() if response.content else None

    def create_job(self, *steps, end="completed"):
        steps = [{"status": status, "for": span} for status, span in steps]
        return self.control("POST", "jobs", {"steps": steps, "end": end})["id"]

    def inject(self, fault, on="polls", times=1):
        self.control("POST", "faults", {"on": on, "fault": fault, "times": times})

    def advance(self, seconds):
        """Sets the clock of the sandbox forward. A test passes this in place of `time.sleep`."""
        self.pauses.append(seconds)
        self.control("PATCH", "clock", {"advance_seconds": seconds})


@pytest.fixture(scope="session")
def running_sandbox():
    command = [os.environ.get("AKOOL", "akool"), "sandbox", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())["url"]  # of the event `listening`
        process.terminate()


@pytest.fixture
def sandbox(running_sandbox):
    """A sandbox in its initial state. The test fails if its requests were wrong, or if a fault did not happen."""
    sandbox = Sandbox(running_sandbox)
    sandbox.control("POST", "reset")
    sandbox.control("PATCH", "clock", {"stopped": True})
    yield sandbox
    assert sandbox.control("GET", "violations")["violations"] == []
    assert sandbox.control("GET", "faults")["faults"] == []
