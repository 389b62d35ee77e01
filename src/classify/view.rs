//! What rules see of an event beyond its own fields. Each is made when a rule first asks for it.

use std::{borrow::Cow, cell::OnceCell};

use super::{
    actor::actor,
    csr::Subject,
    kubectl::kubectl,
    patch,
    shell::{Variable, plain, straight},
};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
};

/// Most containers, volumes and operations of one event that are looked at, each. More do not fit into what Kubernetes
/// stores (1.5 MiB in etcd; 12 bytes is the smallest volume with a name of its own): nobody hides behind them.
const ELEMENTS_MAX: usize = 131_072;

/// An event, and what was made of it.
pub(super) struct View<'e> {
    pub(super) event: &'e AuditEvent<'e>,
    objects: OnceCell<Texts<'e>>,
    pods: OnceCell<Texts<'e>>,
    containers: OnceCell<Texts<'e>>,
    host_paths: OnceCell<Vec<String>>,
    commands: OnceCell<Vec<String>>,
    scripts: OnceCell<Vec<String>>,
    csr: OnceCell<Subject>,
    kubectl: OnceCell<Option<String>>,
}

/// JSON values: parts of the event, or made of one.
pub(super) type Texts<'e> = Vec<Cow<'e, str>>;

impl<'e> View<'e> {
    pub(super) fn new(event: &'e AuditEvent<'e>) -> Self {
        Self {
            event,
            objects: OnceCell::new(),
            pods: OnceCell::new(),
            containers: OnceCell::new(),
            host_paths: OnceCell::new(),
            commands: OnceCell::new(),
            scripts: OnceCell::new(),
            csr: OnceCell::new(),
            kubectl: OnceCell::new(),
        }
    }

    pub(super) fn actor(&self) -> &'static str {
        actor(self.event)
    }

    pub(super) fn kubectl(&self) -> Option<&str> {
        self.kubectl.get_or_init(|| kubectl(self.event)).as_deref()
    }

    /// The container command as it was sent and, where that is another, as a shell would have it.
    pub(super) fn commands(&self) -> &[String] {
        self.commands.get_or_init(|| {
            let mut all = Vec::new();
            if self.event.has_command() {
                let words: Vec<_> = self.event.query_values("command").collect();
                push_command(&words, &[], &mut all);
            }
            all
        })
    }

    /// What the containers run, each command in one line, likewise in both ways.
    pub(super) fn scripts(&self) -> &[String] {
        self.scripts.get_or_init(|| {
            let mut all = Vec::new();
            self.containers().iter().for_each(|it| push_scripts(it, &mut all));
            all
        })
    }

    /// Who the certificates are for that the request asks for.
    pub(super) fn csr(&self) -> &Subject {
        self.csr.get_or_init(|| {
            let is_csr =
                self.event.object.resource.as_deref() == Some("certificatesigningrequests");
            let mut subject = Subject::default();
            if is_csr {
                for object in self.objects() {
                    let request = part(object, &["spec", "request"]);
                    if let Some(request) = request.as_deref().and_then(json::string) {
                        subject.add(&request);
                    }
                }
            }
            subject
        })
    }

    /// The object that the request writes.
    pub(super) fn objects(&self) -> &[Cow<'e, str>] {
        self.objects.get_or_init(|| {
            let mut all: Texts<'e> = Vec::new();
            let event = self.event;
            let request = event.request_object.into_iter();
            all.extend(request.flat_map(|it| each_operation(it, event.response_object)));
            let is_new = event.code == Some(201)
                || event.verb.as_deref() == Some("create") && event.code.is_none_or(|it| it < 300);
            if is_new && event.object.subresource.is_none() {
                all.extend(event.response_object.map(Cow::Borrowed));
            }
            all
        })
    }

    /// Its pods and pod templates.
    pub(super) fn pods(&self) -> &[Cow<'e, str>] {
        self.pods.get_or_init(|| {
            let is_pod = self.event.object.resource.as_deref() == Some("pods");
            let mut all = Vec::new();
            for object in self.objects() {
                let [spec, template] = parts(object, ["spec", "template"]);
                let [of_spec, job] =
                    spec.map_or([None, None], |it| parts(&it, ["template", "jobTemplate"]));
                let of_job = job.and_then(|it| part(&it, &["spec", "template"]));
                let found = [of_spec, of_job, template].into_iter().flatten();
                all.extend(found.filter(|it| json::kind(it) == Kind::Object));
                if is_pod {
                    all.push(object.clone());
                }
            }
            all
        })
    }

    /// The containers of those.
    pub(super) fn containers(&self) -> &[Cow<'e, str>] {
        self.containers.get_or_init(|| {
            let kinds = ["containers", "initContainers", "ephemeralContainers"];
            let lists = self.pods().iter().flat_map(|pod| {
                let spec = part(pod, &["spec"]);
                spec.into_iter().flat_map(move |it| parts(&it, kinds)).flatten()
            });
            lists.flat_map(elements).take(ELEMENTS_MAX).collect()
        })
    }

    /// The path of the request as the API server read it. Where that can be decoded again, so, too: whom the request
    /// is passed on to may.
    pub(super) fn paths(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let raw = self.event.request_uri.is_some().then(|| self.event.path());
        let once = raw.map(unescaped);
        let twice = match once.as_deref().map(unescaped) {
            Some(Cow::Owned(twice)) => Some(Cow::Owned(twice)),
            _ => None,
        };
        once.into_iter().chain(twice)
    }

    /// Why a part of the event is missing.
    pub(super) fn truncated(&self) -> impl Iterator<Item = &'static str> {
        let of_api_server = self.event.is_truncated.then_some("api_server");
        of_api_server.into_iter().chain(self.event.is_cut.then_some("transport"))
    }

    /// The paths that a patch removes.
    pub(super) fn removed(&self, take: patch::Take<'_>) -> bool {
        self.patch().is_some_and(|it| patch::removed(it, take))
    }

    /// The paths that a patch writes with what stands elsewhere.
    pub(super) fn copied(&self, take: patch::Take<'_>) -> bool {
        self.patch().is_some_and(|it| patch::copied(it, take))
    }

    fn patch(&self) -> Option<&'e str> {
        self.event.request_object.filter(|_| self.event.verb.as_deref() == Some("patch"))
    }

    /// Paths of the node that are mounted.
    pub(super) fn host_paths(&self) -> &[String] {
        self.host_paths.get_or_init(|| {
            let mut paths = Vec::new();
            for pod in self.pods() {
                let volumes = part(pod, &["spec", "volumes"]).into_iter().flat_map(elements);
                paths.extend(volumes.filter_map(|it| part(&it, &["hostPath", "path"])));
            }
            if self.event.object.resource.as_deref() == Some("persistentvolumes") {
                for object in self.objects() {
                    paths.extend(part(object, &["spec", "hostPath", "path"]));
                    paths.extend(part(object, &["spec", "local", "path"]));
                }
            }
            let texts = paths.iter().filter_map(|it| json::string(it));
            texts.map(|it| straight(&it)).take(ELEMENTS_MAX).collect()
        })
    }
}

