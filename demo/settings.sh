# shellcheck shell=bash disable=SC2034 # the scripts that source this use them
# What run.sh and down.sh agree on. Sourced, never run.
set -euo pipefail
CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$CHECKOUT"
CLUSTER_DIR=${LOCKGATE_CLUSTER_DIR:-$CHECKOUT/build/cluster}
# What the demo made, as one empty file each: `down.sh` removes that and nothing else.
MADE=$CLUSTER_DIR/demo
APPLICATION=lockgate-demo
DATABASE=lockgate-demo-database
OPERATOR=lockgate-system

# The settings of the cluster, and its own tools before all others of this machine.
use_cluster() {
  # shellcheck disable=SC1091 # written by cluster/cluster.sh
  source "$CLUSTER_DIR/env"
  export KUBECONFIG PATH=$LOCKGATE_TOOLS:$PATH
}
