//! What rules see of an event beyond its own fields. Each is made when a rule first asks for it.

use std::{borrow::Cow, cell::OnceCell};

use super::{actor::actor, csr::Subject, kubectl::kubectl};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
};

/// Most containers, pods and operations of one event that are looked at, each. Kubernetes refuses far smaller pods for
/// their size (1.5 MiB in etcd).
const ELEMENTS_MAX: usize = 16_384;
/// Deepest path of an operation of a JSON patch.
const POINTER_DEPTH_MAX: usize = 32;

/// An event, and what was made of it.
pub(super) struct View<'e> {
    pub(super) event: &'e AuditEvent<'e>,
    objects: OnceCell<Texts<'e>>,
    pods: OnceCell<Texts<'e>>,
    containers: OnceCell<Texts<'e>>,
    host_paths: OnceCell<Vec<String>>,
    commands: OnceCell<Vec<String>>,
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

    /// The container command as it was sent and, where that is another, as a shell would have it: without quotes, and
    /// with straight paths.
    pub(super) fn commands(&self) -> &[String] {
        self.commands.get_or_init(|| {
            let Some(command) = self.event.container_command() else { return Vec::new() };
            let plain = plain_command(&command);
            if plain == command { vec![command] } else { vec![command, plain] }
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
            all.extend(self.event.request_object.into_iter().flat_map(expanded));
            let event = self.event;
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
    if json::kind(value) != Kind::Array {
        return vec![Cow::Borrowed(value)];
    }
    let operations = json::elements(value).take(ELEMENTS_MAX).filter_map(written);
    operations.map(Cow::Owned).collect()
}

/// What one operation (RFC 6902) writes: `{"op":"add","path":"/spec/replicas","value":2}` is `{"spec":{"replicas":2}}`.
fn written(operation: &str) -> Option<String> {
    let pointer = json::get(operation, "path").and_then(json::string)?;
    let value = json::get(operation, "value")?;
    let (mut text, mut ends) = (String::new(), Vec::new());
    for name in pointer.split('/').skip(1).take(POINTER_DEPTH_MAX) {
        if name == "-" || !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit()) {
            text.push('[');
            ends.push(']');
        } else {
            text.push('{');
            json::push_string(&mut text, &name.replace("~1", "/").replace("~0", "~"));
            text.push(':');
            ends.push('}');
        }
    }
    text.push_str(value);
    text.extend(ends.into_iter().rev());
    Some(text)
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

/// A path without detours: `//etc/`, `/etc/.` and `/var/../etc` are `/etc`.
fn straight(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => (),
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", names.join("/"))
}

/// A command as a shell has it, roughly: quotes and backslashes gone, `$IFS` a blank, paths straight.
fn plain_command(command: &str) -> String {
    let spaced = command.replace("${IFS}", " ").replace("$IFS", " ");
    let bare: String = spaced.chars().filter(|it| !matches!(it, '\'' | '"' | '\\' | '`')).collect();
    let words =
        bare.split_whitespace().map(|word| match word.contains("//") || word.contains("/.") {
            // What stands before the path (`if=`, `@`, `http:`) stays.
            true => match word.find('/') {
                Some(at) if !word.contains("://") => {
                    let (before, path) = word.split_at(at);
                    Cow::Owned(format!("{before}{}", straight(path)))
                }
                _ => Cow::Borrowed(word),
            },
            false => Cow::Borrowed(word),
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_commands() {
        for path in ["/etc", "/etc/", "//etc", "/var/../etc", "/./etc/."] {
            assert_eq!(straight(path), "/etc");
        }
        assert_eq!(straight("/"), "/");
        assert_eq!(plain_command(r#"sh -c c""at${IFS}/e'tc'//shadow"#), "sh -c cat /etc/shadow");
        assert_eq!(plain_command("curl https://a.example//x"), "curl https://a.example//x");
    }

    #[test]
    fn operations_of_a_patch() {
        let patch = r#"[{"op":"add","path":"/spec/containers/0/securityContext","value":{"privileged":true}},
            {"op":"add","path":"/metadata/annotations/a~1b","value":"c"},{"op":"remove","path":"/x"},{"op":"replace","path":"","value":{}}]"#;
        assert_eq!(
            expanded(patch),
            [
                r#"{"spec":{"containers":[{"securityContext":{"privileged":true}}]}}"#,
                r#"{"metadata":{"annotations":{"a/b":"c"}}}"#,
                "{}"
            ]
        );
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
