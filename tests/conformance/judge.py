"""What Prism and schemathesis say of mock servers that are broken on purpose.

    judge.py DESCRIPTION URL PRISM KEY JOB NAME...

URL is that of `mutants.rs`, PRISM the same through Prism as a validating proxy. Prints one JSON object a line:
the mutant's name, and for each tool what it called `wrong` or `odd`, if anything.
"""

import json
import sys

import requests
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

PATH = "/api/open/v3/content/video/infobymodelid"
TIMEOUT = 10
# What a connection comes to that breaks off or is silent. Anything else is a fault of this program.
NO_ANSWER = (
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
    try:
        answer = requests.get(prism + PATH, params={"video_model_id": job}, headers=headers, timeout=TIMEOUT,
                              allow_redirects=False)
    except NO_ANSWER as error:
        return {"wrong": f"no answer: {type(error).__name__}"}
    if "application/problem+json" in answer.headers.get("content-type", ""):
        problem = answer.json()
        places = problem.get("validation") or [{"message": problem.get("detail") or problem["title"]}]
        return {"wrong": "; ".join(place["message"] for place in places)}
    if "sl-violations" in answer.headers:
        return {"odd": "; ".join(place["message"] for place in json.loads(answer.headers["sl-violations"]))}
    return {}


def by_schemathesis(operation, url, headers, job):
    case = operation.Case(query={"video_model_id": job}, headers=headers)
    try:
        answer = case.call(base_url=url, timeout=TIMEOUT, allow_redirects=False)
    except NO_ANSWER as error:
        return {"wrong": f"no answer: {type(error).__name__}"}
    try:
        case.validate_response(answer, checks=CHECKS.get_by_names(RESPONSE_CHECKS))
    except FailureGroup as failures:
        said = [" ".join(f"{one.title}: {one.message}".split()) for one in failures.exceptions]
        return {"wrong": "; ".join(said)}
    return {}


def main():
    description, url, prism, key, job, *names = sys.argv[1:]
    operation = schemathesis.openapi.from_path(description)[PATH]["GET"]
    for name in names:
        headers = {"x-api-key": key, "x-mutant": name}
        said = {"Prism": by_prism(prism, headers, job), "schemathesis": by_schemathesis(operation, url, headers, job)}
        print(json.dumps({"name": name, **said}), flush=True)


if __name__ == "__main__":
    main()
