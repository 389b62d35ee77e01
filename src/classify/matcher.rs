use std::{collections::HashSet, sync::Arc};

use super::{
    bits::Bits,
    fields::{Found, visit},
    key,
    literals::{Literals, Of, number},
    memo::{Known, Memos},
    plain,
    shape::Shape,
    sure::{Lines, Sure},
    view::View,
};
use crate::{
    correlate::{Input, Plan},
    event::AuditEvent,
    rules::{Condition, Field, FieldTest, Level, Pattern, Place, Rule, Search},
};

/// What the rules say about one event: the places of the rules it hits, in their order. Empty is the common
/// case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Indices into [`Classifier::rules`].
    pub hits: Vec<usize>,
}

/// All rules, compiled.
///
/// Most of what rules ask is the same for many events: it is found out once for each key and remembered. What is left
/// is looked for in the event's own texts, for all rules at once; a rule is tried only where its texts are found.
#[derive(Debug)]
pub struct Classifier {
    rules: Vec<Rule>,
    all: Bits,
    shape: Shape,
    of_key: Literals,
    of_event: Literals,
    lines: Lines,
    everywhere: Everywhere,
    memos: Memos,
    plan: Arc<Plan>,
}

/// Rules of which no line is of the key: they are watched in all events, and no key remembers them.
#[derive(Debug)]
struct Everywhere {
    rules: Bits,
    /// Those of them that ask for nothing but that some text stands somewhere.
    keywords: Bits,
    /// Where their texts are looked for.
    looks: Vec<u32>,
}

impl Everywhere {
    fn new(rules: &[Rule], of_event: &Literals) -> Self {
        let none = || Bits::none(rules.len());
        let mut all = Self { rules: none(), keywords: none(), looks: Vec::new() };
        for (place, rule) in rules.iter().enumerate() {
            let mut lines = rule.searches.iter().flat_map(|it| it.alternatives.iter().flatten());
            let is_of_event = lines.all(|it| !key::is_common(&it.field));
            if let Some(watch) = of_event.watch(place)
                && is_of_event
                && !watch.lines.is_empty()
            {
                all.rules.insert(place);
                if asks_for_a_text(rule) {
                    all.keywords.insert(place);
                }
                all.looks.extend_from_slice(&watch.looks);
            }
        }
        all.looks.sort_unstable();
        all.looks.dedup();
        all
    }
}

/// Whether the rule is hit wherever one of its texts stands in a value.
fn asks_for_a_text(rule: &Rule) -> bool {
    let Condition::Search(search) = rule.condition else { return false };
    let is_text =
        |it: &Pattern| matches!(it, Pattern::Text { place: Place::Within, cased: false, .. });
    let asks = |test: &FieldTest| {
        let is_plain = !test.negated && !test.all && test.exists.is_none();
        is_plain && test.field == Field::Any && test.patterns.iter().all(is_text)
    };
    let alternatives = rule.searches.get(search).map_or(&[][..], |it| &it.alternatives);
    alternatives.iter().all(|it| matches!(it.as_slice(), [test] if asks(test)))
}

/// Rules of one key of which what is left to be asked is kept. Of the others all is asked.
const RESTS_MAX: usize = 32;

impl Classifier {
    /// Compiles the rules. Fails only when their texts together exceed what an automaton can hold.
    pub fn new(rules: Vec<Rule>) -> Result<Self, aho_corasick::BuildError> {
        let mut all = Bits::none(rules.len());
        for rule in 0..rules.len() {
            all.insert(rule);
        }
        let of_event = Literals::new(&rules, Of::Event)?;
        Ok(Self {
            all,
            shape: Shape::new(&rules),
            of_key: Literals::new(&rules, Of::Key)?,
            everywhere: Everywhere::new(&rules, &of_event),
            of_event,
            lines: Lines::new(&rules),
            memos: Memos::default(),
            plan: Arc::default(),
            rules,
        })
    }

    /// The same, with correlations over its rules.
    #[must_use]
    pub fn with_plan(self, plan: Arc<Plan>) -> Self {
        Self { plan, ..self }
    }

    /// The titles of those of these rules that label an event. What is informational and a part of correlations says
    /// nothing by itself.
    #[must_use]
    pub fn labels(&self, hits: &[usize]) -> Vec<&str> {
        let rules = hits.iter().filter(|it| self.is_label(**it));
        rules.filter_map(|it| self.rules.get(*it)).map(|it| it.title.as_str()).collect()
    }

