//! The nouns: one Kubernetes audit event, read in place. No I/O.
//!
//! Field names are those of `audit.k8s.io/v1` (Kubernetes 1.35, `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go`).

use std::borrow::Cow;

use crate::json::{self, Kind, Member};

/// A text inside the event; absent where the event has no such field, or not as a string.
pub type Text<'a> = Option<Cow<'a, str>>;

/// One audit event: the fields that the mapping and most rules need, and the text for all others.
#[derive(Debug, Default)]
pub struct AuditEvent<'a> {
    /// The event as the API server wrote it: one JSON object.
    pub text: &'a str,
    /// Its members in order.
    pub members: Vec<Member<'a>>,
    /// `auditID`: the same for all stages of one request.
    pub audit_id: Text<'a>,
    /// `stage`
    pub stage: Text<'a>,
    /// `verb`
    pub verb: Text<'a>,
    /// `requestURI`: path and query.
    pub request_uri: Text<'a>,
    /// `userAgent`
    pub user_agent: Text<'a>,
    /// `user.username`
    pub user_name: Text<'a>,
    /// `user.uid`
    pub user_uid: Text<'a>,
    /// `user.groups`
    pub user_groups: Vec<Cow<'a, str>>,
    /// `impersonatedUser.username`
    pub impersonated_user: Text<'a>,
    /// `sourceIPs`. "All but the last IP can be arbitrarily set by the client", say the types.
    pub source_ips: Vec<Cow<'a, str>>,
    /// The last of `sourceIPs`: the only one that the client cannot choose.
    pub peer_ip: Text<'a>,
    /// `objectRef`
    pub object: ObjectRef<'a>,
    /// `responseStatus.code`: an HTTP status.
    pub code: Option<u16>,
    /// `annotations`: `authorization.k8s.io/decision`, `allow` or `forbid`.
    pub decision: Text<'a>,
    /// `annotations`: `authorization.k8s.io/reason`
    pub decision_reason: Text<'a>,
    /// `annotations`: `audit.k8s.io/truncated`. The API server left the bodies out for their size.
    pub is_truncated: bool,
    /// The event was cut on its way: what stood behind is missing.
    pub is_cut: bool,
    /// `requestReceivedTimestamp`
    pub received: Text<'a>,
    /// `stageTimestamp`
    pub stage_time: Text<'a>,
    /// `requestObject`, as text.
    pub request_object: Option<&'a str>,
    /// `responseObject`, as text.
    pub response_object: Option<&'a str>,
    /// Those members that are alike in many events, as text.
    pub raw: Raw<'a>,
    /// Which of the members that audit events have are there, one bit each.
    pub seen: u32,
    /// There are members that audit events do not have.
    pub has_others: bool,
    /// It is not written as the API server writes: members twice, of another type than they should be, or with escapes
    /// in their names. What was read of it is not all that it says.
    pub is_odd: bool,
}

/// Members as they stand in the text.
#[derive(Debug, Default)]
pub struct Raw<'a> {
    /// `level`
    pub level: &'a str,
    /// `user`
    pub user: &'a str,
    /// `impersonatedUser`
    pub impersonated_user: &'a str,
    /// `sourceIPs`
    pub source_ips: &'a str,
    /// `responseStatus`
    pub status: &'a str,
    /// `annotations`
    pub annotations: &'a str,
}

/// What the request was about.
#[derive(Debug, Default)]
pub struct ObjectRef<'a> {
    /// The object itself, as text.
    pub text: Option<&'a str>,
    /// `resource`, in the plural: `pods`.
    pub resource: Text<'a>,
    /// `subresource`: `exec`
    pub subresource: Text<'a>,
    /// `namespace`
    pub namespace: Text<'a>,
    /// `name`
    pub name: Text<'a>,
    /// `apiGroup`; absent for the core group.
    pub api_group: Text<'a>,
}

impl<'a> AuditEvent<'a> {
    /// The members that an audit event has, in the order in which the API server writes them, and of the bits of
    /// [`Self::seen`].
    pub const MEMBERS: [&'static str; 19] = [
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "impersonatedUser",
        "authenticationMetadata",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestObject",
        "responseObject",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "annotations",
    ];

    /// Reads the event whose members are `members` of the checked object `text`.
    #[must_use]
    pub fn new(text: &'a str, members: Vec<Member<'a>>) -> Self {
        let mut event = Self { text, ..Self::default() };
        for member in &members {
            match named(member, |name, value| event.read(name, value)) {
                Named::Plainly => (),
                Named::Oddly => event.is_odd = true,
                Named::Otherwise => event.has_others = true,
            }
        }
        event.members = members;
        event
    }

