use jiff::Timestamp;

use super::reason::reason;
use crate::{
    correlate::{Fired, Planned},
    event::AuditEvent,
    json,
    rules::Rule,
    unwrap::{self, Labels},
};

/// What an alert says besides what the rule and the event say.
#[derive(Debug)]
pub struct Alert<'a> {
    /// The rule that was hit.
    pub rule: &'a Rule,
    /// `event.severity`
    pub severity: u8,
    /// `event.risk_score`
    pub risk_score: u8,
    /// The event that hit it.
    pub event: &'a AuditEvent<'a>,
    /// The cluster, where it is known.
    pub cluster: Option<&'a str>,
    /// The labels of the event.
    pub labels: &'a Labels<'a>,
    /// Where the event's own document is.
    pub place: Place<'a>,
    /// The data stream of the alert, if it goes to one: dataset and namespace.
    pub data_stream: Option<(&'a str, &'a str)>,
    /// When the event happened; as text, with the digits it came with.
    pub timestamp: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Where a document is in Elasticsearch.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its index or data stream.
    pub index: &'a str,
    /// Its `_id`, unless Elasticsearch chooses it.
    pub id: Option<&'a str>,
}

/// Appends the alert's document to `out`: ECS, in the form that Kibana's rule "External Alerts" shows right
/// (`event.kind: alert`, the rule's title in `message`, `event.severity` 21, 47, 73 or 99).
pub fn write_alert(alert: &Alert<'_>, out: &mut String) {
    let (rule, event) = (alert.rule, alert.event);
    let mut object = Writer::root(out);
    object.text("@timestamp", alert.timestamp);
    object.text("message", &rule.title);
    object.object("ecs", |it| it.text("version", "8.17.0"));
    event_object(alert, &mut object);
    object.object("rule", |it| {
        it.text("id", &rule.id);
        it.text("name", &rule.title);
        it.text("description", &rule.description);
        it.text("author", &rule.author);
        it.text("ruleset", "k8scop");
        it.text("category", "kubernetes");
        if let Some(reference) = rule.references.first() {
            it.text("reference", reference);
        }
    });
    threat(&rule.tags, &mut object);
    user(event, &mut object);
    let ips: Vec<&str> = event
        .source_ips
        .iter()
        .map(AsRef::as_ref)
        .filter(|it: &&str| it.parse::<std::net::IpAddr>().is_ok())
        .collect();
    object.object("source", |it| it.texts("ip", ips.iter().copied()));
    object.object("related", |it| {
        let people = [&event.user_name, &event.user_uid, &event.impersonated_user];
        it.texts("user", people.into_iter().flatten().map(AsRef::as_ref));
        it.texts("ip", ips.iter().copied());
    });
    object.object("user_agent", |it| it.filled("original", event.user_agent.as_deref()));
    orchestrator(alert, &mut object);
    let images = unwrap::images(event);
    if !images.is_empty() {
        object.object("container", |it| {
            it.object("image", |it| it.texts("name", images.iter().map(|it| unwrap::cut(it))));
        });
    }
    evidence(event, &mut object);
    object.object("k8scop", |it| {
        it.filled("kubectl", alert.labels.kubectl);
        it.filled("command", event.container_command().as_deref());
        it.object("event", |it| {
            it.text("index", alert.place.index);
            it.filled("id", alert.place.id);
        });
    });
    if let Some((dataset, namespace)) = alert.data_stream {
        object.object("data_stream", |it| {
            it.text("type", "logs");
            it.text("dataset", dataset);
            it.text("namespace", namespace);
        });
    }
    object.texts("tags", rule.tags.iter().map(String::as_str));
    object.close();
}

fn event_object(alert: &Alert<'_>, object: &mut Writer<'_>) {
    let (rule, event) = (alert.rule, alert.event);
    object.object("event", |it| {
        it.text("kind", "alert");
        it.texts("category", [unwrap::category(event)]);
        it.texts("type", unwrap::types(event));
        it.filled("action", event.verb.as_deref());
        it.text("outcome", unwrap::outcome(event));
        it.number("severity", alert.severity);
        it.number("risk_score", alert.risk_score);
        it.text("reason", &reason(event, rule));
        it.text("module", "k8scop");
        it.text("dataset", "k8scop.alerts");
        it.filled("id", unwrap::event_id(event).as_deref());
        it.text("ingested", &alert.now.to_string());
    });
}

fn user(event: &AuditEvent<'_>, object: &mut Writer<'_>) {
    object.object("user", |it| {
        it.filled("name", event.user_name.as_deref());
        it.filled("id", event.user_uid.as_deref());
        it.texts("roles", event.user_groups.iter().map(AsRef::as_ref));
        if let Some(effective) = &event.impersonated_user {
            it.object("effective", |it| it.text("name", effective));
        }
    });
}

