//! Audit events of Google Kubernetes Engine, which come as entries of Cloud Logging.
//!
//! Field names are those of `google.logging.v2.LogEntry` and `google.cloud.audit.AuditLog` (googleapis,
//! `google/logging/v2/log_entry.proto`, `google/cloud/audit/audit_log.proto`). JSON written from such messages
//! leaves out what is false, 0 or empty.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::overlay::{Comma, push_member};
use crate::{
    event::Text,
    json::{self, Kind, Member},
};

/// What the entry tells of its cluster and way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// `resource.labels.cluster_name`
    pub(super) cluster: Text<'a>,
    /// `resource.labels.location`: a zone or a region.
    pub(super) location: Text<'a>,
    /// `resource.labels.project_id`
    pub(super) project: Text<'a>,
    /// `receiveTimestamp`: when Cloud Logging took it in.
    pub(super) received: Text<'a>,
    /// `logName`
    pub(super) log_name: Text<'a>,
    /// `insertId`
    pub(super) insert_id: Text<'a>,
}

/// `protoPayload.@type` of an audit log entry.
const AUDIT_LOG: &str = "type.googleapis.com/google.cloud.audit.AuditLog";

/// Start of the methods of Kubernetes' own resources and of all paths; those of other resources start with the
/// labels of their group from the last to the first: `com.example.db.v1.backups.create`.
pub(super) const KUBERNETES_METHOD: &str = "io.k8s.";

/// Whether the members are those of an audit log entry of the Kubernetes API. The API that creates clusters
/// (`container.googleapis.com`) has others, with the resource `gke_cluster`.
pub(super) fn is_entry(members: &[Member<'_>]) -> bool {
    let Some(payload) = json::member(members, "protoPayload") else { return false };
    let payload: Vec<_> = json::members(payload).take(json::MEMBERS_MAX).collect();
    let text = |name| json::member(&payload, name).and_then(json::string);
    let method = text("methodName");
    if method.is_none() && text("@type").is_none_or(|it| it != AUDIT_LOG) {
        return false;
    }
    let resource = json::member(members, "resource").and_then(|it| json::get(it, "type"));
    let of_cluster = || resource.and_then(json::string).is_some_and(|it| it == "k8s_cluster");
    match text("serviceName").as_deref() {
        Some("k8s.io") => true,
        // Clusters outside Google Cloud are under another service.
        Some(_) => of_cluster() && method.is_some_and(|it| it.starts_with(KUBERNETES_METHOD)),
        None => of_cluster(),
    }
}

/// Appends the entry as an event of `audit.k8s.io/v1` to `out`: one JSON object on one line, its members in the
/// order of the API server. What the entry does not tell is left out. `None`, with nothing appended, for an
/// entry without a method.
pub(super) fn convert<'a>(members: &[Member<'a>], out: &mut String) -> Option<Entry<'a>> {
    let log = Log::read(members);
    let method = json::string(log.payload("methodName")?)?;
    let name = log.payload("resourceName").and_then(json::string);
    let authorized = log.authorized("resource").and_then(json::string);
    let request = Request::new(&method, name.as_deref(), authorized.as_deref());
    let start = out.len();
    log.write(&request, out);
    one_line(out, start);
    Some(log.entry())
}

/// Puts blanks for the line ends in `out` from `start` on: the event becomes part of a bulk body, where each
/// line is an item or its document. In JSON a line end stands between tokens only.
pub(super) fn one_line(out: &mut String, start: usize) {
    let tail = out.get(start..).unwrap_or_default();
    if memchr::memchr2(b'\n', b'\r', tail.as_bytes()).is_some() {
        let joined = tail.replace(['\n', '\r'], " ");
        out.truncate(start);
        out.push_str(&joined);
    }
}

/// A JSON object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut String,
    comma: Comma,
}

impl<'o> Object<'o> {
    pub(super) fn write(out: &'o mut String, fill: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        let mut object = Object { out, comma: Comma(false) };
        fill(&mut object);
        object.out.push('}');
    }

