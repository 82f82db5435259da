#!/usr/bin/env bash
# A real cluster by the first way that works on this machine. Usage: cluster/cluster.sh up|down
#   1. LOCKGATE_KUBECONFIG names one: it is used as it is.
#   2. A Docker engine answers: kind, in a cluster of its own.
#   3. Linux and root: a node of our own (cluster/node.sh).
# Writes build/cluster/kubeconfig and build/cluster/env. The latter holds one shell-quoted NAME=value a line: what demo and
# tests need to know. No kubeconfig, network or process that this script did not make is ever changed.
# shellcheck source=cluster/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

KIND_NAME=lockgate-$NUMBER
KIND_BINARY=$TOOLS_DIR/$KUBERNETES/kind

docker_answers() { command -v docker >/dev/null && timeout 15 docker info >/dev/null 2>&1; }

# write_env WAY KUBECONFIG HOST-ADDRESS
write_env() {
  local name
  {
    printf '%s=%q\n' LOCKGATE_CLUSTER "$1" KUBECONFIG "$2" LOCKGATE_KUBERNETES "$KUBERNETES" LOCKGATE_NODE "$NUMBER" \
      LOCKGATE_CACHE "$CACHE" LOCKGATE_CLUSTER_DIR "$CLUSTER_DIR" LOCKGATE_TOOLS "$TOOLS_DIR/$KUBERNETES" \
      LOCKGATE_IMAGES "$CHECKOUT/cluster/images.sh" LOCKGATE_IMAGE "${LOCKGATE_IMAGE:-localhost/lockgate:dev}" \
      LOCKGATE_HOST "$3"
    for name in kubectl helm helm3 helm4; do printf '%s=%q\n' "${name^^}" "$TOOLS_DIR/$KUBERNETES/$name"; done
  } >"$CLUSTER_DIR/env"
  say "kubeconfig: $2"
  say "settings for scripts and tests: $CLUSTER_DIR/env"
}

# A cluster that the user named: it must answer, and it is left as it is.
up_given() {
  local answer
  answer=$("$TOOLS_DIR/$KUBERNETES/kubectl" --kubeconfig "$LOCKGATE_KUBECONFIG" --request-timeout=15s version 2>&1) ||
    die "the cluster of LOCKGATE_KUBECONFIG=$LOCKGATE_KUBECONFIG does not answer: $(tail -n 1 <<<"$answer")"
  write_env given "$LOCKGATE_KUBECONFIG" "${LOCKGATE_HOST:-}"
}

up_kind() {
  "$CHECKOUT/cluster/tools.sh" kind
  local image=()
  # kind pins its own node image by digest; for another minor version it is taken by tag.
  [[ $KUBERNETES == "$NEWEST" ]] || image=(--image "kindest/node:v$KUBERNETES")
  [[ -z ${LOCKGATE_KIND_IMAGE:-} ]] || image=(--image "$LOCKGATE_KIND_IMAGE")
  if "$KIND_BINARY" get clusters 2>/dev/null | grep -qx "$KIND_NAME"; then
    say "the kind cluster $KIND_NAME is already there"
    "$KIND_BINARY" export kubeconfig --name "$KIND_NAME" --kubeconfig "$CLUSTER_DIR/kubeconfig"
  else
    with_progress "kind: pulling its node image and starting it (1 to 3 minutes the first time)" "$CACHE/log/kind" \
      "$KIND_BINARY" create cluster --name "$KIND_NAME" --kubeconfig "$CLUSTER_DIR/kubeconfig" --wait 180s ${image[@]+"${image[@]}"} ||
      die "kind could not start; LOCKGATE_KIND_IMAGE names another node image"
  fi
  write_env kind "$CLUSTER_DIR/kubeconfig" "$(docker network inspect kind \
    --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m 1 -F . || true)"
}

up_node() {
  "$CHECKOUT/cluster/node.sh" up
  install -m 600 "$CACHE/node/$NUMBER/etc/admin.kubeconfig" "$CLUSTER_DIR/kubeconfig"
  write_env node "$CLUSTER_DIR/kubeconfig" "10.245.$NUMBER.1"
}

up() {
  mkdir -p "$CLUSTER_DIR"
  local way
  if [[ -n ${LOCKGATE_KUBECONFIG:-} ]]; then way=given
  elif docker_answers; then way=kind
  elif [[ $(uname -s) == Linux && $EUID == 0 ]]; then way=node
  else nothing_works; fi
  "$CHECKOUT/cluster/tools.sh" clients
  case $way in
    given) up_given ;;
    kind) up_kind ;;
    node) up_node ;;
  esac
}

nothing_works() {
  local docker='no docker command'
  ! command -v docker >/dev/null || docker='there is a docker command, but no engine answers'
  lacking "no way to a cluster on this machine. Tried: LOCKGATE_KUBECONFIG (not set); Docker ($docker); a node of our own" \
    "(needs Linux as root, here: $(uname -s), user $(id -un)). Install Docker, or run as root, or set LOCKGATE_KUBECONFIG" \
    "to the kubeconfig of a cluster that you may fill with test data."
}

# A node belongs to the checkout that started it, as long as that exists.
down_node() {
  local state=$CACHE/node/$NUMBER owner
  [[ -d $state ]] || return 0
  owner=$(cat "$state/owner" 2>/dev/null || true)
  if [[ -n $owner && $owner != "$CLUSTER_DIR" && -f $owner/env ]]; then
    say "node $NUMBER is left up: it belongs to $owner (cluster/node.sh down stops it all the same)"
  else
    "$CHECKOUT/cluster/node.sh" down
  fi
}

down() {
  local way=''
  if [[ -f $CLUSTER_DIR/env ]]; then way=$(sed -n 's/^LOCKGATE_CLUSTER=//p' "$CLUSTER_DIR/env"); fi
  case $way in
    kind) [[ ! -x $KIND_BINARY ]] || "$KIND_BINARY" delete cluster --name "$KIND_NAME" --kubeconfig "$CLUSTER_DIR/kubeconfig" ;;
    given) say "LOCKGATE_KUBECONFIG's cluster is left as it is" ;;
    *) down_node ;;
  esac
  rm -f "$CLUSTER_DIR/env" "$CLUSTER_DIR/kubeconfig"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) die "usage: cluster/cluster.sh up|down" ;;
esac