    /// Reads a member. False if audit events have none of this name.
    fn read(&mut self, name: &str, value: &'a str) -> bool {
        let place = match name {
            "kind" => 0,
            "apiVersion" => 1,
            "level" => {
                self.raw.level = value;
                2
            }
            "auditID" => {
                self.audit_id = json::string(value);
                3
            }
            "stage" => {
                self.stage = self.text_of(value);
                4
            }
            "requestURI" => {
                self.request_uri = self.text_of(value);
                5
            }
            "verb" => {
                self.verb = self.text_of(value);
                6
            }
            "user" => {
                self.raw.user = value;
                self.read_user(value);
                7
            }
            "impersonatedUser" => {
                self.raw.impersonated_user = value;
                self.impersonated_user = json::get(value, "username").and_then(json::string);
                8
            }
            "authenticationMetadata" => 9,
            "sourceIPs" => {
                self.raw.source_ips = value;
                let mut last = None;
                self.source_ips = strings(json::elements(value).inspect(|it| last = Some(*it)));
                self.peer_ip = last.and_then(json::string);
                10
            }
            "userAgent" => {
                self.user_agent = self.text_of(value);
                11
            }
            "objectRef" => {
                self.object = ObjectRef::default();
                self.is_odd |= !self.object.read(value);
                12
            }
            "responseStatus" => {
                self.raw.status = value;
                self.code = json::get(value, "code").and_then(|it| it.parse().ok());
                13
            }
            "requestObject" => {
                self.request_object = Some(value);
                14
            }
            "responseObject" => {
                self.response_object = Some(value);
                15
            }
            "requestReceivedTimestamp" => {
                self.received = json::string(value);
                16
            }
            "stageTimestamp" => {
                self.stage_time = json::string(value);
                17
            }
            "annotations" => {
                self.raw.annotations = value;
                self.read_annotations(value);
                18
            }
            _ => return false,
        };
        self.is_odd |= self.seen & (1 << place) != 0;
        self.seen |= 1 << place;
        true
    }

    fn text_of(&mut self, value: &'a str) -> Text<'a> {
        let text = json::string(value);
        self.is_odd |= text.is_none();
        text
    }

    fn read_user(&mut self, value: &'a str) {
        for member in json::members(value) {
            named(&member, |name, value| {
                match name {
                    "username" => self.user_name = json::string(value),
                    "uid" => self.user_uid = json::string(value),
                    "groups" => self.user_groups = strings(json::elements(value)),
                    _ => return false,
                }
                true
            });
        }
    }

    fn read_annotations(&mut self, value: &'a str) {
        // Elastic's pipeline writes these keys with `_` for `.` (integrations, `kubernetes` 1.84).
        for member in json::members(value) {
            named(&member, |name, value| {
                match name {
                    "authorization.k8s.io/decision" | "authorization_k8s_io/decision" => {
                        self.decision = json::string(value);
                    }
                    "authorization.k8s.io/reason" | "authorization_k8s_io/reason" => {
                        self.decision_reason = json::string(value);
                    }
                    "audit.k8s.io/truncated" | "audit_k8s_io/truncated" => {
                        self.is_truncated = value == "\"true\"";
                    }
                    _ => return false,
                }
                true
            });
        }
    }

    /// Whether `requestURI` has a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.request_uri.as_deref().is_some_and(|it| it.contains('?'))
    }

    /// Whether the request starts a command in a container.
    #[must_use]
    pub fn has_command(&self) -> bool {
        matches!(self.object.subresource.as_deref(), Some("exec" | "attach"))
    }

    /// The path of `requestURI`, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let uri = self.request_uri.as_deref().unwrap_or_default();
        uri.split_once('?').map_or(uri, |(path, _)| path)
    }

    /// The query of `requestURI`, escapes not decoded; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.request_uri.as_deref().and_then(|it| it.split_once('?')).map_or("", |(_, query)| query)
    }

    /// The decoded values of the query parameter `name`, in order. A plus sign is a blank.
    pub fn query_values<'e>(&'e self, name: &'e str) -> impl Iterator<Item = Cow<'e, str>> {
        self.query()
            .split('&')
            .filter_map(|pair| pair.split_once('=').or(Some((pair, ""))))
            .filter(move |(key, _)| decoded(key) == name)
            .map(|(_, value)| decoded(value))
    }

    /// The container command of an `exec` or `attach`: its `command` parameters, decoded and joined by blanks.
    #[must_use]
    pub fn container_command(&self) -> Option<String> {
        if !self.has_command() {
            return None;
        }
        let words: Vec<_> = self.query_values("command").collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

impl<'a> ObjectRef<'a> {
    /// Reads the object. False if it is not written as the API server writes it.
    fn read(&mut self, text: &'a str) -> bool {
        self.text = Some(text);
        let (mut is_plain, mut seen) = (json::kind(text) == Kind::Object, 0);
        for member in json::members(text) {
            let named = named(&member, |name, value| {
                let (bit, field) = match name {
                    "resource" => (1, &mut self.resource),
                    "subresource" => (2, &mut self.subresource),
                    "namespace" => (4, &mut self.namespace),
                    "name" => (8, &mut self.name),
                    "apiGroup" => (16, &mut self.api_group),
                    _ => return false,
                };
                *field = json::string(value);
                is_plain &= field.is_some() && seen & bit == 0;
                seen |= bit;
                true
            });
            is_plain &= named != Named::Oddly;
        }
        is_plain
    }
}

/// How a member's name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// As it is.
    Plainly,
    /// With escapes.
    Oddly,
    /// It is none of those that are known.
    Otherwise,
}