fn orchestrator(alert: &Alert<'_>, object: &mut Writer<'_>) {
    let target = &alert.event.object;
    object.object("orchestrator", |it| {
        it.text("type", "kubernetes");
        if let Some(cluster) = alert.cluster {
            it.object("cluster", |it| it.text("name", cluster));
        }
        it.filled("namespace", target.namespace.as_deref());
        it.object("resource", |it| {
            it.filled("type", target.resource.as_deref());
            it.filled("name", target.name.as_deref());
        });
    });
}

/// The part of the event that a person wants beside the sentence. Bodies stay with the event: they can hold
/// secrets, and an alert goes further than a log.
fn evidence(event: &AuditEvent<'_>, object: &mut Writer<'_>) {
    object.object("kubernetes", |it| {
        it.object("audit", |it| {
            for name in ["level", "auditID", "stage", "requestURI", "verb", "objectRef"] {
                if let Some(value) = json::member(&event.members, name) {
                    it.raw(name, value);
                }
            }
            if let Some(code) = event.code {
                it.object("responseStatus", |it| it.number("code", code));
            }
            it.filled("peer_ip", event.peer_ip.as_deref());
        });
    });
}

/// MITRE ATT&CK for the tags `attack.…` (Enterprise 17): Sigma's names and ATT&CK's.
const TACTICS: [(&str, &str, &str); 14] = [
    ("reconnaissance", "TA0043", "Reconnaissance"),
    ("resource-development", "TA0042", "Resource Development"),
    ("initial-access", "TA0001", "Initial Access"),
    ("execution", "TA0002", "Execution"),
    ("persistence", "TA0003", "Persistence"),
    ("privilege-escalation", "TA0004", "Privilege Escalation"),
    ("defense-evasion", "TA0005", "Defense Evasion"),
    ("credential-access", "TA0006", "Credential Access"),
    ("discovery", "TA0007", "Discovery"),
    ("lateral-movement", "TA0008", "Lateral Movement"),
    ("collection", "TA0009", "Collection"),
    ("exfiltration", "TA0010", "Exfiltration"),
    ("command-and-control", "TA0011", "Command and Control"),
    ("impact", "TA0040", "Impact"),
];

const TECHNIQUES: [(&str, &str); 12] = [
    ("T1070", "Indicator Removal"),
    ("T1098", "Account Manipulation"),
    ("T1485", "Data Destruction"),
    ("T1489", "Service Stop"),
    ("T1528", "Steal Application Access Token"),
    ("T1552", "Unsecured Credentials"),
    ("T1552.007", "Container API"),
    ("T1609", "Container Administration Command"),
    ("T1610", "Deploy Container"),
    ("T1611", "Escape to Host"),
    ("T1613", "Container and Resource Discovery"),
    ("T1578", "Modify Cloud Compute Infrastructure"),
];

fn threat(tags: &[String], object: &mut Writer<'_>) {
    let of_attack = || tags.iter().filter_map(|it| it.strip_prefix("attack."));
    let tactics: Vec<_> = of_attack()
        .filter_map(|tag| {
            TACTICS.iter().find(|(name, ..)| name.replace('-', "_") == tag.replace('-', "_"))
        })
        .collect();
    let techniques: Vec<String> = of_attack()
        .map(str::to_ascii_uppercase)
        .filter(|it| {
            it.strip_prefix('T').is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
        })
        .collect();
    if tactics.is_empty() && techniques.is_empty() {
        return;
    }
    let whole: Vec<&str> = techniques.iter().filter_map(|it| it.split('.').next()).collect();
    let parts: Vec<&str> =
        techniques.iter().filter(|it| it.contains('.')).map(String::as_str).collect();
    object.object("threat", |it| {
        it.text("framework", "MITRE ATT&CK");
        it.object("tactic", |it| {
            it.texts("id", tactics.iter().map(|(_, id, _)| *id));
            it.texts("name", tactics.iter().map(|(_, _, name)| *name));
        });
        it.object("technique", |it| {
            named(it, &whole);
            if !parts.is_empty() {
                it.object("subtechnique", |it| named(it, &parts));
            }
        });
    });
}

fn named(object: &mut Writer<'_>, ids: &[&str]) {
    let names = ids.iter().filter_map(|id| TECHNIQUES.iter().find(|(known, _)| known == id));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    let references: Vec<String> = ids
        .iter()
        .map(|id| format!("https://attack.mitre.org/techniques/{}/", id.replace('.', "/")))
        .collect();
    object.texts("id", ids.iter().copied());
    object.texts("name", names);
    object.texts("reference", references.iter().map(String::as_str));
}

/// What an alert of several events says besides what the correlation says.
#[derive(Debug)]
pub struct Correlated<'a> {
    /// The correlation.
    pub planned: &'a Planned,
    /// What fired it.
    pub fired: &'a Fired,
    /// `event.severity`
    pub severity: u8,
    /// `event.risk_score`
    pub risk_score: u8,
    /// The data stream of the alert, if it goes to one: dataset and namespace.
    pub data_stream: Option<(&'a str, &'a str)>,
    /// Now.
    pub now: Timestamp,
}