/// The value, or what the operations of a JSON patch write, each as an object of its own.
pub(super) fn expanded(value: &str) -> Texts<'_> {
    each_operation(value, None)
}

/// The same; what operations copy is looked for in the object `after` the patch, too.
fn each_operation<'v>(value: &'v str, after: Option<&str>) -> Texts<'v> {
    match json::kind(value) {
        Kind::Array => patch::written(value, after).into_iter().map(Cow::Owned).collect(),
        _ => vec![Cow::Borrowed(value)],
    }
}

/// What stands at a path of plain keys.
fn part<'v>(value: &Cow<'v, str>, path: &[&str]) -> Option<Cow<'v, str>> {
    match value {
        Cow::Borrowed(text) => {
            path.iter().try_fold(*text, |it, key| json::get(it, key)).map(Cow::Borrowed)
        }
        Cow::Owned(text) => path
            .iter()
            .try_fold(text.as_str(), |it, key| json::get(it, key))
            .map(|it| Cow::Owned(it.to_owned())),
    }
}

/// The values of several members.
fn parts<'v, const N: usize>(value: &Cow<'v, str>, names: [&str; N]) -> [Option<Cow<'v, str>>; N] {
    match value {
        Cow::Borrowed(text) => json::get_each(text, names).map(|it| it.map(Cow::Borrowed)),
        Cow::Owned(text) => {
            json::get_each(text, names).map(|it| it.map(|it| Cow::Owned(it.to_owned())))
        }
    }
}

fn elements(array: Cow<'_, str>) -> Texts<'_> {
    match array {
        Cow::Borrowed(text) => json::elements(text).take(ELEMENTS_MAX).map(Cow::Borrowed).collect(),
        Cow::Owned(text) => {
            json::elements(&text).take(ELEMENTS_MAX).map(|it| Cow::Owned(it.to_owned())).collect()
        }
    }
}

/// The texts of an array, or one text.
fn words(value: &str) -> Vec<Cow<'_, str>> {
    match json::kind(value) {
        Kind::Array => json::elements(value).filter_map(json::string).collect(),
        _ => json::string(value).into_iter().collect(),
    }
}

