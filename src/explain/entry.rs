//! What is told of one event, or of what is none.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    About, Core,
    split::{Bad, Document, Form},
    way,
};
use crate::{
    classify::{self, Reason},
    event::AuditEvent,
    json::{self, Kind},
    prepare::{self, DATASET_LOGS, Ids, Route},
    unwrap::{self, Broken, Found, Labels, Line, Part, Piece, Scratch, Unread},
};

/// One event, or what is none. The names are those of `--format json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entry {
    pub(super) line: u64,
    /// Its place among those that came in one document, from 1.
    pub(super) part: u64,
    pub(super) kind: &'static str,
    /// Why it is no audit event.
    pub(super) reason: Option<String>,
    pub(super) provider: Option<&'static str>,
    /// From the outside in.
    pub(super) carrier: Vec<&'static str>,
    pub(super) cluster: Option<String>,
    pub(super) time: Option<String>,
    /// It lacks what was cut off on its way.
    pub(super) cut: bool,
    /// Where it goes; `None` where the shipper says so, and the input does not.
    pub(super) index: Option<String>,
    pub(super) id: Option<String>,
    pub(super) kubectl: Option<String>,
    pub(super) rules: Vec<Hit>,
    pub(super) misses: Vec<NoHit>,
    pub(super) document: Option<Box<RawValue>>,
    /// Who did what, in one line.
    #[serde(skip)]
    pub(super) request: Option<String>,
}

/// A rule that was hit.
#[derive(Debug, Serialize)]
pub(super) struct Hit {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: &'static str,
    /// Whether it raises an alert, or only labels.
    pub(super) alert: bool,
    pub(super) reason: String,
    pub(super) why: Vec<Why>,
}

/// A ground for it.
#[derive(Debug, Serialize)]
pub(super) struct Why {
    pub(super) selection: String,
    pub(super) holds: bool,
    pub(super) field: String,
    pub(super) value: Option<String>,
    pub(super) pattern: String,
}

/// A rule that was not hit, and why.
#[derive(Debug, Serialize)]
pub(super) struct NoHit {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: &'static str,
    /// How many lines would have to come out otherwise.
    pub(super) lines: usize,
    /// Its lines hold, but not for one element of an array.
    pub(super) no_one_element: bool,
    pub(super) why: Vec<Why>,
}

impl From<Reason<'_>> for Why {
    fn from(it: Reason<'_>) -> Self {
        let Reason { selection, holds, field, value, pattern } = it;
        Self { selection: selection.to_owned(), holds, field, value, pattern }
    }
}