    fn key(&mut self, key: &str) -> &mut String {
        self.comma.put(self.out);
        push_member(self.out, key, "");
        self.out
    }

    /// A value that is JSON text already, if there is one.
    pub(super) fn raw(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key).push_str(value);
        }
    }

    pub(super) fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            json::push_string(self.key(key), value);
        }
    }

    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.key(key), fill);
    }
}

/// Label with the decision of the API server's authorizers, `allow` or `forbid`.
const DECISION: &str = "authorization.k8s.io/decision";

/// Label with the command of an exec, in one text (Elastic's detection-rules,
/// `execution_gcp_gke_pod_exec_potential_reverse_shell.toml`).
const COMMAND: &str = "command.gke.io/command";

/// Members of `protoPayload` that stay beside what was made of them.
const KEPT: [&str; 5] =
    ["methodName", "resourceName", "serviceName", "status", "authorizationInfo"];

/// A string value that is not empty, as it stands.
fn filled(value: Option<&str>) -> Option<&str> {
    value.filter(|it| json::kind(it) == Kind::String && *it != "\"\"")
}

fn object(value: Option<&str>) -> Option<&str> {
    value.filter(|it| json::kind(it) == Kind::Object)
}

/// The parts of an entry, as they stand.
struct Log<'a, 'm> {
    members: &'m [Member<'a>],
    payload: Vec<Member<'a>>,
    /// Annotations of the API server's event, and what GKE adds: `command.gke.io/command`.
    labels: Option<&'a str>,
    /// Whether the request was allowed: by its label, else by `authorizationInfo`.
    granted: Option<bool>,
    /// Whether a label says so.
    decision_told: bool,
}

