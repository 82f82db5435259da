#!/usr/bin/env bash
# Removes what demo/run.sh made: application, database, Lockgate itself, and the cluster, each only if the demo made it.
# shellcheck source=demo/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

made() { [[ -e $MADE/$1 ]]; }

if [[ ! -d $MADE ]]; then
  echo "demo: nothing to remove"
  exit 0
fi
use_cluster
if made cluster && [[ $LOCKGATE_CLUSTER != given ]]; then
  cluster/cluster.sh down # with everything in it
else
  if made namespaces; then
    kubectl delete namespace "$APPLICATION" "$DATABASE" --ignore-not-found --timeout=120s
  fi
  if made release; then
    helm uninstall lockgate --namespace "$OPERATOR" --ignore-not-found --wait
    kubectl delete --ignore-not-found --filename charts/lockgate/crds/
    kubectl delete namespace "$OPERATOR" --ignore-not-found
  fi
fi
rm -rf "$MADE"
echo "demo: removed"
