//! The other lines of a control plane: what its components log, as text.
//!
//! A line is read in one of three forms and every other line has none of them: the rest of an entry of several
//! lines, a dump, a trace. That is no error.
//!
//! | what the line has | [`Line`] | document |
//! | --- | --- | --- |
//! | severity | `level` | `log.level` |
//! | time | `at` | `@timestamp` |
//! | text | `message` | `message` |
//! | `file:line` | `file`, `line` | `log.origin.file.name`, `log.origin.file.line` |
//! | klog's `threadid` | `thread` | `process.thread.id` |
//! | name of the component | [`Component::name`] | `process.name` |
//! | no header | `continuation` | `log.flags` |
//! | `logger` | `fields` | `log.logger` |
//! | `err`, `error` | `fields` | `error.message` |
//! | names of [`authenticator::NAMES`] | `fields` | `aws.eks.authenticator.*`, and see [`authenticator`] |
//! | all other `key=value` | `fields` | `k8scop.fields` |
//!
//! `k8scop.fields` is one object, one level deep, of strings only. Components name their values as they like and
//! what they write under a name is a number here and an object there. As strings under names without dots no two
//! of them are ever in conflict, and the index template maps the few that are common and no others, so that the
//! mapping does not grow. The type `flattened` would do the same for all of them in Elasticsearch alone;
//! OpenSearch does not know it.

pub(crate) mod authenticator;
mod document;
mod fields;
mod json_entry;
mod klog;
mod logfmt;
mod quoted;

use std::borrow::Cow;

use jiff::Timestamp;

pub(crate) use self::document::{clashes, fill};

/// A component of the control plane, by the name that its dataset has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// `kube-apiserver`, without its audit events.
    Apiserver,
    /// `kube-controller-manager`
    ControllerManager,
    /// `cloud-controller-manager`
    CloudControllerManager,
    /// `kube-scheduler`
    Scheduler,
    /// `aws-iam-authenticator`, the authentication webhook of EKS.
    Authenticator,
    /// `cluster-autoscaler`
    ClusterAutoscaler,
    /// `guard`, the authentication webhook of AKS.
    Guard,
    /// The controller of Azure's disks.
    CsiAzuredisk,
    /// The controller of Azure's file shares.
    CsiAzurefile,
    /// The controller of volume snapshots.
    CsiSnapshot,
    /// Some other one: the form of the line tells that it is one, and nothing tells which.
    Other,
}

/// How the streams of the log group `/aws/eks/CLUSTER/cluster` begin. The scheduler's is found written in both
/// ways. `kube-apiserver-audit-` stands first, because it begins like what follows.
const EKS_STREAMS: [(&str, Option<Component>); 7] = [
    ("kube-apiserver-audit-", None),
    ("kube-apiserver-", Some(Component::Apiserver)),
    ("authenticator-", Some(Component::Authenticator)),
    ("kube-controller-manager-", Some(Component::ControllerManager)),
    ("cloud-controller-manager-", Some(Component::CloudControllerManager)),
    ("kube-scheduler-", Some(Component::Scheduler)),
    ("scheduler-", Some(Component::Scheduler)),
];

/// The categories of resource logs of `Microsoft.ContainerService/managedClusters`, and of AKS enabled by Azure
/// Arc (`csi-aksarc*`), as Azure Monitor's reference names them. `kube-audit` and `kube-audit-admin` are audit
/// events.
const AKS_CATEGORIES: [(&str, Component); 12] = [
    ("kube-apiserver", Component::Apiserver),
    ("kube-controller-manager", Component::ControllerManager),
    ("cloud-controller-manager", Component::CloudControllerManager),
    ("kube-scheduler", Component::Scheduler),
    ("cluster-autoscaler", Component::ClusterAutoscaler),
    ("guard", Component::Guard),
    ("csi-azuredisk-controller", Component::CsiAzuredisk),
    ("csi-azurefile-controller", Component::CsiAzurefile),
    ("csi-snapshot-controller", Component::CsiSnapshot),
    ("csi-aksarcdisk-controller", Component::Other),
    ("csi-aksarcsmb-controller", Component::Other),
    ("csi-aksarcnfs-controller", Component::Other),
];

