//! `k8scop setup`: tells a cluster, before the first event, how what k8scop writes is mapped and how long it is kept.
//! What differs is shown first, and put after a yes; what is put already is left alone, so that it can be run at every
//! start of something.
//!
//! What has to be there is decided without asking anybody (`template`, `lifecycle`), and so is what differs from what
//! is there (`plan`).

mod engine;
mod lifecycle;
mod plan;
mod target;
mod template;

use std::{
    fs,
    path::{Path, PathBuf},
};

use hyper::Method;
use serde_json::Value;
use thiserror::Error;

pub use self::{engine::Engine, lifecycle::Retention};
use self::{
    engine::Lifecycle,
    plan::{State, Step},
    target::Target,
    template::{Choice, Kind, Piece, Rule},
};
use crate::{config::Config, prepare::AlertTarget};

/// Most differences of one piece that are shown.
const DIFFERENCES_MAX: usize = 8;
/// Most data streams that are named in a note.
const STREAMS_MAX: usize = 5;

/// What `k8scop setup` is told.
#[derive(Clone, Default)]
pub struct Options {
    /// `env:NAME`, `file:PATH`, or the key.
    pub api_key: Option<String>,
    /// Certificates of authorities to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// What the cluster is; else it is asked.
    pub engine: Option<Engine>,
    /// How long documents are kept; as it was, if there is none.
    pub retention: Option<Retention>,
    /// Shards of a new index; as it was, if there is none.
    pub shards: Option<u32>,
    /// Copies of each shard; as it was, if there is none.
    pub replicas: Option<u32>,
    /// A part of it.
    pub only: Option<Part>,
    /// A folder into which it is written, instead of putting it.
    pub export: Option<PathBuf>,
    /// Only show what differs.
    pub dry_run: bool,
    /// Do not ask.
    pub yes: bool,
}

/// Without the key, which may be secret.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// A part of what is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// How documents are mapped.
    Templates,
    /// How long they are kept.
    Lifecycle,
}

/// Where text goes, and who is asked.
pub struct Voices<'a> {
    /// Standard output.
    pub print: &'a mut dyn FnMut(&str),
    /// Standard error.
    pub tell: &'a mut dyn FnMut(&str),
    /// Asks a yes or no; `None` where nobody can be asked.
    pub confirm: &'a mut dyn FnMut(&str) -> Option<bool>,
}

/// Why nothing could be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// What was typed does not go together.
    #[error("{0}")]
    Usage(String),
    /// What was written cannot be used.
    #[error("{0}")]
    Settings(String),
    /// Something did not work.
    #[error("{0}")]
    Failed(String),
}

/// Sets a cluster up. False if something is left that has to be done.
pub async fn run(
    config: &Config,
    options: &Options,
    voices: &mut Voices<'_>,
) -> Result<bool, SetupError> {
    fits(options)?;
    let choice = Choice {
        shards: options.shards,
        replicas: options.replicas,
        daily_prefix: match &config.policy.alerts {
            AlertTarget::Daily(prefix) => Some(prefix.clone()),
            AlertTarget::DataStream => None,
        },
    };
    if let (Some(dir), Some(engine)) = (&options.export, options.engine) {
        return export(dir, pieces(engine, &choice, options)?, voices);
    }
    let target = Target::new(config, options)?;
    let engine = match options.engine {
        Some(engine) => engine,
        None => target.engine().await?,
    };
    let pieces = pieces(engine, &choice, options)?;
    if let Some(dir) = &options.export {
        return export(dir, pieces, voices);
    }
    (voices.print)(&format!("{engine} at {}", target.url));
    let mut plan = compared(&target, pieces).await?;
    let patterns = template::stream_patterns(&choice)?;
    let streams = streams(&target, &patterns).await?;
    if let Some(retention) = options.retention.as_ref()
        && engine.lifecycle() == Lifecycle::Stream
        && streams.as_ref().is_none_or(|it| !it.is_empty())
    {
        plan.extend(of_streams(&target, retention, &patterns).await?);
    }
    show(&plan, voices);
    tell_of_lifecycle(&target, options, engine, voices).await?;
    let agreed = agreed(&plan, options, voices)?;
    let unknown = tell_of_unknown(&plan, voices);
    match agreed {
        Agreed::Nothing => return Ok(unknown == 0),
        Agreed::Later => return Ok(options.dry_run && unknown == 0),
        Agreed::Now => (),
    }
    let failed = put_all(&target, engine, &plan, voices).await?;
    tell_of_streams(&plan, &streams.unwrap_or_default(), voices);
    Ok(failed + unknown == 0)
}

