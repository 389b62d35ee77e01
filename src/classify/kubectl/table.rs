//! Which request is which command. The first row that fits is taken, so the special stands before the general.
//!
//! What kubectl sends was read from its source and seen in `tests/data/kubectl/typed.ndjson` (kubectl 1.35);
//! kubectl 1.29, 1.31, 1.32 and 1.33 were captured too, and differ nowhere that matters here.

use super::{
    say::{self, Say},
    when::When,
};
use Say::{
    Body, Command, Cut, Fields, Name, Pairs, Query, Resource, Scope, Selectors, Special,
    Subresource, Switch, Uri, Words,
};
use When::{
    AnyManager, BodyBegins, BodyIs, Custom, Group, Hand, HasBody, HasQuery, JsonPatch, Kubectl,
    Manager, Named, NoBody, NoManager, NoQuery, NothingBut, Only, QueryIs,
};

/// One request and the command behind it.
#[derive(Debug)]
pub(super) struct Row {
    /// Resources, in the plural; none: any.
    pub on: &'static [&'static str],
    /// The subresource; empty: none. `*`: any.
    pub sub: &'static str,
    /// All of these must hold.
    pub when: &'static [When],
    /// What is said of it; nothing: no command does this.
    pub say: &'static [Say],
}

const fn row(
    on: &'static [&'static str],
    sub: &'static str,
    when: &'static [When],
    say: &'static [Say],
) -> Row {
    Row { on, sub, when, say }
}

/// The rows of a verb.
pub(super) fn rows(verb: &str) -> &'static [Row] {
    match verb {
        "get" => &GET,
        "list" => &LIST,
        "watch" => &WATCH,
        "create" => &CREATE,
        "update" => &UPDATE,
        "patch" => &PATCH,
        "delete" => &DELETE,
        "deletecollection" => &DELETE_ALL,
        _ => &[],
    }
}

