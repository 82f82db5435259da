#!/usr/bin/env bash
# Lockgate at work, on a real Kubernetes: every command is printed before its output, and you can type it yourself.
# Fails when something that it promises is not seen. `demo/down.sh` removes what it made.
# shellcheck source=demo/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# --- how it speaks --------------------------------------------------------------------------------------------------

step() { printf '\n\n=== %s\n' "$1"; }

tell() { printf '\n%s\n' "$1" | fold -s -w 100; }

# show COMMAND...: print it as one would type it, then run it. What it said is in $said afterwards.
show() {
  local word line='$'
  for word in "$@"; do
    # Quoted only where a shell needs it.
    if [[ $word =~ ^[A-Za-z0-9_./:=,@+-]+$ ]]; then line+=" $word"; else line+=" '$word'"; fi
  done
  printf '\n%s\n' "$line"
  said=$("$@" 2>&1) || { printf '%s\n' "$said"; die "that was not supposed to fail"; }
  printf '%s\n' "$said"
}

die() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

# expect TEXT WHY: what has been seen so far in this step must contain TEXT.
expect() { [[ $seen == *"$1"* ]] || die "expected to see '$1': $2"; }

# look_until SECONDS CONDITION...: show resource and pods every two seconds until CONDITION succeeds, and once more then.
look_until() {
  local deadline=$((SECONDS + $1)) over=''
  shift
  while :; do
    ! "$@" || over=yes
    show kubectl get databasemigrations,pods
    seen+=$said
    note=$(kubectl get dbm shop -o jsonpath='{.status.run.step}  {.status.run.statement}' 2>/dev/null || true)
    [[ -z ${note// /} ]] || printf '\n  now: %.130s\n' "$note"
    seen+=$note
    [[ -z $over ]] || return 0
    ((SECONDS < deadline)) || die "this takes too long"
    sleep 2
  done
}

condition() { # TYPE STATUS: holds for the newest spec
  [[ $(kubectl get dbm shop -o jsonpath="{.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type==\"$1\")].status}") =~ ^([0-9]+)\ ([0-9]+)\ $2$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]
}

ask_the_shop() {
  show kubectl get --raw "/api/v1/namespaces/$APPLICATION/services/shop:8000/proxy/healthz"
  [[ $said == *"\"shop\": $1,"* ]] || die "version $1 of the shop should have answered"
}

# --- what is needed -------------------------------------------------------------------------------------------------

had_cluster=$([[ ! -f $CLUSTER_DIR/env ]] || echo yes)
cluster/cluster.sh up
mkdir -p "$MADE"
[[ -n $had_cluster ]] || touch "$MADE/cluster"
use_cluster
cluster/images.sh operator
cluster/images.sh build localhost/postgres:lockgate tests/images/postgres
for version in 1 2 3 4; do cluster/images.sh build "localhost/shop:$version" examples/shop --build-arg "VERSION=$version"; done
operator=$(cluster/images.sh load "$LOCKGATE_IMAGE")
postgres=$(cluster/images.sh load localhost/postgres:lockgate)
for version in 1 2 3 4; do shop=$(cluster/images.sh load "localhost/shop:$version"); done
shop=${shop%:*}

for place in "$APPLICATION" "$DATABASE"; do
  if kubectl get namespace "$place" >/dev/null 2>&1; then
    [[ -e $MADE/namespaces ]] || die "the namespace $place exists, and the demo did not make it"
    printf 'demo: removing %s of an earlier run\n' "$place" >&2
    kubectl delete namespace "$place" --timeout=120s >/dev/null
  fi
done

# A kubeconfig of the demo's own, so that no command below needs a namespace.
install -m 600 "$KUBECONFIG" "$MADE/kubeconfig"
export KUBECONFIG=$MADE/kubeconfig
kubectl config set-context --current --namespace="$APPLICATION" >/dev/null

# --- 1 --------------------------------------------------------------------------------------------------------------

step "1. Install Lockgate"
tell "To type along in another terminal:"
# shellcheck disable=SC2016 # for the reader's shell to replace
printf '\n$ export KUBECONFIG=%q PATH=%q:$PATH\n' "$KUBECONFIG" "$LOCKGATE_TOOLS"

helm status lockgate --namespace "$OPERATOR" >/dev/null 2>&1 || touch "$MADE/release"
show kubectl apply --server-side --force-conflicts --field-manager=helm --filename charts/lockgate/crds/
show helm upgrade --install lockgate charts/lockgate --namespace "$OPERATOR" --create-namespace \
  --set "image.repository=${operator%:*},image.tag=${operator##*:}" --wait --timeout 2m --hide-notes
tell "Is the gate at work? The chart's test knows."
show helm test lockgate --namespace "$OPERATOR"

# --- 2 --------------------------------------------------------------------------------------------------------------

step "2. A database, and a namespace that accepts only restricted pods"
kubectl create namespace "$DATABASE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
touch "$MADE/namespaces"
sed "s#localhost/postgres:lockgate#$postgres#" tests/images/postgres/postgres.yaml | kubectl -n "$DATABASE" apply -f - >/dev/null
show kubectl create namespace "$APPLICATION"
show kubectl label namespace "$APPLICATION" pod-security.kubernetes.io/enforce=restricted
kubectl -n "$DATABASE" rollout status deployment/postgres --timeout=120s >/dev/null
psql() { kubectl -n "$DATABASE" exec -i deployment/postgres -- psql -h /tmp -U postgres "$@"; }
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf "CREATE ROLE shop LOGIN PASSWORD '%s';\nCREATE DATABASE shop OWNER shop;\n" "$password" | psql -q
(umask 077 && echo "url=postgresql+psycopg://shop:$password@postgres.$DATABASE:5432/shop" >"$MADE/shop-db.env")
tell "The URL is in a Secret. Lockgate's operator may not read Secrets; it passes on the name."
show kubectl create secret generic shop-db --from-env-file="$MADE/shop-db.env"
rm "$MADE/shop-db.env"

# --- 3 --------------------------------------------------------------------------------------------------------------

step "3. Version 1: Deployment and migration in one chart"
tell "The Deployment has one line for Lockgate, a label. The DatabaseMigration says which image contains the revisions and where the URL is."
show grep -B 1 lockgate.dev/migration examples/shop/chart/templates/deployment.yaml
show cat examples/shop/manifests/migration.yaml
show helm install shop examples/shop/chart --set "image=$shop,version=1"
tell "Helm has created the Deployment first. Its pods are held (SchedulingGated) until the schema is there."
seen=''
look_until 90 condition Ready True
expect SchedulingGated "the first pods wait for the schema"
show kubectl rollout status deployment/shop --timeout=180s
ask_the_shop 1

# --- 4 --------------------------------------------------------------------------------------------------------------

step "4. Version 2: a slow migration, and nobody notices"
tell "One revision adds a column, the next one fills it in for 15 seconds. The pods of version 1 keep serving; the new pod is held."
show helm upgrade shop examples/shop/chart --set "image=$shop,version=2"
seen=''
look_until 120 condition Ready True
expect SchedulingGated "the new pod waits for its schema"
expect Running "phases of the resource"
expect 'UPDATE orders' "what the migration does"
tell "The schema is verified, the gate is open, and the rollout finishes:"
show kubectl rollout status deployment/shop --timeout=180s
ask_the_shop 2

# --- 5 --------------------------------------------------------------------------------------------------------------

step "5. Version 3: a migration that fails"
tell "It wants one account per address, and two customers share one."
show helm upgrade shop examples/shop/chart --set "image=$shop,version=3"
seen=''
look_until 90 condition Stalled True
expect Failed "the phase of the resource"
tell "The old pods serve, the new one never started, the database is as it was. What failed, and what is to be done:"
show kubectl get databasemigration shop -o 'jsonpath={.status.conditions[?(@.type=="Stalled")].message}'
[[ $said == *one_account_per_address* ]] || die "the message should name the constraint"
ask_the_shop 2
tell "Nothing has to be repaired. Back to version 2:"
show helm rollback shop 2
seen=''
look_until 60 condition Ready True
show kubectl rollout status deployment/shop --timeout=180s

# --- 6 --------------------------------------------------------------------------------------------------------------

step "6. Version 4: the revision, corrected"
show helm upgrade shop examples/shop/chart --set "image=$shop,version=4"
show kubectl wait --for=condition=Ready databasemigration/shop --timeout=180s
show kubectl rollout status deployment/shop --timeout=180s
ask_the_shop 4
tell "What happened here, as the resource tells it and as the database itself remembers it:"
show kubectl get databasemigration shop -o 'jsonpath={range .status.history[*]}{.startedAt}{"  "}{.image}{"  "}{.outcome}{"  "}{.reason}{"\n"}{end}'
show kubectl -n "$DATABASE" exec deployment/postgres -- psql -h /tmp -U postgres -d shop -c 'SELECT revision, message, image FROM lockgate.history ORDER BY revision'

step "Done. 'make demo-down' removes all of it."
