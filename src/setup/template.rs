use serde_json::{Map, Value, json};

use super::{SetupError, engine::Engine, lifecycle};

/// The templates, each a whole index template that can be put as it is.
const SOURCES: [Source; 6] = [
    Source {
        name: "kubernetes.audit_logs",
        text: include_str!("../../pipelines/templates/kubernetes.audit_logs.json"),
        is_daily: false,
    },
    Source {
        name: "kubernetes.control_plane_logs",
        text: include_str!("../../pipelines/templates/kubernetes.control_plane_logs.json"),
        is_daily: false,
    },
    Source {
        name: ALERTS,
        text: include_str!("../../pipelines/templates/k8scop.alerts.json"),
        is_daily: false,
    },
    Source {
        name: "k8scop.alerts-daily",
        text: include_str!("../../pipelines/templates/k8scop.alerts-daily.json"),
        is_daily: true,
    },
    Source {
        name: "k8scop.dead_letter",
        text: include_str!("../../pipelines/templates/k8scop.dead_letter.json"),
        is_daily: false,
    },
    Source {
        name: "k8scop.push",
        text: include_str!("../../pipelines/templates/k8scop.push.json"),
        is_daily: false,
    },
];
/// Alerts in a data stream, where they do not go into daily indices.
const ALERTS: &str = "k8scop.alerts";
/// The component template with what is chosen for all indices.
const SETTINGS: &str = "k8scop@settings";

struct Source {
    name: &'static str,
    text: &'static str,
    is_daily: bool,
}

/// Something that a cluster is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// What it is.
    pub(super) kind: Kind,
    /// Its name there.
    pub(super) name: String,
    /// What it has to be.
    pub(super) body: Value,
    /// What is done with one that is there.
    pub(super) rule: Rule,
}

/// What can be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A policy of index lifecycle management (Elasticsearch).
    Ilm,
    /// A policy of index state management (OpenSearch).
    Ism,
    /// A part of index templates.
    Component,
    /// An index template.
    Index,
    /// How long a data stream keeps what it has.
    StreamLifecycle,
}

/// What is done with a piece that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It becomes what it has to be.
    Whole,
    /// Its members become that; others stay.
    Members,
    /// It is its owner's: nothing.
    Absent,
}

impl Kind {
    /// For people.
    #[must_use]
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ilm => "ILM policy",
            Self::Ism => "ISM policy",
            Self::Component => "component template",
            Self::Index => "index template",
            Self::StreamLifecycle => "lifecycle of stream",
        }
    }

    /// Where it is put and read.
    #[must_use]
    pub(super) fn path(self, name: &str) -> String {
        match self {
            Self::Ilm => format!("/_ilm/policy/{name}"),
            Self::Ism => format!("/_plugins/_ism/policies/{name}"),
            Self::Component => format!("/_component_template/{name}"),
            Self::Index => format!("/_index_template/{name}"),
            Self::StreamLifecycle => format!("/_data_stream/{name}/_lifecycle"),
        }
    }
}

/// What was chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// `index.number_of_shards` of new indices.
    pub(super) shards: Option<u32>,
    /// `index.number_of_replicas` of new indices.
    pub(super) replicas: Option<u32>,
    /// What the names of daily alerts begin with, if alerts go into daily indices.
    pub(super) daily_prefix: Option<String>,
}

impl Choice {
    /// The pattern of daily alerts.
    #[must_use]
    pub(super) fn daily_pattern(&self) -> Option<String> {
        self.daily_prefix.as_ref().map(|prefix| format!("{prefix}-*"))
    }

    fn wants(&self, source: &Source) -> bool {
        match &self.daily_prefix {
            Some(_) => source.name != ALERTS,
            None => !source.is_daily,
        }
    }
}

/// The patterns of all data streams.
pub(super) fn stream_patterns(choice: &Choice) -> Result<Vec<String>, SetupError> {
    let mut patterns = Vec::new();
    for source in SOURCES.iter().filter(|it| !it.is_daily && choice.wants(it)) {
        let template = source.read()?;
        let listed = template.get("index_patterns").and_then(Value::as_array).into_iter().flatten();
        patterns.extend(listed.filter_map(Value::as_str).map(str::to_owned));
    }
    Ok(patterns)
}

/// All templates, what others need before the others.
///
/// What is ours stands in a component template, `k8scop-NAME@package`, and not in the index template: that would win
/// over all components, and nobody could add to it or change it in `k8scop-NAME@custom`, which comes last.
pub(super) fn pieces(engine: Engine, choice: &Choice) -> Result<Vec<Piece>, SetupError> {
    let (mut components, mut indices) = (Vec::new(), Vec::new());
    if let Some(settings) = settings(choice) {
        components.push(settings);
    }
    for source in SOURCES.iter().filter(|it| choice.wants(it)) {
        let mut template = source.read()?;
        if let (true, Some(pattern)) = (source.is_daily, choice.daily_pattern()) {
            template.insert("index_patterns".into(), json!([pattern]));
        }
        let (package, index) = split(source, template, engine);
        if !engine.ignores_missing_components() {
            let names = index.body.get("composed_of").and_then(Value::as_array);
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                if name != package.name && !components.iter().any(|it| it.name == name) {
                    components.push(placeholder(name));
                }
            }
        }
        components.push(package);
        indices.push(index);
    }
    components.append(&mut indices);
    Ok(components)
}

