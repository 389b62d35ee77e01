//! `k8scop check URL`: says to a target what each shipper would say to it, and a set of things that go wrong, and
//! tells what would break, for whom, and why. The target is anything that claims to speak the bulk protocol.
//!
//! What is asked stands in `list`, what is believed of an answer in `want`. Nothing of the target's text is shown
//! but statuses, error types and short values, and nothing of the credentials.

mod list;
mod report;
mod send;
mod stored;
mod target;
mod want;

use std::{path::PathBuf, time::Duration};

use thiserror::Error;

use self::{
    list::{Check, GROUPS, Group},
    report::{Report, Row},
    send::Sender,
    stored::Ledger,
    target::{Target, Trouble},
    want::{Harm, Judge, Outcome, Verdict},
};

/// What `k8scop check` is told.
#[derive(Clone)]
pub struct Options {
    /// The target, perhaps with user and password.
    pub url: String,
    /// `env:NAME`, `file:PATH`, or the key.
    pub api_key: Option<String>,
    /// Certificates to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate.
    pub insecure: bool,
    /// Where documents are written; an index of a name of its own if it is not told.
    pub index: Option<String>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Only what writes nothing.
    pub read_only: bool,
    /// One JSON object a check, instead of a table.
    pub json: bool,
}

/// Why nothing could be checked.
#[derive(Debug, Error)]
pub enum CheckError {
    /// What was typed cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The target cannot be spoken to.
    #[error("{0}")]
    Unreachable(String),
}

/// Where text goes: results, and what is said about the run.
pub struct Voices<'a> {
    /// Standard output.
    pub print: &'a mut dyn FnMut(&str),
    /// Standard error.
    pub tell: &'a mut dyn FnMut(&str),
}

/// After so many answers that did not come in time, the rest of a group is not asked.
const HANGS_MAX: usize = 3;

/// Plays all checks. True if nothing breaks.
pub async fn run(options: &Options, voices: &mut Voices<'_>) -> Result<bool, CheckError> {
    let target = Target::new(options)?;
    let index = match &options.index {
        Some(name) if is_index_name(name) => name.clone(),
        Some(_) => {
            let text = "--index: a small letter or digit, then also `.`, `_` and `-`";
            return Err(CheckError::Usage(text.into()));
        }
        None => format!("k8scop-check-{:012x}", fastrand::u64(..1 << 48)),
    };
    reach(&target).await?;
    let writes = !options.read_only;
    let is_ours = writes && (options.index.is_none() || stored::is_absent(&target, &index).await);
    if writes {
        let end = if is_ours {
            "it is deleted at the end if that is allowed"
        } else {
            "it is there already and stays"
        };
        (voices.tell)(&format!(
            "writing documents into the index {index} of {}; {end}",
            target.url()
        ));
    }
    let mut report = Report::new(options.json);
    let mut ledger = Ledger::default();
    let mut sender = Sender::new(&target, &index);
    for group in GROUPS {
        let mut hangs = 0;
        for check in group.checks.iter().filter(|it| writes || !it.writes()) {
            let verdict = if hangs < HANGS_MAX {
                let (verdict, hung) = play(&mut sender, group, check, &mut ledger).await;
                hangs += usize::from(hung);
                verdict
            } else {
                Verdict::cannot_tell(format!(
                    "not asked, after {HANGS_MAX} answers that did not come"
                ))
            };
            report.add(Row::new(group.name, check.name, &verdict), voices.print);
        }
    }
    if writes {
        for (name, verdict) in stored::read_back(&target, &index, &ledger).await {
            report.add(Row::new("contract", name, &verdict), voices.print);
        }
    }
    if is_ours {
        let what = stored::delete(&target, &index).await;
        (voices.tell)(&format!("the index {index} {what}"));
    }
    Ok(report.end(voices))
}

fn is_index_name(name: &str) -> bool {
    let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    name.len() <= 200
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|it| is_plain(it) || b"._-".contains(&it))
}

/// Nothing is checked where nobody answers, or nobody lets us in.
async fn reach(target: &Target) -> Result<(), CheckError> {
    let url = target.url();
    match target.ask("GET", "/", &[], Vec::new()).await {
        Ok(answer) if answer.status == 401 => {
            Err(CheckError::Unreachable(format!("{url} answers 401: it wants other credentials")))
        }
        Ok(_) | Err(Trouble::Unreadable(_)) => Ok(()),
        Err(Trouble::Hang(limit)) => {
            Err(CheckError::Unreachable(format!("{url} does not answer within {limit:?}")))
        }
        Err(Trouble::Ended(reason)) => {
            Err(CheckError::Unreachable(format!("{url}: {}", want::shown(&reason))))
        }
    }
}

/// Asks and judges. True beside it if the answer did not come in time.
async fn play(
    sender: &mut Sender<'_>,
    group: &Group,
    check: &Check,
    ledger: &mut Ledger,
) -> (Verdict, bool) {
    let sent = sender.send(group, check).await;
    if check.writes() {
        ledger.note(&sent);
    }
    let breaks = |seen: String| {
        Verdict::new(
            Outcome::Breaks(Harm::Stuck),
            seen,
            "every shipper takes the batch as failed and sends it again and again",
        )
    };
    match &sent.answer {
        Ok(answer) => {
            let (actions, target) = (&sent.actions, sender.target.url());
            let judge = Judge { answer, actions, target, harm: check.harm, who: check.who };
            (judge.all(check.wants), false)
        }
        Err(Trouble::Hang(limit)) => (breaks(format!("no answer in {limit:?}")), true),
        Err(Trouble::Ended(reason)) => (breaks(reason.clone()), false),
        Err(Trouble::Unreadable(reason)) => (Verdict::cannot_tell(reason.clone()), false),
    }
}