impl Component {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Apiserver,
        Self::ControllerManager,
        Self::CloudControllerManager,
        Self::Scheduler,
        Self::Authenticator,
        Self::ClusterAutoscaler,
        Self::Guard,
        Self::CsiAzuredisk,
        Self::CsiAzurefile,
        Self::CsiSnapshot,
        Self::Other,
    ];

    /// From the name of an EKS log stream; `None` for audit events and for unknown names.
    pub(crate) fn of_eks_stream(stream: &str) -> Option<Self> {
        EKS_STREAMS.iter().find(|(prefix, _)| stream.starts_with(prefix))?.1
    }

    /// From an AKS category, in small letters or not; `None` for audit events and for unknown names.
    pub(crate) fn of_aks_category(category: &str) -> Option<Self> {
        AKS_CATEGORIES.iter().find(|(name, _)| category.eq_ignore_ascii_case(name)).map(|it| it.1)
    }

    /// The dataset of its documents. The index template `kubernetes.control_plane_logs` names each of them.
    pub fn dataset(self) -> &'static str {
        self.row().1
    }

    /// What its process is called.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Apiserver => ("kube-apiserver", "kubernetes.apiserver_logs"),
            Self::ControllerManager => {
                ("kube-controller-manager", "kubernetes.controller_manager_logs")
            }
            Self::CloudControllerManager => {
                ("cloud-controller-manager", "kubernetes.cloud_controller_manager_logs")
            }
            Self::Scheduler => ("kube-scheduler", "kubernetes.scheduler_logs"),
            Self::Authenticator => ("aws-iam-authenticator", "kubernetes.authenticator_logs"),
            Self::ClusterAutoscaler => ("cluster-autoscaler", "kubernetes.cluster_autoscaler_logs"),
            Self::Guard => ("guard", "kubernetes.guard_logs"),
            Self::CsiAzuredisk => ("csi-azuredisk-controller", "kubernetes.csi_azuredisk_logs"),
            Self::CsiAzurefile => ("csi-azurefile-controller", "kubernetes.csi_azurefile_logs"),
            Self::CsiSnapshot => ("csi-snapshot-controller", "kubernetes.csi_snapshot_logs"),
            Self::Other => ("control-plane", "kubernetes.control_plane_logs"),
        }
    }
}

/// What a line says.
#[derive(Debug, Default)]
pub(crate) struct Line<'a> {
    /// `debug`, `info`, `warning`, `error` or `fatal`.
    pub(crate) level: Option<&'static str>,
    /// When it was written, with all digits that the line has.
    pub(crate) at: Option<Timestamp>,
    /// Its text without the header; `key="value"` behind klog's text stay in it. The whole line where something
    /// in it has no place in the other members.
    pub(crate) message: Cow<'a, str>,
    /// The source file.
    pub(crate) file: Option<&'a str>,
    /// The line in `file`.
    pub(crate) line: Option<u64>,
    /// klog's `threadid`. What stands there is the id of the process (klog 2.140, `internal/buffer/buffer.go`);
    /// where each has a container of its own, mostly 1.
    pub(crate) thread: Option<u64>,
    /// Structured values, each name once, 64 at most. Letters, digits and `_-/` are kept in a name, all else is
    /// `_`. A value that is no string is JSON text.
    pub(crate) fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// It has no header: it goes on with the entry of the line before.
    pub(crate) continuation: bool,
}

impl Line<'_> {
    /// The structured value called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }
}

/// How klog's JSON and logfmt begin (component-base 0.35, `logs/json/json.go`: zap writes the time first;
/// logrus 1.9, `text_formatter.go`: so does the text formatter).
const JSON_START: &str = "{\"ts\":";
const LOGFMT_START: &str = "time=\"";

/// Whether a line has the form of a control-plane log, whatever wrote it. False for continuation lines.
pub(crate) fn has_form(line: &str) -> bool {
    line.starts_with(JSON_START) || line.starts_with(LOGFMT_START) || klog::header(line).is_some()
}

/// Reads a line. `hint` is the time that its envelope has: klog writes neither year nor zone. The zone is UTC, as
/// on EKS and AKS, and the year the one that puts it nearest to `hint`.
pub(crate) fn parse(line: &str, hint: Option<Timestamp>) -> Line<'_> {
    let text = line.trim_end_matches(['\n', '\r']);
    let read = match text.as_bytes().first() {
        Some(b'I' | b'W' | b'E' | b'F') => klog::parse(text, hint),
        Some(b'{') => json_entry::parse(text),
        Some(b't') => text.starts_with(LOGFMT_START).then(|| logfmt::parse(text)),
        _ => None,
    };
    read.unwrap_or_else(|| Line {
        message: Cow::Borrowed(text),
        // JSON that was cut on its way has begun an entry all the same.
        continuation: !text.starts_with(JSON_START),
        ..Line::default()
    })
}

/// Cuts `dir/file.go:12` into file and line.
fn origin(text: &str) -> Option<(&str, u64)> {
    let (file, line) = text.rsplit_once(':')?;
    (!file.is_empty()).then_some((file, digits(line)?))
}

/// A number of ASCII digits only. `str::parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The ECS level of what logrus and zap call it.
fn level(name: &str) -> Option<&'static str> {
    Some(match name {
        "trace" | "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warning",
        "error" => "error",
        "dpanic" | "panic" | "fatal" => "fatal",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
