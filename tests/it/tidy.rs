//! Rules about the source that the compiler cannot state.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rooms that must stay free of I/O, so that they can be fuzzed, benchmarked and moved.
const PURE: &[&str] = &[
    "alerts",
    "bulk",
    "unwrap",
    "classify",
    "rules",
    "correlate",
    "rules_test",
    "event",
    "json",
    "prepare",
    "report",
];
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "reqwest",
    "prometheus",
    "std::net::Tcp",
    "std::fs",
    "std::env",
    "fs::",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "fastrand",
];
/// Rooms and what they must not know: arrows go one way.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("json", &["crate::"]),
    ("event", &["bulk", "unwrap", "classify", "rules", "forward", "receiver", "config"]),
    ("bulk", &["unwrap", "classify", "rules", "forward", "receiver", "config", "prepare", "event"]),
    ("unwrap", &["classify", "rules", "forward", "receiver", "config", "prepare", "bulk"]),
    ("rules", &["classify", "forward", "receiver", "config", "prepare", "bulk", "unwrap"]),
    ("alerts", &["forward", "receiver", "config", "prepare", "bulk"]),
    ("classify", &["forward", "receiver", "config", "prepare", "bulk"]),
    ("correlate", &["forward", "receiver", "config", "prepare", "bulk", "unwrap", "classify"]),
    ("forward", &["rules", "classify", "unwrap", "receiver", "config", "prepare", "event"]),
    ("receiver", &["config", "demo", "app", "cli", "check", "dead_letter", "setup"]),
    (
        "report",
        &["forward", "receiver", "config", "prepare", "bulk", "unwrap", "explain", "backfill"],
    ),
    ("setup", &["receiver", "check", "dead_letter", "demo", "app", "cli"]),
    ("dead_letter", &["receiver", "check", "demo", "app", "cli"]),
    ("explain", &["receiver", "forward", "dead_letter", "check", "demo", "app", "cli"]),
    ("check", &["receiver", "dead_letter", "demo", "app", "cli"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|it| it == "rs") {
            out.push(path);
        }
    }
}

/// The lines of the program without its tests and comments: room, place and text.
fn source_lines() -> Vec<(String, String, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 20);
    let mut lines = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let room = relative.split(['/', '.']).next().unwrap().to_owned();
        if relative.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            if !line.trim_start().starts_with("//") {
                lines.push((room.clone(), format!("{relative}:{}", number + 1), line.to_owned()));
            }
        }
    }
    lines
}

#[test]
fn pure_rooms_do_no_io() {
    let found: Vec<String> = source_lines()
        .into_iter()
        .filter(|(room, ..)| PURE.contains(&room.as_str()))
        .flat_map(|(_, place, line)| {
            IMPURE
                .iter()
                .filter(move |it| line.contains(**it))
                .map(move |it| format!("{place}: {it}"))
        })
        .collect();
    assert!(found.is_empty(), "pure rooms must do no I/O:\n{}", found.join("\n"));
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let mut found = Vec::new();
    for (room, place, line) in source_lines() {
        let Some((_, forbidden)) = FORBIDDEN.iter().find(|(it, _)| *it == room) else { continue };
        for other in *forbidden {
            let names = if other.ends_with("::") {
                line.contains(other)
            } else {
                line.contains(&format!("crate::{other}"))
                    || line.trim_start().starts_with(&format!("{other}::"))
            };
            if names {
                found.push(format!("{place}: {room} must not know {other}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_test_module_is_run() {
    let dir = root().join("tests/it");
    let main = fs::read_to_string(dir.join("main.rs")).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "main" || main.contains(&format!("mod {module};")),
            "{name} is not in main.rs"
        );
    }
}
