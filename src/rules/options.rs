/// How rules are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which logs they may be for.
    pub mode: Mode,
}

/// Which logs rules may be for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Kubernetes audit logs, and their fields only.
    #[default]
    Audit,
    /// Any log and any field. Such rules can be checked; on audit events most of them see nothing.
    Any,
}
