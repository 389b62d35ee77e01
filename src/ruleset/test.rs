//! `k8scop rules test`: what came out, for a person, a program, or a build server.

use serde_json::json;

use super::{Report, RulesetError, Sources, clean, json_text};
use crate::rules_test::{self, Case, TestCounts, Tested, counts};

/// How it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestFormat {
    /// For a person.
    #[default]
    Text,
    /// JSON.
    Json,
    /// JUnit's XML, which build servers read.
    Junit,
}

/// Runs every rule on its examples. `strict`: it must have some.
pub fn test(sources: &Sources, format: TestFormat, strict: bool) -> Result<Report, RulesetError> {
    let compiled = sources.compiled()?;
    let tested = rules_test::run(compiled.rules, compiled.plan)?;
    let text = match format {
        TestFormat::Text => clean(&text(&tested)),
        TestFormat::Json => json_of(&tested),
        TestFormat::Junit => junit(&tested),
    };
    let TestCounts { failed, lacking, .. } = counts(&tested);
    Ok(Report { text, notes: Vec::new(), is_good: failed == 0 && !(strict && lacking > 0) })
}

fn kind(case: &Case) -> &'static str {
    match case.must {
        Some(true) => "match: ",
        Some(false) => "no match: ",
        None => "",
    }
}

fn text(tested: &[Tested]) -> String {
    let mut out = String::new();
    for rule in tested {
        out.push_str(&format!("{} ({}, {})\n", rule.title, rule.level, rule.file));
        for case in &rule.cases {
            let (kind, name) = (kind(case), &case.name);
            out.push_str(&match &case.failure {
                None => format!("  ok      {kind}{name}\n"),
                Some(failure) if case.is_lack => format!("  none    {failure}\n"),
                Some(failure) => format!("  FAILED  {kind}{name}: {failure}\n"),
            });
        }
    }
    let TestCounts { passed, failed, lacking } = counts(tested);
    let lacking = match lacking {
        0 => String::new(),
        lacking => format!("; {lacking} rules have not enough examples"),
    };
    out + &format!("{} rules: {passed} examples passed, {failed} failed{lacking}\n", tested.len())
}

fn json_of(tested: &[Tested]) -> String {
    let TestCounts { passed, failed, lacking } = counts(tested);
    let tests: Vec<_> = tested
        .iter()
        .flat_map(|rule| rule.cases.iter().map(move |case| (rule, case)))
        .map(|(rule, case)| {
            json!({
                "id": rule.id,
                "title": rule.title,
                "file": rule.file,
                "example": case.name,
                "kind": match case.must { Some(true) => "match", Some(false) => "no_match", None => "rule" },
                "passed": case.failure.is_none(),
                "failure": case.failure,
            })
        })
        .collect();
    json_text(
        &json!({"rules": tested.len(), "passed": passed, "failed": failed, "lacking": lacking, "tests": tests}),
    )
}

fn junit(tested: &[Tested]) -> String {
    let TestCounts { passed, failed, lacking } = counts(tested);
    let skipped = if lacking > 0 { format!(" skipped=\"{lacking}\"") } else { String::new() };
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"k8scop rules\" tests=\"{}\" failures=\"{failed}\"{skipped}>\n",
        passed + failed + lacking
    );
    for rule in tested {
        let failed = rule.cases.iter().filter(|it| it.failure.is_some() && !it.is_lack).count();
        out.push_str(&format!(
            "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{failed}\">\n",
            xml(&rule.title),
            xml(&rule.file),
            rule.cases.len()
        ));
        for case in &rule.cases {
            let name = xml(&format!("{}{}", kind(case), case.name));
            let class = xml(&rule.id);
            let head = format!("    <testcase classname=\"{class}\" name=\"{name}\"");
            out.push_str(&match &case.failure {
                None => format!("{head}/>\n"),
                Some(failure) if case.is_lack => {
                    format!("{head}><skipped message=\"{}\"/></testcase>\n", xml(failure))
                }
                Some(failure) => {
                    format!("{head}><failure message=\"{}\"/></testcase>\n", xml(failure))
                }
            });
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}

/// A text in an attribute. XML 1.0 has no other control characters than blanks, in no form.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(char))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_stays_whole() {
        assert_eq!(xml("a<b>&\"c\"\n\u{1b}[2J"), "a&lt;b&gt;&amp;&quot;c&quot;&#10;\u{fffd}[2J");
    }
}
