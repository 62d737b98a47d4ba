"""Sends the requests of `operations.rs` through `akool contract proxy` and through Prism's proxy.

    proxies.py DESCRIPTION URL AKOOL PRISM MUTANTS

URL is the address of `operations.rs`, AKOOL and PRISM those of the proxies in front of it, and MUTANTS a file with the
JSON objects that it prints. Prints a JSON object for each mutant: its name, and its `violation` or `drift` by tool; the
verdict of akool-contract is in the events of its proxy. schemathesis judges only responses to valid requests.
"""

import json
import sys

import requests
import schemathesis
from judge import TIMEOUT, by_prism_response, checked


def send(url, mutant):
    headers = {"x-mutant": mutant["name"], "accept": "application/json", "accept-encoding": "identity", "connection": "close"}
    if mutant["key"]:
        headers["x-api-key"] = mutant["key"]
    if mutant["content_type"]:
        headers["content-type"] = mutant["content_type"]
    return requests.request(mutant["method"], url + mutant["path"], params=mutant["query"], headers=headers,
                            data=mutant["body"].encode("latin-1"), timeout=TIMEOUT, allow_redirects=False)


def main():
    description, url, akool, prism, file = sys.argv[1:]
    schema = schemathesis.openapi.from_path(description)
    with open(file, encoding="utf-8") as lines:
        mutants = [json.loads(line) for line in lines]
    for mutant in mutants:
        send(akool, mutant)
        verdicts = {"Prism": by_prism_response(lambda: send(prism, mutant)), "schemathesis": {}}
        if mutant["side"] != "request":
            operation = schema[mutant["path"]][mutant["method"]]
            body = {"body": json.loads(mutant["body"])} if mutant["body"] else {}
            case = operation.Case(query=dict(mutant["query"]), **body,
                                  headers={"x-api-key": mutant["key"], "x-mutant": mutant["name"]})
            verdicts["schemathesis"] = checked(case, url)
        print(json.dumps({"name": mutant["name"], **verdicts}), flush=True)


if __name__ == "__main__":
    main()
