"""Teaches schemathesis the service's own convention: errors have HTTP status 200 and a `code`.

Loaded for the second run only. Each answer gets, before anything judges it, the HTTP status that its `code`
stands for. The tool's own checks of what must be refused then judge the sandbox by their own rules, those
too that ask a second time (`ignored_auth`), which is why this sits under all hooks.
"""

import json

from schemathesis.transport.requests import RequestsTransport

# Code: the HTTP status that says the same. Any other code fails as a server's error.
STATUSES = {1000: 200, 1003: 400, 1008: 404, 1014: 404, 1101: 401, 1102: 401}

send = RequestsTransport.send


def send_and_translate(self, case, **options):
    response = send(self, case, **options)
    if response.status_code == 200:
        try:
            response.status_code = STATUSES.get(json.loads(response.content)["code"], 500)
        except (ValueError, KeyError, TypeError):
            pass
    return response


RequestsTransport.send = send_and_translate
