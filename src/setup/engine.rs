use std::fmt;

use serde_json::Value;

/// What a cluster is, as far as it decides what it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// OpenSearch, not Elasticsearch.
    pub is_opensearch: bool,
    /// The first number of its version.
    pub major: u32,
    /// The second one.
    pub minor: u32,
}

/// How a cluster deletes what is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// The data stream itself: no longer a preview in Elasticsearch 8.14.
    Stream,
    /// Index lifecycle management of Elasticsearch.
    Ilm,
    /// Index state management of OpenSearch.
    Ism,
}

/// Oldest versions for which there is anything: `max_primary_shard_size` is in ILM since Elasticsearch 7.13, and in
/// ISM since OpenSearch 2.
const OLDEST: [(bool, (u32, u32)); 2] = [(false, (7, 13)), (true, (2, 0))];

impl Engine {
    /// Reads the answer to `GET /`.
    #[must_use]
    pub fn read(answer: &Value) -> Option<Self> {
        let version = answer.get("version")?;
        let is_opensearch =
            version.get("distribution").and_then(Value::as_str) == Some("opensearch");
        let (major, minor) = numbers(version.get("number")?.as_str()?)?;
        // With `compatibility.override_main_response_version` OpenSearch 1 and 2 say that they are 7.10.2.
        let (major, minor) = if is_opensearch && major == 7 { (2, 0) } else { (major, minor) };
        Some(Self { is_opensearch, major, minor })
    }

    /// Reads what was typed: `elasticsearch-8.19` or `opensearch-2.19.6`.
    pub fn typed(text: &str) -> Result<Self, String> {
        let (name, version) = text.split_once(['-', ':']).unwrap_or((text, ""));
        let is_opensearch = match name {
            "elasticsearch" => false,
            "opensearch" => true,
            _ => return Err("needs elasticsearch-8.19 or opensearch-3.6".into()),
        };
        let (major, minor) =
            numbers(version).ok_or("needs a version, such as elasticsearch-8.19")?;
        Self { is_opensearch, major, minor }.known()
    }

    /// The engine, if it is not too old.
    pub fn known(self) -> Result<Self, String> {
        let oldest = OLDEST.iter().find(|(is_opensearch, _)| *is_opensearch == self.is_opensearch);
        match oldest {
            Some((_, oldest)) if (self.major, self.minor) < *oldest => Err(format!(
                "{self} is too old: Elasticsearch 7.13 and OpenSearch 2.0 are the first that can be set up"
            )),
            _ => Ok(self),
        }
    }

    fn is_elasticsearch_since(self, major: u32, minor: u32) -> bool {
        !self.is_opensearch && (self.major, self.minor) >= (major, minor)
    }

    /// Whether a mapping has fields that are read from `_source` when a query asks. Elasticsearch 7.17.29 fails there
    /// on more than 100 values of a document; OpenSearch has none (`root mapping definition has unsupported
    /// parameters`, 3.6.0).
    #[must_use]
    pub fn has_runtime_fields(self) -> bool {
        self.is_elasticsearch_since(8, 0)
    }

    /// Whether an index template may name component templates that do not exist: Elasticsearch 8.7
    /// (elastic/elasticsearch#92436). OpenSearch 3.6.0 does not know the option.
    #[must_use]
    pub fn ignores_missing_components(self) -> bool {
        self.is_elasticsearch_since(8, 7)
    }

    /// How it deletes what is old.
    #[must_use]
    pub fn lifecycle(self) -> Lifecycle {
        match self {
            _ if self.is_opensearch => Lifecycle::Ism,
            _ if self.is_elasticsearch_since(8, 14) => Lifecycle::Stream,
            _ => Lifecycle::Ilm,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_opensearch { "OpenSearch" } else { "Elasticsearch" };
        write!(f, "{name} {}.{}", self.major, self.minor)
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']);
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().map_or(Some(0), |it| it.parse().ok())?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_engines_can() {
        for (text, runtime, missing, lifecycle) in [
            ("elasticsearch-7.17.29", false, false, Lifecycle::Ilm),
            ("elasticsearch-8.6", true, false, Lifecycle::Ilm),
            ("elasticsearch-8.7", true, true, Lifecycle::Ilm),
            ("elasticsearch-8.13.4", true, true, Lifecycle::Ilm),
            ("elasticsearch-8.14", true, true, Lifecycle::Stream),
            ("elasticsearch-9", true, true, Lifecycle::Stream),
            ("elasticsearch:9.4.0-SNAPSHOT", true, true, Lifecycle::Stream),
            ("opensearch-2.19.6", false, false, Lifecycle::Ism),
            ("opensearch-10.0", false, false, Lifecycle::Ism),
        ] {
            let engine = Engine::typed(text).unwrap();
            let found = (
                engine.has_runtime_fields(),
                engine.ignores_missing_components(),
                engine.lifecycle(),
            );
            assert_eq!(found, (runtime, missing, lifecycle), "{text}");
        }
        for wrong in ["", "8.19", "elasticsearch", "solr-9", "elasticsearch-x", "opensearch-1.3"] {
            assert!(Engine::typed(wrong).is_err(), "{wrong}");
        }
        assert!(Engine::typed("elasticsearch-7.12").unwrap_err().contains("too old"));
    }

    #[test]
    fn what_clusters_say() {
        let read = |version: Value| Engine::read(&json!({ "version": version }));
        let engine = |is_opensearch, major, minor| Some(Engine { is_opensearch, major, minor });
        assert_eq!(read(json!({ "number": "8.19.21" })), engine(false, 8, 19));
        let opensearch =
            |number: &str| read(json!({ "number": number, "distribution": "opensearch" }));
        assert_eq!(opensearch("3.6.0"), engine(true, 3, 6));
        assert_eq!(opensearch("7.10.2"), engine(true, 2, 0));
        assert_eq!(read(json!({})), None);
        assert_eq!(Engine::read(&json!("<html>")), None);
    }
}
