//! `k8scop rules …`, and what `k8scop explain` says of a rule that is not hit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::harness::Folder;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

struct Typed {
    status: i32,
    out: String,
    err: String,
}

fn k8scop(folder: &Path, args: &[&str]) -> Typed {
    let command =
        Command::new(env!("CARGO_BIN_EXE_k8scop")).args(args).current_dir(folder).output();
    let Output { status, stdout, stderr } = command.unwrap();
    Typed {
        status: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Typed {
    #[track_caller]
    fn told(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.err.contains(text), "no `{text}` in:\n{}", self.err);
        }
    }

    #[track_caller]
    fn is(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    #[track_caller]
    fn has(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.out.contains(text), "no `{text}` in:\n{}", self.out);
        }
    }
}

const LOGSOURCE: &str = "logsource: {product: kubernetes, service: audit}";

/// A rule that lacks nothing.
fn whole(id: &str, title: &str) -> String {
    format!(
        "title: {title}\nid: {id}\ndescription: Somebody read {title}.\ntags: [attack.credential-access, attack.t1552.007]\n{LOGSOURCE}\n\
         detection:\n  selection:\n    verb: [get, list]\n    objectRef.resource: secrets\n    responseStatus.code: 200\n  \
         filter_robots:\n    user.username|startswith: 'robot-'\n  condition: selection and not filter_robots\n\
         falsepositives: [People]\nlevel: high\nk8scop:\n  reason: '{{user.username}} read {{objectRef.name}}'\n  advice: Ask them.\n  detects: [A1]\n  \
         examples:\n    match:\n      - name: bob\n        event: {{verb: get, user: {{username: bob}}, requestURI: /api/v1/namespaces/n/secrets/s, objectRef: {{resource: secrets, namespace: n, name: s, apiVersion: v1}}, responseStatus: {{code: 200}}}}\n    \
         no_match:\n      - name: a robot\n        event: {{verb: get, user: {{username: robot-1}}, objectRef: {{resource: secrets}}, responseStatus: {{code: 200}}}}\n"
    )
}

fn event(user: &str, verb: &str, resource: &str, code: u16) -> String {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete",
        "auditID": format!("{user}-{verb}-{resource}-{code}"), "requestURI": format!("/api/v1/namespaces/n/{resource}/s"),
        "verb": verb, "user": {"username": user}, "sourceIPs": ["192.0.2.7"],
        "objectRef": {"resource": resource, "namespace": "n", "name": "s", "apiVersion": "v1"},
        "responseStatus": {"code": code}, "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z",
        "stageTimestamp": "2026-03-01T10:00:00.100000Z"
    })
    .to_string()
}

/// A folder with rules, a survey and events.
fn prepared() -> Folder {
    let folder = Folder::new("rules");
    let at = |name: &str| folder.0.join(name);
    fs::create_dir(at("my-rules")).unwrap();
    fs::write(at("my-rules/a.yml"), whole("rule-a", "Alpha")).unwrap();
    fs::write(at("my-rules/b.yml"), whole("rule-b", "Beta").replace("high", "low")).unwrap();
    let survey = "id,idea,tactic,technique,kind,in_elastic,in_own,other\n\
        A1,\"Secrets, read\",Credential Access,T1552,stateless,y (new),-,\n\
        D102,From abroad,Initial Access,T1528,stateless,y,p,\n\
        A3,Something,Impact,T1485,stateless,p,pr,\"x \"\"y\"\"\"\n";
    fs::write(at("survey.csv"), survey).unwrap();
    let events = [
        event("bob", "get", "secrets", 200),
        event("bob", "get", "secrets", 403),
        event("robot-1", "get", "secrets", 200),
        event("bob", "create", "pods", 201),
    ];
    fs::write(at("audit.ndjson"), events.join("\n")).unwrap();
    fs::copy(root().join("tests/data/rules/falco.yaml"), at("k8s_audit_rules.yaml")).unwrap();
    folder
}

