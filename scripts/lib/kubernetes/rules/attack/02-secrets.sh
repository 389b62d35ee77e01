# Secrets. 01-looking-around.sh says how to read this.

#: secrets-everywhere | D093 | mallory
kubectl get secrets -A -o yaml >/dev/null
#: secrets-everywhere-raw | D093 | mallory
kubectl get --raw '/api/v1/secrets?limit=500' >/dev/null
#: secrets-kube-system | D094 | mallory
kubectl get secrets -n kube-system
#: secrets-described | D094 | mallory
kubectl describe secrets -n shop
#: secrets-watched | D095 | mallory
timeout 2 kubectl get secrets -A --watch -o json >/dev/null || true
#: secret-read | D096 | mallory
kubectl get secret payment-gateway -n shop -o 'jsonpath={.data}'
#: secret-selected | D096 | mallory
kubectl get secrets -n shop --field-selector metadata.name=database -o yaml
#: secret-by-dry-run | D096 | mallory
kubectl patch secret database -n shop --dry-run=server -p '{}' -o yaml
#: secrets-one-by-one | D098 | mallory
for name in payment-gateway database registry shop-tls; do kubectl get secret "$name" -n shop -o yaml >/dev/null; done
#: secret-by-curl | D100 | mallory
curl -s -o /dev/null "$SERVER/api/v1/namespaces/shop/secrets/database"
#: secret-disguised | D096 D099 | mallory
curl -s -o /dev/null -A 'kube-controller-manager/v1.35.0 (linux/amd64) kubernetes/$Format/system:serviceaccount:kube-system:generic-garbage-collector' "$SERVER/api/v1/namespaces/shop/secrets/database"
#: secrets-by-pod | D101 D100 | checkout
curl -s -o /dev/null "$SERVER/api/v1/namespaces/shop/secrets"
#: secret-by-node | D101 | worker-1
pod=$(kubectl get pods -n shop -l app=checkout --field-selector spec.nodeName=worker-1 -o name) || true
kubectl get secret database -n shop -o yaml || true
#: secrets-denied | D097 D007 | oscar
for name in $(seq 21); do curl -s -o /dev/null "$SERVER/api/v1/namespaces/shop/secrets/token-$name"; done
#: secret-changed | D103 | mallory
kubectl patch secret registry -n shop -p '{"stringData":{"user":"mallory"}}'
kubectl delete secret registry -n shop
#: configmap-with-keys | D115 | mallory
kubectl create configmap backup -n shop --from-literal=aws_access_key_id=AKIANOTAREALKEY --from-literal=aws_secret_access_key=not-a-real-key