impl<'a, 'm> Log<'a, 'm> {
    fn read(members: &'m [Member<'a>]) -> Self {
        let payload = json::member(members, "protoPayload").unwrap_or_default();
        let mut log = Self {
            members,
            payload: json::members(payload).take(json::MEMBERS_MAX).collect(),
            labels: object(json::member(members, "labels")),
            granted: None,
            decision_told: false,
        };
        let decision = log.label(DECISION).and_then(json::string);
        log.decision_told = decision.is_some();
        log.granted = match decision {
            Some(decision) => Some(decision == "allow"),
            None => object(log.authorization()).map(|it| json::get(it, "granted") == Some("true")),
        };
        log
    }

    fn payload(&self, name: &str) -> Option<&'a str> {
        json::member(&self.payload, name)
    }

    fn root(&self, name: &str) -> Option<&'a str> {
        json::member(self.members, name)
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        json::get(self.labels?, name)
    }

    /// The first of `authorizationInfo`; the API server asks for one permission a request.
    fn authorization(&self) -> Option<&'a str> {
        json::elements(self.payload("authorizationInfo")?).next()
    }

    fn authorized(&self, name: &str) -> Option<&'a str> {
        json::get(self.authorization()?, name)
    }

    fn entry(&self) -> Entry<'a> {
        let labels = self.root("resource").and_then(|it| json::get(it, "labels"));
        let label = |name| filled(json::get(labels?, name)).and_then(json::string);
        let root = |name| filled(self.root(name)).and_then(json::string);
        Entry {
            cluster: label("cluster_name"),
            location: label("location"),
            project: label("project_id"),
            received: root("receiveTimestamp"),
            log_name: root("logName"),
            insert_id: root("insertId"),
        }
    }

    fn write(&self, request: &Request<'_>, out: &mut String) {
        let operation = object(self.root("operation"));
        let operation_id = || filled(json::get(operation?, "id"));
        let (asked, answered) = (body(self.payload("request")), body(self.payload("response")));
        let time = filled(self.root("timestamp"));
        Object::write(out, |event| {
            event.text("kind", Some("Event"));
            event.text("apiVersion", Some("audit.k8s.io/v1"));
            event.text("level", Some(level(asked.is_some(), answered.is_some())));
            // The operation is the request: an exec has an entry for its start and one for its end.
            event.raw("auditID", operation_id().or_else(|| filled(self.root("insertId"))));
            event.text("stage", operation.and_then(stage));
            event.text("requestURI", request.uri(self.label(COMMAND)).as_deref());
            event.text("verb", request.verb);
            self.write_users(event);
            self.write_client(event);
            if let Target::Resource(it) = &request.target {
                event.object("objectRef", |object| it.write(object));
            }
            self.write_status(request, event);
            event.raw("requestObject", asked.as_deref());
            event.raw("responseObject", answered.as_deref());
            event.raw("requestReceivedTimestamp", time);
            event.raw("stageTimestamp", time);
            self.write_annotations(event);
            event.object("protoPayload", |object| {
                for name in KEPT {
                    object.raw(name, self.payload(name));
                }
            });
            for name in ["operation", "logName", "insertId"] {
                event.raw(name, self.root(name));
            }
        });
    }

    /// `principalEmail` is who came, `authoritySelector` whom they asked to act as (`kubectl --as`). An entry that
    /// has both beside the reason of its decision shows which is which (kyma-project/kyma#2811), and Elastic's
    /// rule reads them so (detection-rules,
    /// `privilege_escalation_gcp_gke_api_request_impersonating_privileged_identity.toml`).
    fn write_users(&self, event: &mut Object<'_>) {
        let info = self.payload("authenticationInfo");
        let told = |name| filled(json::get(info?, name));
        // Of those without an address, as the users of a workforce pool, the subject is the user's name.
        match told("principalEmail").or_else(|| told("principalSubject")) {
            Some(name) => event.object("user", |user| user.raw("username", Some(name))),
            // The API server lets nobody in without a name: this is its own for who gives none.
            None if self.granted == Some(true) => {
                event.object("user", |user| user.text("username", Some("system:anonymous")));
            }
            None => (),
        }
        if let Some(name) = told("authoritySelector") {
            event.object("impersonatedUser", |user| user.raw("username", Some(name)));
        }
    }

    fn write_client(&self, event: &mut Object<'_>) {
        let metadata = self.payload("requestMetadata");
        let told = |name| filled(json::get(metadata?, name));
        // Not always an address: `private` and `gce-internal-ip` stand for some.
        let address = told("callerIp").map(|it| format!("[{it}]"));
        event.raw("sourceIPs", address.as_deref());
        event.raw("userAgent", told("callerSuppliedUserAgent"));
    }

    fn write_status(&self, request: &Request<'_>, event: &mut Object<'_>) {
        let response = object(self.payload("response"));
        let told = object(self.payload("status"));
        // The API server's own answer says more than the code that was made of it.
        let failure = response.and_then(|it| Some((it, http_failure(it)?)));
        if let Some((answer, code)) = failure {
            event.object("responseStatus", |status| {
                status.raw("metadata", Some("{}"));
                status.text("status", Some("Failure"));
                let message = json::get(told.unwrap_or_default(), "message");
                status.raw("message", filled(json::get(answer, "message")).or(filled(message)));
                status.raw("reason", filled(json::get(answer, "reason")));
                status.raw("code", Some(code));
            });
        } else if let Some(told) = told {
            let code = json::get(told, "code").map_or(Some(0), |it| it.parse::<usize>().ok());
            let http = code.and_then(|it| request.http_status(it)).map(|it| it.to_string());
            event.object("responseStatus", |status| {
                status.raw("metadata", Some("{}"));
                status.text("status", code.map(|it| if it == 0 { "Success" } else { "Failure" }));
                status.raw("message", filled(json::get(told, "message")));
                status.raw("code", http.as_deref());
            });
        }
    }

    fn write_annotations(&self, event: &mut Object<'_>) {
        if self.decision_told || self.granted.is_none() {
            return event.raw("annotations", self.labels.filter(|it| *it != "{}"));
        }
        let decision = self.granted.map(|it| if it { "allow" } else { "forbid" });
        event.object("annotations", |annotations| {
            for member in json::members(self.labels.unwrap_or_default()) {
                if !member.is(DECISION) {
                    annotations.raw(member.raw_key, Some(member.value));
                }
            }
            annotations.text(DECISION, decision);
        });
    }
}