impl Entry {
    /// What is no document.
    pub(super) fn bad(bad: &Bad) -> Self {
        let reason = format!("line {}: {}", bad.line, bad.reason);
        Self { line: bad.line, part: 1, kind: "error", reason: Some(reason), ..Self::default() }
    }

    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// Tells each part of a document to `show`.
pub(super) fn of(core: &Core, document: &Document<'_>, about: About, show: &mut dyn FnMut(&Entry)) {
    let mut scratch = Scratch::default();
    let mut parts = 0;
    core.each(document, &mut |part| {
        parts += 1;
        let mut entry = Entry { line: document.line, part: parts, ..Entry::default() };
        let index = document.action.index.clone();
        match part {
            Part::Audit(found) => audit(core, document, &found, about, &mut scratch, &mut entry),
            Part::Line(line) => of_line(core, document, &line, &mut scratch, &mut entry),
            Part::Piece(piece) => of_piece(core, document, &piece, &mut scratch, &mut entry),
            Part::Broken(unread) => {
                broken(&unread, document, &mut scratch, &mut entry);
                entry.index = index;
            }
            Part::Dropped(reason) => {
                entry.kind = "dropped";
                entry.reason = Some(format!("nothing of it is stored: {}", reason.name()));
            }
            Part::Other => {
                match document.form {
                    Form::Line(Some(error)) | Form::Export(Some(error)) => {
                        entry.kind = "error";
                        entry.reason = Some(format!("line {}: {error}", document.line));
                    }
                    _ if document.depth > core.policy.depth_max => {
                        entry.kind = "refused";
                        entry.reason = Some(format!(
                            "{} levels deep, {} are allowed (limits.depth_max)",
                            document.depth, core.policy.depth_max
                        ));
                    }
                    _ => {
                        entry.kind = "other";
                        entry.reason = Some(format!("passes as it came: {}", why_other(document)));
                    }
                }
                entry.index = index;
            }
        }
        show(&entry);
    });
    let limit = core.policy.items_max as u64;
    if parts > limit {
        let reason = format!(
            "{parts} parts: a server takes apart what has at most {limit} (limits.items_max)"
        );
        show(&Entry::bad(&Bad { line: document.line, reason }));
    }
}

fn audit(
    core: &Core,
    document: &Document<'_>,
    found: &Found<'_>,
    about: About,
    scratch: &mut Scratch,
    entry: &mut Entry,
) {
    let (policy, event, action) = (&core.policy, found.event, document.action);
    let namespace =
        prepare::namespace(action.index.as_deref().unwrap_or_default(), found.members())
            .unwrap_or(Cow::Borrowed(&policy.namespace));
    let hits = core.classifier.classify(event).hits;
    let kubectl = classify::kubectl(event);
    let titles = core.classifier.labels(&hits);
    let reroute = policy.route == Route::Reroute;
    let labels = Labels {
        data_stream: reroute.then_some((DATASET_LOGS, namespace.as_ref())),
        kubectl: kubectl.as_deref(),
        rules: &titles,
    };
    let mut text = String::new();
    unwrap::write(found, &labels, &policy.unwrap, core.now, scratch, &mut text);
    entry.kind = "audit";
    entry.provider = Some(found.provider().name());
    entry.carrier = carrier(document);
    entry.cluster = found.cluster().map(Into::into);
    entry.time = Some(found.when(core.now).text);
    entry.cut = found.is_cut();
    entry.index = match policy.route {
        Route::Reroute => Some(format!("logs-{DATASET_LOGS}-{namespace}")),
        Route::Keep => action.index.clone(),
    };
    let id = action.id.clone().filter(|_| !found.is_split());
    let makes_id = match &id {
        Some(_) => reroute && action.replaces,
        None => policy.ids == Ids::Audit,
    };
    entry.id = if makes_id { Some(prepare::made_id(found, None)) } else { id };
    let is_told = |it: &&usize| match about {
        About::Rule(rule) => rule == **it,
        _ => core.classifier.is_label(**it),
    };
    entry.rules = hits.iter().filter(is_told).filter_map(|it| hit(core, found, *it)).collect();
    entry.misses = match about {
        About::Hits => Vec::new(),
        About::Rule(rule) => no_hit(core, event, rule, false).into_iter().collect(),
        About::Near => (0..core.classifier.rules().len())
            .filter_map(|it| no_hit(core, event, it, true))
            .collect(),
    };
    // What is asked of one rule is not about the document.
    entry.document = RawValue::from_string(text).ok().filter(|_| !matches!(about, About::Rule(_)));
    entry.request = Some(request(event));
    entry.kubectl = kubectl;
}

fn hit(core: &Core, found: &Found<'_>, place: usize) -> Option<Hit> {
    let (rule, event) = (core.classifier.rules().get(place)?, found.event);
    let level = core.policy.grade(rule, found).level;
    let why = core.classifier.explain(event, place).unwrap_or_default();
    Some(Hit {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: level.name(),
        alert: core.policy.alerting.is_alert(level),
        reason: classify::reason(event, rule),
        why: why.into_iter().map(Into::into).collect(),
    })
}

fn no_hit(core: &Core, event: &AuditEvent<'_>, place: usize, only_near: bool) -> Option<NoHit> {
    let rule = core.classifier.rules().get(place)?;
    let miss = core.classifier.miss(event, place).filter(|it| !only_near || it.is_near())?;
    Some(NoHit {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: rule.level.name(),
        lines: miss.lines,
        no_one_element: miss.no_one_element,
        why: miss.reasons.into_iter().map(Into::into).collect(),
    })
}

/// Who did what: `alice: create pods/exec web-0 in default, 101`.
fn request(event: &AuditEvent<'_>) -> String {
    let user = event.user_name.as_deref().unwrap_or("-");
    let verb = event.verb.as_deref().unwrap_or("-");
    let mut out = format!("{user}: {verb} ");
    match resource(event) {
        Some(resource) => out.push_str(&resource),
        None => out.push_str(event.path()),
    }
    for (word, text) in [(" ", &event.object.name), (" in ", &event.object.namespace)] {
        if let Some(text) = text {
            out.push_str(word);
            out.push_str(text);
        }
    }
    if let Some(code) = event.code {
        out.push_str(&format!(", {code}"));
    }
    out
}

/// `pods/exec`
pub(super) fn resource(event: &AuditEvent<'_>) -> Option<String> {
    let resource = event.object.resource.as_deref()?;
    Some(match event.object.subresource.as_deref() {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    })
}

/// The carriers that were around it. The `message` around a line of the input is ours.
fn carrier(document: &Document<'_>) -> Vec<&'static str> {
    let mut names = way::carriers(document.members);
    let ours = match document.form {
        Form::Object => return names,
        Form::Line(_) => "line",
        Form::Export(_) => "line of a CloudWatch export",
    };
    match names.first_mut() {
        Some(first) => *first = ours,
        None => names.push(ours),
    }
    names
}

fn of_line(
    core: &Core,
    document: &Document<'_>,
    line: &Line<'_>,
    scratch: &mut Scratch,
    entry: &mut Entry,
) {
    let (policy, dataset) = (&core.policy, line.component.dataset());
    let index = document.action.index.as_deref();
    let namespace = prepare::namespace(index.unwrap_or_default(), line.members())
        .unwrap_or(Cow::Borrowed(&policy.namespace));
    let labels = Labels { data_stream: Some((dataset, namespace.as_ref())), ..Labels::default() };
    let mut text = String::new();
    unwrap::write_line(line, &labels, &policy.unwrap, core.now, scratch, &mut text);
    entry.kind = "line";
    entry.carrier = carrier(document);
    entry.reason = Some(format!("a line that {} wrote", line.component.name()));
    entry.index = Some(format!("logs-{dataset}-{namespace}"));
    entry.document = RawValue::from_string(text).ok();
}

fn of_piece(
    core: &Core,
    document: &Document<'_>,
    piece: &Piece<'_>,
    scratch: &mut Scratch,
    entry: &mut Entry,
) {
    let mut text = String::new();
    unwrap::write_piece(piece, core.now, scratch, &mut text);
    entry.kind = if piece.broken.is_some() { "broken" } else { "piece" };
    entry.carrier = carrier(document);
    entry.reason = Some(match piece.broken {
        Some(reason) => why_broken(reason).to_owned(),
        None => "it came along with Kubernetes logs and is none".to_owned(),
    });
    entry.index = document.action.index.clone();
    entry.document = RawValue::from_string(text).ok();
}

fn broken(unread: &Unread<'_>, document: &Document<'_>, scratch: &mut Scratch, entry: &mut Entry) {
    let mut text = String::new();
    unwrap::write_broken(unread, scratch, &mut text);
    entry.kind = "broken";
    entry.carrier = carrier(document);
    entry.reason = Some(match document.form {
        Form::Line(Some(error)) | Form::Export(Some(error)) => {
            format!("{}: {error}", why_broken(unread.reason))
        }
        _ => why_broken(unread.reason).to_owned(),
    });
    entry.document = RawValue::from_string(text).ok();
}

/// What a person is told of it.
fn why_broken(reason: Broken) -> &'static str {
    match reason {
        Broken::Json => "it starts like an audit event and is no complete one",
        Broken::Encoding => "its base64 or gzip cannot be decoded",
        Broken::TooLarge => "it becomes larger than limits.decoded_bytes_max",
        Broken::TooDeep => "more carriers in each other than are taken off",
    }
}

/// What a document without an audit event is, as far as a person can be told.
fn why_other(document: &Document<'_>) -> String {
    let members = document.members;
    let text = |name| json::member(members, name).and_then(json::string);
    let has = |name| json::member(members, name).is_some();
    if document.form != Form::Object {
        let message = text("message").unwrap_or_default();
        return match message.as_bytes() {
            [b'I' | b'W' | b'E' | b'F', b'0' | b'1', b'0'..=b'9', ..] => {
                "a line of klog, and nothing says of which component and cluster"
            }
            _ => "a line of text without an audit event",
        }
        .into();
    }
    if let (Some(kind), Some(version)) = (text("kind"), text("apiVersion")) {
        return format!("a {kind} of {version} is no audit event");
    }
    if let Some(category) = text("category").filter(|_| has("properties")) {
        return format!("Azure's category {category} has nothing of Kubernetes here");
    }
    let opens = |it: &str| it.trim_ascii().starts_with(['{', '[']);
    match () {
        () if has("protoPayload") => "an entry of Cloud Logging of another service than k8s.io",
        () if json::member(members, "kubernetes")
            .is_some_and(|it| json::kind(it) == Kind::Object) =>
        {
            "logs of a container, or metrics: `kubernetes` holds no `audit`"
        }
        () if text("message").is_some_and(|it| opens(&it)) => {
            "the JSON in `message` is no audit event"
        }
        () if has("message") => "the text in `message` is no audit event",
        () => "nothing of Kubernetes in it",
    }
    .into()
}
