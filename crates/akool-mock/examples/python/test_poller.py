import pytest

from poller import INTERVAL, poll


def test_a_rate_limit_and_a_reset_do_not_end_the_wait(sandbox):
    job = sandbox.create_job(("queueing", "1 poll"), ("processing", "2h"))
    statuses = poll(sandbox.url, sandbox.key, job, sleep=sandbox.advance)
    assert next(statuses) == "queueing"
    sandbox.inject("rate-limited-2")
    sandbox.inject("reset-before-headers")
    assert next(statuses) == "processing"
    assert sandbox.pauses == [INTERVAL, 2, INTERVAL]
    assert list(statuses)[-1] == "completed"
    assert sum(sandbox.pauses) >= 7200


def test_a_failed_job_ends_the_wait(sandbox):
    job = sandbox.create_job(("processing", "2 polls"), end="failed")
    statuses = poll(sandbox.url, sandbox.key, job, sleep=sandbox.advance)
    assert list(statuses) == ["processing", "processing", "failed"]


def test_an_unknown_job_is_an_error(sandbox):
    with pytest.raises(RuntimeError, match="code 1008"):
        list(poll(sandbox.url, sandbox.key, "no-such-job", sleep=sandbox.advance))
