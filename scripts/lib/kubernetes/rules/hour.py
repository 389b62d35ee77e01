"""The ordinary hour: people, and the programs that run in a cluster's pods, each with its own token, name and habits.

The control plane and the kubelets are real and need nobody to play them.
"""

import http.client
import json
import os
import ssl
import threading
import time
import urllib.parse

from blocks import blocks, typed
from scenario import DEADLINE, Wrong

MINUTES = 60
SPEED = int(os.environ["SPEED"])
MINUTE = 60 / SPEED  # seconds that a minute of the hour takes
WATCH = 480 // SPEED  # clients end a watch after five to ten minutes and begin another
GO = "(linux/amd64) "


class Program:
    """Something in a pod: its service account's token, bound to the pod, and its user agent."""

    def __init__(self, cluster, namespace, account, agent, labels=None):
        self.cluster, self.namespace, self.account, self.labels = cluster, namespace, account, labels
        self.address = urllib.parse.urlsplit(cluster.server).netloc
        self.trust = ssl.create_default_context(cafile=os.path.join(cluster.folder, "ca.crt"))
        self.headers = {"User-Agent": agent, "Accept": "application/json"}
        if account:
            self.identify()
        self.connection = self.connect()

    def identify(self):
        """Takes the token of a pod that is there; without labels, one that nobody is bound to."""
        token = f"create token -n {self.namespace} {self.account}"
        if self.labels:
            token += f" --bound-object-kind=Pod --bound-object-name={self.pod()}"
        self.headers["Authorization"] = "Bearer " + self.cluster.kubectl("admin", token).strip()

    def pod(self):
        query = (f"get pods -n {self.namespace} -l {self.labels} --field-selector=status.phase=Running -o "
                 "'jsonpath={range .items[*]}{.metadata.deletionTimestamp}/{.metadata.name} {end}'")
        end = time.monotonic() + DEADLINE
        while True:
            found = [name[1:] for name in self.cluster.kubectl("admin", query).split() if name.startswith("/")]
            if found:
                return found[-1]
            if time.monotonic() > end:
                raise Wrong(f"no pod of {self.namespace}/{self.account} came to run in {DEADLINE} s")
            time.sleep(0.1)

    def connect(self):
        return http.client.HTTPSConnection(self.address, context=self.trust, timeout=60)

    def ask(self, method, path, body=None, kind="application/json", connection=None):
        """The status, and the text that came. A pod that was replaced goes on in its successor."""
        connection = connection or self.connection
        status, answer = self.ask_once(method, path, body, kind, connection)
        if status == 401:
            self.identify()
            status, answer = self.ask_once(method, path, body, kind, connection)
        return status, answer

    def ask_once(self, method, path, body, kind, connection):
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = kind
            body = json.dumps(body)
        for last in (False, True):
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                connection.close()  # the server ends a connection that was idle
                if last:
                    raise
        return answer.status, text

    def read(self, path):
        """The status, and the object that came."""
        status, text = self.ask("GET", path)
        return status, json.loads(text)

    def follow(self, hour, *paths):
        """Lists, then watches until the hour ends, as informers do."""
        for path in paths:
            threading.Thread(target=self.follow_one, args=(hour, path), daemon=True).start()

    def follow_one(self, hour, path):
        connection = self.connect()
        sign = "&" if "?" in path else "?"
        _, answer = self.ask("GET", f"{path}{sign}limit=500&resourceVersion=0", connection=connection)
        version = json.loads(answer)["metadata"]["resourceVersion"]
        while not hour.over():
            query = f"allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH}&watch=true"
            _, answer = self.ask("GET", path + sign + query, connection=connection)
            seen = answer.splitlines()
            version = json.loads(seen[-1])["object"]["metadata"]["resourceVersion"] if seen else version

    def lease(self, name):
        """Elects itself, and stays elected."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        code, lease = self.read(f"{path}/{name}")
        if code == 404:
            spec = {"holderIdentity": name + "_0a1b", "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now}
            self.ask("POST", path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec})
        else:
            lease["spec"]["renewTime"] = now
            self.ask("PUT", f"{path}/{name}", lease)


class Hour:
    def __init__(self, cluster):
        self.cluster = cluster
        self.start = None
        self.failed = []

    def over(self):
        return time.monotonic() > self.start + MINUTES * MINUTE or bool(self.failed)

    def pass_(self):
        """Lets the hour pass."""
        work = [self.probes, self.prometheus, self.operators, self.delivery, self.storage]
        work = [self.every_minute(one(self.cluster)) for one in work]
        people = {}
        for who, text in blocks("hour.sh"):
            people.setdefault(who, []).append(text)
        work += [self.person(who, texts) for who, texts in people.items()]
        self.start = time.monotonic()
        self.informers(self.cluster)
        threads = [threading.Thread(target=self.guarded, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]
        time.sleep(max(0, self.start + MINUTES * MINUTE - time.monotonic()))
        return time.monotonic() - self.start

    def guarded(self, one):
        try:
            one()
        except Exception as error:  # told by pass_
            self.failed.append(error)

    def wait_for(self, minute):
        time.sleep(max(0, self.start + minute * MINUTE - time.monotonic()))

    def every_minute(self, act):
        def acts():
            for minute in range(MINUTES):
                self.wait_for(minute)
                if self.failed:
                    return
                act(minute)

        return acts

    def person(self, who, texts):
        def types():
            for number, text in enumerate(texts):
                self.wait_for(number * MINUTES / len(texts))
                if self.failed:
                    return
                typed(self.cluster, who, text)

        return types

    # --- programs ---

    def informers(self, cluster):
        core, apps = "/api/v1", "/apis/apps/v1"
        slices, policies = "/apis/discovery.k8s.io/v1/endpointslices", "/apis/networking.k8s.io/v1"
        version = "kubernetes/6645204"
        known = [
            ("kube-system", "kube-proxy", "kube-proxy/v1.35.0 " + GO + version, "k8s-app=kube-proxy", [core + "/services", slices, core + "/nodes?fieldSelector=metadata.name%3Dworker-1"]),
            ("kube-system", "coredns", "coredns/v0.0.0 " + GO + "kubernetes/$Format", "k8s-app=kube-dns", [core + "/services", slices, core + "/namespaces"]),
            ("kube-system", "metrics-server", "metrics-server/v0.8.0 " + GO + "metrics-server/$Format", "k8s-app=metrics-server", [core + "/nodes", core + "/pods"]),
            ("kube-system", "cilium", "cilium-agent/1.16.3 " + GO + "kubernetes/$Format", "k8s-app=cilium", [core + "/nodes", core + "/pods", core + "/services", slices, policies + "/networkpolicies", core + "/namespaces"]),
            ("monitoring", "kube-state-metrics", "v2.17.0", "app=kube-state-metrics",
             [core + "/" + it for it in ("configmaps", "secrets", "pods", "nodes", "services", "namespaces", "persistentvolumes", "persistentvolumeclaims", "resourcequotas", "limitranges")]
             + [apps + "/" + it for it in ("deployments", "replicasets", "daemonsets", "statefulsets")]
             + ["/apis/batch/v1/jobs", "/apis/batch/v1/cronjobs", policies + "/ingresses", policies + "/networkpolicies", "/apis/autoscaling/v2/horizontalpodautoscalers", "/apis/policy/v1/poddisruptionbudgets"]),
            ("argocd", "argocd-application-controller", "argocd-application-controller/v0.0.0 " + GO + "kubernetes/$Format", "app=argocd-application-controller",
             [core + "/" + it for it in ("configmaps", "secrets", "services", "serviceaccounts", "pods")]
             + [apps + "/deployments", apps + "/statefulsets", "/apis/rbac.authorization.k8s.io/v1/roles", "/apis/rbac.authorization.k8s.io/v1/clusterroles", policies + "/ingresses"]),
            ("ingress-nginx", "ingress-nginx", "nginx-ingress-controller/v1.13.3 " + GO + "ingress-nginx/93851f0", "app=ingress-nginx",
             [core + "/secrets", core + "/services", core + "/namespaces/ingress-nginx/configmaps", slices, policies + "/ingresses", policies + "/ingressclasses"]),
            ("cert-manager", "cert-manager", "cert-manager-certificates-issuing/v1.19.1 " + GO + "cert-manager/f3b2a0e", "app=cert-manager", [core + "/secrets", policies + "/ingresses"]),
            ("kube-system", "cluster-autoscaler", "cluster-autoscaler/v1.34.1 " + GO + "kubernetes/$Format", "app=cluster-autoscaler", [core + "/pods", core + "/nodes", apps + "/daemonsets", "/apis/policy/v1/poddisruptionbudgets"]),
            ("logging", "fluent-bit", "Fluent-Bit", "app=fluent-bit", [core + "/namespaces"]),
        ]
        for namespace, account, agent, labels, paths in known:
            Program(cluster, namespace, account, agent, labels).follow(self, *paths)

    def probes(self, cluster):
        """The kubelet of a control plane's node, and a load balancer, who say no name."""
        kubelet = Program(cluster, None, None, "kube-probe/1.35")
        balancer = Program(cluster, None, None, "ELB-HealthChecker/2.0")

        def act(_minute):
            for _ in range(6):  # every ten seconds
                kubelet.ask("GET", "/livez")
                kubelet.ask("GET", "/readyz")
                balancer.ask("GET", "/healthz")

        return act

    def prometheus(self, cluster):
        prometheus = Program(cluster, "monitoring", "prometheus", "Prometheus/3.5.0", "app=prometheus")

        def act(_minute):
            for _ in range(2):  # every 30 seconds
                prometheus.ask("GET", "/metrics")
            for node in ("worker-1", "worker-2"):
                prometheus.ask("GET", f"/api/v1/nodes/{node}/proxy/metrics/cadvisor")

        return act

    def operators(self, cluster):
        """Those who elect leaders and write what they found."""
        autoscaler = Program(cluster, "kube-system", "cluster-autoscaler", "cluster-autoscaler/v1.34.1 " + GO + "kubernetes/$Format", "app=cluster-autoscaler")
        ingress = Program(cluster, "ingress-nginx", "ingress-nginx", "nginx-ingress-controller/v1.13.3 " + GO + "ingress-nginx/93851f0", "app=ingress-nginx")
        certificates = Program(cluster, "cert-manager", "cert-manager", "cert-manager-certificates-issuing/v1.19.1 " + GO + "cert-manager/f3b2a0e", "app=cert-manager")
        metrics = Program(cluster, "kube-system", "metrics-server", "metrics-server/v0.8.0 " + GO + "metrics-server/$Format", "k8s-app=metrics-server")
        cilium = Program(cluster, "kube-system", "cilium", "cilium-agent/1.16.3 " + GO + "kubernetes/$Format", "k8s-app=cilium")
        logs = Program(cluster, "logging", "fluent-bit", "Fluent-Bit", "app=fluent-bit")
        checkout = Program(cluster, "shop", "checkout", "python-kubernetes/34.1.0", "app=checkout")
        shop = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/shop"

        def act(minute):
            autoscaler.lease("cluster-autoscaler")
            ingress.lease("ingress-nginx-leader")
            certificates.lease("cert-manager-controller")
            status = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"
            _, found = autoscaler.read(status)
            found["data"]["status"] = f"time: minute {minute}"
            autoscaler.ask("PUT", status, found)
            checkout.ask("GET", "/api/v1/namespaces/shop/configmaps/checkout")
            metrics.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "spec": {"user": "system:serviceaccount:kube-system:horizontal-pod-autoscaler", "resourceAttributes": {"verb": "list", "group": "metrics.k8s.io", "resource": "pods"}}})
            if minute % 5 == 0:
                condition = {"type": "NetworkUnavailable", "status": "False", "reason": "CiliumIsUp", "message": "Cilium is running on this node"}
                cilium.ask("PATCH", "/api/v1/nodes/worker-1/status", {"status": {"conditions": [condition]}}, "application/strategic-merge-patch+json")
                _, pods = checkout.read("/api/v1/namespaces/shop/pods?labelSelector=app%3Dcheckout")
                logs.ask("GET", f"/api/v1/namespaces/shop/pods/{pods['items'][0]['metadata']['name']}")
            code, found = ingress.read(shop)
            if code == 200 and not found["status"].get("loadBalancer"):
                self.certify(certificates)
                found["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.2.1"}]}}
                ingress.ask("PUT", shop + "/status", found)

        return act

    @staticmethod
    def certify(certificates):
        """What cert-manager does for an ingress that asks for a certificate."""
        secrets = "/api/v1/namespaces/shop/secrets"
        certificates.ask("GET", secrets + "/shop-tls")
        pem = "LS0tLS1CRUdJTiBOT1QgQSBDRVJUSUZJQ0FURS0tLS0tCg=="  # says that it is none
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-tls", "annotations": {"cert-manager.io/certificate-name": "shop-tls"}},
                  "type": "kubernetes.io/tls", "data": {"tls.crt": pem, "tls.key": pem}}
        certificates.ask("POST", secrets, secret)
        certificates.ask("GET", secrets + "/shop-tls")
        certificates.ask("PATCH", secrets + "/shop-tls", {"metadata": {"labels": {"controller.cert-manager.io/fao": "true"}}}, "application/merge-patch+json")

    def delivery(self, cluster):
        """Helm in a pipeline, and Argo CD."""
        helm = Program(cluster, "ci", "deployer", "Helm/3.19.0")
        argo = Program(cluster, "argocd", "argocd-application-controller", "argocd-application-controller/v0.0.0 " + GO + "kubernetes/$Format", "app=argocd-application-controller")
        secrets, deployments = "/api/v1/namespaces/payments/secrets", "/apis/apps/v1/namespaces/payments/deployments"

        def release(number):
            helm.ask("GET", "/version")
            for status in ("deployed", "pending-upgrade"):
                helm.ask("GET", f"{secrets}?labelSelector=name%3Dgateway%2Cowner%3Dhelm%2Cstatus%3D{status}")
            name = f"sh.helm.release.v1.gateway.v{number}"
            labels = {"name": "gateway", "owner": "helm", "status": "pending-upgrade", "version": str(number)}
            secret = {"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": {"name": name, "labels": labels}, "data": {"release": "SDRzSUFBQUFBQUFD"}}
            helm.ask("POST", secrets, secret)
            image = f"registry.example.com/payments/gateway:1.{number}.0"
            spec = {"replicas": 2, "selector": {"matchLabels": {"app": "gateway"}},
                    "template": {"metadata": {"labels": {"app": "gateway"}}, "spec": {"containers": [{"name": "gateway", "image": image}]}}}
            if number == 1:
                helm.ask("POST", deployments, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway", "labels": {"app.kubernetes.io/managed-by": "Helm"}}, "spec": spec})
                helm.ask("POST", "/api/v1/namespaces/payments/services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gateway"}, "spec": {"selector": {"app": "gateway"}, "ports": [{"port": 80}]}})
                helm.ask("POST", "/api/v1/namespaces/payments/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway"}, "data": {"log": "info"}})
            else:
                helm.ask("GET", deployments + "/gateway")
                helm.ask("PATCH", deployments + "/gateway", {"spec": {"template": {"spec": {"containers": [{"name": "gateway", "image": image}]}}}}, "application/strategic-merge-patch+json")
                _, old = helm.read(f"{secrets}/sh.helm.release.v1.gateway.v{number - 1}")
                old["metadata"]["labels"]["status"] = "superseded"
                helm.ask("PUT", f"{secrets}/sh.helm.release.v1.gateway.v{number - 1}", old)
            secret["metadata"]["labels"]["status"] = "deployed"
            helm.ask("PUT", f"{secrets}/{name}", secret)

        def act(minute):
            if minute in (8, 29, 50):
                release(1 + (minute - 8) // 21)
            if minute % 3 == 0:
                argo.ask("GET", "/version")
                argo.ask("PATCH", "/apis/apps/v1/namespaces/shop/deployments/front?fieldManager=argocd-controller&force=true",
                         {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "front", "annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/front"}}},
                         "application/apply-patch+yaml")

        return act

    def storage(self, cluster):
        """Gives every claim its volume."""
        provisioner = Program(cluster, "kube-system", "nfs-provisioner", "nfs-subdir-external-provisioner/v0.0.0 " + GO + "kubernetes/$Format", "app=nfs-provisioner")
        given = set()

        def act(_minute):
            _, claims = provisioner.read("/api/v1/persistentvolumeclaims")
            for claim in claims["items"]:
                uid = claim["metadata"]["uid"]
                if claim["status"]["phase"] != "Pending" or uid in given:
                    continue
                given.add(uid)
                reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": claim["metadata"]["namespace"], "name": claim["metadata"]["name"], "uid": uid}
                provisioner.ask("POST", "/api/v1/persistentvolumes", {
                    "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pvc-" + uid, "annotations": {"pv.kubernetes.io/provisioned-by": "nfs.example.com"}},
                    "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "claimRef": reference, "storageClassName": "fast",
                             "persistentVolumeReclaimPolicy": "Delete", "nfs": {"server": "10.0.3.1", "path": "/export/" + uid}}})

        return act
