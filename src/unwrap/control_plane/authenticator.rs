//! What `aws-iam-authenticator` says of an authentication (master of July 2026, `pkg/server/server.go`).
//!
//! For each it writes `path`, `client` and `method`; with "STS response" also who AWS says it is; with "access
//! granted" also whom the API server will know it as; with "access denied" the reason.
//!
//! | in the line | document |
//! | --- | --- |
//! | names of [`NAMES`] | `aws.eks.authenticator.*` |
//! | `username`, `uid` | `user.name`, `user.id` |
//! | `groups` | `user.roles` |
//! | `client` | `source.address`, `source.ip`, `source.port` |
//! | "access granted" | `event.outcome: success` |
//! | "access denied" | `event.outcome: failure` |
//! | all | `event.category: [authentication]`, `event.action`: the message |
//!
//! `user.name` and `user.id` are equal to `user.username` and `user.uid` of the audit events of that user. The
//! source is the API server that asked, not the user.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use super::Line;

/// Names of values that go to `aws.eks.authenticator.*`.
pub(super) const NAMES: [&str; 13] = [
    "accesskeyid",
    "accountid",
    "arn",
    "client",
    "error",
    "groups",
    "method",
    "path",
    "session",
    "stsendpoint",
    "uid",
    "userid",
    "username",
];

/// One step of an authentication.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication<'l> {
    /// `success` or `failure`; none before it is known.
    pub(crate) outcome: Option<&'static str>,
    /// `username`
    pub(crate) user_name: Option<&'l str>,
    /// `uid`. An "STS response" has the parts that it will be made of.
    pub(crate) user_id: Option<Cow<'l, str>>,
    /// `groups`. A name with a blank in it is two here. None where they are written otherwise (logrus' JSON).
    pub(crate) groups: Vec<&'l str>,
    /// `client`, as it stands there.
    pub(crate) address: Option<&'l str>,
    /// The address in `client`.
    pub(crate) ip: Option<IpAddr>,
    /// The port in `client`.
    pub(crate) port: Option<u16>,
}

/// What an entry of the authenticator says of an authentication; `None` for its other entries.
pub(crate) fn authentication<'l>(line: &'l Line<'_>) -> Option<Authentication<'l>> {
    let filled = |name| line.field(name).filter(|it| !it.is_empty());
    let (address, _) = (filled("client")?, line.field("path")?);
    let socket = address.parse::<SocketAddr>().ok();
    let made = || {
        let (account, user) = (filled("accountid")?, filled("userid")?);
        Some(Cow::Owned(format!("aws-iam-authenticator:{account}:{user}")))
    };
    let groups = line.field("groups").unwrap_or_default();
    let groups = groups.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or_default();
    Some(Authentication {
        outcome: match line.message.as_ref() {
            "access granted" => Some("success"),
            "access denied" => Some("failure"),
            _ => None,
        },
        user_name: filled("username"),
        user_id: filled("uid").map(Cow::Borrowed).or_else(made),
        groups: groups.split(' ').filter(|it| !it.is_empty() && !it.contains('"')).collect(),
        address: Some(address),
        ip: socket.map(|it| it.ip()).or_else(|| address.parse().ok()),
        port: socket.map(|it| it.port()),
    })
}
