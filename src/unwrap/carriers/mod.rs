//! The carriers: each file knows one, and takes it off.

pub(super) mod azure;
pub(super) mod cloudwatch;
pub(super) mod google;
pub(super) mod list;
pub(super) mod openshift;
pub(super) mod strings;
