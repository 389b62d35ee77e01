//! What kind of user made a request, by its name alone: the API server has proven it. A user agent proves nothing.

use crate::event::AuditEvent;

/// Service accounts of kube-controller-manager that do not end in `-controller` (Kubernetes 1.35,
/// `cmd/kube-controller-manager/names/controller_names.go` and the accounts that it makes).
const CONTROLLERS: [&str; 14] = [
    "cloud-provider",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "kube-controller-manager",
    "kube-scheduler",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "pod-garbage-collector",
    "pvc-protection-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "token-cleaner",
    "validatingadmissionpolicy-status-controller",
];

/// Users of the control plane, and of the clouds that run it: how they begin. `eks:` is Amazon's, `aksService`, the
/// clients and `aks-` Azure's, `system:gke-` and `system:gcp-` Google's.
const CONTROL_PLANES: [&str; 15] = [
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
        let of_control_plane = account
            .strip_prefix("kube-system:")
            .is_some_and(|it| it.ends_with("-controller") || CONTROLLERS.contains(&it));
        return if of_control_plane { "controller" } else { "service_account" };
    }
    if CONTROL_PLANES.iter().any(|it| user.starts_with(it)) {
        return "controller";
    }
    "person"
}
