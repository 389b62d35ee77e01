//! What kind of user made a request, by its name alone: the API server has proven it. A user agent proves nothing.

use crate::event::AuditEvent;

/// Service accounts of kube-controller-manager, in kube-system (Kubernetes 1.35,
/// `cmd/kube-controller-manager/names/controller_names.go` and the roles that the API server makes for them,
/// `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go`). No endings: anybody who may make an account
/// there could call it so.
const CONTROLLERS: [&str; 53] = [
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "cloud-controller-manager",
    "cloud-node-controller",
    "cloud-node-lifecycle-controller",
    "cloud-provider",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "kube-controller-manager",
    "kube-scheduler",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "node-ipam-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequest-cleaner-controller",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-garbage-collector",
    "storage-version-migrator-controller",
    "storageversionmigrator-controller",
    "taint-eviction-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
    "vac-protection-controller",
    "validatingadmissionpolicy-status-controller",
];

/// Users of the control plane, and of the clouds that run it: how they begin. `eks:` is Amazon's, `aksService`, the
/// clients and `aks-` Azure's, `system:gke-`, `system:gcp-`, the add-on manager and konnectivity Google's, and
/// `system:k3s-` and `system:rke2-` those of these distributions. `system:bootstrap:` is a node that joins.
const CONTROL_PLANES: [&str; 21] = [
    "system:addon-manager",
    "system:konnectivity-server",
    "system:k3s-",
    "system:rke2-",
    "system:bootstrap:",
    "kubelet-nodepool-bootstrap",
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "system:cloud-controller-manager",
    "system:monitoring",
    "system:volume-scheduler",
    "system:aggregator",
    "system:gke-",
    "system:gcp-",
    "eks:",
    "aksService",
    "aks-",
    "masterclient",
    "nodeclient",
];

/// Namespaces that OpenShift 4 makes for its own parts, without `openshift-`.
///
/// Those that Red Hat counts as its own on managed clusters (managed-cluster-config 5bd0eef,
/// `deploy/osd-managed-resources/ocp-namespaces.ConfigMap.yaml`), that its tests know (origin aca74c4,
/// `pkg/monitortestlibrary/platformidentification/operator_mapping.go`), and in which its parts run since (4.16:
/// `catalogd`, `cluster-olm-operator`, `network-node-identity`, `operator-controller`, `route-controller-manager`; `node`
/// is a default project of its manual). Left out are those in which users let operators run (`operators`), and those of
/// single platforms.
///
/// Whole names: on OpenShift all of these are there from the start, and only who may make namespaces at all (cluster
/// administrators) can make others that begin so, for requests for projects of such names are refused (openshift-apiserver,
/// `pkg/project/apiserver/registry/projectrequest/delegated`). Namespaces of operators that are added later are not
/// here: an attacker may come before them. On a cluster that is not OpenShift whoever may make namespaces may make these,
/// too; therefore their accounts are a kind of their own, which rules leave out one by one, and the making of such a
/// namespace is told.
const PLATFORM: [&str; 60] = [
    "apiserver",
    "apiserver-operator",
    "authentication",
    "authentication-operator",
    "catalogd",
    "cloud-controller-manager",
    "cloud-controller-manager-operator",
    "cloud-credential-operator",
    "cloud-network-config-controller",
    "cluster-csi-drivers",
    "cluster-machine-approver",
    "cluster-node-tuning-operator",
    "cluster-olm-operator",
    "cluster-samples-operator",
    "cluster-storage-operator",
    "cluster-version",
    "config",
    "config-managed",
    "config-operator",
    "console",
    "console-operator",
    "controller-manager",
    "controller-manager-operator",
    "dns",
    "dns-operator",
    "etcd",
    "etcd-operator",
    "host-network",
    "image-registry",
    "infra",
    "ingress",
    "ingress-canary",
    "ingress-operator",
    "insights",
    "kube-apiserver",
    "kube-apiserver-operator",
    "kube-controller-manager",
    "kube-controller-manager-operator",
    "kube-scheduler",
    "kube-scheduler-operator",
    "kube-storage-version-migrator",
    "kube-storage-version-migrator-operator",
    "machine-api",
    "machine-config-operator",
    "marketplace",
    "monitoring",
    "multus",
    "network-diagnostics",
    "network-node-identity",
    "network-operator",
    "node",
    "oauth-apiserver",
    "operator-controller",
    "operator-lifecycle-manager",
    "ovn-kubernetes",
    "route-controller-manager",
    "sdn",
    "service-ca",
    "service-ca-operator",
    "user-workload-monitoring",
];

/// The kind of the user behind the event.
pub(super) fn actor(event: &AuditEvent<'_>) -> &'static str {
    let user = event.user_name.as_deref().unwrap_or_default();
    if matches!(user, "" | "system:anonymous" | "system:unauthenticated") {
        return "anonymous";
    }
    if user.starts_with("system:node:") {
        return "node";
    }
    if let Some(account) = user.strip_prefix("system:serviceaccount:") {
        return account_kind(account);
    }
    if CONTROL_PLANES.iter().any(|it| user.starts_with(it)) {
        return "controller";
    }
    "person"
}

/// The kind of a service account, given its namespace and name.
fn account_kind(account: &str) -> &'static str {
    match account.split_once(':') {
        Some(("kube-system", name)) if CONTROLLERS.contains(&name) => "controller",
        Some((namespace, _)) if is_platform(namespace) => "platform",
        _ => "service_account",
    }
}

fn is_platform(namespace: &str) -> bool {
    let part = namespace.strip_prefix("openshift-");
    part.is_some_and(|it| PLATFORM.binary_search(&it).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn namespaces_can_be_looked_up() {
        assert!(PLATFORM.is_sorted());
    }

    #[test]
    fn by_the_name_of_the_user_alone() {
        for (user, expected) in [
            ("alice@example.com", "person"),
            ("system:admin", "person"),
            ("", "anonymous"),
            ("system:anonymous", "anonymous"),
            ("system:node:worker-1", "node"),
            ("system:serviceaccount:kube-system:replicaset-controller", "controller"),
            ("system:serviceaccount:kube-system:evil-controller", "service_account"),
            ("system:serviceaccount:default:replicaset-controller", "service_account"),
            ("system:serviceaccount:openshift-monitoring:prometheus-k8s", "platform"),
            ("system:serviceaccount:openshift-monitorin:prometheus-k8s", "service_account"),
            ("system:serviceaccount:openshift-logging:fluentd", "service_account"),
            ("system:serviceaccount:monitoring:openshift-monitoring", "service_account"),
            ("system:serviceaccount:openshift-", "service_account"),
            ("system:kube-controller-manager", "controller"),
            ("eks:node-manager", "controller"),
        ] {
            let text = format!(
                r#"{{"user":{{"username":"{user}"}},"userAgent":"kube-controller-manager/v1"}}"#
            );
            let event = AuditEvent::new(&text, json::members(&text).collect());
            assert_eq!(actor(&event), expected, "{user}");
        }
    }
}
