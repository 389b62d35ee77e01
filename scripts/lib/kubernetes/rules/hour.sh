# What people type in the hour. `#: WHO` begins what one of them types at a time; each works through his own in order, all at the
# same time, spread over the hour. bash runs it with kubectl in PATH.
#
# alice runs the cluster (cluster-admin), bob owns the namespace shop (admin), carol works in payments (edit), dave supports
# them all and may only look (view).

#: alice
kubectl get nodes -o wide
kubectl get pods -A
kubectl get --raw /readyz?verbose >/dev/null
#: alice
kubectl describe node worker-1 >/dev/null
kubectl get events -A --sort-by=.lastTimestamp >/dev/null
#: alice
kubectl create namespace review-117
kubectl label namespace review-117 team=shop
#: alice
kubectl apply -n review-117 -f - <<'YAML'
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: review}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {color: blue}}
- {apiVersion: v1, kind: ResourceQuota, metadata: {name: review}, spec: {hard: {pods: "20"}}}
- {apiVersion: v1, kind: LimitRange, metadata: {name: review}, spec: {limits: [{type: Container, default: {memory: 64Mi}}]}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: default-deny}
  spec: {podSelector: {}, policyTypes: [Ingress]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: review}
  spec:
    replicas: 2
    selector: {matchLabels: {app: review}}
    template:
      metadata: {labels: {app: review}}
      spec: {serviceAccountName: review, containers: [{name: review, image: "registry.example.com/shop/front:2.1.0-rc1"}]}
YAML
kubectl rollout status -n review-117 deployment/review --timeout=60s
#: alice
kubectl get daemonsets -A
kubectl describe daemonset kube-proxy -n kube-system >/dev/null
kubectl rollout restart daemonset/node-exporter -n monitoring
#: alice
kubectl rollout status daemonset/node-exporter -n monitoring --timeout=60s
kubectl logs -n monitoring daemonset/node-exporter --tail=5
#: alice
kubectl set image -n kube-system deployment/metrics-server metrics-server=registry.k8s.io/metrics-server/metrics-server:v0.8.1
kubectl rollout status -n kube-system deployment/metrics-server --timeout=60s
#: alice
kubectl get clusterroles,clusterrolebindings >/dev/null
kubectl describe clusterrole view >/dev/null
kubectl get roles,rolebindings -A >/dev/null
#: alice
kubectl rollout restart daemonset/cilium -n kube-system
kubectl rollout status daemonset/cilium -n kube-system --timeout=60s
#: alice
kubectl get deployments,services,ingresses -A >/dev/null
kubectl get storageclass,pv >/dev/null
kubectl get pvc -A
#: alice
kubectl get validatingadmissionpolicies,validatingwebhookconfigurations,mutatingwebhookconfigurations
kubectl get apiservices >/dev/null
kubectl get csr
#: alice
kubectl get crd
kubectl api-resources >/dev/null
kubectl explain deployment.spec.strategy >/dev/null
kubectl version
kubectl cluster-info
#: alice
kubectl logs -n kube-system deployment/coredns --tail=20
kubectl get configmap -n kube-system coredns -o yaml >/dev/null
#: alice
kubectl scale deployment/coredns -n kube-system --replicas=3
kubectl rollout status -n kube-system deployment/coredns --timeout=60s
#: alice
kubectl apply -f - <<'YAML'
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: batch}
value: 1000
YAML
kubectl get priorityclass
#: alice
kubectl get serviceaccounts -A >/dev/null
kubectl auth can-i create deployments -n shop
kubectl auth whoami
#: alice
kubectl get leases -A >/dev/null
kubectl get endpointslices -A >/dev/null
#: alice
kubectl delete namespace review-117 --timeout=60s
#: alice
kubectl get pods -A -o wide --field-selector spec.nodeName=worker-2
kubectl get --raw /metrics >/dev/null
kubectl top nodes || true
#: alice
kubectl apply --server-side -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: dashboards, namespace: monitoring}
data: {overview.json: "{}"}
YAML
kubectl rollout restart deployment/prometheus -n monitoring
#: alice
kubectl get resourcequotas,limitranges -A
kubectl get events -n kube-system --field-selector type=Warning

#: bob
kubectl get pods -n shop
kubectl get deployments -n shop -o wide
#: bob
kubectl set image -n shop deployment/front front=registry.example.com/shop/front:2.1.0
kubectl rollout status -n shop deployment/front --timeout=60s
#: bob
kubectl rollout history -n shop deployment/front
kubectl logs -n shop deployment/front --tail=50
kubectl describe deployment front -n shop >/dev/null
#: bob
kubectl apply -n shop -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, labels: {app: cart}}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: cart
        image: registry.example.com/shop/cart:0.9.0
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        volumeMounts: [{name: cache, mountPath: /cache}]
      volumes: [{name: cache, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 80, targetPort: 8080}]}
YAML
kubectl rollout status -n shop deployment/cart --timeout=60s
#: bob
kubectl apply -n shop -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, annotations: {cert-manager.io/cluster-issuer: letsencrypt}}
spec:
  ingressClassName: nginx
  tls: [{hosts: [shop.example.com], secretName: shop-tls}]
  rules:
  - host: shop.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]}
