use super::{
    DeadLetterError, PORTION_BYTES_MAX, PORTION_LETTERS_MAX, ReplayOptions, Replayed, Source,
    Voices,
    letter::{Letter, Sendable, cut},
    target::{Heard, Target, path},
};
use crate::{bulk::AnswerItem, config::Config, json};

/// So many letters that are refused again are told of one by one.
const TOLD_MAX: usize = 20;

/// Sends the letters that are meant, and removes what is stored then.
pub async fn replay(
    config: &Config,
    options: &ReplayOptions,
    voices: &mut Voices<'_>,
) -> Result<Replayed, DeadLetterError> {
    let target = Target::new(config, &options.target)?;
    let mut source = Source::new(config, &options.filter, true, voices)?;
    if !options.dry_run && !options.keep {
        source.claim()?;
    }
    let mut run =
        Run { target: &target, options, counts: Counts::default(), told: 0, stopped: false };
    while let Some(letters) = source.next().await? {
        if run.stopped {
            run.counts.not_sent += letters.len();
            continue;
        }
        for batch in batches(letters, &mut run, voices) {
            if options.dry_run {
                let (count, to) = (batch.letters.len(), target.shown(&batch.path));
                (voices.print)(&format!("would send {count} to {}", cut(&to, 300)));
                run.counts.not_sent += count;
                continue;
            }
            run.send(batch, &mut source, voices).await?;
        }
        if run.stopped {
            source.only_count();
        }
    }
    source.end(voices).await;
    let Counts { replayed, refused, not_sent, .. } = run.counts;
    (voices.print)(&format!("{replayed} replayed, {refused} refused again, {not_sent} not sent"));
    Ok(match run.counts {
        _ if options.dry_run => Replayed::All,
        _ if run.stopped => Replayed::Stopped,
        Counts { refused: 0, not_sent: 0, stuck: 0, .. } => Replayed::All,
        _ => Replayed::Some,
    })
}

#[derive(Clone, Copy, Default)]
struct Counts {
    replayed: usize,
    refused: usize,
    not_sent: usize,
    /// Stored, but still among the letters.
    stuck: usize,
}

/// Letters for one request.
struct Batch {
    path: String,
    alone: bool,
    bytes: usize,
    letters: Vec<Letter>,
}

impl Batch {
    fn takes(&self, path: &str, bytes: usize) -> bool {
        !self.alone
            && self.path == path
            && self.letters.len() < PORTION_LETTERS_MAX
            && self.bytes + bytes <= PORTION_BYTES_MAX
    }
}

/// Puts letters with the same target together, in their order.
fn batches(letters: Vec<Letter>, run: &mut Run<'_>, voices: &mut Voices<'_>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for letter in letters {
        let alone = match letter.sendable() {
            Sendable::Together => false,
            Sendable::Alone => true,
            Sendable::Never => {
                run.counts.not_sent += 1;
                run.tell(&letter, "its lines are not the item that it shows", voices);
                continue;
            }
        };
        let (path, bytes) = (path(&letter), letter.lines.len() + 1);
        // The last one of that path: what came later is sent later.
        let open = batches.iter_mut().rev().find(|it| !it.alone && it.path == path);
        match open.filter(|it| !alone && it.takes(&path, bytes)) {
            Some(batch) => {
                batch.bytes += bytes;
                batch.letters.push(letter);
            }
            None => batches.push(Batch { path, alone, bytes, letters: vec![letter] }),
        }
    }
    batches
}

struct Run<'r> {
    target: &'r Target,
    options: &'r ReplayOptions,
    counts: Counts,
    told: usize,
    /// The target takes nothing: the rest is only counted.
    stopped: bool,
}