/// The API server notes an answer at the level `RequestResponse` only. Most requests that read have no body.
fn level(asked: bool, answered: bool) -> &'static str {
    match (asked, answered) {
        (_, true) => "RequestResponse",
        (true, false) => "Request",
        (false, false) => "Metadata",
    }
}

/// A request that takes long, as a watch or an exec, has an entry when it starts and one when it ends.
fn stage(operation: &str) -> Option<&'static str> {
    let is = |name| json::get(operation, name) == Some("true");
    match (is("first"), is("last")) {
        (_, true) => Some("ResponseComplete"),
        (true, false) => Some("ResponseStarted"),
        (false, false) => None,
    }
}

/// A body without the name of its message, which Cloud Logging puts into it.
fn body(value: Option<&str>) -> Option<Cow<'_, str>> {
    let value = value.filter(|it| json::kind(it) != Kind::Null)?;
    if json::get(value, "@type").is_none() {
        return Some(Cow::Borrowed(value));
    }
    let mut out = String::with_capacity(value.len());
    Object::write(&mut out, |object| {
        for member in json::members(value).filter(|it| !it.is("@type")) {
            object.raw(member.raw_key, Some(member.value));
        }
    });
    Some(Cow::Owned(out))
}

/// The HTTP status in the body of an answer, if the body is the API server's `Status` of a failure.
fn http_failure(response: &str) -> Option<&str> {
    let text = |name| json::get(response, name).and_then(json::string);
    let is_status = text("kind").is_some_and(|it| it == "Status")
        || text("@type").is_some_and(|it| it.ends_with("k8s.io/v1.Status"));
    let failed = is_status && text("status").is_some_and(|it| it == "Failure");
    let code = json::get(response, "code").filter(|_| failed)?;
    code.parse().is_ok_and(|it: u16| (400..600).contains(&it)).then_some(code)
}

/// HTTP status for each code of gRPC, by its number (googleapis, `google/rpc/code.proto`).
const HTTP_STATUS: [u16; 17] =
    [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

/// Methods of HTTP, which the API server notes in lower case as the verbs of requests for paths.
const HTTP_METHODS: [&str; 9] =
    ["get", "post", "put", "patch", "delete", "head", "options", "connect", "trace"];

/// Subresources that are a stream in both directions: the API server answers 101.
const STREAMS: [&str; 3] = ["exec", "attach", "portforward"];

/// What was asked of the API server.
#[derive(Debug)]
struct Request<'t> {
    verb: Option<&'t str>,
    target: Target<'t>,
}

#[derive(Debug)]
enum Target<'t> {
    Resource(Resource<'t>),
    /// As `/readyz`, without the slash at the start.
    Path(&'t str),
    Unknown,
}

impl<'t> Request<'t> {
    /// Methods name groups in short (`io.k8s.rbac.v1` for `rbac.authorization.k8s.io/v1`), so only the verb is
    /// taken from them. `authorized`, the resource that the permission was for, stands in for an empty `name`.
    fn new(method: &'t str, name: Option<&'t str>, authorized: Option<&'t str>) -> Self {
        let known = name.filter(|it| !it.is_empty()).or(authorized).or(name);
        match method.strip_prefix(KUBERNETES_METHOD) {
            // A path; some methods name the path in place of the HTTP method: `io.k8s.readyz`.
            Some(word) if !word.contains('.') => {
                let path =
                    known.map_or(Target::Unknown, |it| Target::Path(it.trim_start_matches('/')));
                let verb = if HTTP_METHODS.contains(&word) { word } else { "get" };
                Self { verb: Some(verb), target: path }
            }
            _ => {
                let verb = method.rsplit('.').next().filter(|it| !it.is_empty());
                let resource = known.and_then(|it| Resource::parse(it, verb));
                Self { verb, target: resource.map_or(Target::Unknown, Target::Resource) }
            }
        }
    }

    fn uri(&self, command: Option<&str>) -> Option<String> {
        match &self.target {
            Target::Resource(resource) => {
                let mut uri = resource.path(self.verb);
                if let Some(command) = command.and_then(json::string)
                    && matches!(resource.subresource, Some("exec" | "attach"))
                {
                    uri.push_str("?command=");
                    let encoded = utf8_percent_encode(&command, QUERY).to_string();
                    uri.push_str(&encoded.replace(' ', "+"));
                }
                Some(uri)
            }
            Target::Path(path) => Some(format!("/{}", utf8_percent_encode(path, PATH))),
            Target::Unknown => None,
        }
    }

    /// The status of HTTP for one of gRPC. Of success gRPC has one only.
    fn http_status(&self, code: usize) -> Option<u16> {
        let subresource = match &self.target {
            Target::Resource(resource) => resource.subresource,
            _ => None,
        };
        match code {
            0 if subresource.is_some_and(|it| STREAMS.contains(&it)) => Some(101),
            0 if self.verb == Some("create") => Some(201),
            _ => HTTP_STATUS.get(code).copied(),
        }
    }
}

/// What cannot stand in a path as it is.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');

/// What cannot stand in the value of a query parameter as it is. A blank is written as a plus sign.
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// A resource as `resourceName` spells it: `GROUP/VERSION/[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`,
/// the group without a name being `core`.
#[derive(Debug)]
struct Resource<'t> {
    group: &'t str,
    version: &'t str,
    namespace: Option<&'t str>,
    resource: &'t str,
    name: Option<&'t str>,
    subresource: Option<&'t str>,
    /// Behind the subresource: the path that a proxy is asked for.
    rest: Option<&'t str>,
}

