#!/usr/bin/env bash
# The tools of the project as real binaries of fixed versions, compiled from Go modules (Go verifies every module against
# its checksum database, and Kubernetes against the go.sum beside its go.mod). Kept in the cache by version, linked into
# build/tools. Usage: cluster/tools.sh [clients|node|kind|compose]...
#   clients   kubectl, helm3, helm4 (and helm, which is Helm 4)
#   node      Kubernetes itself, CoreDNS, the pause image
#   kind      kind, for machines with a Docker engine
#   compose   Docker Compose
# shellcheck source=cluster/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

MODULE=$CHECKOUT/cluster/go/$MINOR
LINKS=$TOOLS_DIR/$KUBERNETES
export GOTOOLCHAIN=local GOWORK=off

# go_command ARGUMENTS...: Go 1.26 of this machine, or of a container where there is a Docker engine and no Go.
go_command() {
  if [[ $(go_version) == go1.26.* ]]; then go "$@"; else
    docker run --rm --user "$(id -u):$(id -g)" --volume "$CACHE:$CACHE" --volume "$CHECKOUT/cluster:$CHECKOUT/cluster:ro" --workdir "$PWD" \
      --env CGO_ENABLED=0 --env HOME="$CACHE/go" --env GOPATH="$CACHE/go" --env GOCACHE="$CACHE/go/build" \
      --env GOTOOLCHAIN=local --env GOBIN --env GOPROXY --env GOSUMDB golang:1.26 go "$@"
  fi
}

go_version() { go env GOVERSION 2>/dev/null || true; }

need_go() {
  [[ $(go_version) == go1.26.* ]] && return
  timeout 10 docker info >/dev/null 2>&1 && return
  local found
  found=$(go_version)
  lacking "compiling the tools needs Go 1.26 (here: ${found:-none}). Newer ones build API servers that serve a malformed" \
    "OpenAPI document, older ones cannot build Kubernetes $KUBERNETES. Install Go 1.26 (https://go.dev/dl) or start Docker."
}

# compile NAME MINUTES FOLDER COMMAND...: run COMMAND with GOBIN set to a fresh folder, which becomes FOLDER when all went well.
compile() {
  local name=$1 minutes=$2 folder=$3
  shift 3
  [[ -d $folder ]] && return
  need_go
  exec 9>"$TOOLS/lock"
  flock -n 9 || { say "waiting for another session that compiles"; flock 9; }
  [[ -d $folder ]] && return
  say "compiling $name: about $minutes on two cores, once; kept in $folder"
  rm -rf "$folder.part" && mkdir -p "$folder.part"
  GOBIN=$folder.part with_progress "$name" "$CACHE/log/compile-$(basename "$folder")" "$@" 9>&-
  mv "$folder.part" "$folder"
  flock -u 9
}

kubernetes_binaries() { # PACKAGE...; the module file names the commands of Kubernetes as its tools
  local version=k8s.io/component-base/version
  cd "$MODULE" && go_command build -v -mod=readonly -trimpath -o "$GOBIN/" -ldflags \
    "-s -w -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=${MINOR%.*} -X $version.gitMinor=${MINOR#*.}" "$@"
}

install_module() { cd "$CACHE" && go_command install -v -trimpath -ldflags "-s -w ${2:-}" "$1"; }

# link BINARY NAME: for this version of Kubernetes; for the newest one also without a version in the path.
link() {
  ln -sfn "$1" "$LINKS/$2"
  [[ $KUBERNETES != "$NEWEST" ]] || ln -sfn "$1" "$TOOLS_DIR/$2"
}

