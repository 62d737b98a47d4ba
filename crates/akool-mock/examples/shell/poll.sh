# shellcheck shell=bash
# The code under test: `poll URL KEY JOB` waits for a video translation, and prints the status that each poll returns.

INTERVAL=30

pause() { sleep "$1"; }

poll() {
    local target="$1/api/open/v3/content/video/infobymodelid" key=$2 job=$3 head body http
    head=$(mktemp) body=$(mktemp)
    while true; do
        # The key is not among the arguments, which other users of the machine can read.
        if ! http=$(curl --silent --get --data-urlencode "video_model_id=$job" --max-time 10 --dump-header "$head" \
            --output "$body" --write-out '%{http_code}' --header @- "$target" <<< "x-api-key: $key"); then
            pause "$INTERVAL" # The next poll may succeed.
        elif [ "$http" = 429 ]; then
            pause "$(sed -n 's/^retry-after: *\([0-9]*\).*/\1/ip' "$head")"
        elif [ "$http" != 200 ] || [ "$(jq .code "$body")" != 1000 ]; then
            echo "AKOOL answered with HTTP $http: $(cat "$body")" >&2
            rm "$head" "$body"
            return 1
        else
            case $(jq .data.video_status "$body") in
                1) echo queueing ;;
                2) echo processing ;;
                3) echo completed && break ;;
                4) echo failed && break ;;
                *) echo unknown ;;
            esac
            pause "$INTERVAL"
        fi
    done
    rm "$head" "$body"
}
