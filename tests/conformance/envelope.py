"""Translates the `code` of each response into an HTTP status for schemathesis.

The service reports errors with HTTP status 200 and a `code`. The second run loads this module, so that the checks
for rejected requests apply. It patches the transport and not a hook, because the check `ignored_auth` sends a
second request.
"""

import json

from schemathesis.transport.requests import RequestsTransport

# HTTP status by code. Any other code is a server error.
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