/// Appends the alert's document to `out`: as [`write_alert`], with the events in `k8scop.correlation`.
pub fn write_correlated(alert: &Correlated<'_>, out: &mut String) {
    let Correlated { planned, fired, .. } = alert;
    let it = &planned.correlation;
    let time = |us| Timestamp::from_microsecond(us).map(|it| it.to_string()).unwrap_or_default();
    let mut object = Writer::root(out);
    object.text("@timestamp", &time(fired.at_us));
    object.text("message", &it.title);
    object.object("ecs", |it| it.text("version", "8.17.0"));
    object.object("event", |it| {
        it.text("kind", "alert");
        it.number("severity", alert.severity);
        it.number("risk_score", alert.risk_score);
        it.text("start", &time(fired.first_us));
        it.text("end", &time(fired.at_us));
        it.text("reason", &fired.reason(planned));
        it.text("module", "k8scop");
        it.text("dataset", "k8scop.alerts");
        it.text("ingested", &alert.now.to_string());
    });
    object.object("rule", |object| {
        object.text("id", &it.id);
        object.text("name", &it.title);
        object.text("description", &it.description);
        object.text("author", &it.author);
        object.text("ruleset", "k8scop");
        object.text("category", "kubernetes");
        object.filled("reference", it.references.first().map(String::as_str));
    });
    threat(&it.tags, &mut object);
    let mut people: Vec<&str> = fired.events().map(|it| &*it.evidence.user).collect();
    people.sort_unstable();
    people.dedup();
    if let [person] = people.as_slice() {
        object.object("user", |it| it.text("name", person));
    }
    object.object("related", |it| it.texts("user", people.iter().copied()));
    object.object("orchestrator", |it| {
        it.text("type", "kubernetes");
        it.object("cluster", |it| it.text("name", &fired.cluster));
    });
    object.object("k8scop", |object| {
        object.object("correlation", |object| {
            object.text("count", &fired.counted());
            object.number("suppressed", fired.suppressed);
            object.number("withheld", fired.withheld);
            let named = it.group_by.iter().zip(&fired.group);
            let group: Vec<String> = named
                .map(|(by, value)| format!("{}={}", by.name, value.as_deref().unwrap_or_default()))
                .collect();
            object.texts("group", group.iter().map(String::as_str));
            object.texts("values", fired.values.iter().map(|it| &**it));
            object.objects("events", fired.events(), |object, event| {
                let evidence = &event.evidence;
                object.text("time", &time(event.at_us));
                object.text("audit_id", &evidence.audit_id);
                object.text("user", &evidence.user);
                object.text("verb", &evidence.verb);
                object.text("uri", &evidence.uri);
                object.text("index", &evidence.index);
                object.text("id", &evidence.id);
            });
        });
    });
    if let Some((dataset, namespace)) = alert.data_stream {
        object.object("data_stream", |it| {
            it.text("type", "logs");
            it.text("dataset", dataset);
            it.text("namespace", namespace);
        });
    }
    object.texts("tags", it.tags.iter().map(String::as_str));
    object.close();
}

/// Writes an object member by member, and nothing for what is empty.
struct Writer<'o> {
    out: &'o mut String,
    comma: bool,
}

impl<'o> Writer<'o> {
    fn root(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, comma: false }
    }

    fn close(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
        json::push_string(self.out, key);
        self.out.push(':');
    }

    fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push_str(value);
    }

    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.key(key);
            json::push_string(self.out, unwrap::cut(value));
        }
    }

    fn filled(&mut self, key: &str, value: Option<&str>) {
        self.text(key, value.unwrap_or_default());
    }

    fn number(&mut self, key: &str, value: impl Into<u64>) {
        self.raw(key, &value.into().to_string());
    }

    fn texts<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>) {
        let mut values = values.into_iter().filter(|it| !it.is_empty()).peekable();
        if values.peek().is_none() {
            return;
        }
        self.key(key);
        self.out.push('[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            json::push_string(self.out, unwrap::cut(value));
        }
        self.out.push(']');
    }

    fn objects<T>(
        &mut self,
        key: &str,
        all: impl Iterator<Item = T>,
        mut fill: impl FnMut(&mut Writer<'_>, T),
    ) {
        self.key(key);
        self.out.push('[');
        for (index, one) in all.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let mut object = Writer::root(self.out);
            fill(&mut object, one);
            object.close();
        }
        self.out.push(']');
    }

    fn object(&mut self, key: &str, fill: impl FnOnce(&mut Writer<'_>)) {
        let (start, had_comma) = (self.out.len(), self.comma);
        self.key(key);
        let mut inner = Writer::root(self.out);
        fill(&mut inner);
        let empty = !inner.comma;
        inner.close();
        if empty {
            self.out.truncate(start);
            self.comma = had_comma;
        }
    }
}