    /// Whether the rule at this place labels the events that hit it.
    #[must_use]
    pub fn is_label(&self, rule: usize) -> bool {
        self.plan.needs(rule).is_empty()
            || self.rules.get(rule).is_some_and(|it| it.level > Level::Informational)
    }

    /// What is looked for in several events.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What an event that hits these rules means to correlations; nothing for most.
    #[must_use]
    pub fn inputs(&self, event: &AuditEvent<'_>, hits: &[usize]) -> Box<[Input]> {
        if hits.iter().all(|it| self.plan.needs(*it).is_empty()) {
            return Box::default();
        }
        let view = View::new(event);
        self.plan.inputs(hits, &mut |field| values(&view, field))
    }

    /// The rules in the order of [`Verdict::hits`].
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which rules the event hits.
    #[must_use]
    pub fn classify(&self, event: &AuditEvent<'_>) -> Verdict {
        let view = View::new(event);
        self.apply(&self.known(event, &view), &view)
    }

    fn known(&self, event: &AuditEvent<'_>, view: &View<'_>) -> Arc<Known> {
        if let Some(mut memo) = self.memos.own()
            && key::write(event, &mut memo.key)
        {
            return memo.get(|| self.judge(view));
        }
        Arc::new(self.judge(view))
    }

    /// The rules that nothing in this event, or missing in it, rules out before they are looked at one by one.
    #[must_use]
    pub fn tried(&self, event: &AuditEvent<'_>) -> Vec<usize> {
        let has_no_witness =
            |it: &usize| self.of_event.watch(*it).is_none_or(|it| it.lines.is_empty());
        self.alive(&View::new(event)).iter().filter(has_no_witness).collect()
    }

    /// The rules that events of this one's key may hit.
    fn alive(&self, view: &View<'_>) -> Bits {
        let mut alive = self.all.clone();
        self.shape.cut(view, &mut alive);
        self.of_key.cut(view, &mut alive, self.rules.len());
        alive
    }

    /// What all events of this one's key have in common.
    fn judge(&self, view: &View<'_>) -> Known {
        let mut alive = self.alive(view);
        alive.drop_all(&self.everywhere.rules);
        let asked = self.lines.asked(view);
        let (mut hits, mut open) = (Vec::new(), Vec::new());
        let (mut watched, mut looks) = (Vec::new(), Vec::new());
        for place in alive.iter() {
            let (Some(rule), Some(watch)) = (self.rules.get(place), self.of_event.watch(place))
            else {
                continue;
            };
            match asked.sure(place, rule, &watch.lines) {
                Sure::Hit => hits.push(number(place)),
                Sure::Miss => (),
                Sure::Open => open.push(number(place)),
                Sure::Watched => {
                    watched.push(number(place));
                    looks.extend_from_slice(&watch.looks);
                }
            }
        }
        looks.sort_unstable();
        looks.dedup();
        let left = open.iter().chain(&watched).take(RESTS_MAX);
        let left = left.filter_map(|it| Some((*it as usize, self.rules.get(*it as usize)?)));
        let rests = left.map(|(place, rule)| asked.rest(place, rule)).collect();
        Known {
            hits: hits.into(),
            open: open.into(),
            watched: watched.into(),
            rests,
            looks: looks.into(),
        }
    }

    fn apply(&self, known: &Known, view: &View<'_>) -> Verdict {
        let (mut found, mut sure) = (Places::default(), Places::default());
        let is_new = |it: &&u32| known.looks.binary_search(it).is_err();
        for look in known.looks.iter().chain(self.everywhere.looks.iter().filter(is_new)) {
            self.of_event.find(*look, view, &mut |rules, is_sure| {
                for rule in rules {
                    let place = *rule as usize;
                    if is_sure && self.everywhere.keywords.contains(place) {
                        sure.push(*rule);
                    } else if known.watched.binary_search(rule).is_ok()
                        || self.everywhere.rules.contains(place)
                    {
                        found.push(*rule);
                    }
                }
            });
        }
        let (found, sure) = (found.sorted(), sure.sorted());
        let holds = |place: Option<usize>, rule: u32| match place.and_then(|it| known.rests.get(it))
        {
            Some(rest) => self.lines.hold(view, rest),
            None => self.holds(view, rule as usize),
        };
        let open = known.open.iter().enumerate().filter(|(place, it)| holds(Some(*place), **it));
        let is_open = |it: &&u32| sure.binary_search(it).is_err();
        let watched = found.iter().filter(is_open).filter(|it| {
            let place = known.watched.binary_search(it).ok();
            holds(place.map(|it| known.open.len() + it), **it)
        });
        let tried = open.map(|(_, it)| it).chain(watched);
        let hits = known.hits.iter().chain(&sure).chain(tried);
        let mut hits: Vec<usize> = hits.map(|it| *it as usize).collect();
        hits.sort_unstable();
        Verdict { hits }
    }

