#!/usr/bin/env bash
# Slots the release build into the side-by-side performance harness (see README.md here), which calls
# it by way of candidate.json:
#
#   candidate.sh serve     writes the config, makes the account, becomes the gateway
#   candidate.sh cookie    prints the Cookie header of a signed-in caller
#
# Everything is on as it is by default: access log to a file, metrics, limits, CSRF guard, a hundred
# routes. What differs from the defaults is said in the config below, with its reason.
set -euo pipefail

: "${SALLYPORT:?the checkout to be measured}" "${BENCH_RUN:?}" "${BENCH_PORT:?}"
binary=${SALLYPORT_BIN:-${CARGO_TARGET_DIR:-$SALLYPORT/target}/release/sallyport}
config=$BENCH_RUN/gateway.toml
login=ada
password=correct-horse-battery-staple
url=https://localhost:$BENCH_PORT

write_config() {
    cat <<TOML
[listen]
https = "127.0.0.1:$BENCH_PORT"
http = "127.0.0.1:$((BENCH_PORT + 100))"
admin = "127.0.0.1:$((BENCH_PORT + 200))"
public_url = "$url"
cores = $BENCH_WORKERS                  # as many as the peers have workers

[tls]
certificate = "$BENCH_CERT"
key = "$BENCH_KEY"

[store]
url = "sqlite://$BENCH_RUN/sallyport.db"

[session]
access_ttl = "24h"                      # one login lasts for a whole measurement

[csrf]
unmarked = "allow"                      # the load generators mark no request; the guard still looks

[limits]
connections_per_network = 5000          # all load comes from one address

[log]
access = { file = "$BENCH_RUN/access.log" }

[[upstream]]
name = "app"
servers = ["http://$BENCH_BACKEND"]
TOML
    local n access
    for n in $(seq 99); do
        case $((n % 3)) in
            0) access='"public"' ;;
            1) access='"optional"' ;;
            *) access='{ permissions = ["admin"] }' ;;
        esac
        printf '\n[[route]]\npath = "/section-%02d/*/item/**"\nupstream = "app"\naccess = %s\n' \
            "$n" "$access"
    done
    printf '\n[[route]]\npath = "/**"\nupstream = "app"\naccess = "required"\n'
}

serve() {
    [ -x "$binary" ] || {
        echo "candidate.sh: no release build at $binary: cargo build --release, or set SALLYPORT_BIN" >&2
        exit 1
    }
    mkdir -p "$BENCH_RUN"
    write_config >"$config"
    : >"$BENCH_RUN/access.log" # A long measurement writes gigabytes: each start begins anew.
    "$binary" check --config "$config"
    "$binary" user show "$login" --config "$config" >/dev/null 2>&1 ||
        printf '%s\n' "$password" | "$binary" user add "$login" --password-stdin --config "$config"
    exec "$binary" run --config "$config"
}

# Asked for before each cell: one login serves them all, as it does for a person.
cookie() {
    local kept=$BENCH_RUN/cookie head value
    local curl=(curl --silent --show-error --insecure --max-time 10
        --resolve "localhost:$BENCH_PORT:127.0.0.1")
    if [ -s "$kept" ] && "${curl[@]}" --fail -o /dev/null -H "Cookie: $(cat "$kept")" "$url/whoami"; then
        cat "$kept"
        return
    fi
    head=$("${curl[@]}" --fail --dump-header - -o /dev/null -H 'Content-Type: application/json' \
        --data "{\"username\":\"$login\",\"password\":\"$password\"}" "$url/auth/login")
    value=$(printf '%s\n' "$head" | tr -d '\r' |
        sed -n 's/^[Ss]et-[Cc]ookie: \(__Host-sallyport_access=[^;]*\).*/\1/p')
    [ -n "$value" ] || {
        printf 'candidate.sh: the login set no access cookie:\n%s\n' "$head" >&2
        exit 1
    }
    (umask 077 && printf '%s\n' "$value" >"$kept")
    printf '%s\n' "$value"
}

case ${1:-} in
    serve) serve ;;
    cookie) cookie ;;
    *)
        echo "usage: candidate.sh serve|cookie" >&2
        exit 64
        ;;
esac
