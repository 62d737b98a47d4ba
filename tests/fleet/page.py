"""Opens a page in Chromium that tries to start a job on a fleet: page.py INGRESS ADMIN WORKER"""

import http.server
import shutil
import sys
import threading

from playwright.sync_api import sync_playwright

INGRESS, ADMIN, WORKER = sys.argv[1:]
WORK = "default." + "e" * 64
CREATE = f"""{{"work": {{"id": "{WORK}", "credential": "default",
    "request": {{"url": "https://example.com/evil.mp4", "language": "es"}}}}}}"""


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Another origin</title>")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
JSON = {"content-type": "application/json"}
TRIES = [
    # Where, with which body and headers, and whether the page asks to read the answer.
    (f"{INGRESS}/restate/call/Translation/{WORK}/create", CREATE, JSON, "cors"),
    (f"{INGRESS}/Translation/{WORK}/create", CREATE, JSON, "cors"),
    (f"{INGRESS}/restate/send/Translation/{WORK}/create", CREATE, JSON, "cors"),
    (f"{INGRESS}/restate/call/Translation/{WORK}/create", CREATE, {}, "no-cors"),
    (f"{INGRESS}/restate/call/Job/evil/watch", "{}", JSON, "cors"),
    (f"{INGRESS}/restate/call/Job/evil/start", "{}", JSON, "cors"),
    (f"{INGRESS}/restate/call/Credential/default/set_limits", '{"per_second": 0.01}', JSON, "cors"),
    (f"{ADMIN}/deployments", f'{{"uri": "{WORKER}"}}', JSON, "cors"),
    (f"{ADMIN}/deployments", f'{{"uri": "{WORKER}"}}', {}, "no-cors"),
    (f"{ADMIN}/query", '{"query": "SELECT * FROM state"}', JSON, "cors"),
]
FETCH = """async ([url, body, headers, mode]) => {
    try {
        const answer = await fetch(url, { method: 'POST', body, headers, mode });
        return `${answer.status} ${answer.type}`;
    } catch (error) { return `blocked: ${error.message}`; }
}"""

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    tab = browser.new_page()
    tab.goto(f"http://localhost:{server.server_address[1]}/")
    for url, body, headers, mode in TRIES:
        answer = tab.evaluate(FETCH, [url, body, headers, mode])
        assert not answer.startswith("200"), (url, answer)
        print(f"    page of another origin: {url.split('/', 3)[3][:40]} ({mode}): {answer}", flush=True)
    browser.close()
