//! What is read: a cluster of Elasticsearch or OpenSearch.
//!
//! **Windows of `_seq_no`.** A page is a search in one shard (`preference=_shards:N`), sorted by `_seq_no`, in a window of
//! its numbers behind the last one. The cluster has only the documents of that window to look at, nothing has to be
//! remembered between two pages, and `read` on the indices is all the right that is needed. Seen to work on
//! Elasticsearch 7.17, 8.19 and 9.4 and OpenSearch 2.19 and 3.6 (`tests/it/real/backfill.rs`).
//!
//! Where there are fewer shards than can be read at once, the numbers of a shard are cut into parts.
//!
//! **Points in time**, where there are some, keep what changes meanwhile out: each unit is read from one. One that is lost
//! (expired, its node restarted) is opened again, and the next page begins behind the last one as before. Where they
//! are refused, pages are read without. No scroll is needed: it would bring the same, could not be gone on with when
//! it is lost, and would hold memory of the cluster.

mod ask;
mod page;
mod plan;
mod reader;

pub(super) use self::{
    ask::{Source, Trouble},
    page::Page,
    plan::{Query, count, plan, split, timeless},
    reader::Reader,
};
