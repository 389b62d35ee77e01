//! Elasticsearch's `_bulk` wire format: what clients ask, what they are answered, what Elasticsearch answered
//! us. No I/O, and no policy: where a document goes and what is tried again is decided elsewhere.

mod action;
mod answer;
mod batch;
mod pattern;
mod reply;
mod request;

pub use action::{Action, Defaults, Op};
pub use answer::{AnswerError, AnswerItem, BulkAnswer};
pub use batch::OutgoingBatch;
pub use pattern::{IndexPatterns, PatternError, Writer};
pub use reply::{Refusal, ReplyWriter, error_body, single};
pub use request::{Item, Items, Shown, TooManyItems};