impl Source {
    fn read(&self) -> Result<Map<String, Value>, SetupError> {
        serde_json::from_str(self.text)
            .map_err(|error| SetupError::Failed(format!("the template {}: {error}", self.name)))
    }
}

/// Our part as a component template, and the index template that is made of it.
fn split(source: &Source, mut index: Map<String, Value>, engine: Engine) -> (Piece, Piece) {
    let name = format!("k8scop-{}", source.name);
    let template = index.remove("template").unwrap_or_default();
    let mut package = Map::from_iter([("template".to_owned(), fitted(template, engine))]);
    for member in ["version", "_meta"] {
        package.extend(index.get(member).map(|it| (member.to_owned(), it.clone())));
    }
    let package_name = format!("{name}@package");
    let mut others = vec![SETTINGS.to_owned()];
    match (engine.is_opensearch, source.is_daily) {
        // Policies of OpenSearch name the indices that they are for.
        (true, _) => (),
        (false, true) => others.push(lifecycle::COMPONENT_DAILY.into()),
        (false, false) => others.push(lifecycle::COMPONENT.into()),
    }
    others.push(format!("{name}@custom"));
    let composed: Vec<&String> = [&package_name].into_iter().chain(&others).collect();
    index.insert("composed_of".into(), json!(composed));
    if engine.ignores_missing_components() {
        index.insert("ignore_missing_component_templates".into(), json!(others));
    }
    let piece =
        |kind, name, body| Piece { kind, name, body: Value::Object(body), rule: Rule::Whole };
    (piece(Kind::Component, package_name, package), piece(Kind::Index, name, index))
}

/// Leaves out what the engine does not have.
fn fitted(mut template: Value, engine: Engine) -> Value {
    if !engine.has_runtime_fields()
        && let Some(mappings) = template.get_mut("mappings").and_then(Value::as_object_mut)
    {
        mappings.remove("runtime");
    }
    template
}

fn settings(choice: &Choice) -> Option<Piece> {
    let mut index = Map::new();
    for (name, chosen) in
        [("number_of_shards", choice.shards), ("number_of_replicas", choice.replicas)]
    {
        index.extend(chosen.map(|it| (name.to_owned(), Value::String(it.to_string()))));
    }
    let body = json!({
        "template": { "settings": { "index": index } },
        "_meta": meta("Settings of all indices of k8scop: k8scop setup --shards, --replicas."),
    });
    let is_any = choice.shards.or(choice.replicas).is_some();
    is_any.then(|| Piece {
        kind: Kind::Component,
        name: SETTINGS.into(),
        body,
        rule: Rule::Members,
    })
}

/// An empty component template, where one that does not exist may not be named.
pub(super) fn placeholder(name: &str) -> Piece {
    let description = if name.ends_with("@custom") {
        "Yours: what is set here is added to the indices of k8scop, and wins. k8scop setup does not change it."
    } else {
        "Empty until k8scop setup is told to fill it."
    };
    let body = json!({ "template": {}, "_meta": meta(description) });
    Piece { kind: Kind::Component, name: name.to_owned(), body, rule: Rule::Absent }
}

