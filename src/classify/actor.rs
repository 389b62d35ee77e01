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
        let name = account.strip_prefix("kube-system:");
        let of_control_plane = name.is_some_and(|it| CONTROLLERS.contains(&it));
        return if of_control_plane { "controller" } else { "service_account" };
    }
    if CONTROL_PLANES.iter().any(|it| user.starts_with(it)) {
        return "controller";
    }
    "person"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

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
