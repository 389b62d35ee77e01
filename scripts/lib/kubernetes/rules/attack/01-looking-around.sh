# An attack, step by step. `#: STEP | IDEAS | WHO` begins a step: what it is called, the detection ideas that are to find it, who types
# it. bash runs it with kubectl in PATH; curl knows WHO's certificate or token; $SERVER is the apiserver, $KEYS the cluster's folder.
# Steps stand alone, but for those whose names say so: they run in this order, on one cluster. Addresses are those for documentation.
#
# mallory was given cluster-admin, oscar may only look and write roles in shop, checkout is a service account whose token was taken
# out of its pod, worker-1 is a node whose key was, admin is in system:masters, anonymous has nothing.

#: anonymous-paths | D004 D005 D007 | anonymous
for path in api/v1/secrets api/v1/nodes api/v1/pods apis/apps/v1/deployments api/v1/namespaces/kube-system/configmaps apis/rbac.authorization.k8s.io/v1/clusterroles api/v1/services logs/ metrics; do
  curl -s -o /dev/null "$SERVER/$path"
done
#: can-i-list | D113 | checkout
kubectl auth can-i --list -n shop
#: can-i-sweep | D114 | oscar
for what in "create pods" "get secrets" "create pods/exec" "create clusterrolebindings" "impersonate users" "get nodes/proxy" "create serviceaccounts/token" "update nodes" "delete events" "list secrets -A" "bind clusterroles" "escalate roles" "patch daemonsets" "*  *"; do
  kubectl auth can-i $what || true
done
#: denied-sweep | D117 D118 D119 D039 | oscar
for what in secrets nodes clusterroles clusterrolebindings validatingwebhookconfigurations persistentvolumes certificatesigningrequests storageclasses customresourcedefinitions secrets/x; do
  kubectl get "${what%/*}" -A || true
done
kubectl run x --image=alpine -n kube-system || true
#: recon | D119 D124 | mallory
kubectl get namespaces,nodes -o wide >/dev/null
kubectl get pods,services,configmaps,serviceaccounts,roles,rolebindings -A >/dev/null
kubectl get clusterroles,clusterrolebindings >/dev/null
#: token-in-pod-kubectl | D127 D113 | checkout
kubectl get pods -n shop
kubectl auth can-i create pods -n shop
#: attack-tool | D030 | mallory
curl -s -o /dev/null -A 'python-requests/2.32.3 kube-hunter' "$SERVER/api/v1/pods"
curl -s -o /dev/null -A peirates "$SERVER/api/v1/namespaces"
#: token-from-far-away | D009 D162 D163 | checkout
curl -s -o /dev/null --interface 198.51.100.7 -H 'X-Forwarded-For: 10.0.1.11' "$SERVER/api/v1/namespaces/shop/pods"
#: masters | D160 D159 | admin
kubectl get secrets -n kube-system >/dev/null
#: pod-logs | D126 | mallory
kubectl logs -n kube-system deployment/coredns --tail=1000
