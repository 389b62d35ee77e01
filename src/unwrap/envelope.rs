use crate::event::Text;

/// Whose way an event took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// Nothing says.
    #[default]
    Plain,
    /// Amazon's, through CloudWatch.
    Eks,
    /// Google's, through Cloud Logging.
    Gke,
    /// Azure's, through Azure Monitor.
    Aks,
    /// OpenShift's collector.
    Openshift,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Eks, Self::Gke, Self::Aks, Self::Openshift];

    /// Its name, as metrics label it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Eks => "eks",
            Self::Gke => "gke",
            Self::Aks => "aks",
            Self::Openshift => "openshift",
        }
    }

    /// ECS: `cloud.provider`.
    pub(super) fn cloud(self) -> Option<&'static str> {
        match self {
            Self::Eks => Some("aws"),
            Self::Gke => Some("gcp"),
            Self::Aks => Some("azure"),
            Self::Plain | Self::Openshift => None,
        }
    }
}

/// What the carriers told on the way to an event. An inner carrier overrules an outer one.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) provider: Provider,
    /// Name of the cluster, as the carrier has it.
    pub(super) cluster: Text<'a>,
    /// Name of the cluster, as the document or the settings have it: where no carrier tells.
    pub(super) told_cluster: Text<'a>,
    /// The cluster's full name in its cloud.
    pub(super) cluster_id: Text<'a>,
    /// ECS: `cloud.region`.
    pub(super) region: Text<'a>,
    /// ECS: `cloud.account.id`; Azure's subscription.
    pub(super) account: Text<'a>,
    /// ECS: `cloud.project.id`.
    pub(super) project: Text<'a>,
    /// When the carrier says that it happened (RFC 3339).
    pub(super) time: Text<'a>,
    /// When the carrier took it in.
    pub(super) created: Text<'a>,
    /// The carrier's own id of the record.
    pub(super) id: Text<'a>,
    /// CloudWatch's log group: `/aws/eks/<cluster>/cluster`.
    pub(super) log_group: Text<'a>,
    /// CloudWatch's log stream: `kube-apiserver-audit-…`.
    pub(super) log_stream: Text<'a>,
    /// What goes to `aws.cloudwatch` (JSON text).
    pub(super) cloudwatch: Text<'a>,
    /// What goes to `log.file.path` (JSON text).
    pub(super) log_file_path: Option<&'a str>,
    /// What Azure put around the event, with Elastic's names (JSON text): `kubernetes.audit.aks_metadata`.
    pub(super) aks_metadata: Text<'a>,
    /// Azure's category of the record: `kube-audit`.
    pub(super) category: Text<'a>,
}

/// Longest text that a carrier tells (bytes): each of the many that come in it gets a copy. Names of log groups have 512
/// characters at most (CloudWatch Logs API, `CreateLogGroup`).
const TEXT_BYTES_MAX: usize = 4096;

impl Envelope<'_> {
    /// Forgets what is too long to be what it should be.
    pub(super) fn drop_long(&mut self) {
        let texts = [
            &mut self.cluster,
            &mut self.told_cluster,
            &mut self.cluster_id,
            &mut self.region,
            &mut self.account,
            &mut self.project,
            &mut self.time,
            &mut self.created,
            &mut self.id,
            &mut self.log_group,
            &mut self.log_stream,
            &mut self.category,
        ];
        for text in texts {
            text.take_if(|it| it.len() > TEXT_BYTES_MAX);
        }
    }

    /// The name of the cluster.
    pub(super) fn cluster(&self) -> Option<&str> {
        let filled = |it: &'_ Text<'_>| it.as_deref().is_some_and(|it| !it.is_empty());
        [&self.cluster, &self.told_cluster].into_iter().find(|it| filled(it))?.as_deref()
    }
}