/// What `--help` shows can be typed as it is.
#[test]
fn the_examples_of_the_help_run() {
    let folder = prepared();
    let mut seen = 0;
    for command in
        ["list", "show", "lint", "test", "coverage", "import", "diff", "schema", "explain"]
    {
        let args: &[&str] = if command == "explain" { &["explain"] } else { &["rules", command] };
        let help = k8scop(&folder.0, &[args, &["--help"]].concat()).is(0);
        let lines: Vec<&str> =
            help.out.lines().map(str::trim).filter(|it| it.starts_with("k8scop ")).collect();
        assert!(!lines.is_empty(), "{command} has no example:\n{}", help.out);
        for line in lines {
            let program = env!("CARGO_BIN_EXE_k8scop");
            let line = line.replacen("k8scop", program, 1);
            let output =
                Command::new("sh").args(["-c", &line]).current_dir(&folder.0).output().unwrap();
            // The rules file of the import holds what cannot be taken.
            let expected = i32::from(command == "import");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(expected), "{line}: {told}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9);
}

#[test]
fn rules_are_listed_by_tactic() {
    let folder = prepared();
    let list = |args: &[&str]| k8scop(&folder.0, &[&["rules", "list"], args].concat());
    let all = list(&[]).is(0);
    all.has(&["TACTIC", "execution", "Command run in a container", "T1609", " rules\n"]);
    let execution = all.out.find("Command run in a container").unwrap();
    let credentials = all.out.find("All secrets of the cluster read").unwrap();
    assert!(execution < credentials, "{}", all.out);
    // Those of a path, in place of the others; those of a configuration.
    let own = list(&["my-rules"]).is(0);
    own.has(&["Alpha", "Beta", "2 rules\n"]);
    assert!(!own.out.contains("container"));
    fs::write(folder.0.join("c.yaml"), "rules: {built_in: false, paths: [my-rules/b.yml]}\n")
        .unwrap();
    let configured = list(&["-c", "c.yaml", "--format", "json"]).is(0).json();
    assert_eq!(configured.as_array().unwrap().len(), 1);
    assert_eq!(
        configured[0],
        json!({
            "kind": "rule", "id": "rule-b", "title": "Beta", "level": "low", "alert": true, "tactics": ["credential-access"],
            "techniques": ["T1552.007"], "tags": ["attack.credential-access", "attack.t1552.007"],
            "description": "Somebody read Beta.", "detects": ["A1"], "file": "my-rules/b.yml"
        })
    );
    let both = list(&["built-in", "my-rules"]).is(0);
    both.has(&["Alpha", "Command run in a container"]);
    for (args, titles) in [
        (&["--level", "low"][..], &["Beta"][..]),
        (&["--level", "low", "--level", "high"], &["Alpha", "Beta"]),
        (&["--tactic", "credential_access"], &["Alpha", "Beta"]),
        (&["--tactic", "impact"], &[]),
        (&["--tag", "attack.t1552"], &["Alpha", "Beta"]),
        (&["--tag", "T1552.007"], &["Alpha", "Beta"]),
        (&["--tag", "attack.t155"], &[]),
        (&["--text", "READ BETA"], &["Beta"]),
    ] {
        let found = list(&[args, &["my-rules", "--format", "json"]].concat()).is(0).json();
        let found: Vec<_> =
            found.as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap()).collect();
        assert_eq!(found, titles, "{args:?}");
    }
    fs::write(folder.0.join("my-rules/c.yml"), "title: x\n").unwrap();
    let broken = list(&["my-rules"]).is(3);
    assert!(broken.err.starts_with("error: my-rules/c.yml:1:"), "{}", broken.err);
    assert_eq!(broken.out, "");
    fs::create_dir(folder.0.join("empty")).unwrap();
    list(&["empty"]).is(2);
    list(&["nowhere"]).is(4);
}

const MANY: &str = "title: Many\nid: many\ndescription: d\ntags: [attack.exfiltration]\ncorrelation: {type: event_count, rules: [rule-a], group-by: [user.username], timespan: 5m, condition: {gte: 3}}\nlevel: critical\n";

#[test]
fn correlations_are_rules_too() {
    let folder = prepared();
    fs::write(folder.0.join("my-rules/many.yml"), MANY).unwrap();
    let typed = |args: &[&str]| k8scop(&folder.0, &[&["rules"], args].concat());
    let listed =
        typed(&["list", "my-rules", "--level", "critical", "--format", "json"]).is(0).json();
    assert_eq!((&listed[0]["kind"], &listed[0]["title"]), (&json!("correlation"), &json!("Many")));
    let shown = typed(&["show", "many", "--rules", "my-rules"]).is(0);
    shown.has(&[
        "type     event_count",
        "rules    rule-a",
        "group by user.username",
        "within   5m",
        "when     {\"gte\":3}",
    ]);
    typed(&["lint", "my-rules"]).is(0).has(&[
        "my-rules/many.yml:1:1: warning: no_match_example: Many",
        "3 rules: 0 errors, 2 warnings",
    ]);
    fs::write(folder.0.join("my-rules/many.yml"), MANY.replace("[rule-a]", "[rule-x]")).unwrap();
    typed(&["lint", "my-rules"]).is(1).has(&["my-rules/many.yml:5", "error: ", "rule-x"]);
    typed(&["list", "my-rules"]).is(3);
}

/// Those that come with the program lack nothing.
#[test]
fn the_built_in_rules_pass_strictly() {
    let folder = Folder::new("rules");
    let lint = k8scop(&folder.0, &["rules", "lint", "--strict"]).is(0);
    lint.has(&[" rules: 0 errors, 0 warnings\n"]);
    k8scop(&folder.0, &["rules", "test", "--strict"]).is(0);
}

#[test]
fn a_rule_is_shown_in_words() {
    let folder = prepared();
    let show = |args: &[&str]| k8scop(&folder.0, &[&["rules", "show"], args].concat());
    let text = show(&["alpha", "--rules", "my-rules"]).is(0);
    text.has(&[
        "Alpha\n  id       rule-a\n  level    high: an alert of severity 73\n",
        "  says     {user.username} read {objectRef.name}\n  advice   Ask them.\n",
        "  is hit when\n    selection\n      verb is get or list\n      objectRef.resource is secrets\n",
        "    not filter_robots\n      user.username starts with robot-\n",
        "  must hit\n    bob\n      kubectl get secret details\n      bob read s\n",
        "  must not hit\n    a robot\n",
    ]);
    for name in ["rule-a", "RULE-A", "a.yml", "my-rules/a.yml", "a", "Alph"] {
        assert_eq!(show(&[name, "--rules", "my-rules"]).is(0).out, text.out, "{name}");
    }
    assert_eq!(show(&["my-rules/a.yml"]).is(0).out, text.out);
    let object = &show(&["rule-a", "--rules", "my-rules", "--format", "json"]).is(0).json()[0];
    assert_eq!(
        object["condition"],
        json!({"all": [
            {"selection": "selection", "any": [["verb is get or list", "objectRef.resource is secrets", "responseStatus.code is 200"]]},
            {"not": {"selection": "filter_robots", "any": [["user.username starts with robot-"]]}}
        ]})
    );
    assert_eq!(
        object["fields"],
        json!(["verb", "objectRef.resource", "responseStatus.code", "user.username"])
    );
    assert_eq!(object["examples"]["match"][0]["reason"], "bob read s");
    let unknown = show(&["nothing of it"]).is(2);
    assert!(unknown.err.contains("no rule has the id or title `nothing of it`"), "{}", unknown.err);
    let several = show(&["a", "--rules", "my-rules/a.yml", "--rules", "my-rules/b.yml"]).is(0);
    assert!(several.out.starts_with("Alpha"), "a file's name goes before a part of titles");
    let several = show(&["ta", "--rules", "my-rules", "--rules", "c.yml"]).is(4);
    assert!(several.err.contains("c.yml"), "{}", several.err);
    let several = show(&["in a", "--rules", "built-in"]).is(2);
    assert!(several.err.contains("`in a` is in several titles: "), "{}", several.err);
    // What others wrote into a rule does not reach the terminal.
    fs::write(folder.0.join("e.yml"), whole("e", "\"a\\e[2Jb\"")).unwrap();
    assert!(!show(&["e.yml"]).is(0).out.contains('\u{1b}'));
}

#[test]
fn what_is_wrong_and_what_is_missing_is_told_with_its_line() {
    let folder = prepared();
    let lint = |args: &[&str]| k8scop(&folder.0, &[&["rules", "lint"], args].concat());
    // One title for two is the only thing to say.
    fs::write(folder.0.join("my-rules/b.yml"), whole("rule-b", "alpha")).unwrap();
    let twice = lint(&["my-rules"]).is(0);
    assert_eq!(
        twice.out,
        "my-rules/b.yml:1: warning: title_twice: its title is that of my-rules/a.yml\n2 rules: 0 errors, 1 warnings\n"
    );
    lint(&["my-rules", "--strict"]).is(1);
    lint(&["my-rules/a.yml", "--strict"]).is(0).has(&["1 rules: 0 errors, 0 warnings\n"]);
    let bare = format!(
        "title: Bare\nid: bare\ntags: [attack.t9999, attack.sabotage]\n{LOGSOURCE}\ndetection:\n  a:\n    stage|exists: true\n  condition: a\nlevel: low\n"
    );
    fs::write(folder.0.join("bare.yml"), &bare).unwrap();
    fs::write(folder.0.join("bad.yml"), bare.replace("stage|", "staje|")).unwrap();
    let found = lint(&["bare.yml", "bad.yml"]).is(1);
    found.has(&[
        "bad.yml:7:5: error: an audit event has no field `staje`",
        "bare.yml:3: warning: unknown_tag: ATT&CK has no `attack.t9999`",
        "warning: unknown_tag: ATT&CK has no `attack.sabotage`",
        "bare.yml:8: warning: always_tried: ",
        "warning: no_match_example: ",
        "warning: no_no_match_example: ",
        "warning: no_advice: ",
        "warning: no_false_positives: ",
        "warning: no_description: ",
        "1 rules: 1 errors, 8 warnings\n",
    ]);
    // Of several documents in a file, each has its own lines.
    let several =
        format!("{}---\n{}", bare.replace("id: bare", "name: first"), whole("rule-c", "Gamma"));
    fs::write(folder.0.join("several.yml"), several).unwrap();
    lint(&["several.yml"]).is(0).has(&[
        "several.yml:8: warning: always_tried: ",
        "several.yml:1: warning: no_match_example: ",
        "several.yml:1: warning: no_advice: ",
    ]);
    let object = lint(&["bare.yml", "bad.yml", "--format", "json"]).is(1).json();
    assert_eq!((&object["errors"], &object["warnings"]), (&json!(1), &json!(8)));
    assert_eq!(object["findings"][0]["severity"], "error");
    assert_eq!(object["findings"][0]["file"], "bad.yml");
}

#[test]
fn build_servers_read_what_tests_say() {
    let folder = prepared();
    let test = |args: &[&str]| k8scop(&folder.0, &[&["rules", "test", "my-rules"], args].concat());
    let broken = whole("rule-b", "A & <B>").replace("username: bob", "username: robot-x");
    fs::write(folder.0.join("my-rules/b.yml"), broken).unwrap();
    let object = test(&["--format", "json"]).is(1).json();
    assert_eq!(
        (&object["rules"], &object["passed"], &object["failed"]),
        (&json!(2), &json!(3), &json!(1))
    );
    let failed: Vec<_> =
        object["tests"].as_array().unwrap().iter().filter(|it| it["passed"] == false).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["id"], &failed[0]["failure"]),
        (&json!("rule-b"), &json!("the rule is not hit"))
    );
    let junit = test(&["--format", "junit"]).is(1);
    junit.has(&[
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"k8scop rules\" tests=\"4\" failures=\"1\">",
        "<testsuite name=\"A &amp; &lt;B&gt;\" file=\"my-rules/b.yml\" tests=\"2\" failures=\"1\">",
        "<testcase classname=\"rule-b\" name=\"match: bob\"><failure message=\"the rule is not hit\"/></testcase>",
        "<testcase classname=\"rule-a\" name=\"no match: a robot\"/>",
    ]);
}

