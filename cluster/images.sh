#!/usr/bin/env bash
# Container images, built where they are needed: with Docker where an engine answers, else (Linux, root) with buildah.
# Usage: cluster/images.sh build NAME:TAG CONTEXT [ARGUMENTS OF docker build]   skipped when nothing changed
#        cluster/images.sh load NAME:TAG...     into the running cluster; prints the reference to use in a manifest. This
#                                               project's own image gets a tag by its content: a Deployment of an older one
#                                               is rolled out anew, where one tag for all would leave its pods as they are
#        cluster/images.sh operator             builds this project's own image
#        cluster/images.sh clean                forgets everything that buildah built here
# NAME starts with localhost/, so that no cluster ever looks for it anywhere else. With LOCKGATE_KUBECONFIG, `load` pushes
# to LOCKGATE_REGISTRY, from which that cluster must be able to pull.
#
# Where the base images cannot be pulled, a Debian root made by debootstrap stands in under their names (in the storage of
# this project only). A Dockerfile that works on both: `python3 -m venv` instead of pip into the system, apt-get update
# before apt-get install.
# shellcheck source=cluster/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

IMAGE=${LOCKGATE_IMAGE:-localhost/lockgate:dev}
DEBIAN=docker.io/library/debian:trixie-slim
PYTHON=docker.io/library/python:3.13-slim-trixie
BUILDAH=$CACHE/containers
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

engine() {
  [[ -n ${ENGINE:-} ]] || {
    if command -v docker >/dev/null && timeout 15 docker info >/dev/null 2>&1; then ENGINE=docker
    elif [[ $(uname -s) == Linux && $EUID == 0 ]]; then ENGINE=buildah
    else lacking "building images needs a Docker engine, or Linux and root (then buildah is used)"; fi
  }
}

# Storage of our own: the stand-in for a base image must not be taken for the real one by other programs of this machine.
prepare_buildah() {
  need buildah:buildah debootstrap:debootstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
  mkdir -p "$BUILDAH"/{storage,run,tmp}
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/storage"\nrunroot = "%s/run"\n' "$BUILDAH" "$BUILDAH" >"$BUILDAH/storage.conf"
  export CONTAINERS_STORAGE_CONF=$BUILDAH/storage.conf TMPDIR=$BUILDAH/tmp
  exec 8>"$BUILDAH/lock"
  flock -n 8 || { say "waiting for another session that builds images"; flock 8; }
}

# --- what a build may use of this machine ---------------------------------------------------------------------------

# Packages come through whatever way this machine is set up for. Mounted, so that nothing of it ends up in an image.
machine_mounts() {
  local path
  # The bundle and not its folder: Debian packages write certificates of their own next to it.
  for path in /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf; do
    [[ ! -e $path ]] || printf '%s\n' --volume "$path:$path:ro"
  done
  pip_settings >"$SCRATCH/pip.conf"
  printf '%s\n' --volume "$SCRATCH/pip.conf:/etc/pip.conf:ro"
  path=$(sed -n 's/^find-links *= *//p' "$SCRATCH/pip.conf")
  [[ ! -d $path ]] || printf '%s\n' --volume "$path:$path:ro"
}

# pip's effective settings (files and PIP_* variables) as one pip.conf.
pip_settings() {
  echo '[global]'
  python3 -m pip config list 2>/dev/null |
    sed -nE "s/^(global|install|:env:)\.(cert|client-cert|default-timeout|timeout|find-links|index-url|extra-index-url|proxy|trusted-host|retries)='(.*)'$/\2 = \3/p" |
    sed 's/^default-timeout/timeout/' | sort -u -t= -k1,1
}

# --- base images (buildah only) -------------------------------------------------------------------------------------

# base_image NAME: in the storage, pulled or made.
base_image() {
  local name=$1
  ! buildah inspect --type image "$name" >/dev/null 2>&1 || return 0
  # The list of an image is small: when it does not come at once, nothing will.
  if timeout 15 buildah manifest inspect "docker://$name" >/dev/null 2>&1 &&
    with_progress "pulling $name" "$CACHE/log/pull" timeout 600 buildah pull -q "$name"; then return; fi
  say "cannot pull $name here: making a stand-in from Debian packages"
  case $name in
    "$DEBIAN") with_progress "Debian trixie by debootstrap, about a minute" "$CACHE/log/debootstrap" bootstrap_debian ;;
    "$PYTHON")
      base_image "$DEBIAN"
      with_progress "Python from Debian trixie, about half a minute" "$CACHE/log/bootstrap-python" bootstrap_python
      ;;
  esac
}

