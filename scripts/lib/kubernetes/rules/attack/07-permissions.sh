# Permissions. 01-looking-around.sh says how to read this.

#: cluster-admin | D072 D075 | mallory
kubectl create clusterrolebinding backup --clusterrole=cluster-admin --user=eve@example.com
#: cluster-admin-subject-added | D072 D078 | mallory
kubectl patch clusterrolebinding cluster-admin --type=json -p '[{"op":"add","path":"/subjects/-","value":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"eve@example.com"}}]'
#: default-account | D074 D076 | mallory
kubectl create clusterrolebinding ci --clusterrole=cluster-admin --serviceaccount=default:default
#: anonymous-bound | D003 | mallory
kubectl create clusterrolebinding public --clusterrole=edit --user=system:anonymous --group=system:unauthenticated
#: anyone-bound | D003 | mallory
kubectl apply -f - <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: everybody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
YAML
#: namespace-admin | D073 D076 | mallory
kubectl create rolebinding helper -n kube-system --clusterrole=admin --serviceaccount=shop:checkout
#: wildcard-role | D077 | mallory
kubectl create clusterrole helper --verb='*' --resource='*.*'
#: wildcard-in-second-rule | D077 | mallory
kubectl apply -f - <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: helper, namespace: shop}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
- {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}
YAML
#: role-grown | D078 | mallory
kubectl patch clusterrole reads-most --type=json -p '[{"op":"add","path":"/rules/-","value":{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}}]'
#: role-escalate | D079 | mallory
kubectl create clusterrole grants --verb=escalate,bind --resource=clusterroles.rbac.authorization.k8s.io
kubectl create clusterrole plays --verb=impersonate --resource=users,groups
#: role-secrets | D080 | mallory
kubectl create clusterrole collects --verb=get,list --resource=configmaps,secrets
#: role-exec | D081 | mallory
kubectl create role enters -n shop --verb=create,get --resource=pods/exec
#: role-kubelet | D082 | mallory
kubectl create clusterrole nodes --verb=get,create --resource=nodes/proxy
#: role-tokens | D083 | mallory
kubectl create clusterrole tokens --verb=create --resource=serviceaccounts/token
kubectl create clusterrole signs --verb=update,approve --resource=certificatesigningrequests.certificates.k8s.io/approval
#: role-workloads | D084 | mallory
kubectl create clusterrole deploys --verb=create,patch --resource=pods,daemonsets.apps,deployments.apps
#: system-role | D085 | mallory
kubectl patch clusterrole system:basic-user --type=json -p '[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]'
#: system-role-deleted | D085 | mallory
kubectl delete clusterrole system:monitoring
#: role-by-pod | D086 | checkout
kubectl create rolebinding stay -n shop --clusterrole=edit --serviceaccount=shop:default
#: role-chain | D088 D087 | mallory
kubectl create clusterrole chain --verb=get,list --resource=secrets
kubectl create clusterrolebinding chain --clusterrole=chain --serviceaccount=shop:default
kubectl get secrets -A --as=system:serviceaccount:shop:default >/dev/null
kubectl create deployment chain -n shop --image=alpine
#: escalation-denied | D089 | oscar
kubectl create role more -n shop --verb='*' --resource=secrets || true
kubectl create rolebinding more -n shop --clusterrole=cluster-admin --user=oscar@example.com || true
#: aggregated | D090 | mallory
kubectl apply -f - <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: view-more, labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true", rbac.authorization.k8s.io/aggregate-to-edit: "true"}}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get, create]}]
YAML
#: as-masters | D091 | mallory
kubectl get secrets -n kube-system --as=nobody --as-group=system:masters
#: as-controller | D091 | mallory
kubectl get secrets -n kube-system --as=system:kube-controller-manager
#: as-controller-account | D091 | mallory
kubectl get pods -A --as=system:serviceaccount:kube-system:clusterrole-aggregation-controller >/dev/null || true
#: as-node | D091 | mallory
kubectl get pods -n kube-system --as=system:node:worker-1 --as-group=system:nodes || true
#: as-person | D092 | mallory
kubectl get pods -n payments --as=carol@example.com --as-group=payments-team
#: account | D138 | mallory
kubectl create serviceaccount backup -n shop
#: account-kube-system | D139 | mallory
kubectl create serviceaccount metrics-reader -n kube-system
#: account-cloud-identity | D140 | mallory
kubectl annotate serviceaccount checkout -n shop eks.amazonaws.com/role-arn=arn:aws:iam::111122223333:role/admin
#: account-cloud-identity-applied | D140 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: ServiceAccount
metadata: {name: uploader, namespace: shop, annotations: {iam.gke.io/gcp-service-account: owner@project.iam.gserviceaccount.com}}
YAML
#: anonymous-reads | D001 | anonymous
curl -s -o /dev/null "$SERVER/api/v1/namespaces/shop/pods"
#: anonymous-creates | D002 | anonymous
curl -s -o /dev/null -H 'Content-Type: application/json' -d '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"open"},"spec":{"containers":[{"name":"a","image":"alpine"}]}}' "$SERVER/api/v1/namespaces/shop/pods"