/// Rules of others have none.
#[test]
fn rules_without_examples_fail_only_if_asked() {
    let folder = prepared();
    let whole = whole("rule-b", "Beta");
    let bare = whole.split("  examples:").next().unwrap();
    fs::write(folder.0.join("my-rules/b.yml"), bare).unwrap();
    let test = |args: &[&str]| k8scop(&folder.0, &[&["rules", "test", "my-rules"], args].concat());
    let said = "\n  none    needs an example that matches and one that does not\n\
                2 rules: 2 examples passed, 0 failed; 1 rules have not enough examples\n";
    test(&[]).is(0).has(&[said]);
    test(&["--strict"]).is(1).has(&[said]);
    let object = test(&["--format", "json"]).is(0).json();
    assert_eq!((&object["failed"], &object["lacking"]), (&json!(0), &json!(1)));
    test(&["--format", "junit"]).is(0).has(&[
        "tests=\"3\" failures=\"0\" skipped=\"1\">",
        "><skipped message=\"needs an example that matches and one that does not\"/></testcase>",
    ]);
}

/// What a configuration names begins at its folder, what is typed where it is typed.
#[test]
fn relative_paths_begin_at_the_configuration() {
    let folder = prepared();
    let at = |name: &str| folder.0.join(name);
    fs::create_dir_all(at("etc/lists")).unwrap();
    fs::rename(at("my-rules"), at("etc/my-rules")).unwrap();
    let listed = whole("rule-c", "Gamma").replace(
        "    responseStatus.code: 200\n",
        "    responseStatus.code: 200\n    user.username|expand: '%people%'\n",
    );
    fs::write(at("c.yml"), listed).unwrap();
    // Line ends of old.
    fs::write(at("etc/lists/people.txt"), "# Us\rbob\ralice\r").unwrap();
    let config = "rules: {built_in: false, paths: [my-rules], lists: {people: lists/people.txt}}\n";
    fs::write(at("etc/k8scop.yaml"), config).unwrap();
    let typed = |args: &[&str]| k8scop(&folder.0, &[&["rules"], args].concat());
    let config = ["-c", "etc/k8scop.yaml"];
    typed(&[&["list"], &config[..]].concat()).is(0).has(&["Alpha", "Beta"]);
    typed(&[&["test", "c.yml"], &config[..]].concat()).is(0);
    typed(&["test", "c.yml"])
        .is(3)
        .told(&["there is no list `people`: give it in the configuration, rules.lists\n"]);
    let diff = [&["diff", "configured", "c.yml"], &config[..]].concat();
    typed(&diff).is(0).has(&["Gamma"]);
    typed(&["diff", "configured", "c.yml"])
        .is(2)
        .told(&["error: `configured` are the rules of a configuration: name it with -c\n"]);
    let import = ["import", "c.yml", "--to", "mine"];
    typed(&import).is(1);
    typed(&[&import[..], &config[..]].concat()).is(0);
    assert!(at("mine").is_dir());
    fs::remove_dir_all(at("etc/my-rules")).unwrap();
    typed(&[&["list"], &config[..]].concat()).is(4).told(&[
        "error: etc/my-rules: No such file or directory (os error 2): rules.paths of etc/k8scop.yaml names it, and what is \
         relative there begins at the folder of that file\n",
    ]);
    typed(&["list", "none"]).is(4).told(&["error: none: No such file or directory (os error 2)\n"]);
}

