#!/bin/bash
# Controllers, scheduler and admission, driven by the stock kubectl with a node that this script plays: TLS bootstrap as the
# walkthrough writes it, rollouts, Services, deletion in all its ways, escalation.
. "$(dirname "$0")/../e2e/lib.sh"
command -v kubectl >/dev/null || skip "needs kubectl"
command -v openssl >/dev/null || skip "needs openssl"
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d /tmp/skiff-controllers-XXXXXX)
port=$((20000 + $$ % 10000))
export KUBECONFIG=$dir/admin.kubeconfig KUBECACHEDIR=$dir/cache
"$SKIFF" server --data-dir "$dir/data" --advertise-address 127.0.0.1 --secure-port $port --admin-kubeconfig "$KUBECONFIG" 2>"$dir/log" &
server=$!
cleanup() {
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
until_ok 10 "server answers" kubectl get --raw /readyz
k() { kubectl "$@" 2>&1; }
get() { kubectl get "$@" 2>/dev/null; }

# a node with its Lease, so that it counts as alive for as long as this test runs
cat >"$dir/node.yml" <<E
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {kubernetes.io/hostname: n1}}
status:
  allocatable: {cpu: "4", memory: 8Gi, pods: "110"}
  addresses: [{type: InternalIP, address: 10.0.0.7}]
  conditions: [{type: Ready, status: "True", reason: KubeletReady, message: ok}]
E
k create -f "$dir/node.yml" >/dev/null
subnet() { [ "$(get node n1 -o 'jsonpath={.spec.podCIDR}')" = 172.30.0.0/24 ]; }
until_ok 5 "node gets a subnet" subnet
no_taints() { [ -z "$(get node n1 -o 'jsonpath={.spec.taints}')" ]; }
until_ok 5 "the not-ready taint goes" no_taints