    /// Which rules the event hits, every rule tried line by line: what [`Self::classify`] must say too.
    #[must_use]
    pub fn classify_plain(&self, event: &AuditEvent<'_>) -> Verdict {
        let view = View::new(event);
        Verdict { hits: (0..self.rules.len()).filter(|it| self.holds(&view, *it)).collect() }
    }

    fn holds(&self, view: &View<'_>, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|it| plain::holds(view, &it.condition, &it.searches))
    }
}

/// Places of rules, each of which may be told often.
#[derive(Debug, Default)]
struct Places {
    all: Vec<u32>,
    /// As many were different when it was last looked.
    different: usize,
}

impl Places {
    /// So many are kept before it is looked which are the same.
    const SAME_MAX: usize = 1024;

    fn push(&mut self, rule: u32) {
        if self.all.last() == Some(&rule) {
            return;
        }
        if self.all.len() >= 2 * self.different + Self::SAME_MAX {
            self.all.sort_unstable();
            self.all.dedup();
            self.different = self.all.len();
        }
        self.all.push(rule);
    }

    fn sorted(mut self) -> Vec<u32> {
        self.all.sort_unstable();
        self.all.dedup();
        self.all
    }
}

/// Most bytes of the values of one field that are looked at together.
const VALUES_BYTES_MAX: usize = 64 << 10;

/// The texts that a field has.
fn values(view: &View<'_>, field: &Field) -> Vec<String> {
    let (mut values, mut seen, mut bytes) = (Vec::new(), HashSet::new(), 0);
    // What was sent and what was made of it are one object: what both say is said once.
    let is_of_both =
        matches!(field, Field::Object(_) | Field::Pod(_) | Field::Container(_) | Field::HostPath);
    visit(view, field, &mut |found| {
        if let Found::Text(text) = found {
            if is_of_both && !seen.insert(text.to_owned()) {
                return false;
            }
            bytes += text.len() + size_of::<String>();
            values.push(text.to_owned());
        }
        bytes > VALUES_BYTES_MAX
    });
    values
}

