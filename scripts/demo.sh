#!/usr/bin/env bash
# Walks a real guest through pause, suspend and rescue, and checks what it shows.
#
#   scripts/demo.sh      after `make build-demo image`; `make demo` does both
#   CLUSTER=1 ...        on two api, a conductor and two computes with PostgreSQL and RabbitMQ
#
# Owns: one temporary directory with everything the demo's reprieved has, and what it started in it.
# libvirtd is started if none answers, and ended then. All of that also after ^C.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
demo=${CARGO_TARGET_DIR:-$root/target}/release/reprieve-demo
[ -x "$demo" ] || { echo "demo: $demo is missing: make build-demo" >&2; exit 1; }

began=no
"$root/scripts/libvirtd.sh" status >/dev/null || began=yes
# Whoever comes next finds by the number in the name whether this still runs.
dir=$(mktemp -d "${TMPDIR:-/tmp}/reprieve-e2e-$$-demo.XXXXXX")
chmod 0711 "$dir" # QEMU may have to pass as another user

walk=
end() {
  local code=$?
  trap '' INT TERM
  if [ -n "$walk" ] && kill -TERM "$walk" 2>/dev/null; then wait "$walk" 2>/dev/null || true; fi
  "$demo" clean "$dir" || code=1
  [ $began = no ] || "$root/scripts/libvirtd.sh" stop || code=1
  exit $code
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$root/scripts/libvirtd.sh" start
# In the background, because only then bash runs the traps at once.
case ${CLUSTER:-} in '' | 0 | no) how=walk ;; *) how=walk-cluster ;; esac
"$demo" $how "$dir" &
walk=$!
code=0
wait $walk || code=$?
walk=
exit $code