# TLS bootstrap
k create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper --group=system:bootstrappers >/dev/null
cat >"$dir/crb.yml" <<E
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: auto-approve-csrs-for-group}
subjects: [{kind: Group, name: "system:bootstrappers", apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient", apiGroup: rbac.authorization.k8s.io}
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: approve-node-server-renewal-csr}
rules: [{apiGroups: ["certificates.k8s.io"], resources: ["certificatesigningrequests/selfnodeserver"], verbs: ["create"]}]
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: node-server-cert-renewal}
subjects: [{kind: Group, name: "system:nodes", apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: approve-node-server-renewal-csr, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: abcdef, token-secret: 0123456789abcdef, usage-bootstrap-authentication: "true", expiration: "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)"}
E
expect_text "bindings and token" "created" kubectl apply -f "$dir/crb.yml"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/k.pem" -subj "/O=system:nodes/CN=system:node:n1" -out "$dir/r.pem" 2>/dev/null
csr() { # NAME SIGNER USAGE FILE
    printf 'apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: %s}\nspec: {signerName: kubernetes.io/%s, usages: [digital signature, %s], request: %s}\n' "$1" "$2" "$3" "$(base64 -w0 "$4")"
}
grep certificate-authority-data "$KUBECONFIG" | awk '{print $2}' | tr -d '"' | base64 -d >"$dir/ca.pem"
bare="kubectl --kubeconfig=/dev/null --server=https://127.0.0.1:$port --certificate-authority=$dir/ca.pem"
csr c1 kube-apiserver-client-kubelet "client auth" "$dir/r.pem" >"$dir/c1.yml"
expect_text "request with the token" "created" $bare --token=abcdef.0123456789abcdef create -f "$dir/c1.yml"
signed() { [ -n "$(get csr "$1" -o 'jsonpath={.status.certificate}')" ]; }
until_ok 5 "client certificate approved and issued" signed c1
get csr c1 -o 'jsonpath={.status.certificate}' | base64 -d >"$dir/n1.pem"
node="$bare --client-certificate=$dir/n1.pem --client-key=$dir/k.pem"
openssl req -new -key "$dir/k.pem" -subj "/O=system:nodes/CN=system:node:n1" -addext "subjectAltName=IP:10.0.0.7,DNS:n1" -out "$dir/s.pem" 2>/dev/null
csr s1 kubelet-serving "server auth" "$dir/s.pem" | $node create -f - >/dev/null 2>&1
until_ok 5 "serving certificate approved and issued" signed s1
openssl req -new -key "$dir/k.pem" -subj "/O=system:nodes/CN=system:node:n1" -addext "subjectAltName=IP:10.0.0.8" -out "$dir/x.pem" 2>/dev/null
csr s2 kubelet-serving "server auth" "$dir/x.pem" | $node create -f - >/dev/null 2>&1
expect_text "another machine's address is not approved" "Pending" kubectl get csr s2
expect_error "a node reads no secrets" "forbidden" $node get secrets -A
sed 's/: n1/: n2/g' "$dir/node.yml" >"$dir/n2.yml"
expect_error "nor touches other nodes" "forbidden" $node create -f "$dir/n2.yml"
expect_error "nor gets loose tokens" "not bound to a pod" $node create token default

# the kubelet's part: assigned pods run, deleted ones are gone
kubelet() {
    local n=10 p
    for p in $(get pods -o 'jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name} {end}'); do
        k delete pod "$p" --grace-period=0 --force >/dev/null
    done
    for p in $(get pods -o 'jsonpath={range .items[?(@.spec.nodeName=="n1")]}{.metadata.name} {end}'); do
        n=$((n + 1))
        k patch pod "$p" --subresource=status --type=merge -p "{\"status\":{\"phase\":\"Running\",\"podIP\":\"172.30.0.$n\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}" >/dev/null
    done
}
played() { kubelet; "$@"; }
k create deployment web --image=nginx:1 --replicas=3 >/dev/null
k expose deployment web --port=80 >/dev/null
available() { [ "$(get deployment web -o 'jsonpath={.status.availableReplicas} {.status.updatedReplicas} {.status.replicas}')" = "3 3 3" ]; }
until_ok 10 "deployment is available" played available
three() { [ "$(get endpointslices -l kubernetes.io/service-name=web -o 'jsonpath={.items[0].endpoints[*].addresses[0]}' | wc -w)" = 3 ]; }
until_ok 5 "slice has its three" three
expect_text "endpoints too" "172.30.0.11:80" kubectl get endpoints web
k set image deployment/web nginx=nginx:2 >/dev/null
image() { [ "$(get pods -l app=web -o 'jsonpath={.items[*].spec.containers[0].image}' | tr ' ' '\n' | sort -u)" = "$1" ]; }
until_ok 20 "rolling update" played image nginx:2
until_ok 20 "rolled out" played kubectl rollout status deployment/web --timeout=1s
k rollout undo deployment/web >/dev/null
until_ok 20 "rollback" played image nginx:1
k create -f examples/nginx-ds.yml >/dev/null
daemon() { [ "$(get daemonsets.apps nginx-ds -o 'jsonpath={.status.numberAvailable}')" = 1 ]; }
until_ok 5 "daemon set" played daemon
expect_text "placed by the scheduler" "Successfully assigned default/nginx-ds-" kubectl get events --field-selector reason=Scheduled
k run huge --image=x --overrides='{"spec":{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"64"}}}]}}' >/dev/null
until_ok 5 "what does not fit says why" sh -c "kubectl get events | grep -q '0/1 nodes are available: 1 Insufficient cpu.'"
k create job one --image=x >/dev/null
running() { [ "$(get pods -l job-name=one -o name | wc -l)" = 1 ]; }
until_ok 5 "job makes its pod" running
k patch "$(get pods -l job-name=one -o name)" --subresource=status --type=merge -p '{"status":{"phase":"Succeeded"}}' >/dev/null
until_ok 5 "job is complete" kubectl wait --for=condition=complete job/one --timeout=1s

# Services
k create service nodeport np --tcp=80 --node-port=30080 >/dev/null
expect_error "node port is taken" "provided port is already allocated" kubectl create service nodeport np2 --tcp=80 --node-port=30080
k delete service np >/dev/null
expect_text "and free again" "created" kubectl create service nodeport np2 --tcp=80 --node-port=30080
expect_error "address is fixed" "may not change once set" kubectl patch service np2 -p '{"spec":{"clusterIP":"10.254.0.99"}}'

expect_error "a wrong type is named" "spec.hostNetwork: expected true or false" sh -c 'echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"hostNetwork\":\"x\"}}" | kubectl create --validate=false -f -'

# deletion
k delete deployment web --cascade=orphan >/dev/null
expect_text "orphans stay" "web-" kubectl get replicasets
k create deployment web --image=nginx:1 --replicas=3 >/dev/null
adopted() { [ "$(get replicasets -l app=web -o 'jsonpath={.items[*].metadata.ownerReferences[*].kind}' | tr ' ' '\n' | sort -u)" = Deployment ]; }
until_ok 5 "and are adopted" adopted
k delete deployment web --cascade=foreground --wait=false >/dev/null
gone() { [ -z "$(get deployments,replicasets,pods -l app=web -o name)" ]; }
until_ok 10 "foreground deletion ends" played gone
k create namespace t >/dev/null
until_ok 5 "namespace has its account" kubectl -n t get serviceaccount default
k -n t create configmap c --from-literal=a=b >/dev/null
k delete namespace t --wait=false >/dev/null
no_t() { ! kubectl get namespace t >/dev/null 2>&1; }
until_ok 5 "namespace goes" no_t
expect_error "default stays" "this namespace may not be deleted" kubectl delete namespace default

# rights
k create rolebinding adm --clusterrole=admin --serviceaccount=default:default >/dev/null
token=$(kubectl create token default)
expect_error "nobody grants what he has not" "is attempting to grant RBAC permissions not currently held" $bare --token="$token" create rolebinding x --clusterrole=cluster-admin --user=me
expect_text "but what he has" "created" $bare --token="$token" create rolebinding y --clusterrole=view --user=me
kill "$server"
wait "$server"
[ $? = 0 ] && ok "ends in order" || fail "exit code"
if grep -E 'Sanitizer|runtime error' "$dir/log"; then fail "sanitizers are silent"; else ok "sanitizers are silent"; fi
finish
