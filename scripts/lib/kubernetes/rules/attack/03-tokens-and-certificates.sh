# Tokens and certificates. 01-looking-around.sh says how to read this.

#: token | D105 | mallory
kubectl create token checkout -n shop >/dev/null
#: token-for-years | D106 D105 | mallory
kubectl create token checkout -n shop --duration=87600h >/dev/null
#: token-of-controller | D107 D105 | mallory
kubectl create token clusterrole-aggregation-controller -n kube-system >/dev/null
#: token-secret | D104 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Secret
metadata: {name: checkout-token, namespace: shop, annotations: {kubernetes.io/service-account.name: checkout}}
type: kubernetes.io/service-account-token
YAML
#: bootstrap-token | D108 | mallory
kubectl create secret generic bootstrap-token-0a1b2c -n kube-system --type=bootstrap.kubernetes.io/token --from-literal=token-id=0a1b2c --from-literal=token-secret=notarealtoken000 --from-literal=usage-bootstrap-authentication=true
#: csr | D109 | mallory
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=backup 2>/dev/null | base64 -w0 >csr
kubectl apply -f - <<YAML
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: backup}
spec: {request: $(cat csr), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
YAML
#: csr-self-approved | D110 D111 | mallory
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=system:kube-controller-manager 2>/dev/null | base64 -w0 >csr
kubectl create -f - <<YAML
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: controller}
spec: {request: $(cat csr), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
YAML
kubectl certificate approve controller
#: csr-masters | D112 | mallory
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /O=system:masters/CN=kube-admin 2>/dev/null | base64 -w0 >csr
kubectl create -f - <<YAML || true # the apiserver refuses this signer; another one does not
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: masters}
spec: {request: $(cat csr), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
YAML
kubectl create -f - <<YAML
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: masters-of-another-signer}
spec: {request: $(cat csr), signerName: example.com/signer, usages: [client auth]}
YAML
#: csr-node | D109 D112 | mallory
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /O=system:nodes/CN=system:node:worker-9 2>/dev/null | base64 -w0 >csr
kubectl create -f - <<YAML
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: worker-9}
spec: {request: $(cat csr), signerName: kubernetes.io/kube-apiserver-client-kubelet, usages: [client auth, digital signature]}
YAML
