//! How many instructions the hot functions take for fixed input, counted by valgrind's callgrind, next to what was
//! recorded: unlike time, that is the same on a busy machine.
//!
//! `cargo bench --bench instructions` fails where one takes more than was recorded; with `UPDATE_EXPECT=1` it records.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "the table is what this program is for, and it has nobody to recover for"
)]

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, ensure};

mod data;
mod stage;

/// How many per cent more than recorded a function may take.
const MORE_MAX: u64 = 3;
/// Given to the process that is counted.
const COUNTED: &str = "--counted";

fn main() -> ExitCode {
    if env::args().any(|it| it == COUNTED) {
        counted::all();
        return ExitCode::SUCCESS;
    }
    match compared() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The functions: each is a symbol of its own, under which callgrind counts it.
mod counted {
    use std::hint::black_box;

    use k8scop::{bulk::BulkAnswer, bulk::Defaults, bulk::Items, classify::Classifier};
    use k8scop::{event::AuditEvent, json};

    use super::{data, stage};

    /// Deepest document (levels), as `limits.depth_max` has it by default.
    const DEPTH_MAX: usize = 100;

    struct Input {
        body: String,
        documents: Vec<String>,
        /// `message` of each, as it is written.
        messages: Vec<String>,
        events: Vec<String>,
        classifier: Classifier,
        answer: String,
    }

    pub(super) fn all() {
        let input = Input::new();
        // What is built at the first use is no part of it.
        each(&input);
        round(&input);
    }

    /// What is counted: see [`super::ROUND`].
    #[inline(never)]
    fn round(input: &Input) {
        each(input);
    }

    #[inline(never)]
    fn each(input: &Input) {
        black_box(unwrap(input));
        black_box(unescape(input));
        black_box(check(input));
        black_box(classify(input));
        black_box(request(input));
        black_box(answer(input));
    }

    impl Input {
        fn new() -> Self {
            let start = "2026-03-01T12:00:00Z".parse().expect("a time");
            let mut requests = data::audit(1, 1_000_000, start, Some).expect("captured events");
            let data::Request { text: body, events } = requests.pop().expect("one request");
            let documents: Vec<String> =
                body.lines().skip(1).step_by(2).map(str::to_owned).collect();
            assert_eq!(documents.len() as u64, events, "a document for each event");
            let message = |it: &String| json::get(it, "message").expect("a message").to_owned();
            let messages: Vec<String> = documents.iter().map(message).collect();
            let event = |it: &String| json::string(it).expect("a text").into_owned();
            let events = messages.iter().map(event).collect();
            let rules = k8scop::config::built_in_rules().expect("the built-in rules are good");
            let classifier = Classifier::new(rules.rules).expect("rules compile");
            let answer = answer_of(documents.len());
            Self { body, documents, messages, events, classifier, answer }
        }
    }

    /// What Elasticsearch answers when all is stored.
    fn answer_of(items: usize) -> String {
        let item = r#"{"create":{"_index":".ds-logs-kubernetes.audit_logs-prod-2026.03.01-000001","_id":"AZq1p2Yk3b4c5d6e7f8g","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":1234567,"_primary_term":1,"status":201}}"#;
        format!(r#"{{"errors":false,"took":30,"items":[{}]}}"#, vec![item; items].join(","))
    }

    #[inline(never)]
    fn unwrap(input: &Input) -> usize {
        stage::unwrapped(&input.body, &mut String::with_capacity(input.body.len() * 2))
    }

    #[inline(never)]
    fn unescape(input: &Input) -> bool {
        let mut out = String::new();
        input.messages.iter().all(|it| {
            out.clear();
            let inside = it.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            json::unescape_into(inside.unwrap_or_default(), &mut out)
        })
    }

    #[inline(never)]
    fn check(input: &Input) -> bool {
        let mut members = Vec::new();
        input.documents.iter().all(|it| {
            members.clear();
            json::object(it, DEPTH_MAX, &mut members).is_ok()
        })
    }

    #[inline(never)]
    fn classify(input: &Input) -> usize {
        let hits = |it: &String| {
            let mut members = Vec::with_capacity(20);
            json::object(it, DEPTH_MAX, &mut members).expect("an event is JSON");
            input.classifier.classify(&AuditEvent::new(it, members)).hits.len()
        };
        input.events.iter().map(hits).sum()
    }

    #[inline(never)]
    fn request(input: &Input) -> usize {
        let defaults = Defaults::default();
        let mut items = Items::new(input.body.as_bytes(), &defaults, usize::MAX);
        let mut members = Vec::new();
        std::iter::from_fn(|| items.next_into(&mut members).ok().flatten().map(|it| it.depth)).sum()
    }

    #[inline(never)]
    fn answer(input: &Input) -> bool {
        BulkAnswer::parse(input.answer.as_bytes(), input.documents.len()).is_ok()
    }
}

/// While this function runs, callgrind counts.
const ROUND: &str = "*counted::round";
/// Their names, and what they do.
const FUNCTIONS: [(&str, &str); 6] = [
    ("unwrap", "a bulk request of EKS events to documents"),
    ("unescape", "`message` of each document"),
    ("check", "the JSON of each document"),
    ("classify", "each event read, with the built-in rules"),
    ("request", "the items of the bulk request"),
    ("answer", "Elasticsearch's answer"),
];

/// Counts, compares and prints. Whether nothing takes more than is recorded.
fn compared() -> anyhow::Result<bool> {
    let counts = counts()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/record/instructions.json");
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&counts)? + "\n")?;
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let recorded: BTreeMap<String, u64> = serde_json::from_str(&text)?;
    let mut is_good = true;
    println!("{:<10} {:>12} {:>12}  of the recorded", "", "instructions", "recorded");
    for (name, about) in FUNCTIONS {
        let count = counts.get(name).copied().unwrap_or_default();
        let before = *recorded.get(name).with_context(|| format!("{name} is not recorded"))?;
        let (hundredths, is_more) =
            (count * 10_000 / before, count * 100 > before * (100 + MORE_MAX));
        is_good &= !is_more;
        let remark = match (is_more, count * 100 < before * (100 - MORE_MAX)) {
            (true, _) => ": TOO MANY",
            (_, true) => ": record it with UPDATE_EXPECT=1",
            _ => "",
        };
        println!(
            "{name:<10} {count:>12} {before:>12}  {}.{:02} % ({about}){remark}",
            hundredths / 100,
            hundredths % 100
        );
    }
    if !is_good {
        eprintln!(
            "error: more than {MORE_MAX} % more instructions than recorded. Find out why (valgrind --tool=callgrind), or\n\
             record them with UPDATE_EXPECT=1 and say in the commit what they buy."
        );
    }
    Ok(is_good)
}