fn fits(options: &Options) -> Result<(), SetupError> {
    let wrong = |text: &str| Err(SetupError::Usage(text.to_owned()));
    let is_set = options.shards.or(options.replicas).is_some();
    match options.only {
        Some(Part::Lifecycle) if options.retention.is_none() => {
            wrong("--only lifecycle: needs --retention, such as 90d")
        }
        Some(Part::Lifecycle) if is_set => {
            wrong("--shards and --replicas belong to the templates, not to --only lifecycle")
        }
        Some(Part::Templates) if options.retention.is_some() => {
            wrong("--retention belongs to the lifecycle, not to --only templates")
        }
        _ => Ok(()),
    }
}

/// Everything that has to be there.
fn pieces(engine: Engine, choice: &Choice, options: &Options) -> Result<Vec<Piece>, SetupError> {
    let mut pieces = Vec::new();
    if let Some(retention) = &options.retention {
        let patterns = template::stream_patterns(choice)?;
        let daily = choice.daily_pattern();
        pieces = lifecycle::pieces(engine, retention, &patterns, daily.as_deref());
    }
    if options.only != Some(Part::Lifecycle) {
        for piece in template::pieces(engine, choice)? {
            if !pieces.iter().any(|it| (it.kind, &it.name) == (piece.kind, &piece.name)) {
                pieces.push(piece);
            }
        }
    }
    Ok(pieces)
}

async fn compared(target: &Target, pieces: Vec<Piece>) -> Result<Vec<Step>, SetupError> {
    let mut plan = Vec::with_capacity(pieces.len());
    for piece in pieces {
        plan.push(compare(target, piece).await?);
    }
    Ok(plan)
}

async fn compare(target: &Target, piece: Piece) -> Result<Step, SetupError> {
    let path = piece.kind.path(&piece.name);
    let answer = target.ask(Method::GET, &path, None).await?;
    Ok(match answer.status {
        404 => Step::new(piece, None),
        200 => Step::new(piece, Some(&answer.body)),
        _ if answer.is_unknown_request() => {
            Step::unknown(piece, format!("this cluster has no {path} ({})", answer.status))
        }
        _ => Step::unknown(piece, format!("GET {path} is answered {}", answer.reason())),
    })
}

/// The data streams that are there; `None` if the cluster does not tell.
async fn streams(target: &Target, patterns: &[String]) -> Result<Option<Vec<String>>, SetupError> {
    let path = format!("/_data_stream/{}", patterns.join(","));
    let answer = target.ask(Method::GET, &path, None).await?;
    Ok((answer.is_good() || answer.status == 404).then(|| names(&answer.body)))
}

fn names(answer: &Value) -> Vec<String> {
    let list = answer.get("data_streams").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|it| it.get("name").and_then(Value::as_str).map(str::to_owned)).collect()
}

/// The lifecycles of data streams that are there already: a template is read only when one is made.
async fn of_streams(
    target: &Target,
    retention: &Retention,
    patterns: &[String],
) -> Result<Vec<Step>, SetupError> {
    let path = Kind::StreamLifecycle.path(&patterns.join(","));
    let answer = target.ask(Method::GET, &path, None).await?;
    if answer.is_good() || answer.status == 404 {
        let of = |name: &String| lifecycle::of_stream(name, retention);
        return Ok(names(&answer.body)
            .iter()
            .map(|it| Step::new(of(it), Some(&answer.body)))
            .collect());
    }
    let reason = if answer.is_unknown_request() {
        format!("this cluster has no /_data_stream/…/_lifecycle ({})", answer.status)
    } else {
        format!("GET /_data_stream/…/_lifecycle is answered {}", answer.reason())
    };
    Ok(vec![Step::unknown(lifecycle::of_stream("(those that are there)", retention), reason)])
}