/// Calls `read` with the member's name and value. It says whether it knows the name.
fn named<'a>(member: &Member<'a>, mut read: impl FnMut(&str, &'a str) -> bool) -> Named {
    if read(member.raw_key, member.value) {
        return Named::Plainly;
    }
    // A name with a backslash in it is not known, however it is read.
    if !json::has_escapes(member.raw_key) {
        return Named::Otherwise;
    }
    if let Some(name) = member.key() {
        read(&name, member.value);
    }
    Named::Oddly
}

/// Most groups and source addresses that are looked at.
const STRINGS_MAX: usize = 1024;

fn strings<'a>(elements: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    let mut all = Vec::new();
    for text in elements.filter_map(json::string) {
        // All elements are gone through, for whoever looks at the last.
        if all.len() < STRINGS_MAX {
            all.push(text);
        }
    }
    all
}

fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains(['%', '+']) {
        return Cow::Borrowed(part);
    }
    let blanks = part.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&blanks).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> AuditEvent<'_> {
        AuditEvent::new(text, json::members(text).collect())
    }

    #[test]
    fn fields() {
        let text = r#"{"auditID":"a","stage":"ResponseComplete","verb":"get","requestURI":"/api/v1/pods?a=1\u0026b=2",
            "user":{"username":"alice","uid":"u","groups":["g",1]},"sourceIPs":["10.0.0.1","127.0.0.1"],
            "objectRef":{"resource":"pods","namespace":"n"},"responseStatus":{"metadata":{},"code":200},
            "annotations":{"authorization_k8s_io/decision":"allow"}}"#;
        let event = event(text);
        assert_eq!(event.request_uri.as_deref(), Some("/api/v1/pods?a=1&b=2"));
        assert_eq!((event.path(), event.query()), ("/api/v1/pods", "a=1&b=2"));
        assert_eq!(event.user_groups, ["g"]);
        assert_eq!(event.peer_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(event.object.namespace.as_deref(), Some("n"));
        assert_eq!(event.code, Some(200));
        assert_eq!(event.decision.as_deref(), Some("allow"));
    }

    #[test]
    fn what_is_there_and_what_is_odd() {
        for (place, name) in AuditEvent::MEMBERS.iter().enumerate() {
            let seen = event(&format!(r#"{{"{name}":""}}"#)).seen;
            assert_eq!(seen, 1 << place, "{name}");
        }
        let odd = |text: &str| event(text).is_odd;
        assert!(!odd(r#"{"verb":"get","objectRef":{"resource":"pods","uid":1},"more":1}"#));
        for text in [
            r#"{"verb":"get","verb":"list"}"#,
            r#"{"v\u0065rb":"get"}"#,
            r#"{"verb":["get"]}"#,
            r#"{"objectRef":{"resource":["pods"]}}"#,
            r#"{"objectRef":{"name":"a","name":"b"}}"#,
            r#"{"objectRef":{"n\u0061me":"a"}}"#,
            r#"{"objectRef":"pods"}"#,
        ] {
            assert!(odd(text), "{text}");
        }
        assert!(event(r#"{"more":1}"#).has_others && !event(r#"{"verb":"get"}"#).has_others);
    }

    #[test]
    fn the_container_command_is_decoded() {
        let exec =
            |uri: &str| format!(r#"{{"requestURI":"{uri}","objectRef":{{"subresource":"exec"}}}}"#);
        let text = exec(
            "/x/exec?stdin=true&command=sh&command=-c&command=id%3B+cat%20%2Fetc%2Fpasswd&container=db",
        );
        assert_eq!(event(&text).container_command().unwrap(), "sh -c id; cat /etc/passwd");
        assert_eq!(event(&exec("/x/exec")).container_command(), None);
        assert_eq!(
            event(&exec("/x/exec?%63ommand=%C3%A9%ff")).container_command().unwrap(),
            "é\u{fffd}"
        );
        assert_eq!(event(r#"{"requestURI":"/x?command=sh"}"#).container_command(), None);
    }
}
