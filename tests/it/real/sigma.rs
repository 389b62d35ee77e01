//! SigmaHQ's repository: `scripts/sigma-rules` fetches it and says where it is. Nothing of it is kept here.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use k8scop::{
    classify::Classifier,
    event::AuditEvent,
    json,
    rules::{self, DocumentKind, Lists, Mode, Options},
};

use super::parts::{SIGMA, optional, tell};

/// Folders of rules that are in use. Beside them stand `deprecated` and `unsupported`.
const IN_USE: [&str; 6] = [
    "rules",
    "rules-compliance",
    "rules-dfir",
    "rules-emerging-threats",
    "rules-placeholder",
    "rules-threat-hunting",
];

/// Its rules for Kubernetes audit logs, by the end of their file's name, and an event that each is about.
const EVENTS: &[(&str, &str)] = &[
    (
        "change_admission_controller",
        r#"{"verb":"update","objectRef":{"apiGroup":"admissionregistration.k8s.io","resource":"mutatingwebhookconfigurations"}}"#,
    ),
    (
        "cronjob_modification",
        r#"{"verb":"create","objectRef":{"apiGroup":"batch","resource":"cronjobs"}}"#,
    ),
    ("deployment_deleted", r#"{"verb":"delete","objectRef":{"resource":"deployments"}}"#),
    ("events_deleted", r#"{"verb":"delete","objectRef":{"resource":"events"}}"#),
    (
        "exec_into_container",
        r#"{"verb":"create","objectRef":{"resource":"pods","subresource":"exec"}}"#,
    ),
    (
        "hostpath_mount",
        r#"{"verb":"create","objectRef":{"resource":"pods"},"requestObject":{"spec":{"volumes":[{"hostPath":{"path":"/"}}]}}}"#,
    ),
    (
        "pod_in_system_namespace",
        r#"{"verb":"create","objectRef":{"resource":"pods","namespace":"kube-system"}}"#,
    ),
    (
        "potential_enumeration_activity",
        // No event has what it asks for: responseStatus.code `ALLOW`.
        "",
    ),
    (
        "privileged_pod_creation",
        r#"{"verb":"create","objectRef":{"resource":"pods"},"requestObject":{"spec":{"containers":[{"securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}]}}}"#,
    ),
    (
        "rbac_permisions_listing",
        r#"{"verb":"create","objectRef":{"apiGroup":"authorization.k8s.io","resource":"selfsubjectrulesreviews"}}"#,
    ),
    (
        "rolebinding_modification",
        r#"{"verb":"patch","objectRef":{"apiGroup":"rbac.authorization.k8s.io","resource":"rolebindings"}}"#,
    ),
    ("secrets_enumeration", r#"{"verb":"list","objectRef":{"resource":"secrets"}}"#),
    ("secrets_modified_or_deleted", r#"{"verb":"delete","objectRef":{"resource":"secrets"}}"#),
    ("serviceaccount_creation", r#"{"verb":"create","objectRef":{"resource":"serviceaccounts"}}"#),
    (
        "sidecar_injection",
        r#"{"verb":"patch","objectRef":{"apiGroup":"apps","resource":"deployments"}}"#,
    ),
    ("unauthorized_unauthenticated_actions", r#"{"responseStatus":{"code":403}}"#),
];

#[test]
fn sigmahq_rules_for_kubernetes_fire() {
    let Some(folder) = optional("sigmahq_rules_for_kubernetes_fire", SIGMA) else { return };
    let folder = Path::new(&folder).join("rules/application/kubernetes/audit");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    assert!(files.len() >= EVENTS.len(), "{} files in {}", files.len(), folder.display());
    let set = rules::assemble(&files, &Options::default(), &Lists::default());
    let set = set.unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let classifier = Classifier::new(set.rules).unwrap();
    for (index, rule) in classifier.rules().iter().enumerate() {
        let of_rule = |(name, _): &&(&str, &str)| rule.file.contains(name);
        let Some((_, event)) = EVENTS.iter().find(of_rule) else { continue };
        if event.is_empty() {
            assert!(
                rule.warnings.iter().any(|it| it.contains("is never `ALLOW`")),
                "{}: {:?}",
                rule.file,
                rule.warnings
            );
            continue;
        }
        let event = AuditEvent::new(event, json::members(event).collect());
        assert!(classifier.classify(&event).hits.contains(&index), "{} does not fire", rule.file);
    }
    for warning in &set.warnings {
        tell(format_args!("{warning}"));
    }
}

#[test]
fn sigmahq_rules_of_all_products_can_be_read() {
    let Some(folder) = optional("sigmahq_rules_of_all_products_can_be_read", SIGMA) else { return };
    let mut table = String::from("folder                    read   of\n");
    let mut usable = Vec::new();
    let (mut all_read, mut all, mut reasons) = (0, 0, BTreeMap::<String, Vec<String>>::new());
    for name in IN_USE.into_iter().chain(["deprecated", "unsupported"]) {
        let mut files = Vec::new();
        collect(&Path::new(&folder).join(name), &mut files);
        let (mut read, mut count) = (0, 0);
        for (file, text) in &files {
            match readable(file, text) {
                Ok(documents) => {
                    read += documents;
                    count += documents;
                    usable.push((file.clone(), text.clone()));
                }
                Err(reason) => {
                    count += 1;
                    let file = file.strip_prefix(&folder).unwrap_or(file).to_owned();
                    reasons.entry(kind(&reason)).or_default().push(format!("{file}: {reason}"));
                }
            }
        }
        writeln!(table, "{name:<24} {read:>5} {count:>5}").unwrap();
        if IN_USE.contains(&name) {
            all_read += read;
            all += count;
        }
    }
    for (reason, files) in &reasons {
        writeln!(table, "\n{} not read: {reason}", files.len()).unwrap();
        files.iter().for_each(|it| writeln!(table, "  {it}").unwrap());
    }
    tell(format_args!("{table}\nin use: {all_read} of {all} read"));
    // All of them at once stay below the limits, too.
    let set = rules::assemble(&usable, &Options { mode: Mode::Any }, &Lists::default());
    let set = set.unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    assert!(set.rules.len() >= all_read, "{} rules", set.rules.len());
    assert!(all > 3000, "{all} rules in {folder}");
    assert!(all_read * 100 >= all * 95, "{all_read} of {all}");
}

/// How many rules the file holds, all of which can be used; or what is wrong with the first that cannot.
fn readable(file: &str, text: &str) -> Result<usize, String> {
    let options = Options { mode: Mode::Any };
    let documents = rules::documents(file, text).map_err(|error| error.reason)?;
    for document in &documents {
        if document.kind == DocumentKind::Rule {
            rules::rule(document, &options, &Lists::default()).map_err(|error| error.reason)?;
        }
    }
    Ok(documents.len())
}

/// A reason without what it quotes.
fn kind(reason: &str) -> String {
    let mut out = String::new();
    for (place, part) in reason.split('`').enumerate() {
        out.push_str(if place % 2 == 0 { part } else { "…" });
    }
    out.split(" (did you").next().unwrap_or_default().to_owned()
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let mut inside: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path()).collect();
    inside.sort();
    for path in inside {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "yml") {
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}
