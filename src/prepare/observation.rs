use std::borrow::Cow;

use super::ids::made_id;
use crate::{
    classify::{Classifier, Place},
    correlate::{Event, Evidence, Key, kept},
    event::Text,
    unwrap::Found,
};

/// What an event that hits these rules means to correlations, if it means anything to them. `made` is the `_id` that is
/// made of the event, where it was made already.
pub(crate) fn observation(
    classifier: &Classifier,
    found: &Found<'_>,
    hits: &[usize],
    place: Place<'_>,
    made: Option<&str>,
    at_us: i64,
) -> Option<Event> {
    let event = found.event;
    let inputs = classifier.inputs(event, hits);
    if inputs.is_empty() {
        return None;
    }
    let text = |it: &Text<'_>| kept(it.as_deref().unwrap_or_default());
    Some(Event {
        at_us,
        key: Key::of(&[&*made.map_or_else(|| made_id(found, None).into(), Cow::Borrowed)]),
        cluster: kept(found.cluster().unwrap_or_default()),
        inputs,
        evidence: Evidence {
            audit_id: text(&event.audit_id),
            user: text(&event.user_name),
            verb: text(&event.verb),
            uri: text(&event.request_uri),
            index: kept(place.index),
            id: kept(place.id.unwrap_or_default()),
        },
    })
}
