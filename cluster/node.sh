#!/usr/bin/env bash
# A real Kubernetes of one node, without Docker: Linux, root. Usage: cluster/node.sh up|down|status|signal NAME SIGNAL
#
# The whole node lives in network, mount and pid namespaces of its own, like a container. One veth pair joins it to the
# host. Ending its first process ends every component and every pod, and takes mounts, bridge and firewall rules along;
# what remains to remove is the veth pair (the routes go with it) and the cgroups, which are all below one of ours.
# Certificates and images survive `down`; etcd survives a crash or a reboot, so that `up` finds its pods again.
# shellcheck source=cluster/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

STATE=$CACHE/node/$NUMBER
BIN=$TOOLS_DIR/$KUBERNETES
NAME=lockgate-$NUMBER
LINK=lockgate$NUMBER
# The cgroup of everything in this node; nobody else's node has its name, so whatever runs in it is ours to end.
GROUP=$NAME-$(sha256sum <<<"$STATE" | cut -c1-8)
HOST=10.245.$NUMBER.1
NODE=10.245.$NUMBER.2
PODS=10.244.$NUMBER.0/24
SERVICES=10.$((96 + NUMBER)).0.0/16
API=6443
# The node sees its state folder here: short (a socket's path has at most 107 characters) and free of blanks.
HERE=/run/node
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

kubectl() { "$BIN/kubectl" --kubeconfig "$STATE/etc/admin.kubeconfig" --request-timeout=5s "$@"; }

# The machine's cgroup hierarchies: one in version 2, one for each controller in version 1.
hierarchies() { awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts; }

# The first process of the node, if it still runs: a pid alone may by now belong to another process.
first_process() {
  local pid started
  read -r pid started 2>/dev/null <"$STATE/node.pid" || return 1
  [[ $(started_at "$pid") == "$started" ]] && echo "$pid"
}

# Field 22 of stat; the name in field 2 may contain blanks, so count after its closing parenthesis.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# wait_for SECONDS WHAT COMPONENT COMMAND...: until COMMAND succeeds; says what it waits for; when it takes too long or the
# component keeps ending, shows the end of that component's log and stops the node.
wait_for() {
  local limit=$1 what=$2 component=$3 began=$SECONDS next=5
  shift 3
  until "$@" >/dev/null 2>&1; do
    sleep 0.1
    first_process >/dev/null || give_up "$component" "the node ended while waiting for $what"
    (($(grep -c "^$component " "$STATE/ended") < 3)) || give_up "$component" "$component does not stay up"
    (($(seconds_since "$began") < limit)) || give_up "$component" "no $what within $limit s"
    (($(seconds_since "$began") < next)) || { say "  waiting for $what: $(seconds_since "$began") s"; next=$((next + 5)); }
  done
}

give_up() {
  local log
  for log in "$STATE/log/node.log" "$STATE/log/$1.log"; do
    [[ ! -s $log ]] || { say "the last lines of $log:"; tail -n 15 "$log" >&2; }
  done
  stop
  die "Kubernetes did not start: $2. All logs: $STATE/log"
}

certificates() (
  [[ ! -f $STATE/etc/node.kubeconfig ]] || return 0
  umask 077
  mkdir -p "$STATE/pki" "$STATE/etc"
  cd "$STATE/pki"
  # Python 3.13 refuses an authority without keyUsage.
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj "/CN=$NAME" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  certificate apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:${SERVICES%.0/16}.1,IP:$NODE"
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate controllers /CN=system:kube-controller-manager DNS:controllers
  certificate scheduler /CN=system:kube-scheduler DNS:scheduler
  certificate node "/O=system:nodes/CN=system:node:$NAME" "DNS:$NAME,IP:$NODE"
  openssl genrsa -out sa.key 2048
  openssl rsa -in sa.key -pubout -out sa.pub
  local user
  for user in admin controllers scheduler node; do kubeconfig "$user" >"$STATE/etc/$user.kubeconfig"; done
)

certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 3650 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3")
}

kubeconfig() { # USER
  cat <<YAML
apiVersion: v1
kind: Config
current-context: $NAME
clusters:
- name: $NAME
  cluster: {server: "https://$NODE:$API", certificate-authority-data: $(base64 -w0 ca.crt)}
contexts:
- name: $NAME
  context: {cluster: $NAME, user: $1}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
YAML
}

