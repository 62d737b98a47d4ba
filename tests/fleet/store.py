"""Files of completed jobs in an object store, put there by workers."""

import os
import random
import re
import subprocess
import sys
import time
import urllib.request

from parts import ROOT, Fleet, call, wait_for
from waiting import watch

VENV = ROOT / "target/fleet/store"
# The store wants a signature, and does not verify it.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, "
                           "SignedHeaders=host, Signature=x"}


def read(url):
    with urllib.request.urlopen(urllib.request.Request(url, headers=SIGNED)) as answer:
        return answer.read()


def store(full):
    """Files of completed jobs, put into one bucket by workers that are killed."""
    count, kills = (100, 30) if full else (10, 4)
    if not (VENV / "bin/moto_server").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", "moto[server,s3]==5.2.5"], check=True)
    with Fleet() as fleet:
        fleet.sandbox()
        fleet.server()
        server = fleet.run("moto", [VENV / "bin/moto_server", "-H", "127.0.0.1", "-p", "0"])
        find = lambda: re.search(r"Running on (http://\S+)", server.log.read_text())
        url = wait_for("the store", find)[1]
        assert call(f"{url}/bucket", "PUT")[0] == 200
        settings = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": url}
        os.environ.update(settings)
        try:
            crew = fleet.workers(3, None, "--output", "s3://bucket/results")
            ids = [fleet.control("jobs", "POST", {"end": "completed"})["id"] for _ in range(count)]
            watch(fleet, ids, {"interval_ms": 500, "save": True})
            for _ in range(kills):
                time.sleep(random.uniform(0.05, 0.3))
                process = random.choice(crew)
                process.kill()
                process.start()
        finally:
            for name in settings:
                del os.environ[name]
        saved = lambda: fleet.states("Files", "saved")
        wait_for("all files", lambda: len(saved()) == count, 120)
        places = sorted(place for files in saved().values() for place in files)
        keys = re.findall(r"<Key>([^<]*)</Key>", read(f"{url}/bucket?list-type=2&prefix=results/").decode())
        assert len(places) == 4 * count and sorted(f"s3://bucket/{key}" for key in keys) == places, (places, keys)
        for job, number in {(job, random.randrange(4)) for job in ids[:5]}:
            place = saved()[job][number]
            assert read(f"{url}/{place.removeprefix('s3://')}"), place
        print(f"    {count} jobs, {kills} kills: {len(places)} objects", flush=True)
