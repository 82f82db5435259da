#!/usr/bin/env bash
# A container engine with Docker's API: Docker's own where one answers, else (Linux, root) podman, with storage, settings and
# a network of its own below FOLDER, and the images that cluster/images.sh has built. Usage: cluster/containers.sh FOLDER
# Prints DOCKER_HOST=... (empty: Docker's own) and COMPOSE=<Docker Compose> when it is ready, and serves until its standard
# input ends. podman lives in namespaces of its own, so that nothing of it is left then.
# shellcheck source=cluster/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

FOLDER=${1:?FOLDER}
SOCKET=$FOLDER/podman.sock

ready() {
  printf 'DOCKER_HOST=%s\nCOMPOSE=%s\nready\n' "$1" "$TOOLS_DIR/$KUBERNETES/docker-compose"
  cat >/dev/null
}

settings() {
  # Limits that every root may set; podman would ask for a million files.
  cat >"$FOLDER/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$FOLDER/tmp"
[network]
network_backend = "netavark"
network_config_dir = "$FOLDER/networks"
CONF
  cat >"$FOLDER/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$FOLDER/storage"
runroot = "$FOLDER/run"
[storage.options]
additionalimagestores = ["$CACHE/containers/storage"]
CONF
}

# podman leaves the timer of health checks to systemd, and there may be none.
check_health() {
  while sleep 1; do
    for state in starting healthy unhealthy; do podman ps --quiet --filter "health=$state"; done |
      xargs --no-run-if-empty --max-args=1 podman healthcheck run || true # an unhealthy one is told by its state
  done
}

# Before the end of the namespaces, which ends every process in them: the cgroups of containers would stay.
clean_up() {
  trap - EXIT
  kill "${started[@]}" || true
  podman rm --all --force --time 0 || true
} >/dev/null 2>&1

# Another podman's cgroups have something in them where it is at work.
remove_the_rest() {
  rm -rf "$FOLDER"/{storage,run,tmp,networks} "$SOCKET"
  rmdir /sys/fs/cgroup{,/*}/libpod_parent{/conmon,} 2>/dev/null || true
}

serve_podman() {
  local began=$SECONDS
  export CONTAINERS_CONF=$FOLDER/containers.conf CONTAINERS_STORAGE_CONF=$FOLDER/storage.conf DISABLE_HC_SYSTEMD=true
  settings
  ip link set lo up
  started=()
  trap clean_up EXIT
  podman system service --time 0 "unix://$SOCKET" >"$FOLDER/podman.log" 2>&1 </dev/null &
  started+=($!)
  until [[ -S $SOCKET ]]; do
    if ! kill -0 "${started[0]}" || (($(seconds_since "$began") >= 30)); then
      die "podman does not answer: $(tail -n 3 "$FOLDER/podman.log")"
    fi
    sleep 0.1
  done
  check_health >"$FOLDER/health.log" 2>&1 </dev/null &
  started+=($!)
  ready "unix://$SOCKET"
}

if [[ ${2:-} == inside ]]; then
  serve_podman
elif command -v docker >/dev/null && timeout 15 docker info >/dev/null 2>&1; then
  "$CHECKOUT/cluster/tools.sh" compose >&2
  ready ''
elif [[ $(uname -s) == Linux && $EUID == 0 ]]; then
  need podman:podman runc:runc ip:iproute2 iptables:iptables /usr/lib/podman/netavark:netavark \
    /usr/lib/podman/aardvark-dns:aardvark-dns
  "$CHECKOUT/cluster/tools.sh" compose >&2
  mkdir -p "$FOLDER"
  trap remove_the_rest EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$FOLDER" inside
else
  lacking "running containers needs a Docker engine, or Linux and root (then podman is used)"
fi
