//! Many texts looked for in a long one at once, two bytes a step.
//!
//! Of each text two runs of four bytes are noted, one byte apart: whichever way the steps fall, one of them is met. A
//! table of bits says of nearly all places that no such run stands there. Upper and lower case are one, as far as one
//! bit tells them apart; what is found is compared byte by byte.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Bytes of a run.
const RUN: usize = 4;
/// Shortest text that can be looked for (bytes): of a run one byte may be any.
pub(super) const TEXT_MIN: usize = RUN - 1;
/// Bytes of a step.
const STEP: usize = 2;
/// Bits of the table, as a power of two: 16 KiB, which stays in a core's nearest memory.
const TABLE_BITS: u32 = 17;
const WORDS: usize = 1 << (TABLE_BITS - u64::BITS.trailing_zeros());
/// How far into a text its runs are chosen, at most (bytes).
const OFFSET_MAX: usize = 100;
/// Makes upper case lower, and some other bytes alike.
const FOLD: u32 = 0x2020_2020;

#[derive(Debug)]
pub(super) struct Grams {
    table: Box<[u64; WORDS]>,
    /// Of each run: the texts that it is of, and how far into them it stands.
    runs: HashMap<u32, Vec<(u32, i8)>, FixedState>,
    texts: Vec<Box<[u8]>>,
}

impl Grams {
    /// Takes texts, whose ASCII case will not count. `None` if one is too short.
    pub(super) fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Self> {
        let mut all =
            Self { table: Box::new([0; WORDS]), runs: HashMap::default(), texts: Vec::new() };
        for text in texts {
            let text = text.as_bytes();
            let number = u32::try_from(all.texts.len()).ok()?;
            if text.len() < TEXT_MIN {
                return None;
            }
            let at = rarest(text);
            for offset in [at, at + 1 - i8::from(text.len() <= RUN) * 2] {
                all.note(text, number, offset);
            }
            all.texts.push(text.into());
        }
        Some(all)
    }

    /// Notes the run of a text that begins there, for whatever stands before and behind the text.
    fn note(&mut self, text: &[u8], number: u32, offset: i8) {
        let byte = |place: i8| {
            let place = usize::try_from(i16::from(offset) + i16::from(place)).ok()?;
            text.get(place).copied()
        };
        let run = [byte(0), byte(1), byte(2), byte(3)];
        let any = run.iter().filter(|it| it.is_none()).count();
        for other in 0..=if any == 0 { 0 } else { u8::MAX } {
            // More than one byte that may be any is too many to note.
            let run = run.map(|it| it.unwrap_or(other));
            self.insert(u32::from_le_bytes(run) | FOLD, number, offset);
        }
    }

    fn insert(&mut self, run: u32, number: u32, offset: i8) {
        let (word, bit) = place(run);
        if let Some(word) = self.table.get_mut(word) {
            *word |= bit;
        }
        let texts = self.runs.entry(run).or_default();
        if !texts.contains(&(number, offset)) {
            texts.push((number, offset));
        }
    }

    /// Calls `take` with the number of each text and the place where it begins in `text`, wherever it stands there.
    pub(super) fn find(&self, text: &str, take: &mut dyn FnMut(usize, usize)) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(next) = bytes.get(at..).and_then(|it| it.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*next);
            for step in [0, STEP] {
                #[expect(clippy::cast_possible_truncation, reason = "it is cut on purpose")]
                let run = (word >> (8 * step)) as u32;
                self.look(run, bytes, at + step, take);
            }
            at += 2 * STEP;
        }
        // Behind the end nothing stands that a text could be of.
        let mut last = [0; 8 + RUN];
        let rest = bytes.get(at..).unwrap_or_default();
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        for step in (0..rest.len()).step_by(STEP) {
            if let Some(run) = last.get(step..).and_then(|it| it.first_chunk::<RUN>()) {
                self.look(u32::from_le_bytes(*run), bytes, at + step, take);
            }
        }
    }

    #[inline]
    fn look(&self, run: u32, bytes: &[u8], at: usize, take: &mut dyn FnMut(usize, usize)) {
        let run = run | FOLD;
        let (word, bit) = place(run);
        if self.table.get(word).is_some_and(|it| it & bit != 0) {
            self.compare(run, bytes, at, take);
        }
    }

    #[cold]
    fn compare(&self, run: u32, bytes: &[u8], at: usize, take: &mut dyn FnMut(usize, usize)) {
        for (number, offset) in self.runs.get(&run).into_iter().flatten() {
            let number = *number as usize;
            let Some(start) = at.checked_add_signed(-isize::from(*offset)) else { continue };
            let Some(text) = self.texts.get(number) else { continue };
            let there = bytes.get(start..start + text.len());
            if there.is_some_and(|it| it.eq_ignore_ascii_case(text)) {
                take(number, start);
            }
        }
    }
}

