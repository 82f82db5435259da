# shellcheck shell=bash
# System packages: installed when root on Debian, else named with the command to install them. Sourced, never run.
# shellcheck source=cluster/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# need COMMAND:PACKAGE...: make sure that every command is there. A name with a slash is a file instead of a command.
need() {
  local pair missing=()
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  for pair in "$@"; do
    if [[ $pair == /* ]]; then [[ -e ${pair%%:*} ]]; else command -v "${pair%%:*}" >/dev/null; fi ||
      missing+=("${pair##*:}")
  done
  ((${#missing[@]} == 0)) || provide "${missing[@]}"
}

# provide PACKAGE...: install Debian packages, or say how.
provide() {
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    lacking "missing: $*. Install it, on Debian with: sudo apt-get install --no-install-recommends $*"
  fi
  with_progress "installing Debian packages ($*, about a minute)" "$CACHE/log/packages" install_debian "$@"
}

# Debian starts the servers it installs (etcd, containerd, PostgreSQL); this project wants their binaries only.
install_debian() {
  local policy=/usr/sbin/policy-rc.d ours='' code=0
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    ours=yes
  fi
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"; } || code=$?
  [[ -z $ours ]] || rm -f "$policy"
  return "$code"
}