configurations() {
  mkdir -p "$STATE/etc/cni"
  cat >"$STATE/etc/containerd.toml" <<TOML
version = 2
root = "$HERE/containerd"
[plugins."io.containerd.internal.v1.opt"]
path = "$HERE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true # without CAP_SYS_RESOURCE every sandbox dies with "can't get final child's PID from pipe: EOF"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$HERE/etc/cni"
TOML
  cat >"$STATE/etc/cni/10-bridge.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  echo "nameserver $NODE" >"$STATE/etc/resolv.conf"
  # A cgroup of its own: two kubelets that share one remove each other's pods as orphans.
  cat >"$STATE/etc/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $HERE/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$GROUP
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failSwapOn: false
failCgroupV1: false
clusterDNS: [$NODE]
clusterDomain: cluster.local
resolvConf: $HERE/etc/resolv.conf
volumePluginDir: $HERE/var-lib/kubelet-plugins
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
tlsCertFile: $HERE/pki/node.crt
tlsPrivateKeyFile: $HERE/pki/node.key
YAML
  cat >"$STATE/etc/Corefile" <<CORE
.:53 {
  bind $NODE
  errors
  ready $NODE:8181
  kubernetes cluster.local {
    kubeconfig $HERE/etc/admin.kubeconfig
    ttl 2
  }
}
CORE
  # masqueradeAll: answers between two pods of one bridge come back through the node also without the module br_netfilter.
  cat >"$STATE/etc/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $NODE
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: $HERE/etc/admin.kubeconfig}
clusterCIDR: $PODS
mode: iptables
iptables: {masqueradeAll: true}
conntrack: {maxPerCore: 0}
hostnameOverride: $NAME
YAML
}

make_cgroups() {
  local top controller file
  for top in $(hierarchies); do
    mkdir -p "$top/$GROUP/node"
    for file in cpuset.cpus cpuset.mems; do # version 1 leaves them empty, and then no process can join
      [[ ! -f $top/cgroup.procs || ! -f $top/$GROUP/$file || -f $top/cgroup.controllers ]] || {
        cat "$top/$file" >"$top/$GROUP/$file"
        cat "$top/$file" >"$top/$GROUP/node/$file"
      }
    done
    [[ -f $top/cgroup.controllers ]] || continue
    for controller in $(<"$top/cgroup.controllers"); do
      echo "+$controller" >"$top/cgroup.subtree_control" || true
      echo "+$controller" >"$top/$GROUP/cgroup.subtree_control" || true
    done
  done
}

remove_cgroups() {
  local top try
  for top in $(hierarchies); do
    for try in $(seq 50); do
      find "$top/$GROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [[ -d $top/$GROUP ]] || break
      ((try < 50)) || { say "cannot remove the cgroup $top/$GROUP"; return 1; }
      sleep 0.1
    done
  done
}

# The first process of the node: starts every component again and again until it is killed.
inside() {
  local folder
  mount -t tmpfs tmpfs /run
  mkdir "$HERE" && mount --bind "$STATE" "$HERE"
  for folder in lib log; do mkdir -p "$HERE/var-$folder" && mount --bind "$HERE/var-$folder" "/var/$folder"; done
  cd "$HERE"
  ip link set lo up
  sysctl -qw net.ipv4.ip_forward=1
  touch "$HERE/inside" # tells `up` that the namespaces are there
  until ip link show eth0 >/dev/null 2>&1; do
    ((SECONDS < 30)) || die "the start was interrupted: nobody connected this node"
    sleep 0.1
  done
  ip addr add "$NODE/30" dev eth0
  ip link set eth0 up
  ip route add default via "$HOST"
  trap 'exit 0' TERM

  keep_running containerd containerd --config etc/containerd.toml
  keep_running etcd etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
  keep_running apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port="$API" \
    --bind-address=0.0.0.0 --advertise-address="$NODE" --service-cluster-ip-range="$SERVICES" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --client-ca-file=pki/ca.crt \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc --kubelet-preferred-address-types=InternalIP \
    --kubelet-certificate-authority=pki/ca.crt --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  ctr --namespace k8s.io images import "$BIN/pause.tar" >/dev/null
  until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
  keep_running controllers "$BIN/kube-controller-manager" --kubeconfig=etc/controllers.kubeconfig --bind-address=127.0.0.1 \
    --authentication-kubeconfig=etc/controllers.kubeconfig --authorization-kubeconfig=etc/controllers.kubeconfig \
    --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --use-service-account-credentials \
    --allocate-node-cidrs --cluster-cidr="$PODS" --leader-elect=false --kube-api-qps=200 --kube-api-burst=400
  keep_running scheduler "$BIN/kube-scheduler" --kubeconfig=etc/scheduler.kubeconfig --bind-address=127.0.0.1 --leader-elect=false
  keep_running proxy "$BIN/kube-proxy" --config etc/proxy.yaml
  keep_running coredns "$BIN/coredns" -conf etc/Corefile
  keep_running kubelet "$BIN/kubelet" --config etc/kubelet.yaml --kubeconfig etc/node.kubeconfig \
    --hostname-override="$NAME" --node-ip="$NODE"
  wait
}

