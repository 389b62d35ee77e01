//! dev
pub mod json;
pub mod bulk;