fn show(plan: &[Step], voices: &mut Voices<'_>) {
    let width = plan.iter().map(|it| it.piece.name.len()).max().unwrap_or(0);
    for step in plan {
        let Step { piece, state, differences, .. } = step;
        let version = piece.body.pointer("/_meta/version").and_then(Value::as_u64);
        let more = match (state, version) {
            (State::Older(there), Some(here)) => format!("  version {there} → {here}"),
            (State::Newer(there), Some(here)) => {
                format!("  version {there}, here {here}: left as it is")
            }
            (State::Missing | State::Equal, Some(here)) => format!("  version {here}"),
            (State::Unknown(reason), _) => format!("  {reason}"),
            _ => String::new(),
        };
        let (word, kind) = (state.word(), piece.kind.word());
        let line = format!("  {word:<9}  {kind:<19}  {:<width$}{more}", piece.name);
        (voices.print)(line.trim_end());
        let is_shown = matches!(state, State::Older(_) | State::Different);
        for difference in differences.iter().filter(|_| is_shown).take(DIFFERENCES_MAX) {
            (voices.print)(&format!("             {difference}"));
        }
        let hidden = differences.len().saturating_sub(DIFFERENCES_MAX);
        if is_shown && hidden > 0 {
            (voices.print)(&format!("             and {hidden} more"));
        }
    }
}

/// Nobody is to believe that old documents go when none was told to.
async fn tell_of_lifecycle(
    target: &Target,
    options: &Options,
    engine: Engine,
    voices: &mut Voices<'_>,
) -> Result<(), SetupError> {
    if options.retention.is_some() || options.only == Some(Part::Templates) {
        return Ok(());
    }
    let (kind, name) = match engine.lifecycle() {
        Lifecycle::Ism => (Kind::Ism, lifecycle::POLICY),
        Lifecycle::Stream | Lifecycle::Ilm => (Kind::Component, lifecycle::COMPONENT),
    };
    let answer = target.ask(Method::GET, &kind.path(name), None).await?;
    let text = answer.body.to_string();
    let is_set = answer.is_good()
        && ["\"data_retention\"", "\"lifecycle\"", "\"states\""].iter().any(|it| text.contains(it));
    (voices.print)(&if is_set {
        format!("lifecycle: stays as the {} {name} says; --retention changes it", kind.word())
    } else {
        "lifecycle: none is set, so documents are kept for ever; --retention 90d sets one".into()
    });
    Ok(())
}

/// Whether the plan is carried out.
enum Agreed {
    /// There is nothing to put.
    Nothing,
    /// It is not to be put now.
    Later,
    /// It is.
    Now,
}

fn agreed(plan: &[Step], options: &Options, voices: &mut Voices<'_>) -> Result<Agreed, SetupError> {
    let to_put = to_put(plan);
    if to_put == 0 {
        if !plan.iter().any(|it| matches!(it.state, State::Unknown(_))) {
            (voices.print)("nothing to do");
        }
        return Ok(Agreed::Nothing);
    }
    if options.dry_run {
        (voices.print)(&format!("{to_put} to put; nothing was put: --dry-run"));
        return Ok(Agreed::Later);
    }
    if options.yes {
        return Ok(Agreed::Now);
    }
    match (voices.confirm)(&format!("Put these {to_put}? [y/N] ")) {
        Some(true) => Ok(Agreed::Now),
        Some(false) => {
            (voices.print)("nothing was put");
            Ok(Agreed::Later)
        }
        None => Err(SetupError::Usage(format!(
            "{to_put} to put; nothing was put: say --yes, where nobody can be asked"
        ))),
    }
}

fn to_put(plan: &[Step]) -> usize {
    plan.iter().filter(|it| it.put.is_some()).count()
}

/// Puts what has to be put. Gives back how much cannot be put.
async fn put_all(
    target: &Target,
    engine: Engine,
    plan: &[Step],
    voices: &mut Voices<'_>,
) -> Result<usize, SetupError> {
    let (mut done, mut failed) = (0, 0);
    for step in plan.iter().filter(|it| it.put.is_some()) {
        match put(target, engine, step, voices).await {
            Ok(true) => done += 1,
            Ok(false) => failed += 1,
            Err(error) => {
                (voices.print)(&format!("put {done} of {}", to_put(plan)));
                return Err(error);
            }
        }
    }
    (voices.print)(&format!("put {done} of {}", to_put(plan)));
    Ok(failed)
}