const ANY: &[&str] = &[];
const PODS: &[&str] = &["pods"];
const NODES: &[&str] = &["nodes"];
const RBAC: &[&str] = &["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
const ROLLED_OUT: &[&str] = &["deployments", "daemonsets", "statefulsets"];
/// Whoever leads writes and reads them all the time.
const LEASES: &[&str] = &["leases"];
const TEMPLATED: &[&str] = &[
    "cronjobs",
    "daemonsets",
    "deployments",
    "jobs",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "statefulsets",
];

const RUN_IN_CONTAINER: &[Say] =
    &[Words("exec"), Name, Scope, Query("--container", "container"), Command];
/// `cp` runs `tar` in the container: `tar cf - PATH` out of it, `tar -xmf - -C FOLDER` into it (kubectl 1.35,
/// `pkg/cmd/cp/cp.go`).
const COPY_OUT: &[Say] =
    &[Words("cp"), Special(say::copied_from), Words("."), Scope, Query("--container", "container")];
const COPY_IN: &[Say] =
    &[Words("cp ."), Special(say::copied_to), Scope, Query("--container", "container")];
const ATTACH: &[Say] = &[Words("attach"), Name, Scope, Query("--container", "container")];
const FORWARD: &[Say] = &[Words("port-forward"), Name, Scope];
const WAIT: &[Say] = &[Words("wait"), Resource, Name, Scope];
const ROLLOUT_STATUS: &[Say] = &[Words("rollout status"), Resource, Name, Scope];
const SCALE: &[Say] = &[Words("scale"), Resource, Name, Body("--replicas", "spec replicas"), Scope];
const APPLY: &[Say] = &[Words("apply -f")];
const DIFF: &[Say] = &[Words("diff -f")];
const CREATE_FILE: &[Say] = &[Words("create -f")];
const REPLACE_FILE: &[Say] = &[Words("replace -f")];
const RECONCILE: &[Say] = &[Words("auth reconcile -f")];

// Streams: a WebSocket is a GET, SPDY a POST.
const CP_OUT: Row = row(PODS, "exec", &[When::Command(&["tar", "cf", "-"])], COPY_OUT);
const CP_IN: Row = row(PODS, "exec", &[When::Command(&["tar", "-xmf", "-", "-C"])], COPY_IN);
const EXEC: Row = row(PODS, "exec", &[], RUN_IN_CONTAINER);
const ATTACHED: Row = row(PODS, "attach", &[], ATTACH);
const FORWARDED: Row = row(PODS, "portforward", &[], FORWARD);

static GET: [Row; 13] = [
    CP_OUT,
    CP_IN,
    EXEC,
    ATTACHED,
    FORWARDED,
    row(
        PODS,
        "log",
        &[],
        &[
            Words("logs"),
            Name,
            Scope,
            Query("--container", "container"),
            Switch("--follow", "follow"),
            Switch("--previous", "previous"),
            Switch("--timestamps", "timestamps"),
            Query("--tail", "tailLines"),
            Cut("--since", "sinceSeconds", "s"),
            Query("--since-time", "sinceTime"),
            Query("--limit-bytes", "limitBytes"),
        ],
    ),
    row(ANY, "proxy", &[], &[Words("get --raw"), Uri]),
    row(&["pods", "nodes"], "", &[Group("metrics.k8s.io")], &[Words("top"), Resource, Name, Scope]),
    row(&["secrets"], "", &[Group("")], &[Words("get secret details")]),
    row(LEASES, "", &[When::NotKubectl], &[]),
    // K8sCop says `describe` for one object, and knows no custom resources; `get` is the simpler of the two.
    row(ANY, "", &[Custom], &[Words("get"), Resource, Name, Scope]),
    row(ANY, "", &[], &[Words("describe"), Resource, Name, Scope]),
    // `--subresource` is since kubectl 1.24. (Everything else that one can get below an object is above.)
    row(ANY, "*", &[Kubectl], &[Words("get"), Resource, Name, Subresource, Scope]),
];

static LIST: [Row; 6] = [
    row(
        &["services"],
        "",
        &[
            When::Namespace("kube-system"),
            QueryIs("labelSelector", "kubernetes.io/cluster-service=true"),
        ],
        &[Words("cluster-info")],
    ),
    row(
        &["pods", "nodes"],
        "",
        &[Group("metrics.k8s.io")],
        &[Words("top"), Resource, Scope, Selectors],
    ),
    // Before 1.14 this told describe from get.
    row(
        ANY,
        "",
        &[QueryIs("includeUninitialized", "true")],
        &[Words("describe"), Resource, Scope, Selectors],
    ),
    // With these kubectl's commands that wait begin: client-go's informer asks for what is cached.
    row(ROLLED_OUT, "", &[Kubectl, Named, QueryIs("resourceVersion", "0")], ROLLOUT_STATUS),
    row(ANY, "", &[Kubectl, Named, QueryIs("resourceVersion", "0")], WAIT),
    row(ANY, "", &[], &[Words("get"), Resource, Scope, Selectors]),
];

static WATCH: [Row; 4] = [
    row(ROLLED_OUT, "", &[Kubectl, Named, HasQuery("allowWatchBookmarks")], ROLLOUT_STATUS),
    row(ANY, "", &[Kubectl, Named, HasQuery("allowWatchBookmarks")], WAIT),
    row(ANY, "", &[Named], &[Words("get"), Resource, Name, Words("--watch"), Scope]),
    row(ANY, "", &[], &[Words("get"), Resource, Words("--watch"), Scope, Selectors]),
];

/// What `create deployment` and the like write into a pod, and the API server's defaults.
pub(super) const POD: &[&str] = &[
    "metadata labels app",
    "spec containers command",
    "spec containers image",
    "spec containers imagePullPolicy",
    "spec containers name",
    "spec containers ports containerPort",
    "spec containers ports protocol",
    "spec containers terminationMessagePath",
    "spec containers terminationMessagePolicy",
    "spec dnsPolicy",
    "spec restartPolicy",
    "spec schedulerName",
    "spec terminationGracePeriodSeconds",
];

/// What `run` writes without `--overrides`.
const RUN: When = Only(
    &[
        "metadata labels",
        "metadata labels *",
        "metadata annotations",
        "metadata annotations *",
        "spec containers args",
        "spec containers command",
        "spec containers env name",
        "spec containers env value",
        "spec containers image",
        "spec containers imagePullPolicy",
        "spec containers name",
        "spec containers ports containerPort",
        "spec containers ports protocol",
        "spec containers stdin",
        "spec containers stdinOnce",
        "spec containers terminationMessagePath",
        "spec containers terminationMessagePolicy",
        "spec containers tty",
        "spec dnsPolicy",
        "spec enableServiceLinks",
        "spec restartPolicy",
        "spec schedulerName",
        "spec terminationGracePeriodSeconds",
    ],
    "",
);
const DEPLOYMENT: When = Only(
    &[
        "metadata labels app",
        "spec progressDeadlineSeconds",
        "spec replicas",
        "spec revisionHistoryLimit",
        "spec selector matchLabels app",
        "spec strategy rollingUpdate maxSurge",
        "spec strategy rollingUpdate maxUnavailable",
        "spec strategy type",
    ],
    "spec template ",
);
const JOB: When = Only(
    &[
        "spec backoffLimit",
        "spec completionMode",
        "spec completions",
        "spec manualSelector",
        "spec parallelism",
        "spec podReplacementPolicy",
        "spec suspend",
    ],
    "spec template ",
);
const CRON_JOB: When = Only(
    &[
        "spec concurrencyPolicy",
        "spec failedJobsHistoryLimit",
        "spec jobTemplate metadata name",
        "spec schedule",
        "spec successfulJobsHistoryLimit",
        "spec suspend",
    ],
    "spec jobTemplate spec template ",
);
const SERVICE: When = Only(
    &[
        "metadata labels app",
        "spec internalTrafficPolicy",
        "spec ports name",
        "spec ports port",
        "spec ports protocol",
        "spec ports targetPort",
        "spec selector app",
        "spec sessionAffinity",
        "spec type",
    ],
    "",
);
const ROLE: When = Only(&["rules apiGroups", "rules resources", "rules verbs"], "");
const BINDING: When = Only(
    &[
        "roleRef apiGroup",
        "roleRef kind",
        "roleRef name",
        "subjects apiGroup",
        "subjects kind",
        "subjects name",
        "subjects namespace",
    ],
    "",
);

static CREATE: [Row; 38] = [
    CP_OUT,
    CP_IN,
    EXEC,
    ATTACHED,
    FORWARDED,
    // The event names the pod, not the node.
    row(PODS, "eviction", &[], &[Words("drain")]),
    row(ANY, "proxy", &[], &[Words("create --raw"), Uri]),
    row(&["serviceaccounts"], "token", &[], &[Words("create token"), Name, Scope]),
    row(&["selfsubjectaccessreviews"], "", &[], &[Words("auth can-i"), Special(say::question)]),
    row(
        &["selfsubjectrulesreviews"],
        "",
        &[],
        &[Words("auth can-i --list"), Body("--namespace", "spec namespace")],
    ),
    row(&["selfsubjectreviews"], "", &[], &[Words("auth whoami")]),
    row(PODS, "", &[Manager("-run"), NoBody], &[Words("run"), Name, Scope]),
    row(
        PODS,
        "",
        &[Manager("-run"), RUN],
        &[
            Words("run"),
            Name,
            Body("--image", "spec containers image"),
            Scope,
            Fields("--command --", "spec containers command"),
            Fields("--", "spec containers args"),
        ],
    ),
    row(
        PODS,
        "",
        &[Manager("-run")],
        &[
            Words("run"),
            Name,
            Body("--image", "spec containers image"),
            Words("--overrides …"),
            Scope,
        ],
    ),
    // The pod of `debug node/NODE` has a name of its own (kubectl 1.29 to 1.35, `pkg/cmd/debug/debug.go`).
    row(
        PODS,
        "",
        &[
            Kubectl,
            NoManager,
            BodyBegins("metadata name", "node-debugger-"),
            HasBody("spec nodeName"),
        ],
        &[
            Words("debug"),
            Special(say::debugged_node),
            Body("--image", "spec containers image"),
            Scope,
        ],
    ),
    row(
        ANY,
        "",
        &[Manager("-expose")],
        &[
            Words("expose"),
            Body("--name", "metadata name"),
            Body("--port", "spec ports port"),
            Body("--type", "spec type"),
            Scope,
        ],
    ),
    row(
        &["horizontalpodautoscalers"],
        "",
        &[Manager("-autoscale")],
        &[
            Words("autoscale"),
            Special(say::scaled),
            Body("--min", "spec minReplicas"),
            Body("--max", "spec maxReplicas"),
            Body("--cpu-percent", "spec targetCPUUtilizationPercentage"),
            Body("--cpu-percent", "spec metrics resource target averageUtilization"),
            Scope,
        ],
    ),
    row(
        ANY,
        "",
        &[Manager("-client-side-apply"), QueryIs("dryRun", "All"), NoQuery("fieldValidation")],
        DIFF,
    ),
    row(ANY, "", &[Manager("-client-side-apply")], APPLY),
    row(ANY, "", &[Manager("-replace")], &[Words("replace -f --force")]),
    row(RBAC, "", &[Kubectl, NoManager], RECONCILE),
    row(
        &["namespaces"],
        "",
        &[
            Manager("-create"),
            Only(&["metadata labels kubernetes.io/metadata.name", "status phase"], ""),
        ],
        &[Words("create namespace"), Name],
    ),
    row(
        &["serviceaccounts"],
        "",
        &[Manager("-create"), Only(&[], "")],
        &[Words("create serviceaccount"), Name, Scope],
    ),
    row(
        &["deployments"],
        "",
        &[Manager("-create"), DEPLOYMENT],
        &[
            Words("create deployment"),
            Name,
            Body("--image", "spec template spec containers image"),
            Body("--replicas", "spec replicas"),
            Body("--port", "spec template spec containers ports containerPort"),
            Scope,
            Fields("--", "spec template spec containers command"),
        ],
    ),
    row(
        &["jobs"],
        "",
        &[Manager("-create"), BodyIs("metadata ownerReferences kind", "CronJob")],
        &[Words("create job"), Name, Special(say::from_cron_job), Scope],
    ),
    row(
        &["jobs"],
        "",
        &[Manager("-create"), JOB],
        &[
            Words("create job"),
            Name,
            Body("--image", "spec template spec containers image"),
            Scope,
            Fields("--", "spec template spec containers command"),
        ],
    ),
    row(
        &["cronjobs"],
        "",
        &[Manager("-create"), CRON_JOB],
        &[
            Words("create cronjob"),
            Name,
            Body("--image", "spec jobTemplate spec template spec containers image"),
            Body("--schedule", "spec schedule"),
            Scope,
            Fields("--", "spec jobTemplate spec template spec containers command"),
        ],
    ),
    row(
        &["roles"],
        "",
        &[Manager("-create"), ROLE, When::SameVerbs],
        &[Words("create role"), Name, Special(say::rules), Scope],
    ),
    row(
        &["clusterroles"],
        "",
        &[Manager("-create"), ROLE, When::SameVerbs],
        &[Words("create clusterrole"), Name, Special(say::rules)],
    ),
    row(
        &["rolebindings"],
        "",
        &[Manager("-create"), BINDING],
        &[Words("create rolebinding"), Name, Special(say::bound), Scope],
    ),
    row(
        &["clusterrolebindings"],
        "",
        &[Manager("-create"), BINDING],
        &[Words("create clusterrolebinding"), Name, Special(say::bound)],
    ),
    row(
        &["services"],
        "",
        &[Manager("-create"), SERVICE],
        &[Words("create service"), Special(say::service), Scope],
    ),
    row(
        &["resourcequotas"],
        "",
        &[Manager("-create"), Only(&["spec hard*"], "")],
        &[Words("create quota"), Name, Pairs("--hard", "spec hard"), Scope],
    ),
    row(
        &["priorityclasses"],
        "",
        &[Manager("-create"), Only(&["value", "preemptionPolicy"], "")],
        &[Words("create priorityclass"), Name, Body("--value", "value")],
    ),
    row(&["tokenreviews", "subjectaccessreviews"], "", &[When::NotKubectl], &[]),
    row(&["events", "leases"], "", &[When::NotKubectl], &[]),
    row(ANY, "", &[], CREATE_FILE),
    row(ANY, "*", &[Hand], &[Words("create --raw"), Uri]),
];

static UPDATE: [Row; 8] = [
    row(ANY, "scale", &[], SCALE),
    row(ANY, "proxy", &[], &[Words("replace --raw"), Uri]),
    row(
        &["certificatesigningrequests"],
        "approval",
        &[BodyIs("status conditions type", "Denied")],
        &[Words("certificate deny"), Name],
    ),
    row(
        &["certificatesigningrequests"],
        "approval",
        &[BodyIs("status conditions type", "Approved")],
        &[Words("certificate approve"), Name],
    ),
    row(ANY, "*", &[Hand], &[Words("replace --raw"), Uri]),
    row(ANY, "", &[AnyManager], REPLACE_FILE),
    row(RBAC, "", &[Kubectl], RECONCILE),
    row(ANY, "", &[Kubectl], REPLACE_FILE),
];

const TEMPLATE_ENV: &str = "spec template spec containers env";
// A client may call itself by any manager: the body must be what kubectl's command writes. The orders are those of
// a strategic merge patch.
const ENV: When = Only(
    &[
        "spec template spec $setElementOrder/containers name",
        "spec template spec containers name",
        "spec template spec containers $setElementOrder/env name",
        "spec template spec containers env",
        "spec template spec containers env *",
    ],
    "",
);
const RESOURCES: When = Only(
    &[
        "spec template spec $setElementOrder/containers name",
        "spec template spec containers name",
        "spec template spec containers resources*",
    ],
    "",
);
const IMAGES: When = Only(
    &[
        "spec template spec $setElementOrder/containers name",
        "spec template spec containers name",
        "spec template spec containers image",
    ],
    "",
);

static PATCH: [Row; 32] = [
    row(&["events", "leases"], "", &[When::NotKubectl], &[]),
    row(ANY, "scale", &[When::NotManager("-patch")], SCALE),
    row(
        PODS,
        "ephemeralcontainers",
        &[],
        &[
            Words("debug"),
            Name,
            Body("--image", "spec ephemeralContainers image"),
            Body("--target", "spec ephemeralContainers targetContainerName"),
            Scope,
        ],
    ),
    row(ANY, "*", &[Manager("-patch")], &[Words("patch"), Resource, Name, Subresource, Scope]),
    row(ANY, "*", &[Manager("-edit")], &[Words("edit"), Resource, Name, Subresource, Scope]),
    row(ANY, "*", &[Kubectl, HasQuery("force")], APPLY),
    // A patch of the taints holds all of them: which of them is new cannot be seen.
    row(
        NODES,
        "",
        &[Manager("-taint"), NothingBut(&["spec taints*"])],
        &[Words("taint"), Resource, Name],
    ),
    row(
        NODES,
        "",
        &[NoManager, BodyIs("spec unschedulable", "true"), Only(&["spec unschedulable"], "")],
        &[Words("cordon"), Name],
    ),
    row(
        NODES,
        "",
        &[NoManager, HasBody("spec unschedulable"), Only(&["spec unschedulable"], "")],
        &[Words("uncordon"), Name],
    ),
    row(
        ANY,
        "",
        &[Manager("-client-side-apply"), QueryIs("dryRun", "All"), NoQuery("fieldValidation")],
        DIFF,
    ),
    row(ANY, "", &[Manager(""), QueryIs("dryRun", "All"), NoQuery("fieldValidation")], DIFF),
    row(ANY, "", &[Manager("")], APPLY),
    row(ANY, "", &[Manager("-client-side-apply")], APPLY),
    row(ANY, "", &[Manager("-last-applied")], APPLY),
    row(ANY, "", &[Kubectl, HasQuery("force")], APPLY),
    row(
        ANY,
        "",
        &[
            Manager("-rollout"),
            Only(&["spec template metadata annotations kubectl.kubernetes.io/restartedAt"], ""),
            HasBody("spec template"),
        ],
        &[Words("rollout restart"), Resource, Name, Scope],
    ),
    row(
        ANY,
        "",
        &[Manager("-rollout"), Only(&["spec paused"], ""), BodyIs("spec paused", "true")],
        &[Words("rollout pause"), Resource, Name, Scope],
    ),
    row(
        ANY,
        "",
        &[Manager("-rollout"), Only(&["spec paused"], ""), HasBody("spec paused")],
        &[Words("rollout resume"), Resource, Name, Scope],
    ),
    row(ANY, "", &[Manager("-rollout"), NoBody], &[Words("rollout"), Resource, Name, Scope]),
    // `rollout undo` puts an old template back (kubectl 1.35, `polymorphichelpers/rollback.go`).
    row(
        ROLLED_OUT,
        "",
        &[Kubectl, NoManager, JsonPatch("/spec/template")],
        &[Words("rollout undo"), Resource, Name, Scope],
    ),
    row(
        ROLLED_OUT,
        "",
        &[Kubectl, NoManager, BodyIs("spec template $patch", "replace")],
        &[Words("rollout undo"), Resource, Name, Scope],
    ),
    row(
        TEMPLATED,
        "",
        &[Manager("-set"), ENV, HasBody(TEMPLATE_ENV)],
        &[Words("set env"), Resource, Name, Special(say::environment), Scope],
    ),
    row(
        TEMPLATED,
        "",
        &[Manager("-set"), RESOURCES, HasBody("spec template spec containers resources")],
        &[
            Words("set resources"),
            Resource,
            Name,
            Pairs("--limits", "spec template spec containers resources limits"),
            Pairs("--requests", "spec template spec containers resources requests"),
            Scope,
        ],
    ),
    row(
        TEMPLATED,
        "",
        &[Manager("-set"), IMAGES, HasBody("spec template spec containers image")],
        &[Words("set image"), Resource, Name, Special(say::images), Scope],
    ),
    row(
        TEMPLATED,
        "",
        &[
            Manager("-set"),
            Only(&["spec template spec serviceAccountName"], ""),
            HasBody("spec template spec serviceAccountName"),
        ],
        &[
            Words("set serviceaccount"),
            Resource,
            Name,
            Body("", "spec template spec serviceAccountName"),
            Scope,
        ],
    ),
    row(
        &["services"],
        "",
        &[Manager("-set"), NothingBut(&["spec selector*"])],
        &[Words("set selector"), Resource, Name, Pairs("", "spec selector"), Scope],
    ),
    // As with taints: all subjects are there, old and new.
    row(
        &["rolebindings", "clusterrolebindings"],
        "",
        &[Manager("-set"), NothingBut(&["subjects*"])],
        &[Words("set subject"), Resource, Name, Scope],
    ),
    row(ANY, "", &[Manager("-set"), NoBody], &[Words("set"), Resource, Name, Scope]),
    row(
        ANY,
        "",
        &[Manager("-label"), NothingBut(&["metadata labels", "metadata labels *"])],
        &[Words("label"), Resource, Name, Pairs("", "metadata labels"), Scope],
    ),
    row(
        ANY,
        "",
        &[Manager("-annotate"), NothingBut(&["metadata annotations", "metadata annotations *"])],
        &[Words("annotate"), Resource, Name, Pairs("", "metadata annotations"), Scope],
    ),
    row(ANY, "", &[Manager("-edit")], &[Words("edit"), Resource, Name, Scope]),
    row(ANY, "", &[], &[Words("patch"), Resource, Name, Scope]),
];

static DELETE: [Row; 2] = [
    row(ANY, "proxy", &[], &[Words("delete --raw"), Uri]),
    row(ANY, "", &[], &[Words("delete"), Resource, Name, Special(say::how_deleted), Scope]),
];

static DELETE_ALL: [Row; 2] = [
    row(
        ANY,
        "",
        &[When::HasSelector],
        &[Words("delete"), Resource, Special(say::how_deleted), Scope, Selectors],
    ),
    row(ANY, "", &[], &[Words("delete"), Resource, Words("--all"), Scope]),
];

/// Paths that are no resource, by the words for a GET of them; nothing: kubectl asks this beside everything.
pub(super) static PATHS: [(&str, &str); 7] = [
    ("/version", "version"),
    ("/api", "api-resources"),
    ("/apis", "api-resources"),
    ("/api/", ""),
    ("/apis/", ""),
    ("/openapi/", ""),
    ("/swagger", ""),
];

/// Resources that live in a namespace: without one in the request, it was for all.
pub(super) static NAMESPACED: [&str; 26] = [
    "configmaps",
    "controllerrevisions",
    "cronjobs",
    "daemonsets",
    "deployments",
    "endpoints",
    "endpointslices",
    "events",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "leases",
    "limitranges",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "podtemplates",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
];

/// The API groups that come with Kubernetes 1.35, those of the past, and the one of its metrics server.
pub(super) static GROUPS: [&str; 26] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "metrics.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "settings.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];
