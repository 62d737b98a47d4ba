#!/usr/bin/env bash
# Tests poll.sh against `akool sandbox`. The variable AKOOL selects another program than the one on the path.
set -euo pipefail
cd "$(dirname "$0")"
source ./poll.sh

folder=$(mktemp -d)
"${AKOOL:-akool}" sandbox --listen 127.0.0.1:0 --json > "$folder/events" 2> "$folder/notes" &
sandbox=$!
trap 'kill $sandbox || true; rm -r "$folder"' EXIT
until url=$(grep '"event":"listening"' "$folder/events" | jq -er .url); do
    kill -0 $sandbox || { cat "$folder/notes" >&2; exit 1; }
    sleep 0.05
done
key=sandbox-key-000000000000

# Sends a request to the control API, which openapi/sandbox.yaml describes: control METHOD PATH [JSON]
control() {
    curl --silent --show-error --fail-with-body --request "$1" "$url/__sandbox/$2" \
        ${3:+--header 'content-type: application/json' --data "$3"}
}

# In place of waiting, sets the clock of the sandbox forward.
pause() {
    echo "pause $1"
    control PATCH clock "{\"advance_seconds\": $1}" > /dev/null
}

equal() { diff <(echo "$1") <(echo "$2") || { echo "FAILED: $3" >&2; exit 1; }; }

# Each test starts in the initial state. It fails if its requests were wrong, or if a fault did not happen.
start() {
    control POST reset
    control PATCH clock '{"stopped": true}' > /dev/null
}
finish() {
    equal "$(control GET violations | jq -c .violations)" '[]' "$1: violations"
    equal "$(control GET faults | jq -c .faults)" '[]' "$1: faults that did not happen"
    echo "passed: $1"
}

name="a rate limit and a reset do not end the wait"
start
job=$(control POST jobs '{"steps": [{"status": "queueing", "for": "1 poll"}, {"status": "processing", "for": "1m"}]}' | jq -r .id)
control POST faults '{"on": "polls", "fault": "rate-limited-2"}' > /dev/null
control POST faults '{"on": "polls", "fault": "reset-before-headers"}' > /dev/null
equal "$(poll "$url" "$key" "$job")" "pause 2
pause 30
queueing
pause 30
processing
pause 30
processing
pause 30
completed" "$name"
finish "$name"

name="an unknown job is an error"
start
if error=$(poll "$url" "$key" no-such-job 2>&1); then
    echo "FAILED: $name" >&2
    exit 1
fi
[[ $error == *'"code":1008'* ]]
finish "$name"