/// Puts one piece. False if the cluster does not take it.
async fn put(
    target: &Target,
    engine: Engine,
    step: &Step,
    voices: &mut Voices<'_>,
) -> Result<bool, SetupError> {
    let Some((path, body)) = &step.put else { return Ok(true) };
    let answer = target.ask(Method::PUT, path, Some(body)).await?;
    if answer.is_good() {
        return Ok(true);
    }
    let (word, name) = (step.piece.kind.word(), &step.piece.name);
    let reason = if answer.is_unknown_request() {
        format!("this cluster has no {path} ({})", answer.status)
    } else {
        answer.reason()
    };
    (voices.tell)(&format!("error: {word} {name} is not put: {reason}"));
    let is_named = step.piece.kind == Kind::Component && step.state == State::Missing;
    if is_named && !name.ends_with("@package") && !engine.ignores_missing_components() {
        // Else the templates that are made of it would fail, too.
        let empty = template::placeholder(name);
        target.ask(Method::PUT, path, Some(&empty.body)).await?;
    }
    Ok(false)
}

/// What could not be compared is not put: nobody has seen the difference. Gives back how many these are.
fn tell_of_unknown(plan: &[Step], voices: &mut Voices<'_>) -> usize {
    let mut count = 0;
    for step in plan {
        if let State::Unknown(reason) = &step.state {
            let (word, name) = (step.piece.kind.word(), &step.piece.name);
            (voices.tell)(&format!("error: {word} {name} is not put: {reason}"));
            count += 1;
        }
    }
    count
}

/// What is there already does not change with its template, nor does it get a policy.
fn tell_of_streams(plan: &[Step], streams: &[String], voices: &mut Voices<'_>) {
    if streams.is_empty() {
        return;
    }
    let shown: Vec<&str> = streams.iter().take(STREAMS_MAX).map(String::as_str).collect();
    let more = streams.len().saturating_sub(STREAMS_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = format!("{}{more}", shown.join(", "));
    let is_put =
        |is_it: fn(&Piece) -> bool| plan.iter().any(|it| it.put.is_some() && is_it(&it.piece));
    if is_put(|it| it.kind == Kind::Index || it.name.ends_with("@package")) {
        (voices.print)(&format!(
            "note: the next index of each data stream has the new mapping: POST /NAME/_rollover for {names}"
        ));
    }
    let policy = lifecycle::POLICY;
    if is_put(|it| it.kind == Kind::Ism) {
        (voices.print)(&format!(
            "note: indices that are there get the policy by POST /_plugins/_ism/add/NAME {{\"policy_id\":\"{policy}\"}}, for {names}"
        ));
    }
    if is_put(|it| it.kind == Kind::Ilm && it.name == lifecycle::POLICY) {
        (voices.print)(&format!(
            "note: indices that are there get the policy by PUT /NAME/_settings {{\"index.lifecycle.name\":\"{policy}\"}}, for {names}"
        ));
    }
}

/// Writes each piece into a file of the name that it has in the API, in the order in which they are to be put.
fn export(dir: &Path, pieces: Vec<Piece>, voices: &mut Voices<'_>) -> Result<bool, SetupError> {
    for piece in pieces {
        let path = piece.kind.path(&piece.name);
        let file = dir.join(format!("{}.json", path.trim_start_matches('/')));
        // It is its owner's.
        if piece.rule == Rule::Absent && file.exists() {
            continue;
        }
        let failed =
            |error: std::io::Error| SetupError::Failed(format!("{}: {error}", file.display()));
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&file, format!("{:#}\n", piece.body)).map_err(failed)?;
        (voices.print)(&format!("{}: PUT {path}", file.display()));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_put_without_a_yes() {
        let piece =
            Piece { kind: Kind::Component, name: "x".into(), body: json!({}), rule: Rule::Whole };
        let plan = [Step::new(piece, None)];
        for (yes, dry_run, answer, expected) in [
            (false, false, Some(true), Some("now")),
            (false, false, Some(false), Some("later")),
            (false, false, None, None),
            (true, false, None, Some("now")),
            (false, true, None, Some("later")),
        ] {
            let options = Options { yes, dry_run, ..Options::default() };
            let mut said = Vec::new();
            let mut print = |text: &str| said.push(text.to_owned());
            let mut confirm = |question: &str| {
                assert!(question.contains("Put these 1?") && !yes && !dry_run);
                answer
            };
            let mut voices = Voices { print: &mut print, tell: &mut |_| (), confirm: &mut confirm };
            let found = agreed(&plan, &options, &mut voices).ok().map(|it| match it {
                Agreed::Nothing => "nothing",
                Agreed::Later => "later",
                Agreed::Now => "now",
            });
            assert_eq!(found, expected);
            let is_said = said.iter().any(|it| it.contains("nothing was put"));
            assert_eq!(is_said, expected == Some("later"), "{said:?}");
        }
    }
}