/// Whether one of these selections fits an event.
#[must_use]
pub fn fits(event: &AuditEvent<'_>, selections: &[Search]) -> bool {
    let view = View::new(event);
    selections.iter().any(|it| plain::found(&view, it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, rules::parse};

    fn rule(detection: &str) -> Rule {
        let text = format!(
            "title: t\nid: i\nlevel: low\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n{detection}"
        );
        parse("t.yml", &text).unwrap()
    }

    #[track_caller]
    fn check(detection: &str, yes: &[&str], no: &[&str]) {
        let classifier = Classifier::new(vec![rule(detection)]).unwrap();
        for (events, expected) in [(yes, 1), (no, 0)] {
            for text in events {
                let event = AuditEvent::new(text, json::members(text).collect());
                assert_eq!(
                    classifier.classify_plain(&event).hits.len(),
                    expected,
                    "{detection} on {text}"
                );
                // A fast way may say no only where the slow way does.
                assert_eq!(
                    classifier.classify(&event),
                    classifier.classify_plain(&event),
                    "{detection} {text}"
                );
            }
        }
    }

    #[test]
    fn selections() {
        check(
            "  a: {verb: [get, list], objectRef.resource: secrets}\n  condition: a",
            &[
                r#"{"verb":"GET","objectRef":{"resource":"secrets"}}"#,
                r#"{"verb":"list","objectRef":{"resource":"SECRETS"}}"#,
                r#"{"v\u0065rb":"l\u0069st","objectRef":{"resourc\u0065":"s\u0065crets"}}"#,
            ],
            &[r#"{"verb":"get"}"#, r#"{"verb":"watch","objectRef":{"resource":"secrets"}}"#, "{}"],
        );
        check(
            "  a:\n  - verb: get\n  - verb: list\n    level|startswith: Meta\n  condition: a",
            &[r#"{"verb":"get"}"#, r#"{"verb":"list","level":"Metadata"}"#],
            &[r#"{"verb":"list","level":"Request"}"#],
        );
    }

    #[test]
    fn modifiers() {
        check(
            "  a: {user.groups|contains|all: [dev, ops]}\n  condition: a",
            &[r#"{"user":{"groups":["x-dev","ops"]}}"#, r#"{"user":{"groups":["devops"]}}"#],
            &[r#"{"user":{"groups":["dev"]}}"#, "{}"],
        );
        check(
            "  a: {sourceIPs|cidr: [10.0.0.0/8, '::1/128']}\n  condition: a",
            &[r#"{"sourceIPs":["1.1.1.1","10.2.3.4"]}"#, r#"{"sourceIPs":["::1"]}"#],
            &[r#"{"sourceIPs":["11.0.0.1","private"]}"#],
        );
        check(
            "  a: {requestURI|re: '/pods/[^/]+$'}\n  condition: a",
            &[r#"{"requestURI":"/api/v1/namespaces/n/pods/p"}"#],
            &[r#"{"requestURI":"/api/v1/namespaces/n/pods"}"#],
        );
        check(
            "  a: {requestObject.spec.hostPID|exists: true}\n  b: {impersonatedUser.username: null}\n  condition: a and b",
            &[
                r#"{"requestObject":{"spec":{"hostPID":false}}}"#,
                r#"{"requestObject":{"spec":{"hostPID":true}},"impersonatedUser":null}"#,
            ],
            &[
                r#"{"requestObject":{"spec":{}}}"#,
                r#"{"requestObject":{"spec":{"hostPID":1}},"impersonatedUser":{"username":"x"}}"#,
            ],
        );
        check(
            "  a: {responseStatus.code: 403, requestObject.spec.hostPID: true}\n  condition: a",
            &[r#"{"responseStatus":{"code":403},"requestObject":{"spec":{"hostPID":true}}}"#],
            &[r#"{"responseStatus":{"code":4031},"requestObject":{"spec":{"hostPID":true}}}"#],
        );
        check(
            "  a: {userAgent: 'kubectl/*(linux/?md64)*'}\n  condition: a",
            &[r#"{"userAgent":"kubectl/v1.35.0 (linux/amd64) kubernetes/x"}"#],
            &[r#"{"userAgent":"curl/8"}"#],
        );
        check(
            "  a: {k8scop.query.limit: '500', k8scop.path|endswith: /pods}\n  condition: a",
            &[r#"{"requestURI":"/api/v1/pods?watch=1\u0026limit=500"}"#],
            &[r#"{"requestURI":"/api/v1/pods?limit=50"}"#],
        );
    }

    #[test]
    fn conditions_with_not() {
        let detection = "  a: {verb: get}\n  not_b: {userAgent|contains: kube}\n  not_c: {stage: X}\n  condition: a and not 1 of not_*";
        check(
            detection,
            &[r#"{"verb":"get"}"#, r#"{"verb":"get","userAgent":"curl"}"#],
            &[
                r#"{"verb":"get","userAgent":"KUBE"}"#,
                r#"{"verb":"get","stage":"x"}"#,
                r#"{"verb":"list"}"#,
            ],
        );
        check(
            "  a: {verb: get}\n  condition: not a",
            &["{}", r#"{"verb":"list"}"#],
            &[r#"{"verb":"get"}"#],
        );
    }

    #[test]
    fn one_element_for_all_lines_of_a_selection() {
        let rules = |text: &str| format!(r#"{{"requestObject":{{"rules":[{text}]}}}}"#);
        check(
            "  a: {requestObject.rules.verbs: '*', requestObject.rules.resources: secrets}\n  condition: a".replace("'*'", "get").as_str(),
            &[
                &rules(r#"{"verbs":["get"],"resources":["pods"]},{"verbs":["list","get"],"resources":["secrets"]}"#),
                r#"{"requestObject":[{"op":"add","path":"/rules/0/verbs/-","value":"get"},{"op":"replace","path":"/rules/0/resources","value":["secrets"]}]}"#,
            ],
            &[&rules(r#"{"verbs":["get"],"resources":["pods"]},{"verbs":["list"],"resources":["secrets"]}"#)],
        );
        let pod = |containers: &str| {
            format!(
                r#"{{"verb":"create","objectRef":{{"resource":"pods"}},"requestObject":{{"spec":{{"containers":[{containers}]}}}}}}"#
            )
        };
        // An allowed image beside it excuses nothing.
        check(
            "  a: {k8scop.container.securityContext.privileged: true, k8scop.container.image|startswith|neq: good/}\n  condition: a",
            &[
                &pod(r#"{"image":"good/x"},{"image":"bad","securityContext":{"privileged":true}}"#),
                &pod(r#"{"securityContext":{"privileged":true}}"#),
            ],
            &[
                &pod(r#"{"image":"bad"},{"image":"good/x","securityContext":{"privileged":true}}"#),
                "{}",
            ],
        );
        check(
            "  a: {k8scop.container.securityContext.runAsNonRoot|exists: false, k8scop.container.name|exists: true}\n  condition: a",
            &[&pod(r#"{"name":"a","securityContext":{"runAsNonRoot":true}},{"name":"b"}"#)],
            &[&pod(r#"{"name":"a","securityContext":{"runAsNonRoot":true}}"#), "{}"],
        );
        check(
            "  a: {user.groups|neq: system:masters, verb: get}\n  condition: a",
            &[r#"{"verb":"get","user":{"groups":["a"]}}"#, r#"{"verb":"get"}"#],
            &[r#"{"verb":"get","user":{"groups":["a","system:masters"]}}"#],
        );
    }

    #[test]
    fn fields_of_another_type_and_patches_count() {
        check(
            "  a: {objectRef.resource: secrets, responseStatus.code: 200}\n  condition: a",
            &[r#"{"objectRef":{"resource":["pods","secrets"]},"responseStatus":{"code":"200"}}"#],
            &[r#"{"objectRef":{"resource":["pods"]},"responseStatus":{"code":200}}"#],
        );
        check(
            "  a: {k8scop.container.securityContext.privileged: true}\n  condition: a",
            &[
                r#"{"verb":"patch","objectRef":{"resource":"deployments"},"requestObject":[{"op":"add","path":"/spec/template/spec/containers/0/securityContext","value":{"privileged":true}}]}"#,
                r#"{"verb":"create","objectRef":{"resource":"cronjobs"},"requestObject":{},"responseObject":{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"initContainers":[{"securityContext":{"privileged":true}}]}}}}}}}"#,
            ],
            &[
                r#"{"verb":"patch","objectRef":{"resource":"deployments"},"requestObject":{"metadata":{}},"responseObject":{"spec":{"template":{"spec":{"containers":[{"securityContext":{"privileged":true}}]}}}}}"#,
            ],
        );
        check(
            "  a: {k8scop.host_path: [/etc, /]}\n  condition: a",
            &[
                r#"{"objectRef":{"resource":"pods"},"requestObject":{"spec":{"volumes":[{"emptyDir":{}},{"hostPath":{"path":"//etc/"}}]}}}"#,
            ],
            &[
                r#"{"objectRef":{"resource":"pods"},"requestObject":{"spec":{"volumes":[{"hostPath":{"path":"/data"}}]}}}"#,
            ],
        );
    }

    #[test]
    fn numbers_cases_and_other_fields() {
        check(
            "  a: {requestObject.spec.expirationSeconds|gt: 86400}\n  condition: a",
            &[r#"{"requestObject":{"spec":{"expirationSeconds":86401}}}"#],
            &[
                r#"{"requestObject":{"spec":{"expirationSeconds":86400}}}"#,
                r#"{"requestObject":{"spec":{"expirationSeconds":"x"}}}"#,
                "{}",
            ],
        );
        check(
            "  a: {verb|cased: Get}\n  condition: a",
            &[r#"{"verb":"Get"}"#],
            &[r#"{"verb":"get"}"#],
        );
        check(
            "  a: {user.username|fieldref: objectRef.name}\n  condition: a",
            &[r#"{"user":{"username":"a"},"objectRef":{"name":"A"}}"#],
            &[r#"{"user":{"username":"a"},"objectRef":{"name":"b"}}"#, "{}"],
        );
    }
}
