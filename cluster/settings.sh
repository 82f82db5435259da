# shellcheck shell=bash disable=SC2034 # the scripts that source this use them
# What the scripts of this folder agree on: versions, folders, and how they speak. Sourced, never run.
set -euo pipefail

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${LOCKGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockgate}
mkdir -p "$CACHE" && CACHE=$(cd "$CACHE" && pwd -P)

NEWEST=1.37.1 # 1.36.4 is the other one with a module file in go/
KUBERNETES=${LOCKGATE_KUBERNETES:-$NEWEST}
KUBERNETES=${KUBERNETES#v}
MINOR=${KUBERNETES%.*}
HELM3=v3.22.0
HELM4=v4.3.1
COREDNS=v1.15.0
KIND=v0.33.0
COMPOSE=v2.40.3

# Several nodes fit side by side on one machine: the number picks names and address ranges.
NUMBER=${LOCKGATE_NODE:-0}
[[ $NUMBER =~ ^[0-9]{1,2}$ && $NUMBER -le 99 ]] || { echo "lockgate: LOCKGATE_NODE must be 0 to 99, not '$NUMBER'" >&2; exit 2; }

# Where a checkout finds its cluster (kubeconfig, env) and its tools.
CLUSTER_DIR=${LOCKGATE_CLUSTER_DIR:-$CHECKOUT/build/cluster}
TOOLS_DIR=$CHECKOUT/build/tools

export LOCKGATE_CACHE=$CACHE LOCKGATE_KUBERNETES=$KUBERNETES LOCKGATE_NODE=$NUMBER LOCKGATE_CLUSTER_DIR=$CLUSTER_DIR

say() { printf 'lockgate: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
# This machine cannot offer something: `make test` goes on without it (except in CI), which a mere failure does not allow.
lacking() { say "$*"; exit 3; }

# seconds_since START: whole seconds, for progress messages.
seconds_since() { echo $((SECONDS - $1)); }

# with_progress LABEL LOG COMMAND...: run quietly into LOG; every ten seconds say how long it has been and what it does
# now (the last line of LOG); on failure show the end of LOG.
with_progress() {
  local label=$1 log=$2 began=$SECONDS next=10 pid code=0
  shift 2
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  # A background process of a script ignores Ctrl-C, so pass it on.
  # shellcheck disable=SC2064 # the pid of now is meant
  trap "kill $pid 2>/dev/null; exit 130" INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if (($(seconds_since "$began") >= next)); then
      say "  $label: $(seconds_since "$began") s, $(wc -l <"$log") lines, now: $(tail -n 1 "$log" | cut -c1-90)"
      next=$((next + 10))
    fi
  done
  wait "$pid" || code=$?
  trap - INT TERM
  ((code == 0)) || { tail -n 25 "$log" >&2; say "$label failed (exit $code); everything it said: $log"; return "$code"; }
  say "  $label: done in $(seconds_since "$began") s"
}