/// Runs this program under callgrind.
fn counts() -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("instructions.callgrind");
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(&file);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--toggle-collect={ROUND}")])
        .arg(option)
        .arg(env::current_exe()?)
        .arg(COUNTED)
        .output()
        .context("valgrind does not start; on Debian: sudo apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {said}");
    let costs = costs(&fs::read_to_string(&file)?)?;
    let cost = |(name, _): (&'static str, &str)| {
        let ending = format!("counted::{name}");
        let found = costs.iter().find(|(it, _)| it.ends_with(&ending));
        let (_, cost) = found.with_context(|| format!("callgrind has not seen {ending}"))?;
        Ok((name, *cost))
    };
    FUNCTIONS.into_iter().map(cost).collect()
}

/// The instructions of each function, with those of what it calls (valgrind 3.19, "Callgrind Format
/// Specification": `calls=`, and the cost in the line behind it).
fn costs(text: &str) -> anyhow::Result<HashMap<String, u64>> {
    let (mut names, mut costs) = (HashMap::new(), HashMap::new());
    let mut called = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            // `(7) name` the first time, then `(7)`.
            let (id, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                names.insert(id.to_owned(), name.to_owned());
            }
            called = names.get(id).cloned();
        } else if line.starts_with("calls=") {
            let cost = lines.next().and_then(|it| it.rsplit(' ').next()?.parse::<u64>().ok());
            let name = called.clone().context("a call of nothing")?;
            *costs.entry(name).or_insert(0) += cost.context("a call without its cost")?;
        }
    }
    Ok(costs)
}
