//! dev
pub mod json;
pub mod bulk;
pub mod event;
pub mod unwrap;
pub mod rules;
pub mod classify;
pub mod prepare;
pub mod metrics;
pub mod forward;
pub mod receiver;