clients() {
  local helm version
  compile "kubectl $KUBERNETES" "1 minute" "$TOOLS/kubectl-$KEY" kubernetes_binaries k8s.io/kubernetes/cmd/kubectl
  link "$TOOLS/kubectl-$KEY/kubectl" kubectl
  for version in "$HELM3" "$HELM4"; do
    helm=helm.sh/helm/${version%%.*}
    compile "Helm $version" "2 minutes" "$TOOLS/helm-$version" \
      install_module "$helm/cmd/helm@$version" "-X $helm/internal/version.version=$version"
    link "$TOOLS/helm-$version/helm" "helm${version:1:1}"
  done
  link "$TOOLS/helm-$HELM4/helm" helm
}

node() {
  compile "Kubernetes $KUBERNETES" "4 minutes" "$TOOLS/kubernetes-$KEY" kubernetes_binaries \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet}
  compile "CoreDNS $COREDNS" "2 minutes" "$TOOLS/coredns-$COREDNS" install_module "github.com/coredns/coredns@$COREDNS"
  compile "the pause image" "10 seconds" "$TOOLS/pause-1" pause_image
  ln -sfn "$TOOLS/pause-1/pause.tar" "$LINKS/pause.tar"
  local binary
  for binary in "$TOOLS/kubernetes-$KEY"/kube-* "$TOOLS/kubernetes-$KEY/kubelet" "$TOOLS/coredns-$COREDNS/coredns"; do
    ln -sfn "$binary" "$LINKS/$(basename "$binary")"
  done
}

# The image that holds a pod's namespaces, as an archive that containerd imports: one program, no base image.
pause_image() {
  (cd "$CHECKOUT/cluster/pause" && CGO_ENABLED=0 go_command build -trimpath -ldflags "-s -w" -o "$GOBIN/pause" .)
  cd "$GOBIN" && tar --create --owner=0 --group=0 --file layer.tar pause
  printf '{"architecture":"%s","os":"linux","config":{"User":"65535","Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go_command env GOARCH)" "$(sha256sum layer.tar | cut -d' ' -f1)" >config.json
  printf '[{"Config":"config.json","RepoTags":["localhost/pause:1"],"Layers":["layer.tar"]}]' >manifest.json
  tar --create --file pause.tar manifest.json config.json layer.tar
}

kind() {
  compile "kind $KIND" "10 seconds" "$TOOLS/kind-$KIND" install_module "sigs.k8s.io/kind@$KIND"
  link "$TOOLS/kind-$KIND/kind" kind
}

compose() {
  compile "Docker Compose $COMPOSE" "3 minutes" "$TOOLS/compose-$COMPOSE" compose_binary
  link "$TOOLS/compose-$COMPOSE/docker-compose" docker-compose
}

# Its module says `exclude`, which `go install` refuses: so it is the tool of a module of ours.
compose_binary() {
  cd "$CHECKOUT/cluster/go/compose" && CGO_ENABLED=0 go_command build -v -mod=readonly -trimpath -o "$GOBIN/docker-compose" \
    -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$COMPOSE" github.com/docker/compose/v2/cmd
}

[[ -f $MODULE/go.mod ]] || die "no module file for Kubernetes $KUBERNETES: cluster/go has $(cd "$CHECKOUT/cluster/go" && echo *)"
[[ $(<"$CHECKOUT/cluster/go/compose/go.mod") == *"github.com/docker/compose/v2 $COMPOSE "* ]] ||
  die "cluster/go/compose/go.mod pins another version than $COMPOSE"
[[ $(<"$MODULE/go.mod") == *"k8s.io/kubernetes v$KUBERNETES "* ]] ||
  die "cluster/go/$MINOR/go.mod pins another patch version than $KUBERNETES"
TOOLS=$CACHE/tools
KEY=$KUBERNETES-$(cat "$MODULE/go.mod" "$MODULE/go.sum" | sha256sum | cut -c1-8)
mkdir -p "$TOOLS" "$LINKS"
for what in "${@:-clients}"; do
  case $what in
    clients) clients ;;
    node) node ;;
    kind) kind ;;
    compose) compose ;;
    *) die "unknown: $what (clients, node, kind or compose)" ;;
  esac
done
