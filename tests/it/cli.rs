//! What is typed and what comes out.

use std::{fs, process::Command};

use crate::harness::Folder;

struct Typed {
    status: i32,
    out: String,
    err: String,
}

fn k8scop(folder: &Folder, args: &[&str]) -> Typed {
    let output = Command::new(env!("CARGO_BIN_EXE_k8scop"))
        .args(args)
        .env("ES_API_KEY", "of-the-readme")
        .current_dir(&folder.0)
        .output()
        .unwrap();
    Typed {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const RULE: &str = "title: t\nid: own-rule\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  a: {verb: get}\n  condition: a\n";

#[test]
fn help_tells_every_default() {
    let folder = Folder::new("cli");
    let help = k8scop(&folder, &["run", "--help"]);
    assert_eq!(help.status, 0);
    for text in
        ["--config", "127.0.0.1:9250", "127.0.0.1:9251", "file:./k8scop-data", "K8SCOP_OUTPUT"]
    {
        assert!(help.out.contains(text), "{}", help.out);
    }
    assert_eq!(k8scop(&folder, &["run", "--what"]).status, 2);
    assert!(k8scop(&folder, &["--version"]).out.starts_with("k8scop "));
}

/// K8sCop's own command line names no command.
#[test]
fn k8scops_own_command_line() {
    let folder = Folder::new("cli");
    let with = |more: &[&str]| {
        let args = ["-E", "127.0.0.1:1", "-I", "logstash", "-i", "alerts"];
        k8scop(&folder, &[&args, more].concat())
    };
    let usage = "k8scop -E HOST:PORT -I PREFIX -i PREFIX -s Y-M-D-H-M-S -A static|streaming";
    for args in [&["-h"][..], &["--help"]] {
        let help = k8scop(&folder, args);
        assert_eq!(help.status, 0);
        for text in [usage, "-E, --elastic", "-d, --fetch-delay", "static, streaming", "backfill"] {
            assert!(help.out.contains(text), "{}", help.out);
        }
    }
    for (more, told) in [
        (&["-s", "2019-2-30-0-0-0", "-A", "static"][..], "such as 2019-2-1-0-0-0"),
        (&["-s", "2019-02-01", "-A", "static"], "year-month-day-hour-minute-second"),
        (&["-s", "2019-2-1-0-0-0", "-e", "soon", "-A", "static"], "such as 2019-2-1-0-0-0, or now"),
        (&["-s", "2019-2-1-0-0-0", "-e", "2019-1-1-0-0-0", "-A", "static"], "is before --start"),
        (&["-s", "2019-2-1-0-0-0", "-e", "2019-3-1-0-0-0", "-A", "streaming"], "has no end"),
        (&["-s", "2019-2-1-0-0-0", "-A", "streaming", "-d", "4"], "3, 5, 8, 10, 12"),
        (&["-s", "2019-2-1-0-0-0", "-A", "always"], "static, streaming"),
        (&["-s", "2019-2-1-0-0-0"], "--analysis"),
        (&["-A", "static"], "--start"),
        (&["run"], "cannot be used with"),
    ] {
        let typed = with(more);
        assert_eq!((typed.status, typed.out.as_str()), (2, ""), "{more:?}: {}", typed.err);
        assert!(typed.err.contains(told), "{more:?}: {}", typed.err);
    }
    let typed = k8scop(&folder, &["-I", "logstash-*"]);
    assert!(typed.err.contains("logstash becomes logstash-2019.03.02"), "{}", typed.err);
    assert_eq!(k8scop(&folder, &[]).status, 2);
}

#[test]
fn a_broken_rule_is_told_with_its_place_and_nothing_listens() {
    let folder = Folder::new("cli");
    fs::create_dir(folder.0.join("rules")).unwrap();
    fs::write(folder.0.join("rules/a.yml"), RULE).unwrap();
    fs::write(
        folder.0.join("rules/b.yml"),
        RULE.replace("own-rule", "other").replace("verb: get", "verbs: get"),
    )
    .unwrap();
    fs::write(folder.0.join("c.yaml"), "rules: {paths: [rules]}\n").unwrap();
    for command in ["validate", "run"] {
        let typed = k8scop(
            &folder,
            &[command, "-c", "c.yaml", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        );
        assert_eq!(typed.status, 3, "{}", typed.err);
        assert!(
            typed.err.contains("error: rules/b.yml:6:")
                && typed
                    .err
                    .contains(": an audit event has no field `verbs`: did you mean `verb`?"),
            "{}",
            typed.err
        );
        assert!(!typed.err.contains("ready"));
    }
    fs::remove_file(folder.0.join("rules/b.yml")).unwrap();
    let typed = k8scop(&folder, &["validate", "-c", "c.yaml"]);
    assert_eq!(typed.status, 0);
    assert!(
        typed.out.starts_with("the configuration is good: output file:./k8scop-data, "),
        "{}",
        typed.out
    );
}

#[test]
fn a_broken_configuration_is_told_with_its_place() {
    let folder = Folder::new("cli");
    fs::write(folder.0.join("c.yaml"), "limits:\n  body_bytes: 5\n").unwrap();
    let typed = k8scop(&folder, &["validate", "-c", "c.yaml"]);
    assert_eq!(typed.status, 4);
    assert!(
        typed.err.contains("error: c.yaml:2: ") && typed.err.contains("body_bytes"),
        "{}",
        typed.err
    );
    assert_eq!(k8scop(&folder, &["validate", "-c", "none.yaml"]).status, 4);
    assert_eq!(k8scop(&folder, &["validate", "--output", "ftp://x"]).status, 4);
    fs::write(folder.0.join("c.yaml"), "output: https://x\nelasticsearch: {ca_file: none.pem}\n")
        .unwrap();
    let typed = k8scop(&folder, &["validate", "-c", "c.yaml"]);
    assert_eq!(typed.status, 4);
    assert!(typed.err.contains("elasticsearch.ca_file none.pem"), "{}", typed.err);
    fs::write(folder.0.join("c.yaml"), format!("limits: {{request_deadline_s: {}}}\n", u64::MAX))
        .unwrap();
    assert!(
        k8scop(&folder, &["validate", "-c", "c.yaml"])
            .err
            .contains("limits.request_deadline_s: must be from 1")
    );
}

#[test]
fn rules_are_tested_on_their_examples() {
    let folder = Folder::new("cli");
    let typed = k8scop(&folder, &["rules", "test"]);
    assert_eq!(typed.status, 0, "{}", typed.out);
    for text in [
        "Command run in a container (low, pipelines/rules/execution/exec_in_container.yml)",
        "  ok      match: kubectl exec, WebSocket",
        " 0 failed",
    ] {
        assert!(typed.out.contains(text), "{}", typed.out);
    }
    fs::write(folder.0.join("a.yml"), format!("{RULE}k8scop:\n  examples:\n    match: [{{name: m, event: {{verb: list}}}}]\n    no_match: [{{name: n, event: {{verb: get}}}}]\n")).unwrap();
    let typed = k8scop(&folder, &["rules", "test", "a.yml"]);
    assert_eq!(typed.status, 1);
    assert!(typed.out.contains("FAILED  match: m: the rule is not hit"), "{}", typed.out);
    assert!(typed.out.contains("FAILED  no match: n: the rule is hit"), "{}", typed.out);
}

#[test]
fn the_demo_tells_its_story_again_and_again() {
    let folder = Folder::new("cli");
    for _ in 0..2 {
        let typed = k8scop(&folder, &["demo", "--once"]);
        assert_eq!(typed.status, 0, "{}{}", typed.out, typed.err);
        for text in [
            "22 alerts written, 22 expected",
            "Privileged pod created",
            "mallory@example.com",
            "chroot /host",
            "k8scop run --output",
        ] {
            assert!(typed.out.contains(text), "{}", typed.out);
        }
    }
    assert!(folder.0.join("k8scop-data/logs-k8scop.alerts-demo.ndjson").exists());
}

#[test]
fn a_port_that_is_taken_is_told() {
    let folder = Folder::new("cli");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let typed = k8scop(&folder, &["run", "--listen", &address, "--admin", "127.0.0.1:0"]);
    assert_eq!(typed.status, 70);
    assert!(typed.err.contains(&format!("listen: cannot listen on {address}")), "{}", typed.err);
}

#[test]
fn the_readme_shows_every_option_with_its_default() {
    let readme =
        fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
            .unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|it| it.split("```").next().unwrap());
    let (whole, parts): (Vec<_>, Vec<_>) = blocks.partition(|it| it.starts_with("listen:"));
    let [example] = whole.as_slice() else { panic!("{whole:?}") };
    let folder = Folder::new("cli");
    fs::write(folder.0.join("k8scop.yaml"), example).unwrap();
    let typed = k8scop(&folder, &["validate", "-c", "k8scop.yaml"]);
    assert_eq!(typed.status, 0, "{}", typed.err);
    let raw = k8scop::config::parse(example).unwrap();
    let default = k8scop::config::Raw::default();
    for (shown, default) in [
        (format!("{:?}", raw.limits), format!("{:?}", default.limits)),
        (format!("{:?}", raw.audit), format!("{:?}", default.audit)),
        (format!("{:?}", raw.control_plane), format!("{:?}", default.control_plane)),
        (format!("{:?}", raw.push), format!("{:?}", default.push)),
        (format!("{:?}", raw.alerts), format!("{:?}", default.alerts)),
        (format!("{:?}", raw.rules), format!("{:?}", default.rules)),
        (format!("{:?}", raw.correlation), format!("{:?}", default.correlation)),
        (format!("{:?}", raw.retry), format!("{:?}", default.retry)),
        (format!("{:?}", raw.log), format!("{:?}", default.log)),
        (format!("{} {}", raw.listen, raw.admin), format!("{} {}", default.listen, default.admin)),
    ] {
        assert_eq!(shown, default);
    }
    assert!(parts.len() >= 2);
    for part in parts {
        k8scop::config::parse(part).unwrap();
    }
    for (_, option) in example
        .lines()
        .filter_map(|it| it.trim_start().split_once(": ").map(|(name, _)| (it, name)))
    {
        let source = include_str!("../../src/config/raw.rs");
        assert!(source.contains(&format!("pub {option}:")), "{option} is no option");
    }
}

#[test]
fn files_for_api_servers() {
    let folder = Folder::new("cli");
    let config = |more: &[&str]| {
        k8scop(&folder, &[&["export", "webhook-kubeconfig", "--url"], more].concat())
    };
    let typed = config(&["https://k8scop.example:9250", "--cluster", "demo", "--token-file", "/t"]);
    assert_eq!((typed.status, typed.err.as_str()), (0, ""));
    assert!(
        typed.out.contains("server: \"https://k8scop.example:9250/audit/demo\""),
        "{}",
        typed.out
    );
    assert!(typed.out.contains("tokenFile: \"/t\""), "{}", typed.out);
    for (wrong, told) in [
        (config(&["https://user:secret@k8scop.example"]), "--url"),
        (config(&["https://a", "--client-key", "/k"]), "--client-certificate"),
        (config(&["https://a", "--cluster", "_x"]), "--cluster"),
    ] {
        assert_eq!((wrong.status, wrong.out.as_str()), (2, ""));
        assert!(wrong.err.contains(told) && !wrong.err.contains("secret"), "{}", wrong.err);
    }
    let policy = k8scop(&folder, &["export", "audit-policy"]);
    assert_eq!((policy.status, policy.err.as_str()), (0, ""));
    assert!(policy.out.contains("kind: Policy") && policy.out.ends_with("- level: Metadata\n"));
}

/// `/dev/full` takes nothing; a pipe without a reader is what `| head` leaves.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed() {
    for args in [&["rules", "test"][..], &["validate"], &["export", "audit-policy"]] {
        let typed = |out: std::process::Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
            command.args(args).stdout(out).output().unwrap()
        };
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = typed(full.into());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(70), "{args:?}: {told}");
        assert!(told.starts_with("error: standard output: "), "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = typed(writer.into());
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
}