/// What a container runs: its own command, its hooks and its probes.
fn push_scripts(container: &str, all: &mut Vec<String>) {
    let [command, arguments, variables, lifecycle] =
        json::get_each(container, ["command", "args", "env", "lifecycle"]);
    let probes = json::get_each(container, ["livenessProbe", "readinessProbe", "startupProbe"]);
    let hooks = lifecycle.map_or([None; 2], |it| json::get_each(it, ["preStop", "postStart"]));
    let own = [command, arguments].into_iter().flatten().flat_map(words).collect();
    let others = hooks.into_iter().chain(probes).flatten().filter_map(command_of).map(words);
    let commands: Vec<_> = std::iter::once(own).chain(others).filter(|it| !it.is_empty()).collect();
    if !commands.is_empty() {
        let variables = variables.into_iter().flat_map(json::elements).filter_map(variable);
        let variables: Vec<_> = variables.collect();
        commands.iter().for_each(|it| push_command(it, &variables, all));
    }
}

/// What a container finds in its environment, as far as it is written there.
fn variable(of_container: &str) -> Option<Variable<'_>> {
    let [name, value] = json::get_each(of_container, ["name", "value"]);
    Some((json::string(name?)?, json::string(value?)?))
}

/// What a hook or a probe runs.
fn command_of(hook: &str) -> Option<&str> {
    json::get(json::get(hook, "exec")?, "command")
}

/// A command as it was sent and, where that is another, as a shell would have it.
fn push_command(words: &[Cow<'_, str>], variables: &[Variable<'_>], all: &mut Vec<String>) {
    if !words.is_empty() {
        let (sent, plain) = (words.join(" "), plain(words, variables));
        let is_other = plain != sent;
        all.push(sent);
        all.extend(is_other.then_some(plain));
    }
}

/// A text without its percent escapes; borrowed if it has none.
fn unescaped(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded() {
        for (uri, expected) in [
            ("/api/v1/pods?a=%41", &["/api/v1/pods"][..]),
            ("/api/v1/%70ods", &["/api/v1/pods"]),
            ("/a%2Fb%2fc+d", &["/a/b/c+d"]),
            ("/%2565tc/%25", &["/%65tc/%", "/etc/%"]),
            ("/%ff%", &["/\u{fffd}%"]),
        ] {
            let text = format!(r#"{{"requestURI":"{uri}"}}"#);
            let event = AuditEvent::new(&text, json::members(&text).collect());
            assert_eq!(View::new(&event).paths().collect::<Vec<_>>(), expected, "{uri}");
        }
        assert_eq!(View::new(&AuditEvent::default()).paths().count(), 0);
    }

    #[test]
    fn only_a_patch_removes() {
        for (verb, expected) in [("patch", true), ("update", false)] {
            let text =
                format!(r#"{{"verb":"{verb}","requestObject":{{"metadata":{{"a":null}}}}}}"#);
            let event = AuditEvent::new(&text, json::members(&text).collect());
            let removed = View::new(&event).removed(&mut |it| it == "metadata.a");
            assert_eq!(removed, expected, "{verb}");
        }
    }

    #[test]
    fn what_is_copied_is_in_the_answer() {
        let text = r#"{"verb":"patch","objectRef":{"resource":"pods"},"requestObject":[{"op":"copy","from":"/spec/a","path":"/spec/hostPID"}],
            "responseObject":{"spec":{"a":true,"hostPID":true}}}"#;
        let event = AuditEvent::new(text, json::members(text).collect());
        assert_eq!(View::new(&event).objects(), [r#"{"spec":{"hostPID":true}}"#]);
        assert_eq!(expanded(event.request_object.unwrap()), [r#"{"spec":{"hostPID":{}}}"#]);
    }

    #[test]
    fn nobody_hides_behind_as_many_as_kubernetes_stores() {
        let pod = |volumes: &str| {
            let empty = r#"{"name":"a","emptyDir":{}},"#.repeat(ELEMENTS_MAX - 1);
            format!(
                r#"{{"objectRef":{{"resource":"pods"}},"requestObject":{{"spec":{{"volumes":[{empty}{volumes}]}}}}}}"#
            )
        };
        let host = r#"{"hostPath":{"path":"/"}}"#;
        for (text, expected) in [(pod(host), 1), (pod(&format!("{{}},{host}")), 0)] {
            let event = AuditEvent::new(&text, json::members(&text).collect());
            assert_eq!(View::new(&event).host_paths().len(), expected);
        }
    }

    #[test]
    fn containers_wherever_they_are() {
        for (resource, object) in [
            (
                "pods",
                r#"{"spec":{"containers":[1],"initContainers":[2],"ephemeralContainers":[3]}}"#,
            ),
            (
                "deployments",
                r#"{"spec":{"template":{"spec":{"containers":[1],"initContainers":[2,3]}}}}"#,
            ),
            (
                "cronjobs",
                r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[1,2,3]}}}}}}"#,
            ),
            ("podtemplates", r#"{"template":{"spec":{"containers":[1,2,3]}}}"#),
        ] {
            let text =
                format!(r#"{{"objectRef":{{"resource":"{resource}"}},"requestObject":{object}}}"#);
            let event = AuditEvent::new(&text, json::members(&text).collect());
            assert_eq!(View::new(&event).containers(), ["1", "2", "3"], "{resource}");
        }
    }
}