/// Lines may end as they did on old machines.
#[test]
fn places_are_right_whatever_ends_a_line() {
    let folder = prepared();
    let wrong = whole("rule-d", "Delta").replace("    verb:", "    verbx:");
    for end in ["\n", "\r\n", "\r"] {
        fs::write(folder.0.join("d.yml"), wrong.replace('\n', end)).unwrap();
        k8scop(&folder.0, &["rules", "lint", "d.yml"]).is(1).has(&[
            "d.yml:8:5: error: an audit event has no field `verbx`: did you mean `verb`?\n",
        ]);
    }
}

#[test]
fn what_of_a_survey_is_covered() {
    let folder = prepared();
    let coverage = |args: &[&str]| {
        k8scop(&folder.0, &[&["rules", "coverage", "my-rules", "--against"], args].concat())
    };
    let typed = coverage(&["survey.csv", "--format", "json"]).is(0);
    let object = typed.json();
    assert_eq!(typed.err, "");
    assert_eq!(
        (&object["total"], &object["visible"], &object["covered"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(
        object["by_ruleset"],
        json!({"elastic": {"has": 2, "covered": 1, "visible": 1}, "own": {"has": 0, "covered": 0, "visible": 0}})
    );
    assert_eq!(object["by_tactic"]["Impact"], json!({"total": 1, "visible": 1, "covered": 0}));
    assert_eq!(object["rows"][0]["covered_by"], json!(["rule-a", "rule-b"]));
    assert_eq!(object["rows"][0]["idea"], "Secrets, read");
    assert!(object["rows"][1]["why_not_visible"].as_str().unwrap().contains("address"));
    coverage(&["survey.csv"]).is(0).has(&["NOT COVERED", "A3", "NOT VISIBLE", "D102", "RULES OF"]);
    // An id that the survey lacks.
    let survey = fs::read_to_string(folder.0.join("survey.csv")).unwrap();
    fs::write(folder.0.join("less.csv"), survey.replace("A1,", "A7,")).unwrap();
    let less = coverage(&["less.csv"]).is(0);
    assert!(
        less.err.contains("my-rules/a.yml: detects A1, and the survey has no such id"),
        "{}",
        less.err
    );
    fs::write(folder.0.join("bad.csv"), "id,idea\n").unwrap();
    assert!(
        coverage(&["bad.csv"]).is(70).err.contains("bad.csv: line 1: there is no column `tactic`")
    );
    coverage(&["none.csv"]).is(70);
}

/// The titles of the rules that an event hits.
fn hits(folder: &Path, rules: &str, event: &Value) -> Vec<String> {
    fs::write(folder.join("event.json"), event.to_string()).unwrap();
    let typed =
        k8scop(folder, &["explain", "event.json", "--rules", rules, "--format", "json"]).is(0);
    let rules = typed.json()["rules"].clone();
    rules.as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn falco_rules_are_taken_and_hit_what_they_hit_there() {
    let folder = prepared();
    let import = |args: &[&str]| {
        k8scop(
            &folder.0,
            &[&["rules", "import", "k8s_audit_rules.yaml", "--to", "new"], args].concat(),
        )
    };
    let dry = import(&["--dry-run"]).is(1);
    dry.has(&["nothing is written"]);
    assert!(!folder.0.join("new").exists());
    let report = import(&["--format", "json"]).is(1).json();
    let titles = |list: &str| -> Vec<String> {
        let all = report[list].as_array().unwrap().iter();
        all.map(|it| it["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        titles("taken"),
        [
            "Pod with a strange image",
            "Host namespaces",
            "Somebody else",
            "Operators",
            "Bound to a user"
        ]
    );
    assert_eq!(report["other_logs"], 1);
    let why = |title: &str| -> String {
        let mut all = report["left"].as_array().unwrap().iter();
        let found =
            all.find(|it| it["title"] == title).unwrap_or_else(|| panic!("{title}: {report}"));
        assert!(found["line"].as_u64().unwrap() > 1, "{found}");
        found["why"].as_str().unwrap().to_owned()
    };
    for (title, expected) in [
        ("banana", "no list, macro or rule"),
        ("Off", "not enabled"),
        ("Never", "never hit"),
        ("Everything", "hit by every event"),
        ("Text of an object", "`ka.req.configmap.obj` is the text of an object"),
        ("First container", "a place in an array cannot be asked for"),
        ("All groups", "wants all values"),
        ("Unknown macro", "no macro `nowhere`"),
        ("Bad condition", "not closed before its end"),
        ("Bad priority", "no priority `LOUD`"),
        ("Of another file", "a rule that is not in this file"),
        ("In circles", "nested deeper"),
    ] {
        assert!(why(title).contains(expected), "{title}: {}", why(title));
    }
    assert_eq!(titles("left").len(), 12);
    // They are rules like others, and the second time nothing is to do.
    k8scop(&folder.0, &["rules", "lint", "new"]).is(0).has(&["5 rules: 0 errors"]);
    import(&[]).is(1).has(&["5 taken, 12 left"]);
    let image = folder.0.join("new/pod_with_a_strange_image.yml");
    let text = fs::read_to_string(&image).unwrap();
    assert!(text.starts_with("# From k8s_audit_rules.yaml, "), "{text}");
    for part in [
        "level: medium",
        "- attack.privilege-escalation",
        "- attack.t1610",
        "(user={user.username} pod={objectRef.name} images={k8scop.pod.spec.containers.image} 'x' all=-)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    fs::write(&image, "mine\n").unwrap();
    import(&[]).is(1).has(&["is there already, and differs", "4 taken, 13 left"]);
    assert_eq!(fs::read_to_string(&image).unwrap(), "mine\n");
    fs::write(&image, text).unwrap();

    let pod = |user: &str, spec: Value| {
        json!({"auditID": "1", "kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "verb": "create",
            "user": {"username": user}, "requestURI": "/api/v1/namespaces/n/pods", "objectRef": {"resource": "pods", "namespace": "n"},
            "responseStatus": {"code": 201}, "requestObject": {"spec": spec}})
    };
    let containers = |images: &[&str]| -> Value {
        json!({"containers": images.iter().map(|it| json!({"image": it})).collect::<Vec<_>>()})
    };
    let ours = |event: &Value| hits(&folder.0, "new", event);
    assert_eq!(
        ours(&pod("ci", containers(&["registry.example/agent:1", "evil"]))),
        ["Pod with a strange image"]
    );
    for images in [
        &["registry.example/agent:1", "registry.example/proxy@sha256:0"][..],
        &["registry.example/agent"],
    ] {
        assert!(ours(&pod("ci", containers(images))).is_empty());
    }
    assert_eq!(
        ours(&pod("ci", containers(&["registry.example/agentx"]))),
        ["Pod with a strange image"]
    );
    assert_eq!(
        ours(&pod("ci", json!({"hostNetwork": true}))),
        ["Host namespaces", "Pod with a strange image"]
    );
    let by = |user: &str, uri: &str, namespace: &str, agent: &str| {
        ours(
            &json!({"auditID": "1", "kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "verb": "list",
            "user": {"username": user}, "requestURI": uri, "userAgent": agent, "objectRef": {"resource": "x", "namespace": namespace}}),
        )
    };
    assert_eq!(by("eve", "/api", "shop", "k"), ["Somebody else"]);
    // What keeps a rule from being hit is compared with its case, as there.
    assert_eq!(by("root", "/api", "shop", "k"), ["Somebody else"]);
    for (user, uri, namespace, agent) in [
        ("Root", "/api", "shop", "k"),
        ("deploy-bot", "/api", "shop", "k"),
        ("eve", "/healthz", "shop", "k"),
        ("eve", "/livez/etcd", "shop", "k"),
        ("eve", "/readyz?verbose", "shop", "k"),
        ("alice", "/api", "web", "k"),
        ("bob", "/api", "bank", "k"),
        ("eve", "/api", "shop", "kubelet/v1"),
    ] {
        assert!(by(user, uri, namespace, agent).is_empty(), "{user} {uri}");
    }
    assert_eq!(by("alice", "/api", "bank", "k"), ["Somebody else"]);
    assert_eq!(by("eve", "/healthzz", "bank", "k"), ["Somebody else"]);
    let secret = json!({"auditID": "1", "kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "RequestReceived", "verb": "get",
        "user": {"username": "eve", "groups": ["x", "ops"]}, "sourceIPs": ["10.0.0.1"], "userAgent": "kubectl (x)",
        "requestURI": "/api/v1/namespaces/prod-7/secrets/db-1", "responseStatus": {"code": 403},
        "objectRef": {"resource": "secrets", "namespace": "prod-7", "name": "db-1"},
        "annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""}});
    assert_eq!(ours(&secret), ["Operators"]);
    for (pointer, value) in [
        ("/responseStatus/code", json!(500)),
        ("/user/username", json!("carol")),
        ("/user/groups", json!(["x"])),
        ("/objectRef/name", json!("web-1")),
        ("/objectRef/namespace", json!("prod-x")),
        ("/sourceIPs", json!(["10.0.0.2"])),
    ] {
        let mut other = secret.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(ours(&other).is_empty(), "{pointer}");
    }
}

#[test]
fn sigma_rules_are_taken_and_put_right() {
    let folder = prepared();
    let at = |name: &str| folder.0.join(name);
    fs::create_dir_all(at("sigma/kubernetes")).unwrap();
    let rule = |id: &str, lines: &str| {
        format!(
            "title: Rule {id}\nid: {id}\n# A remark.\nstatus: test\nlogsource:\n    product: kubernetes\n    service: audit\ndetection:\n    selection:\n{lines}    condition: selection\nlevel: low\n"
        )
    };
    for (name, text) in [
        ("kubernetes/good.yml", rule("1", "        verb: list\n")),
        ("kubernetes/group.yml", rule("2", "        apiGroup: apps\n        verb: patch\n")),
        ("kubernetes/mount.yml", rule("3", "        hostPath: '*'\n")),
        ("kubernetes/allowed.yml", rule("6", "        responseStatus.code: 'ALLOW'\n")),
        (
            "kubernetes/filter.yml",
            format!(
                "title: Not bob\n{LOGSOURCE}\nfilter:\n  rules: ['3']\n  selection: {{user.username: bob}}\n  condition: selection\n"
            ),
        ),
        (
            "kubernetes/lost.yml",
            format!(
                "title: Of nothing\n{LOGSOURCE}\nfilter:\n  rules: ['9']\n  selection: {{user.username: bob}}\n  condition: selection\n"
            ),
        ),
        ("kubernetes/wrong.yml", rule("4", "        colour: red\n")),
        ("kubernetes/twice.yml", rule("1", "        verb: get\n")),
        ("windows.yml", rule("5", "        Image: x\n").replace("kubernetes", "windows")),
        (
            "windows_many.yml",
            rule("7", "        Image: x\n").replace("kubernetes", "windows")
                + "---\ntitle: Many\ncorrelation: {type: event_count, rules: ['7'], timespan: 1m, condition: {gte: 3}}\n",
        ),
        (
            "kubernetes/many.yml",
            "title: Many\nid: m\ncorrelation: {type: event_count, rules: ['1'], timespan: 1m, condition: {gte: 3}}\n".to_owned(),
        ),
        (
            "kubernetes/no_rule.yml",
            "title: Many of none\nid: n\ncorrelation: {type: event_count, rules: ['4'], timespan: 1m, condition: {gte: 3}}\n".to_owned(),
        ),
        (
            "kubernetes/no_type.yml",
            "title: Odd\nid: o\ncorrelation: {type: count, rules: ['1'], timespan: 1m, condition: {gte: 3}}\n".to_owned(),
        ),
        ("notes.yml", "- 1\n".to_owned()),
    ] {
        fs::write(at("sigma").join(name), text).unwrap();
    }
    fs::write(at("sigma/binary.yml"), [0xff, 0xfe, 0]).unwrap();
    std::os::unix::fs::symlink("/nowhere", at("sigma/dangling.yml")).unwrap();
    let typed = k8scop(&folder.0, &["rules", "import", "sigma", "--to", "new"]).is(1);
    typed.has(&[
        "left   sigma/binary.yml:1: it cannot be read: ",
        "left   sigma/dangling.yml:1: it cannot be read: ",
        "Many of none: there is no rule or correlation with the id or name `4`",
        "Odd: no type `count`",
        "taken  new/kubernetes/good.yml: Rule 1\n",
        "taken  new/kubernetes/group.yml: Rule 2\n",
        "Rule 6\n         line 10: `responseStatus.code: 'ALLOW'` is now `annotations.authorization.k8s.io/decision: allow`\n",
        "left   sigma/kubernetes/wrong.yml:10: Rule 4: ",
        "Rule 1: the id 1 is that of kubernetes/good.yml already",
        "Of nothing: there is no rule with the id or name `9`",
        "left   sigma/notes.yml:",
        "6 taken, 8 left, 2 for other logs\n",
    ]);
    k8scop(&folder.0, &["rules", "list", "new"]).is(0).has(&["\n5 rules\n"]);
    let text = fs::read_to_string(at("new/kubernetes/group.yml")).unwrap();
    assert!(text.starts_with("# From sigma/kubernetes/group.yml, "), "{text}");
    assert!(text.contains("# A remark.\n") && text.contains("id: 2\n"), "{text}");
    let mut pod: Value = serde_json::from_str(&event("bob", "create", "pods", 201)).unwrap();
    pod["requestObject"] = json!({"spec": {"volumes": [{"hostPath": {"path": "/x"}}]}});
    assert!(hits(&folder.0, "new/kubernetes", &pod).is_empty(), "the filter leaves bob out");
    pod["user"]["username"] = json!("eve");
    assert_eq!(hits(&folder.0, "new/kubernetes", &pod), ["Rule 3"]);
    k8scop(&folder.0, &["rules", "import", "nothing", "--to", "new"]).is(70);
}

#[test]
fn what_differs_between_two_sets() {
    let folder = prepared();
    fs::create_dir(folder.0.join("new")).unwrap();
    let changed = whole("rule-a", "Alpha")
        .replace("responseStatus.code: 200", "responseStatus.code: 403")
        .replace("level: high", "level: low");
    fs::write(folder.0.join("new/a.yml"), changed).unwrap();
    fs::write(folder.0.join("new/c.yml"), whole("rule-c", "Gamma")).unwrap();
    let diff = |args: &[&str]| k8scop(&folder.0, &[&["rules", "diff"], args].concat());
    let text = diff(&["my-rules", "new", "audit.ndjson"]).is(0);
    assert_eq!(
        text.out,
        "added    Gamma (high) rule-c\nremoved  Beta (low) rule-b\nchanged  Alpha (low) rule-a: level, detection\n         level high is now low\n\
         1 added, 1 removed, 1 changed\n\n\
         hits     Alpha: 1 more, 1 fewer (-line 1; +line 2)\nhits     Beta: 0 more, 1 fewer (-line 1)\nhits     Gamma: 1 more, 0 fewer (+line 1)\n\
         4 events: the hits of 3 rules differ\n"
    );
    let object = diff(&["my-rules", "new", "--format", "json"]).is(0).json();
    assert_eq!(object["changed"][0]["parts"], json!(["level", "detection"]));
    assert_eq!(object["hits"], Value::Null);
    assert_eq!(diff(&["my-rules", "my-rules"]).is(0).out, "0 added, 0 removed, 0 changed\n");
    diff(&["built-in", "my-rules"]).is(0).has(&["removed  Secret read (medium)", "added    Alpha"]);
    diff(&["my-rules", "new", "none.ndjson"]).is(70);
    // What looks at several events is compared, too.
    for (file, count) in [("my-rules/d.yml", 3), ("new/d.yml", 4)] {
        let text = format!(
            "title: Many\nid: many\nlevel: high\ncorrelation: {{type: event_count, rules: [rule-a], timespan: 1m, condition: {{gte: {count}}}}}\n"
        );
        fs::write(folder.0.join(file), text).unwrap();
    }
    diff(&["my-rules", "new"]).is(0).has(&["changed  Many (high) many: correlation\n"]);
    fs::remove_file(folder.0.join("new/d.yml")).unwrap();
    diff(&["my-rules", "new"]).is(0).has(&["removed  Many (high) many\n", "1 added, 2 removed"]);
    let explain =
        k8scop(&folder.0, &["explain", "audit.ndjson", "--rules", "my-rules", "--rule", "many"]);
    assert!(explain.is(2).err.contains("looks at several events"));
    k8scop(&folder.0, &["rules", "show", "man", "--rules", "my-rules"]).is(0).has(&["event_count"]);
}

#[test]
fn why_a_rule_is_not_hit() {
    let folder = prepared();
    let explain = |args: &[&str]| {
        let base = ["explain", "audit.ndjson", "--rules", "my-rules/a.yml"];
        k8scop(&folder.0, &[&base[..], args].concat())
    };
    let text = explain(&["--rule", "Alpha"]).is(0);
    text.has(&[
        "rule      Alpha (high)",
        "no hit    Alpha (high)\n            rule-a\n              selection: responseStatus.code is 403, wanted 200\n\n",
        "              not filter_robots: user.username is robot-1, fits robot-*\n",
        "              selection: verb is create, wanted get or list\n              and 2 more lines do not fit\n",
    ]);
    assert!(!text.out.contains("  document"));
    // Each event hits it or says why not.
    let entries = explain(&["--rule", "rule-a", "--format", "json"]).is(0);
    let entries: Vec<Value> =
        entries.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let shown: Vec<_> = entries
        .iter()
        .map(|it| (it["rules"].as_array().unwrap().len(), it["misses"].as_array().unwrap().len()))
        .collect();
    assert_eq!(shown, [(1, 0), (0, 1), (0, 1), (0, 1)]);
    assert_eq!(
        entries[1]["misses"][0],
        json!({"id": "rule-a", "title": "Alpha", "level": "high", "lines": 1, "no_one_element": false, "why":
            [{"selection": "selection", "holds": false, "field": "responseStatus.code", "value": "403", "pattern": "200"}]})
    );
    assert_eq!(entries[3]["misses"][0]["lines"], 3);
    // Near is what lacks one line.
    let near = explain(&["--near"]).is(0);
    assert_eq!(near.out.matches("no hit    Alpha").count(), 2, "{}", near.out);
    assert!(!explain(&[]).is(0).out.contains("no hit"));
    assert!(
        explain(&["--rule", "Omega"]).is(2).err.contains("no rule has the id or title `Omega`")
    );
    explain(&["--near", "--rule", "Alpha"]).is(2);
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let command = "$ k8scop explain tests/data/rules/refused.ndjson --rule 'Secret read'\n";
    let (_, rest) = readme.split_once(command).unwrap();
    let args = ["explain", "tests/data/rules/refused.ndjson", "--rule", "Secret read"];
    let shown = k8scop(&root(), &args).is(0).out;
    assert_eq!(rest.split("```").next().unwrap().trim_end(), shown.trim_end());
}

/// As much of JSON Schema (draft 7) as the schema of rules needs. Gives the path of the first thing that is wrong.
fn invalid(schema: &Value, value: &Value, root: &Value, path: &str) -> Option<String> {
    let Value::Object(keys) = schema else { panic!("{schema}") };
    let wrong = |what: &str| Some(format!("{path}: {what}"));
    let is_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let matches = |pattern: &Value, text: &str| {
        regex::Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text)
    };
    let valid = |schema: &Value| invalid(schema, value, root, path).is_none();
    for (key, rule) in keys {
        let bad = match key.as_str() {
            "$schema" | "title" | "description" | "definitions" | "then" | "else" => None,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                invalid(root.pointer(pointer).unwrap(), value, root, path)
            }
            "type" => {
                let names = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                let fits = names.iter().any(|it| is_type(it.as_str().unwrap()));
                if fits { None } else { wrong("has another type") }
            }
            "const" => {
                if value == rule {
                    None
                } else {
                    wrong("is another")
                }
            }
            "enum" => {
                if rule.as_array().unwrap().contains(value) {
                    None
                } else {
                    wrong("is none of these")
                }
            }
            "anyOf" => {
                if rule.as_array().unwrap().iter().any(valid) {
                    None
                } else {
                    wrong("fits nothing")
                }
            }
            "if" => invalid(&keys[if valid(rule) { "then" } else { "else" }], value, root, path),
            "pattern" => match value.as_str() {
                Some(text) if !matches(rule, text) => wrong("does not fit"),
                _ => None,
            },
            "minLength" | "minItems" | "minProperties" => {
                let len = match value {
                    Value::String(text) => text.len(),
                    Value::Array(list) => list.len(),
                    Value::Object(map) => map.len(),
                    _ => usize::MAX,
                };
                if len as u64 >= rule.as_u64().unwrap() { None } else { wrong("is too short") }
            }
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|it| it.as_str().unwrap());
                let mut lacking = names.filter(|it| value.is_object() && value.get(it).is_none());
                lacking.next().and_then(|it| wrong(&format!("lacks {it}")))
            }
            "items" => value
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .find_map(|(place, it)| invalid(rule, it, root, &format!("{path}[{place}]"))),
            "properties" => rule.as_object().unwrap().iter().find_map(|(name, rule)| {
                invalid(rule, value.get(name)?, root, &format!("{path}.{name}"))
            }),
            "propertyNames" => {
                value.as_object().into_iter().flatten().find_map(|(name, _)| {
                    invalid(rule, &json!(name), root, &format!("{path}.{name}"))
                })
            }
            "additionalProperties" => {
                value.as_object().into_iter().flatten().find_map(|(name, it)| {
                    if schema["properties"].get(name).is_some() {
                        return None;
                    }
                    match rule {
                        Value::Bool(false) => Some(format!("{path}.{name}: is not known")),
                        rule => invalid(rule, it, root, &format!("{path}.{name}")),
                    }
                })
            }
            other => panic!("{other}"),
        };
        if bad.is_some() {
            return bad;
        }
    }
    None
}

#[test]
fn the_schema_knows_good_rules_from_bad_ones() {
    let folder = prepared();
    let schema = k8scop(&folder.0, &["rules", "schema"]).is(0).json();
    let check = |text: &str| {
        let document: Value = yaml_serde::from_str(text).unwrap();
        invalid(&schema, &document, &schema, "")
    };
    for (name, text) in k8scop::rules::BUILT_IN {
        for document in k8scop::rules::documents(name, text).unwrap() {
            assert_eq!(check(&document.text), None, "{name}");
        }
    }
    let good = whole("a", "A");
    assert_eq!(check(&good), None);
    for (old, new, expected) in [
        ("title: A\n", "titel: A\n", ": lacks title"),
        ("level: high", "level: huge", ".level: is none of these"),
        ("service: audit", "service: syslog", ".logsource.service: is another"),
        ("verb: [get, list]", "verb|begins: get", ".detection.selection: fits nothing"),
        ("verb: [get, list]", "verb: []", ".detection.selection: fits nothing"),
        (
            "condition: selection and not filter_robots",
            "timeframe: 5m",
            ".detection: lacks condition",
        ),
        ("advice: Ask", "advise: Ask", ".k8scop.advise: is not known"),
        ("detects: [A1]", "once_per: hour", ".k8scop.once_per: is none of these"),
        (
            "- name: bob\n        event:",
            "- name: bob\n        events:",
            ".k8scop.examples.match[0]: lacks event",
        ),
    ] {
        assert!(good.contains(old), "{old}");
        assert_eq!(check(&good.replace(old, new)).as_deref(), Some(expected), "{new}");
    }
    let correlation = "title: c\ncorrelation: {type: event_count, rules: [a], timespan: 5m, group-by: [user.username], condition: {gte: 3}}\n";
    assert_eq!(check(correlation), None);
    assert_eq!(
        check(&correlation.replace("5m", "soon")).as_deref(),
        Some(".correlation.timespan: does not fit")
    );
    let filter = format!(
        "title: f\n{LOGSOURCE}\nfilter: {{rules: any, selection: {{verb: get}}, condition: selection}}\n"
    );
    assert_eq!(check(&filter), None);
    assert_eq!(check(&filter.replace("rules: any, ", "")).as_deref(), Some(".filter: lacks rules"));
}
