//! Whether a person may have typed it.

use crate::event::AuditEvent;

/// kubectl, whatever its file is called after these letters (client-go's user agent begins with the name of the
/// file, `rest/config.go`), and OpenShift's `oc`, which is one.
const KUBECTL: [&str; 2] = ["kubectl", "oc/"];

/// Google Cloud's kubectl asks by itself which version the server has (seen with `google-cloud-sdk` 1.32.4).
const DISPATCHER: &str = "kubectl-dispatcher/";

/// Programs that people type into. With these even the credentials of a controller are in somebody's hands.
const HANDS: [&str; 8] = [
    "curl/",
    "HTTPie/",
    "k9s/",
    "Mozilla/",
    "PostmanRuntime/",
    "python-requests/",
    "Python-urllib/",
    "Wget/",
];

/// Programs that nobody types into: how their user agent begins.
const PROGRAMS: [&str; 16] = [
    "aks-",
    "argocd-",
    "cloud-controller-manager/",
    "cluster-autoscaler/",
    "coredns/",
    "eks-",
    "hollow-kubelet",
    "kube-apiserver/",
    "kube-controller-manager/",
    "kube-probe/",
    "kube-proxy/",
    "kube-scheduler/",
    "kube-state-metrics/",
    "kubelet/",
    "metrics-server/",
    "Prometheus/",
];
/// And what it holds. (`leader-election`: client-go, `tools/leaderelection`, and kube-scheduler 1.35.)
const PROGRAM_PARTS: [&str; 3] = ["leader-election", "-controller", "operator"];

/// Users who are no persons, by how they begin: `system:` is Kubernetes' own, `eks:` Amazon's; `aksService` and the
/// clients are Azure's.
const SYSTEMS: [&str; 5] = ["system:", "eks:", "aksService", "masterclient", "nodeclient"];
/// But these are: nobody in particular, and the administrator of OpenShift and k3s.
const PERSONS: [&str; 3] = ["system:anonymous", "system:admin", "system:unauthenticated"];
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Whose service accounts are the control plane's.
const SYSTEM_ACCOUNTS: &str = "system:serviceaccount:kube-system:";

fn begins(text: &str, with: &[&str]) -> bool {
    with.iter().any(|it| text.starts_with(it))
}

pub(super) fn is_kubectl(agent: &str) -> bool {
    begins(agent, &KUBECTL) && !agent.starts_with(DISPATCHER)
}

pub(super) fn is_hand(agent: &str) -> bool {
    is_kubectl(agent) || begins(agent, &HANDS)
}

/// Whether a person may have typed it. Who uses kubectl or another tool of people's is one, with whatever
/// credentials; a service account is one only with such a tool, or where the event does not name the program.
pub(super) fn is_person(event: &AuditEvent<'_>) -> bool {
    let agent = event.user_agent.as_deref().unwrap_or_default();
    if is_hand(agent) {
        return true;
    }
    if agent.starts_with(DISPATCHER)
        || begins(agent, &PROGRAMS)
        || PROGRAM_PARTS.iter().any(|it| agent.contains(it))
    {
        return false;
    }
    let user = event.user_name.as_deref().unwrap_or_default();
    if user.starts_with(SERVICE_ACCOUNT) {
        return agent.is_empty() && !user.starts_with(SYSTEM_ACCOUNTS);
    }
    PERSONS.contains(&user) || !begins(user, &SYSTEMS)
}
