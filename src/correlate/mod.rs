//! What several events mean together: [`crate::rules::correlation`] says what is looked for, this room remembers and
//! counts. No I/O, no clock, nothing of how events come or alerts go.
//!
//! **The alerts are a function of the set of events, not of how they came.** Events are held until no earlier one of
//! their cluster can come any more ([`Limits::late_max_us`] behind its newest: clusters have clocks of their own), and then taken in the order of their time, each once: a
//! stream that is shuffled within that bound, doubled, cut into other batches, or stopped and taken up again from a
//! snapshot gives the same alerts as the ordered one. What comes later than the bound is counted, and used if its
//! group has not gone further.
//!
//! **Groups.** Events belong together when all fields of `group-by` have the same value, in the same cluster. A field
//! that is missing is a value of its own (Sigma does not say): an event that lacks it is never left out. A list is one
//! value, all of it. An event without the counted field counts for nothing, as in SQL and with Elastic's rules.
//!
//! **Windows.** An event at `t` is seen together with those after `t - timespan`. A condition that more events cannot
//! break (`gt`, `gte`) is told with the event that fulfils it. One that they can (`lt`, `lte`, `eq`, `neq`, `not`), an
//! average and a percentile are told when the window is over, which begins with the first event of the group.
//!
//! **Clocks.** A log ends where it ends: [`Engine::close`] misses nothing in the time behind it. An event of a clock that is
//! ahead by more than [`Limits::ahead_max_us`] counts as of its arrival; nothing waits for it.
//!
//! **Quiet.** A group that was told is quiet for a timespan. What would have been told is counted, in its next alert
//! and in the metrics. A correlation that refers to another sees all that it matches, told or not.
//!
//! **`generate`.** Sigma leaves it to this whether the rules of a correlation stand for themselves, too; without it,
//! they do not. That would silence rules that somebody else relies on. Here the level decides (`informational` never
//! alerts), and `generate: false`, written out, silences the rules of the same file.
//!
//! **Memory** is bounded by [`Limits`]. What was not touched for longest goes first, and is counted.

mod clock;
mod closed;
mod engine;
mod event;
mod fired;
mod generations;
mod group;
mod limits;
mod matches;
mod plan;
mod quota;
mod sequence;
mod state;
mod table;
mod window;

pub use engine::Engine;
pub use event::{Event, Evidence, Input, Key, VALUES_MAX, kept};
pub use fired::Fired;
pub use limits::{Counts, Limits};
pub use plan::{BaseRule, Need, Plan, Planned};
pub use state::BrokenState;
pub use window::EVENTS_TOLD_MAX;

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