impl Run<'_> {
    /// Sends a batch. One that is refused as a whole is halved until the letters are alone that it is refused for.
    async fn send(
        &mut self,
        batch: Batch,
        source: &mut Source,
        voices: &mut Voices<'_>,
    ) -> Result<(), DeadLetterError> {
        let mut parts = vec![batch.letters];
        while let Some(mut letters) = parts.pop() {
            if self.stopped {
                self.counts.not_sent += letters.len();
                continue;
            }
            match self.target.send(&batch.path, &letters).await {
                Heard::Items(answers) => self.settle(letters, &answers, source, voices).await?,
                Heard::Refused(answer) if letters.len() == 1 => {
                    self.settle(letters, &[answer], source, voices).await?;
                }
                Heard::Refused(_) => {
                    parts.push(letters.split_off(letters.len() / 2));
                    parts.push(letters);
                }
                Heard::Stopped(reason) => {
                    (voices.tell)(&format!("error: {reason}"));
                    self.stopped = true;
                    self.counts.not_sent += letters.len();
                }
            }
        }
        Ok(())
    }

    /// Counts letters by their answers and removes those that are stored.
    async fn settle(
        &mut self,
        letters: Vec<Letter>,
        answers: &[AnswerItem],
        source: &mut Source,
        voices: &mut Voices<'_>,
    ) -> Result<(), DeadLetterError> {
        let mut stored = Vec::new();
        for (letter, answer) in letters.into_iter().zip(answers) {
            match verdict(answer) {
                Verdict::Stored => stored.push(letter),
                Verdict::KeptAgain => {
                    self.counts.refused += 1;
                    self.tell(&letter, "it became a dead letter again", voices);
                }
                Verdict::Refused => {
                    self.counts.refused += 1;
                    let why = format!("{}: {}", answer.status, answer.error());
                    self.tell(&letter, &why, voices);
                }
                Verdict::Busy => {
                    self.counts.not_sent += 1;
                    let why = format!("{}: {}", answer.status, answer.error());
                    self.tell(&letter, &why, voices);
                }
            }
        }
        self.counts.replayed += stored.len();
        if self.options.keep {
            return Ok(());
        }
        let stuck = source.remove(&stored).await.inspect_err(|_error| {
            (voices.tell)(&format!(
                "{} letters were stored and are still there: another replay sends them again",
                stored.len()
            ));
        })?;
        if stuck > 0 {
            self.counts.stuck += stuck;
            (voices.tell)(&format!(
                "{stuck} letters were stored and cannot be removed: another replay sends them again"
            ));
        }
        Ok(())
    }

    fn tell(&mut self, letter: &Letter, why: &str, voices: &mut Voices<'_>) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            (voices.tell)(&format!("{}: {}", cut(&letter.id, 100), cut(why, 300)));
        } else if self.told == TOLD_MAX + 1 {
            (voices.tell)("… and more");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stored,
    /// A k8scop kept it as a dead letter, or Elasticsearch in its failure store.
    KeptAgain,
    Refused,
    /// It may pass later.
    Busy,
}

fn verdict(answer: &AnswerItem) -> Verdict {
    match answer.status {
        200..300 if json::get(&answer.object, "failure_store") == Some("\"used\"") => {
            Verdict::KeptAgain
        }
        // What has the same `_id` there was stored by an earlier try.
        200..300 | 409 => Verdict::Stored,
        429 | 500..600 => Verdict::Busy,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored() {
        for (status, more, expected) in [
            (201, "", Verdict::Stored),
            (200, r#","failure_store":"not_enabled""#, Verdict::Stored),
            (409, "", Verdict::Stored),
            (201, r#","failure_store":"used""#, Verdict::KeptAgain),
            (201, r#", "failure_store" : "used" "#, Verdict::KeptAgain),
            (400, "", Verdict::Refused),
            (403, "", Verdict::Refused),
            (429, "", Verdict::Busy),
            (503, "", Verdict::Busy),
        ] {
            let object = format!(r#"{{"_index":"a"{more},"status":{status}}}"#);
            assert_eq!(verdict(&AnswerItem { status, object }), expected, "{status} {more}");
        }
    }
}
