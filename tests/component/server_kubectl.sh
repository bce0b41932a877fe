#!/bin/bash
# The control plane alone, driven by the stock kubectl: verbs, patches, selectors, watches, errors, kill -9.
. "$(dirname "$0")/../e2e/lib.sh"
command -v kubectl >/dev/null || skip "needs kubectl"
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d /tmp/skiff-server-XXXXXX)
port=$((20000 + $$ % 10000))
export KUBECONFIG=$dir/admin.kubeconfig KUBECACHEDIR=$dir/cache
address=$(ip -o route get 8.8.8.8 2>/dev/null | sed -nE 's/.* src ([0-9.]+).*/\1/p')
[ -n "$address" ] || address=127.0.0.1
start() {
    "$SKIFF" server --data-dir "$dir/data" --advertise-address "$address" --secure-port $port --admin-kubeconfig "$KUBECONFIG" 2>>"$dir/log" &
    server=$!
}
cleanup() {
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
start
until_ok 10 "server answers" kubectl get --raw /readyz
expect_text "namespaces" "kube-node-lease" kubectl get ns
expect_text "discovery as older clients ask" "daemonsets/status" kubectl get --raw /apis/apps/v1
expect_text "walkthrough's manifest" "daemonset.extensions/nginx-ds created" kubectl create -f examples/nginx-ds.yml
expect_text "stored as apps/v1" "apps/v1" kubectl get daemonsets.apps nginx-ds -o 'jsonpath={.apiVersion}'
expect_text "selector taken from the template" "nginx-ds" kubectl get daemonsets.apps nginx-ds -o 'jsonpath={.spec.selector.matchLabels.app}'
expect_text "service columns" "80:3" kubectl get svc nginx-ds
expect_text "protobuf body" "deployment.apps/web created" kubectl create deployment web --image=nginx --replicas=2
two() { [ "$(kubectl get pods -l app=web -o name | wc -l)" = 2 ]; }
until_ok 5 "deployment makes pods" two
expect_text "wide columns" "NOMINATED NODE" kubectl get pods -o wide
expect_text "scale" "scaled" kubectl scale deploy web --replicas=1
one() { [ "$(kubectl get pods -l app=web --field-selector status.phase=Pending -o name | wc -l)" = 1 ]; }
until_ok 5 "scaled down, by field selector" one
expect_text "rollout" "REVISION" kubectl rollout history deploy web
expect_text "explain from the schema" "imagePullPolicy" kubectl explain pod.spec.containers
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: "1", b: "2"}\n' >"$dir/cm.yml"
expect_text "apply creates" "created" kubectl apply -f "$dir/cm.yml"
sed -i 's/, b: "2"//; s/"1"/"9"/' "$dir/cm.yml"
expect_text "apply patches" "configured" kubectl apply -f "$dir/cm.yml"
expect_text "apply removed a key" '{"a":"9"}' kubectl get cm c -o 'jsonpath={.data}'
expect_text "apply again changes nothing" "unchanged" kubectl apply -f "$dir/cm.yml"
expect_text "JSON patch" "patched" kubectl patch cm c --type json -p '[{"op":"add","path":"/data/z","value":"26"}]'
expect_text "merge patch" "patched" kubectl patch cm c --type merge -p '{"data":{"a":null}}'
expect_text "after both" '{"z":"26"}' kubectl get cm c -o 'jsonpath={.data}'
expect_text "dry run" "created (server dry run)" kubectl create cm dry --dry-run=server
expect_error "dry run stored nothing" 'configmaps "dry" not found' kubectl get cm dry
expect_error "server-side apply says that it is not served" "server-side apply is not served here" kubectl apply --server-side -f "$dir/cm.yml"
expect_error "a broken selector is refused, not read as everything" "unable to parse requirement" kubectl get --raw "/api/v1/pods?labelSelector=%21a%20in%20%28b"
expect_error "an unknown field is refused" "field label not supported: spec.nodename" kubectl get pods --field-selector "spec.nodename!=x"
expect_error "name taken" "already exists" kubectl create cm c
expect_error "missing image" "spec.containers[0].image: Required value" sh -c 'echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"x\"}]}}" | kubectl create --validate=false -f -'
expect_error "unknown kind" "no matches for kind" sh -c 'printf "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\n" | kubectl create -f -'
version=$(kubectl get cm c -o 'jsonpath={.metadata.resourceVersion}')
kubectl label cm c x=y >/dev/null
expect_error "conflict" "the object has been modified" sh -c "kubectl get cm c -o json | sed 's/\"resourceVersion\": \"[0-9]*\"/\"resourceVersion\": \"$version\"/' | kubectl replace -f -"
expect_text "token of a service account" "eyJ" kubectl create token default
token=$(kubectl create token default)
expect_text "who the token is" "system:serviceaccount:default:default" curl -sk -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' "https://$address:$port/apis/authentication.k8s.io/v1/selfsubjectreviews"
expect_text "and what it may not" "is forbidden: User" curl -sk -H "Authorization: Bearer $token" "https://$address:$port/api/v1/secrets"
expect_text "a wrong token" "Unauthorized" curl -sk -H "Authorization: Bearer aaaaaa.bbbbbbbbbbbbbbbb" "https://$address:$port/api/v1/pods"
timeout 5 kubectl get cm -w -o name >"$dir/watch" 2>&1 &
watcher=$!
seen() { grep -q configmap/c "$dir/watch"; }
until_ok 3 "watch lists" seen
kubectl create cm later >/dev/null
later() { grep -q configmap/later "$dir/watch"; }
until_ok 3 "watch follows" later
kill $watcher 2>/dev/null
wait $watcher 2>/dev/null
# kill -9: nothing is lost, watches resume by listing
kill -9 $server
wait $server 2>/dev/null
start
until_ok 10 "answers after kill -9" kubectl get --raw /readyz
expect_text "objects survived" '{"z":"26"}' kubectl get cm c -o 'jsonpath={.data}'
expect_text "namespace goes with its content" "deleted" sh -c 'kubectl create ns gone >/dev/null; kubectl -n gone create cm x >/dev/null; kubectl delete ns gone --timeout=20s'
expect_text "owned objects are collected" "deleted" kubectl delete deploy web
no_pods() { [ -z "$(kubectl get rs,pods -l app=web -o name)" ]; }
until_ok 10 "owner garbage collection" no_pods
kill $server
wait $server
[ $? = 0 ] && ok "ends in order" || fail "ends in order: $(tail -5 "$dir/log")"
if grep -E 'Sanitizer|runtime error' "$dir/log"; then fail "sanitizers are silent: $(grep -A12 -m1 -E 'Sanitizer|runtime error' "$dir/log")"; else ok "sanitizers are silent"; fi
finish