keep_running() { # NAME COMMAND...
  local name=$1
  shift
  while :; do
    "$@" >>"log/$name.log" 2>&1 &
    echo $! >"pids/$name"
    wait $! && echo "$name ended" >>ended || echo "$name ended with exit code $?" >>ended
    sleep 1
  done &
}

is_up() { first_process >/dev/null && [[ -f $STATE/ready ]] && kubectl get --raw /readyz >/dev/null 2>&1; }

# What `up` does with a node that was there before.
settle_earlier_node() {
  if first_process >/dev/null; then
    local running
    running=$(cat "$STATE/version" 2>/dev/null || true)
    [[ $running == "$KUBERNETES" ]] ||
      die "node $NUMBER runs Kubernetes $running: stop it first (make cluster-down) or choose another number (LOCKGATE_NODE=1)"
    [[ ! -f $STATE/ready ]] || wait_for 30 "the API server of the running node" apiserver kubectl get --raw /readyz
    ! is_up || { say "Kubernetes $KUBERNETES is already up (node $NUMBER)"; return 0; }
    say "an earlier start of node $NUMBER did not finish: starting over"
  fi
  stop
  [[ $(cat "$STATE/version" 2>/dev/null) == "$KUBERNETES" ]] || forget
  return 1
}

require() {
  [[ $(uname -s) == Linux && $EUID == 0 ]] || lacking "a node of our own needs Linux and root"
  local place
  for place in /run /var/lib /var/log; do
    [[ $STATE/ != "$place"/* && $(readlink -f "$BIN/kubelet" 2>/dev/null)/ != "$place"/* ]] ||
      die "the node hides $place behind folders of its own: put LOCKGATE_CACHE somewhere else"
  done
  need etcd:etcd-server containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins \
    iptables:iptables ip:iproute2 openssl:openssl pgrep:procps sysctl:procps unshare:util-linux nsenter:util-linux
}

up() {
  require
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock -n 9 || { say "waiting for another session that starts or stops node $NUMBER"; flock 9; }
  ! settle_earlier_node || return 0
  ! ip link show "$LINK" >/dev/null 2>&1 ||
    die "the network link $LINK exists and is not ours (a node with another cache folder?): choose another LOCKGATE_NODE"
  "$CHECKOUT/cluster/tools.sh" clients node 9>&-
  local began=$SECONDS
  say "starting Kubernetes $KUBERNETES (node $NUMBER, $NODE): 5 to 20 s"
  rm -rf "$STATE"/{inside,ready,pids,log,ended}
  mkdir -p "$STATE"/{log,pids,etcd}
  touch "$STATE/ended"
  certificates >"$STATE/log/certificates.log" 2>&1 || { cat "$STATE/log/certificates.log" >&2; die "openssl could not make the certificates"; }
  configurations
  make_cgroups
  echo "$KUBERNETES" >"$STATE/version"
  echo "$CLUSTER_DIR" >"$STATE/owner" # cluster.sh asks: another checkout may use this node, and leaves it up
  start_first_process
  connect
  wait_for 60 "an API server" apiserver kubectl get --raw /readyz
  wait_for 60 "a ready node" kubelet node_is_ready
  wait_for 60 "service accounts" controllers kubectl get serviceaccount default
  wait_for 30 "name resolution" coredns names_resolve
  touch "$STATE/ready"
  say "Kubernetes $KUBERNETES is up after $(seconds_since "$began") s"
}

# The node gets none of the caller's environment: a proxy variable would send the API server to the kubelet through it.
start_first_process() {
  local outer pid
  (
    for top in $(hierarchies); do echo 0 >"$top/$GROUP/node/cgroup.procs"; done
    exec setsid env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 LOCKGATE_CACHE="$CACHE" LOCKGATE_KUBERNETES="$KUBERNETES" \
      LOCKGATE_NODE="$NUMBER" unshare --mount --net --pid --ipc --fork --kill-child --mount-proc \
      "$BASH" "$CHECKOUT/cluster/node.sh" inside
  ) >"$STATE/log/node.log" 2>&1 </dev/null 9>&- &
  outer=$!
  disown "$outer"
  for _ in $(seq 100); do
    if pid=$(pgrep -P "$outer") && [[ -f $STATE/inside ]]; then
      echo "$pid $(started_at "$pid")" >"$STATE/node.pid"
      return
    fi
    sleep 0.1
  done
  tail -n 15 "$STATE/log/node.log" >&2
  stop
  die "cannot make namespaces for the node"
}

connect() {
  { ip link add "$LINK" type veth peer name eth0 netns "$(first_process)" && touch "$STATE/link" &&
    ip addr add "$HOST/30" dev "$LINK" && ip link set "$LINK" up &&
    ip route add "$PODS" via "$NODE" && ip route add "$SERVICES" via "$NODE"; } 2>"$STATE/log/network.log" ||
    give_up network "cannot connect it ($HOST/30, $PODS, $SERVICES): choose another LOCKGATE_NODE if these addresses are taken"
}

# shellcheck disable=SC2329 # called through wait_for
node_is_ready() { kubectl get node "$NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True; }

# shellcheck disable=SC2329 # called through wait_for
names_resolve() {
  timeout 2 bash -c "exec 3<>/dev/tcp/$NODE/8181; printf 'GET /ready HTTP/1.0\r\n\r\n' >&3; grep -q ' 200 ' <&3"
}

# Everything that runs in the node, as the host counts: also what an interrupted start left without a recorded pid.
processes() {
  local top
  for top in $(hierarchies); do
    find "$top/$GROUP" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | grep -vx 0 | sort -un
}

stop() {
  local pid running
  ! pid=$(first_process) || kill -KILL "$pid" # the kernel ends the rest of its pid namespace
  for _ in $(seq 100); do
    running=$(processes || true)
    [[ -n $running ]] || break
    # shellcheck disable=SC2086 # several pids
    kill -KILL $running 2>/dev/null || true
    sleep 0.05
  done
  [[ -z $running ]] || die "processes of node $NUMBER do not end: $running"
  # Our link, if it is still there: its other end was in the namespace that has just ended.
  [[ ! -f $STATE/link ]] || ip link del "$LINK" 2>/dev/null || true
  rm -f "$STATE/node.pid" "$STATE/ready" "$STATE/link"
  remove_cgroups
}

# What `down` throws away: the cluster itself. Certificates and images stay.
forget() { rm -rf "$STATE"/{etcd,var-lib,var-log,version}; }

down() {
  [[ -d $STATE ]] || { say "node $NUMBER was never started"; return 0; }
  exec 9>"$STATE/lock"
  flock 9
  local was=gone
  ! first_process >/dev/null || was=running
  stop
  forget
  if [[ $was == running ]]; then say "node $NUMBER is down"; else say "node $NUMBER was not running"; fi
}

status() { if is_up; then echo "up $(cat "$STATE/version") $STATE/etc/admin.kubeconfig $HOST"; else echo down; return 1; fi; }

# For tests of faults: a killed component comes back after a second, a stopped one (STOP) stays so until CONT.
signal() { # COMPONENT SIGNAL
  nsenter --target "$(first_process)" --pid --mount kill "-$2" "$(<"$STATE/pids/$1")"
}

# ctr [ARGUMENTS...]: containerd's client inside the node.
containerd_client() { nsenter --target "$(first_process)" --mount ctr --namespace k8s.io "$@"; }

case ${1:-} in
  up) up ;;
  down) down ;;
  status) status ;;
  inside) inside ;;
  signal) signal "${2:?component}" "${3:?signal}" ;;
  ctr) shift && containerd_client "$@" ;;
  *) die "usage: cluster/node.sh up|down|status|signal COMPONENT SIGNAL|ctr ARGUMENTS" ;;
esac
exit # the node's first process must not read on in a file that may have changed since