YAML
kubectl get ingress -n shop
#: bob
kubectl scale -n shop deployment/cart --replicas=5
kubectl get pods -n shop -l app=cart -o wide
kubectl describe pods -n shop -l app=cart >/dev/null
#: bob
kubectl patch deployment cart -n shop -p '{"spec":{"template":{"metadata":{"annotations":{"commit":"0a1b2c3"}}}}}'
kubectl rollout status -n shop deployment/cart --timeout=60s
#: bob
KUBE_EDITOR='sed -i s/EUR/USD/' kubectl edit configmap checkout -n shop
kubectl rollout restart -n shop deployment/checkout
kubectl rollout status -n shop deployment/checkout --timeout=60s
#: bob
kubectl get hpa -n shop
kubectl describe hpa front -n shop >/dev/null
kubectl patch hpa front -n shop --type=merge -p '{"spec":{"maxReplicas":8}}'
#: bob
kubectl apply -n shop -f - <<'YAML'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: uploads}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
YAML
kubectl get pvc -n shop
#: bob
kubectl create job -n shop --image=registry.example.com/shop/migrate:7 migrate -- /migrate up
kubectl wait -n shop --for=condition=Complete job/migrate --timeout=60s
kubectl logs -n shop job/migrate
#: bob
kubectl delete job migrate -n shop
kubectl rollout undo -n shop deployment/front
kubectl rollout status -n shop deployment/front --timeout=60s
#: bob
pod=$(kubectl get pods -n shop -l app=front -o 'jsonpath={.items[0].metadata.name}')
kubectl describe pod "$pod" -n shop >/dev/null
kubectl delete pod "$pod" -n shop
#: bob
kubectl create configmap features -n shop --from-literal=new-cart=true
kubectl get configmaps -n shop
kubectl label deployment cart -n shop tier=backend
#: bob
kubectl annotate service cart -n shop owner=bob
kubectl get endpointslices -n shop
kubectl get events -n shop
#: bob
kubectl diff -n shop -f - <<'YAML' || true
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 81, targetPort: 8080}]}
YAML
kubectl get all -n shop >/dev/null
#: bob
kubectl delete configmap features -n shop
kubectl get replicasets -n shop
kubectl auth can-i delete deployments -n shop
#: bob
kubectl expose deployment cart -n shop --name=cart-internal --port=8081
kubectl delete service cart-internal -n shop

#: carol
kubectl get pods -n payments
kubectl get cronjobs,jobs -n payments
#: carol
kubectl apply -n payments -f - <<'YAML'
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger}
spec:
  serviceName: ledger
  replicas: 2
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: ledger
        image: registry.example.com/payments/ledger:3.2.1
        securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, runAsUser: 10001, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
YAML
#: carol
kubectl get statefulsets,pods,pvc -n payments
kubectl get pods -n shop || true # another team's
#: carol
kubectl rollout status statefulset/ledger -n payments --timeout=60s
kubectl logs -n payments ledger-0
#: carol
kubectl create job -n payments report-by-hand --from=cronjob/report
kubectl wait -n payments --for=condition=Complete job/report-by-hand --timeout=60s
kubectl logs -n payments job/report-by-hand
#: carol
kubectl patch cronjob report -n payments -p '{"spec":{"successfulJobsHistoryLimit":1}}'
kubectl get events -n payments --sort-by=.lastTimestamp >/dev/null
#: carol
kubectl apply -n payments -f - <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: ledger}
spec: {clusterIP: None, selector: {app: ledger}, ports: [{port: 5432}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: ledger}
spec: {minAvailable: 1, selector: {matchLabels: {app: ledger}}}
YAML
#: carol
kubectl scale statefulset/ledger -n payments --replicas=3
kubectl rollout status statefulset/ledger -n payments --timeout=60s
#: carol
kubectl set resources statefulset/ledger -n payments --requests=cpu=20m
kubectl get pods -n payments -w --request-timeout=2s || true
#: carol
kubectl get deployments -n payments
kubectl get nodes || true # not hers
kubectl delete job report-by-hand -n payments --ignore-not-found

#: dave
kubectl get pods -A
kubectl get deployments -A
#: dave
kubectl describe deployment checkout -n shop >/dev/null
kubectl logs -n shop deployment/checkout --tail=100
#: dave
kubectl get events -n shop
kubectl get pods -n shop -w --request-timeout=2s || true
#: dave
kubectl get services -A
kubectl get pods -n payments -o wide
kubectl describe pods -n payments >/dev/null
#: dave
kubectl rollout status deployment/front -n shop --timeout=60s
kubectl get cronjobs -A
#: dave
kubectl get ingress -A
kubectl top pods -n shop || true
kubectl get pods -A --field-selector=status.phase=Pending
#: dave
kubectl delete pod -n shop -l app=nothing || true # may only look
kubectl get hpa -A
#: dave
kubectl get pods -n kube-system
kubectl logs -n kube-system daemonset/kube-proxy --tail=5