impl<'t> Resource<'t> {
    fn parse(text: &'t str, verb: Option<&str>) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let mut parts = text.splitn(3, '/');
        let (group, version) = (parts.next()?, parts.next()?);
        let path: Vec<_> = parts.next()?.splitn(6, '/').collect();
        // As the API server reads its own paths: a namespace is in itself, and has two subresources
        // (Kubernetes 1.35, `staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).
        let (namespace, own) = match path.as_slice() {
            ["namespaces", _] if verb == Some("create") => (None, 0),
            ["namespaces", namespace] | ["namespaces", namespace, "status" | "finalize", ..] => {
                (Some(*namespace), 0)
            }
            ["namespaces", namespace, ..] => (Some(*namespace), 2),
            _ => (None, 0),
        };
        let mut own = text.splitn(3 + own, '/').last()?.splitn(4, '/');
        let mut next = || own.next().filter(|it| !it.is_empty());
        let resource = next()?;
        let resource = Self {
            group,
            version,
            namespace,
            resource,
            name: next(),
            subresource: next(),
            rest: next(),
        };
        (!group.is_empty() && !version.is_empty()).then_some(resource)
    }

    fn group(&self) -> Option<&'t str> {
        (self.group != "core").then_some(self.group)
    }

    fn write(&self, object: &mut Object<'_>) {
        object.text("resource", Some(self.resource));
        object.text("namespace", self.namespace.filter(|it| !it.is_empty()));
        object.text("name", self.name);
        object.text("apiGroup", self.group());
        object.text("apiVersion", Some(self.version));
        object.text("subresource", self.subresource);
    }

    /// The path of the request. One that creates an object, or is about many, has no name in it: `resourceName`
    /// has the name from the body or from a selector.
    fn path(&self, verb: Option<&str>) -> String {
        let nameless = matches!(verb, Some("create" | "list" | "watch" | "deletecollection"));
        let named = self.subresource.is_some() || !nameless;
        let mut uri = String::from(if self.group().is_some() { "/apis" } else { "/api" });
        let mut push = |part: &str| {
            uri.push('/');
            uri.extend(utf8_percent_encode(part, PATH));
        };
        self.group().into_iter().for_each(&mut push);
        push(self.version);
        if let Some(namespace) = self.namespace.filter(|_| self.resource != "namespaces") {
            push("namespaces");
            push(namespace);
        }
        push(self.resource);
        self.name.filter(|_| named).into_iter().for_each(&mut push);
        self.subresource.into_iter().chain(self.rest).for_each(&mut push);
        uri
    }
}

#[cfg(test)]
pub(super) mod tests;
