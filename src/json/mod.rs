//! JSON text as text: checked once, cut into members, never turned into a tree. No I/O.
//!
//! Documents pass through k8scop as the bytes their author wrote. What has to be read is found by position
//! ([`object`] checks the whole text and notes where each member stands), what has to be written is copied
//! between those positions. Depth costs a bit, not a stack frame.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_avx512.rs"]
mod avx512;
mod block;
mod fast;
mod filter;
mod flat;
mod pretty;
mod scan;
mod text;
mod walk;

pub use filter::{FILTER_BYTES_MAX, FILTER_NAMES_MAX, Filter, FilterError};
pub use flat::{Scalars, is_name, scalars};
pub use pretty::pretty;
pub use scan::{
    DEPTH_MAX, JsonError, Kind, MEMBERS_MAX, Member, check, elements, first, get, get_each, kind,
    member, members, object, string_end, value_end,
};
pub use text::{decode, has_escapes, plainest, push_string, string, unescape_into, written};
pub use walk::Walk;