/// Where the table tells of a run: word and bit.
#[inline]
fn place(run: u32) -> (usize, u64) {
    // A prime near 2³² / φ (Knuth, The Art of Computer Programming, 6.4) spreads what differs in few bits.
    let hash = run.wrapping_mul(0x9e37_79b1) >> (u32::BITS - TABLE_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// Where in a text the two runs begin that events have least often.
fn rarest(text: &[u8]) -> i8 {
    let last = text.len().saturating_sub(RUN + 1).min(OFFSET_MAX);
    let offsets = 0..=i8::try_from(last).unwrap_or_default();
    let common = |offset: &i8| -> u32 {
        let start = usize::try_from(*offset).unwrap_or_default();
        let runs = text.get(start..).unwrap_or_default().windows(RUN.min(text.len())).take(STEP);
        runs.map(|run| if is_usual(run) { USUAL } else { run.iter().map(|it| common(*it)).sum() })
            .sum()
    };
    offsets.min_by_key(common).unwrap_or_default()
}

/// More than any sum of [`common`].
const USUAL: u32 = 100;

/// Whether a text stands in what nearly every audit event says.
pub(super) fn is_usual(text: &[u8]) -> bool {
    const USUAL: &[u8] = b"kind event list metadata level requestresponse auditid stage responsecomplete requesturi \
        /apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ timeout fieldmanager resourceversion \
        verb create update delete patch watch get user username groups extra authentication.kubernetes.io/ \
        system:serviceaccounts system:authenticated system:nodes masters credential-id pod-name node-name uid \
        sourceips useragent kube-controller-manager kube-scheduler kubelet kubectl linux/amd64 objectref resource \
        subresource status namespace name apigroup apiversion responsestatus code reason message notfound \
        forbidden requestobject responseobject spec template containers image labels annotations \
        managedfields operation manager fieldstype fieldsv1 requestreceivedtimestamp stagetimestamp \
        authorization.k8s.io/decision allow rbac clusterrolebinding service default true false null";
    USUAL.windows(text.len().max(1)).any(|it| it.eq_ignore_ascii_case(text))
}

/// How common a byte is in audit events, roughly.
fn common(byte: u8) -> u32 {
    match byte.to_ascii_lowercase() {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'c' | b'd' | b'u' | b'm' => 4,
        b'"' | b':' | b',' | b'.' | b'/' | b'-' | b'0'..=b'9' | b'l' | b'p' => 3,
        b'a'..=b'z' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn plain(texts: &[String], text: &str) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        for (number, wanted) in texts.iter().enumerate() {
            let windows = text.as_bytes().windows(wanted.len());
            let starts = windows.enumerate();
            let starts = starts.filter(|(_, it)| it.eq_ignore_ascii_case(wanted.as_bytes()));
            all.extend(starts.map(|(start, _)| (number, start)));
        }
        all
    }

    #[test]
    fn every_text_is_found_wherever_it_stands() {
        let mut found = 0;
        for seed in 0..3000 {
            let mut random = Rng::with_seed(seed);
            let mut word = |longest: usize| -> String {
                let letters: Vec<char> = "abAB{ \0é\u{60}".chars().collect();
                let length = random.usize(TEXT_MIN..=longest);
                (0..length).filter_map(|_| random.choice(&letters)).collect()
            };
            let texts: Vec<String> = (0..5).map(|_| word(7)).collect();
            let text = word(600);
            let grams = Grams::new(texts.iter().map(String::as_str)).unwrap();
            let mut all = Vec::new();
            grams.find(&text, &mut |number, start| all.push((number, start)));
            all.sort_unstable();
            assert_eq!(all, plain(&texts, &text), "seed {seed}: {texts:?} in {text:?}");
            found += all.len();
        }
        assert!(found > 3000, "{found}");
    }

    #[test]
    fn a_text_that_is_too_short_is_refused() {
        assert!(Grams::new(["abc", "ab"].into_iter()).is_none());
        assert!(Grams::new(["abc"].into_iter()).is_some());
    }
}