pub(super) fn meta(description: &str) -> Value {
    json!({ "description": description, "managed_by": "k8scop" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINES: [&str; 7] = [
        "elasticsearch-7.17",
        "elasticsearch-8.6",
        "elasticsearch-8.13",
        "elasticsearch-8.19",
        "elasticsearch-9.4",
        "opensearch-2.19",
        "opensearch-3.6",
    ];

    fn choice(is_daily: bool) -> Choice {
        Choice { daily_prefix: is_daily.then(|| "detections".into()), ..Choice::default() }
    }

    fn of<'a>(pieces: &'a [Piece], name: &str) -> Option<&'a Piece> {
        pieces.iter().find(|it| it.name == name)
    }

    #[test]
    fn every_index_template_is_made_of_what_comes_before_it() {
        for engine in ENGINES {
            for is_daily in [false, true] {
                let engine = Engine::typed(engine).unwrap();
                let pieces = pieces(engine, &choice(is_daily)).unwrap();
                let mut there = Vec::new();
                for piece in &pieces {
                    assert!(
                        !there.contains(&piece.name.as_str()),
                        "{engine}: twice {}",
                        piece.name
                    );
                    let empty = Vec::new();
                    let list = |name: &str| -> Vec<String> {
                        let list = piece.body[name].as_array().unwrap_or(&empty);
                        list.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
                    };
                    let (composed, missing) =
                        (list("composed_of"), list("ignore_missing_component_templates"));
                    for name in &composed {
                        let is_there = there.contains(&name.as_str());
                        assert!(is_there || missing.contains(name), "{engine}: {name}");
                        assert!(!(is_there && missing.contains(name)), "{engine}: {name}");
                    }
                    if piece.kind == Kind::Index {
                        assert_eq!(composed.first(), Some(&format!("{}@package", piece.name)));
                        assert_eq!(composed.last(), Some(&format!("{}@custom", piece.name)));
                        assert_eq!(piece.body["template"], Value::Null, "{engine}");
                    }
                    there.push(&piece.name);
                }
                assert_eq!(pieces.iter().filter(|it| it.kind == Kind::Index).count(), 5);
            }
        }
    }

    #[test]
    fn no_engine_is_told_what_it_does_not_know() {
        for engine in ENGINES {
            let engine = Engine::typed(engine).unwrap();
            let pieces = pieces(engine, &choice(false)).unwrap();
            let text = serde_json::to_string(&pieces.iter().map(|it| &it.body).collect::<Vec<_>>());
            let text = text.unwrap();
            for (word, is_known) in [
                (r#""runtime":"#, engine.has_runtime_fields()),
                (r#""ignore_missing_component_templates":"#, engine.ignores_missing_components()),
                (r#""k8scop@lifecycle""#, !engine.is_opensearch),
                (r#""type":"flattened""#, false),
                (r#""type":"wildcard""#, false),
                (r#""type":"constant_keyword""#, false),
                (r#""type":"match_only_text""#, false),
            ] {
                assert_eq!(text.contains(word), is_known, "{engine}: {word}");
            }
        }
    }

    #[test]
    fn alerts_go_to_one_place() {
        let engine = Engine::typed("elasticsearch-8.19").unwrap();
        let daily = pieces(engine, &choice(true)).unwrap();
        let index = of(&daily, "k8scop-k8scop.alerts-daily").unwrap();
        assert_eq!(index.body["index_patterns"], json!(["detections-*"]));
        assert_eq!(index.body["data_stream"], Value::Null);
        assert!(of(&daily, "k8scop-k8scop.alerts").is_none());
        assert!(!stream_patterns(&choice(true)).unwrap().contains(&"logs-k8scop.alerts-*".into()));
        let streams = pieces(engine, &choice(false)).unwrap();
        assert!(of(&streams, "k8scop-k8scop.alerts").is_some());
        assert!(of(&streams, "k8scop-k8scop.alerts-daily").is_none());
        let patterns = stream_patterns(&choice(false)).unwrap();
        assert!(patterns.contains(&"logs-k8scop.alerts-*".into()) && patterns.len() > 10);
    }

    #[test]
    fn shards_and_replicas_are_set_only_if_they_are_chosen() {
        for engine in ENGINES {
            let engine = Engine::typed(engine).unwrap();
            let plain = pieces(engine, &choice(false)).unwrap();
            let rule = of(&plain, SETTINGS).map(|it| it.rule);
            let expected = (!engine.ignores_missing_components()).then_some(Rule::Absent);
            assert_eq!(rule, expected, "{engine}");
            let chosen = Choice { shards: Some(3), ..Choice::default() };
            let pieces = pieces(engine, &chosen).unwrap();
            let settings = of(&pieces, SETTINGS).unwrap();
            assert_eq!(settings.rule, Rule::Members, "{engine}");
            let index = &settings.body["template"]["settings"]["index"];
            assert_eq!(index, &json!({ "number_of_shards": "3" }), "{engine}");
        }
    }

    #[test]
    fn versions_and_limits_of_the_sources() {
        for source in &SOURCES {
            let template = Value::Object(source.read().unwrap());
            assert!(template["version"].as_u64().unwrap() >= 1, "{}", source.name);
            assert_eq!(template["version"], template["_meta"]["version"], "{}", source.name);
            assert_eq!(template["data_stream"].is_object(), !source.is_daily, "{}", source.name);
            let mappings = &template["template"]["mappings"];
            assert_eq!(mappings["dynamic"], false, "{}", source.name);
            let runtime = mappings["runtime"].as_object().map_or(0, Map::len);
            // Elasticsearch counts both; an index takes 1,000.
            let fields = count(&mappings["properties"]) + runtime;
            assert!((10..400).contains(&fields), "{}: {fields}", source.name);
        }
    }

    fn count(properties: &Value) -> usize {
        let all = properties.as_object().into_iter().flat_map(Map::values);
        all.map(|it| 1 + count(&it["properties"])).sum()
    }
}
