"""The code under test: waits for a video translation."""

import time

import requests

INTERVAL = 60
STATUSES = {1: "queueing", 2: "processing", 3: "completed", 4: "failed"}


def poll(url, key, job, sleep=time.sleep):
    """Polls a job until it ends, and yields the status that each poll returns."""
    with requests.Session() as session:
        session.headers["x-api-key"] = key
        status = None
        while status not in ("completed", "failed"):
            pause = INTERVAL
            try:
                response = session.get(
                    f"{url}/api/open/v3/content/video/infobymodelid", params={"video_model_id": job}, timeout=10
                )
                if response.status_code == 429:
                    pause = int(response.headers["Retry-After"])
                else:
                    response.raise_for_status()
                    body = response.json()
                    if body["code"] != 1000:
                        raise RuntimeError(f"AKOOL answered with code {body['code']}: {body['msg']}")
                    status = STATUSES.get(body["data"]["video_status"], "unknown")
                    yield status
            except requests.ConnectionError:
                pass  # The next poll may succeed.
            if status not in ("completed", "failed"):
                sleep(pause)
