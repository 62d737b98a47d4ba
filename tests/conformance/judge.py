"""The verdicts of Prism and schemathesis on mock servers that are broken on purpose.

    judge.py DESCRIPTION URL PRISM KEY JOB NAME...

URL is the address of `mutants.rs`, and PRISM the address of Prism as its validating proxy. Prints a JSON object for
each mutant: its name, and its `violation` or `drift` by tool.
"""

import json
import sys

import requests
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

PATH = "/api/open/v3/content/video/infobymodelid"
TIMEOUT = 10
# The errors of a connection that is closed or silent. Any other exception is a bug of this program.
NO_RESPONSE = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
RESPONSE_CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


def by_prism(prism, headers, job):
    return by_prism_response(lambda: requests.get(prism + PATH, params={"video_model_id": job}, headers=headers,
                                                  timeout=TIMEOUT, allow_redirects=False))


def by_prism_response(send):
    try:
        response = send()
    except NO_RESPONSE as error:
        return {"violation": f"no response: {type(error).__name__}"}
    if "application/problem+json" in response.headers.get("content-type", ""):
        problem = response.json()
        places = problem.get("validation") or [{"message": problem.get("detail") or problem["title"]}]
        return {"violation": "; ".join(place["message"] for place in places)}
    if "sl-violations" in response.headers:
        return {"drift": "; ".join(place["message"] for place in json.loads(response.headers["sl-violations"]))}
    return {}


def by_schemathesis(operation, url, headers, job):
    return checked(operation.Case(query={"video_model_id": job}, headers=headers), url)


def checked(case, url):
    try:
        response = case.call(base_url=url, timeout=TIMEOUT, allow_redirects=False)
    except NO_RESPONSE as error:
        return {"violation": f"no response: {type(error).__name__}"}
    try:
        case.validate_response(response, checks=CHECKS.get_by_names(RESPONSE_CHECKS))
    except FailureGroup as failures:
        messages = [" ".join(f"{failure.title}: {failure.message}".split()) for failure in failures.exceptions]
        return {"violation": "; ".join(messages)}
    return {}


def main():
    description, url, prism, key, job, *names = sys.argv[1:]
    operation = schemathesis.openapi.from_path(description)[PATH]["GET"]
    for name in names:
        headers = {"x-api-key": key, "x-mutant": name}
        verdicts = {"Prism": by_prism(prism, headers, job), "schemathesis": by_schemathesis(operation, url, headers, job)}
        print(json.dumps({"name": name, **verdicts}), flush=True)


if __name__ == "__main__":
    main()
