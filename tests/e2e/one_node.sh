#!/bin/bash
# The whole path on this machine: up, images, the walkthrough's nginx DaemonSet behind a NodePort Service, kubectl's
# verbs, kill -9 of every role while the page is served, delete, down, reset, and nothing left behind.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
command -v kubectl >/dev/null || skip "needs kubectl"
[ ! -e /var/lib/skiff ] || skip "/var/lib/skiff exists; this test wants a machine without a node"
cd "$(dirname "$0")/../.." || exit 1
export KUBECONFIG=/var/lib/skiff/admin.kubeconfig

before=$(machine_state)
cleanup() { "$SKIFF" reset --yes >/dev/null 2>&1; }
trap cleanup EXIT

expect_text "up" "is Ready after" "$SKIFF" up
expect_text "up twice is harmless" "is Ready after" "$SKIFF" up
expect "images" env SKIFF="$SKIFF" scripts/images.sh
node=$(kubectl get nodes -o 'jsonpath={.items[0].metadata.name}')
node_ip=$(kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
expect_text "node is Ready in kubectl's columns" "Ready" kubectl get nodes
expect_text "stock columns" "ROLES" kubectl get nodes

expect "create service and daemon set" kubectl create -f examples/nginx-ds.yml
running() { [ "$(kubectl get pods -l app=nginx-ds -o 'jsonpath={.items[*].status.phase}')" = Running ]; }
until_ok 20 "pod runs" running
ready() { kubectl get pods -l app=nginx-ds -o 'jsonpath={.items[0].status.containerStatuses[0].ready}' | grep -q true; }
until_ok 10 "container ready" ready
pod=$(kubectl get pods -l app=nginx-ds -o 'jsonpath={.items[0].metadata.name}')
pod_ip=$(kubectl get pods -l app=nginx-ds -o 'jsonpath={.items[0].status.podIP}')
cluster_ip=$(kubectl get svc nginx-ds -o 'jsonpath={.spec.clusterIP}')
node_port=$(kubectl get svc nginx-ds -o 'jsonpath={.spec.ports[0].nodePort}')
expect_text "pods -o wide" "$pod_ip" kubectl get pods -o wide
expect_text "endpoints" "$pod_ip:80" kubectl get ep nginx-ds
expect_text "endpoint slices" "$pod_ip" kubectl get endpointslices
expect_text "describe tells the story" "Started" kubectl describe pod "$pod"

page() { curl -fsS --max-time 3 "$1" | grep -q 'Welcome to nginx'; }
until_ok 10 "page from the pod address" page "http://$pod_ip/"
until_ok 10 "page from the cluster address" page "http://$cluster_ip/"
until_ok 10 "page from the node port" page "http://$node_ip:$node_port/"

cat <<Y | kubectl create -f - >/dev/null
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - {name: sh, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "100000"]}
Y
client_ready() { kubectl get pod client -o 'jsonpath={.status.containerStatuses[0].ready}' | grep -q true; }
until_ok 20 "client pod runs" client_ready
# (Debian's busybox wget crashes with -T)
from_pod() { timeout 5 kubectl exec client -- wget -q -O - "$1" | grep -q 'Welcome to nginx'; }
until_ok 10 "page from another pod by cluster address" from_pod "http://$cluster_ip/"
until_ok 10 "page from another pod by node port" from_pod "http://$node_ip:$node_port/"
expect_text "exec" "hello from inside" kubectl exec client -- echo hello from inside
expect_error "exec hands the exit code on" "exit code 3" kubectl exec client -- sh -c 'exit 3'
expect_text "exec with stdin" "piped" sh -c 'echo piped | kubectl exec -i client -- cat'
expect_text "logs" "GET / " kubectl logs "$pod"
kubectl port-forward "pod/$pod" 18080:80 >/dev/null 2>&1 &
forward=$!
until_ok 5 "port-forward" page http://127.0.0.1:18080/
kill $forward 2>/dev/null
wait $forward 2>/dev/null

# kill -9 of each role: the page keeps being served, the role comes back, no container is restarted
for role in engine agent server node; do
    pid=$(cut -d' ' -f1 "/run/skiff/$role.pid")
    kill -9 "$pid"
    expect "page while $role is dead" page "http://$cluster_ip/"
    [ $role = node ] && expect_text "up adopts what runs" "is Ready after" "$SKIFF" up
    back() { p=$(cut -d' ' -f1 "/run/skiff/$role.pid") && [ "$p" != "$pid" ] && kill -0 "$p"; }
    until_ok 15 "$role is back" back
    until_ok 15 "page after $role came back" page "http://$node_ip:$node_port/"
done
until_ok 20 "exec works again" kubectl exec client -- true
expect_text "no container was restarted" "0 0" kubectl get pods -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}'

expect_error "image that is not there" "NotFound" kubectl get pod no-such-pod
expect "delete" kubectl delete -f examples/nginx-ds.yml --timeout=60s
gone() { [ -z "$(kubectl get pods -l app=nginx-ds -o name)" ]; }
until_ok 40 "pods are gone" gone
no_rules() { ! nft list ruleset | grep -q "$cluster_ip"; }
until_ok 5 "service is gone from the kernel" no_rules
no_page() { ! curl -fsS --max-time 1 "http://$cluster_ip/" >/dev/null; }
expect "cluster address no longer answers" no_page
expect "client pod deleted" kubectl delete pod client --grace-period=1 --timeout=30s

expect "down" "$SKIFF" down
expect "down twice is harmless" "$SKIFF" down
expect_text "up with an existing data directory" "is Ready after" "$SKIFF" up
quiet() { ! grep -E ' E | cannot be set|Sanitizer|runtime error' /var/lib/skiff/log/agent.log; }
expect "nothing in the agent's log is an error" quiet
expect "reset" "$SKIFF" reset --yes
after=$(machine_state)
if [ "$before" = "$after" ]; then ok "machine is as it was found"; else
    fail "machine is not as it was found:
$(diff <(echo "$before") <(echo "$after"))"
fi
finish
