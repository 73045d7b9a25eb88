#!/usr/bin/env bash
# Runs what several machines would on this one: PostgreSQL, RabbitMQ, two api, one conductor and two
# computes. Until ^C; then nothing of it is left.
#
#   scripts/cluster.sh   after `make build-cluster image`; `make cluster` does both
#
# Owns: what reprieve-cluster starts and its temporary directory. libvirtd is started if none
# answers, and ended then.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
cluster=${CARGO_TARGET_DIR:-$root/target}/release/reprieve-cluster
[ -x "$cluster" ] || { echo "cluster: $cluster is missing: make build-cluster" >&2; exit 1; }

began=no
"$root/scripts/libvirtd.sh" status >/dev/null || began=yes
running=
end() {
  local code=$?
  trap '' INT TERM
  # It ends everything it started; only then libvirtd may go.
  if [ -n "$running" ] && kill -TERM "$running" 2>/dev/null; then wait "$running" || code=1; fi
  [ $began = no ] || "$root/scripts/libvirtd.sh" stop || code=1
  exit $code
}
trap end EXIT
trap 'exit 0' INT TERM

"$root/scripts/libvirtd.sh" start
# In the background, because only then bash runs the traps at once. That also keeps ^C from it, so
# there is one way for it to end.
"$cluster" &
running=$!
code=0
wait $running || code=$?
running=
exit $code