bootstrap_debian() {
  local container root mirror=${LOCKGATE_DEBIAN_MIRROR:-}
  # The mirror that this machine uses, where it is a Debian.
  # shellcheck disable=SC2016 # apt-get replaces it
  [[ -n $mirror ]] || ! grep -qx 'ID=debian' /etc/os-release ||
    mirror=$(apt-get indextargets --format '$(SITE)' 'Component: main' | sort | grep -m 1 '/debian/*$' || true)
  container=$(buildah from scratch)
  root=$(buildah mount "$container")
  debootstrap --variant=minbase --include=ca-certificates trixie "$root" ${mirror:+"$mirror"}
  rm -rf "${root:?}"/{dev,var/cache/apt/archives,var/lib/apt/lists,var/log,usr/share/doc,usr/share/man,usr/share/locale,usr/share/info}/*
  printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/slim"
  buildah umount "$container"
  buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah commit --rm --quiet "$container" "$DEBIAN"
}

bootstrap_python() {
  local mounts
  mapfile -t mounts < <(machine_mounts)
  buildah build --isolation chroot --network host "${mounts[@]}" --tag "$PYTHON" --file - "$SCRATCH" <<DOCKERFILE
FROM $DEBIAN
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
 && ln -s python3 /usr/bin/python && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/log/*
CMD ["python3"]
DOCKERFILE
}

# --- build ----------------------------------------------------------------------------------------------------------

# What a build depends on, as one hash: arguments, base images, and every file of the context with its mode. A .dockerignore
# that starts with "*" lists with "!" what the build sees; then only that counts.
digest() { # CONTEXT ARGUMENTS...
  local context=$1 argument wanted=(.)
  shift
  if [[ $(head -n 1 "$context/.dockerignore" 2>/dev/null) == '*' ]]; then
    mapfile -t wanted < <(sed -n 's/^!//p' "$context/.dockerignore")
    wanted+=(.dockerignore Dockerfile)
  fi
  {
    printf '%s\n' "$ENGINE" "$@"
    for argument in "$@"; do [[ $argument != *=localhost/* ]] || image_id "${argument#*=}"; done # --build-arg BASE=localhost/...
    (cd "$context" && find "${wanted[@]}" -type f -not -path '*/__pycache__/*' -printf '%m %p\0' | sort -z |
      while IFS= read -r -d '' entry; do printf '%s ' "$entry" && sha256sum <"${entry#* }"; done)
  } | sha256sum | cut -c1-16
}

# The id of an image in the engine's storage, or nothing.
image_id() {
  case $ENGINE in
    docker) docker image inspect --format '{{.Id}}' "$1" 2>/dev/null || true ;;
    buildah) buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null || true ;;
  esac
}

build() {
  local name=${1:?NAME:TAG} context=${2:?CONTEXT} stamp hash earlier file argument base mounts
  shift 2
  [[ $name == localhost/*:* ]] || die "an image built here is called localhost/NAME:TAG, not $name"
  engine
  [[ $ENGINE == docker ]] || prepare_buildah
  # File times of zero make the image the same for the same source, and byte code stale that goes by file times: only
  # our own Dockerfile compiles without them.
  [[ $ENGINE == docker || $name != "$IMAGE" ]] || set -- --timestamp 0 "$@"
  hash=$(digest "$context" "$@")
  stamp=$CACHE/images/$(tr '/:' '__' <<<"$name")
  earlier=$(image_id "$name")
  if [[ -f $stamp && $(<"$stamp") == "$hash $earlier" ]]; then
    say "$name is up to date"
    return
  fi
  if [[ $ENGINE == docker ]]; then
    with_progress "building $name" "$stamp.log" docker build --progress plain --tag "$name" "$@" "$context"
  else
    file=$context/Dockerfile
    for argument in "$@"; do # -f FILE or --file=FILE
      case ${previous:-}$argument in -f*|--file*) file=${argument#--file=} ;; esac
      case $argument in -f | --file) previous=$argument ;; *) previous='' ;; esac
    done
    for base in "$DEBIAN" "$PYTHON"; do
      ! grep -qE "^FROM +(docker.io/library/)?${base#docker.io/library/}( |$)" "$file" || base_image "$base"
    done
    mapfile -t mounts < <(machine_mounts)
    with_progress "building $name" "$stamp.log" buildah build --layers --isolation chroot --network host \
      "${mounts[@]}" --tag "$name" "$@" "$context"
  fi
  mkdir -p "$(dirname "$stamp")"
  echo "$hash $(image_id "$name")" >"$stamp"
  # The one that this replaces would stay for ever, without a name.
  [[ -z $earlier || $earlier == "$(image_id "$name")" ]] || "$ENGINE" rmi --force "$earlier" >/dev/null 2>&1 || true
}

# --- load -----------------------------------------------------------------------------------------------------------

cluster_setting() { sed -n "s/^$1=//p" "$CLUSTER_DIR/env" 2>/dev/null; }

load() {
  local name way
  way=$(cluster_setting LOCKGATE_CLUSTER)
  [[ -n $way ]] || die "no cluster: start one first (make cluster)"
  engine
  [[ $ENGINE == docker ]] || prepare_buildah
  for name in "$@"; do
    [[ -n $(image_id "$name") ]] || die "there is no image $name: build it first (cluster/images.sh build $name FOLDER)"
    [[ $name != "$IMAGE" ]] || name=$(tag_by_content "$name")
    case $way in
      node) load_node "$name" ;;
      kind) with_progress "loading $name into kind" "$CACHE/log/kind-load" \
        "$TOOLS_DIR/$KUBERNETES/kind" load docker-image --name "lockgate-$NUMBER" "$name" ;;
      given) push "$name" ;;
    esac
    if [[ $way == given ]]; then pushed "$name"; else echo "$name"; fi
  done
}

tag_by_content() {
  local id
  id=$(image_id "$1")
  id=${id#sha256:}
  "$ENGINE" tag "$1" "$1-${id:0:12}"
  echo "$1-${id:0:12}"
}

load_node() {
  local name=$1 loaded
  loaded=$CACHE/node/$NUMBER/containerd/loaded-$(tr '/:' '__' <<<"$1")
  if [[ -f $loaded && $(<"$loaded") == "$(image_id "$name")" ]] &&
    "$CHECKOUT/cluster/node.sh" ctr images ls -q "name==$name" | grep -qx "$name"; then
    say "$name is already on the node"
    return
  fi
  save "$name" "$SCRATCH/image.tar"
  with_progress "loading $name into the node" "$CACHE/log/load" "$CHECKOUT/cluster/node.sh" ctr images import "$SCRATCH/image.tar"
  rm -f "$SCRATCH/image.tar"
  image_id "$name" >"$loaded"
  [[ $name != "$IMAGE"-* ]] || forget_older "$name"
}

# Content that has been replaced is of no use on the node, and too large to keep.
forget_older() {
  local older
  for older in $("$CHECKOUT/cluster/node.sh" ctr images ls -q | grep -E "^$IMAGE-[0-9a-f]{12}\$" | grep -vx "$1"); do
    "$CHECKOUT/cluster/node.sh" ctr images rm "$older" >/dev/null
    rm -f "$CACHE/node/$NUMBER/containerd/loaded-$(tr '/:' '__' <<<"$older")"
  done
}

save() { # NAME FILE
  case $ENGINE in
    docker) docker save --output "$2" "$1" ;;
    buildah) buildah push --quiet "$1" "docker-archive:$2:$1" ;;
  esac
}

# Where `push` puts an image.
pushed() { echo "${LOCKGATE_REGISTRY%/}/${1#localhost/}"; }

push() {
  local name=$1 target
  [[ -n ${LOCKGATE_REGISTRY:-} ]] || die "LOCKGATE_KUBECONFIG names the cluster, so LOCKGATE_REGISTRY must name the registry" \
    "that it pulls from, for example LOCKGATE_REGISTRY=registry.example.com/team ($name would be pushed there)"
  target=$(pushed "$name")
  case $ENGINE in
    docker)
      docker tag "$name" "$target"
      with_progress "pushing $target" "$CACHE/log/push" docker push "$target"
      ;;
    buildah) with_progress "pushing $target" "$CACHE/log/push" buildah push "$name" "docker://$target" ;;
  esac
}

clean() {
  [[ ! -d $BUILDAH ]] || { prepare_buildah && buildah rm --all && buildah rmi --all --force; }
  rm -rf "$CACHE/images"
}

case ${1:-} in
  build) shift && build "$@" ;;
  load) shift && load "$@" ;;
  operator) build "$IMAGE" "$CHECKOUT" ;;
  clean) clean ;;
  *) die "usage: cluster/images.sh build NAME:TAG CONTEXT [ARGUMENTS] | load NAME:TAG... | operator | clean" ;;
esac
