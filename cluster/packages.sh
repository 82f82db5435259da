# shellcheck shell=bash
# System packages: installed when root on Debian, else named with the command to install them. Sourced, never run.

# need COMMAND:PACKAGE...: make sure that every command is there. A name with a slash is a file instead of a command.
need() {
  local pair missing=()
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  for pair in "$@"; do
    if [[ $pair == /* ]]; then [[ -e ${pair%%:*} ]]; else command -v "${pair%%:*}" >/dev/null; fi ||
      missing+=("${pair##*:}")
  done
  ((${#missing[@]})) || return 0
  local install="apt-get install --no-install-recommends ${missing[*]}"
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    say "missing: ${missing[*]}. Install it, on Debian with: sudo $install"
    return 1
  fi
  with_progress "installing Debian packages (${missing[*]}, about a minute)" "$CACHE/log/packages" install_debian "${missing[@]}"
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
