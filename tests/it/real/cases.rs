//! Requests that are sent to Elasticsearch and to k8scop.

/// What is sent: name, path, headers and lines. `{i}` is the index; `{i}-strict` takes no unknown fields,
/// `{i}-blocked` no writes, `{i}-stream` is a data stream, `{i}-alias` an alias of the index, `{i}-pipeline` a
/// pipeline that does nothing.
pub struct Case(
    pub &'static str,
    pub &'static str,
    pub &'static [(&'static str, &'static str)],
    pub &'static [&'static str],
);

pub const BULK: &str = "/_bulk";
pub const IN_INDEX: &str = "/{i}/_bulk";
pub const NO_HEADERS: &[(&str, &str)] = &[];
pub const GZIP: &[(&str, &str)] = &[("content-encoding", "gzip")];
pub const VENDORED: &[(&str, &str)] = &[
    ("content-type", "application/vnd.elasticsearch+x-ndjson; compatible-with=8"),
    ("accept", "application/vnd.elasticsearch+json; compatible-with=8"),
];

/// In this order: what one leaves, the next ones find.
pub const CASES: &[Case] = &[
    Case("create", BULK, NO_HEADERS, &[r#"{"create":{"_index":"{i}","_id":"1"}}"#, r#"{"n":1}"#]),
    Case(
        "create what is there",
        BULK,
        NO_HEADERS,
        &[r#"{"create":{"_index":"{i}","_id":"1"}}"#, r#"{"n":1}"#],
    ),
    Case("index", BULK, NO_HEADERS, &[r#"{"index":{"_index":"{i}","_id":"2"}}"#, r#"{"n":2}"#]),
    Case(
        "index what is there",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"2"}}"#, r#"{"n":3}"#],
    ),
    Case(
        "no _id",
        BULK,
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}"}}"#,
            r#"{"n":4}"#,
            r#"{"create":{"_index":"{i}"}}"#,
            r#"{"message":"x"}"#,
        ],
    ),
    Case(
        "update",
        BULK,
        NO_HEADERS,
        &[r#"{"update":{"_index":"{i}","_id":"2"}}"#, r#"{"doc":{"n":5}}"#],
    ),
    Case(
        "update to the same",
        BULK,
        NO_HEADERS,
        &[r#"{"update":{"_index":"{i}","_id":"2"}}"#, r#"{"doc":{"n":5}}"#],
    ),
    Case(
        "update and bring the document",
        BULK,
        NO_HEADERS,
        &[r#"{"update":{"_index":"{i}","_id":"2","_source":true}}"#, r#"{"doc":{"n":6}}"#],
    ),
    Case(
        "update what is missing",
        BULK,
        NO_HEADERS,
        &[r#"{"update":{"_index":"{i}","_id":"no"}}"#, r#"{"doc":{"n":1}}"#],
    ),
    Case(
        "update or insert",
        BULK,
        NO_HEADERS,
        &[
            r#"{"update":{"_index":"{i}","_id":"3"}}"#,
            r#"{"doc":{"n":1},"doc_as_upsert":true}"#,
            r#"{"update":{"_index":"{i}","_id":"4"}}"#,
            r#"{"doc":{"n":1},"upsert":{"n":7}}"#,
            r#"{"update":{"_index":"{i}","_id":"4","retry_on_conflict":2}}"#,
            r#"{"doc":{"n":1},"upsert":{"n":7}}"#,
        ],
    ),
    Case(
        "update by a script",
        BULK,
        NO_HEADERS,
        &[
            r#"{"update":{"_index":"{i}","_id":"2"}}"#,
            r#"{"script":{"source":"ctx._source.n = 1"}}"#,
        ],
    ),
    Case("delete", BULK, NO_HEADERS, &[r#"{"delete":{"_index":"{i}","_id":"3"}}"#]),
    Case("delete what is missing", BULK, NO_HEADERS, &[r#"{"delete":{"_index":"{i}","_id":"3"}}"#]),
    Case(
        "all at once",
        BULK,
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}","_id":"10"}}"#,
            r#"{"message":"first"}"#,
            r#"{"delete":{"_index":"{i}","_id":"none"}}"#,
            r#"{"create":{"_index":"{i}","_id":"10"}}"#,
            r#"{"message":"second"}"#,
            r#"{"update":{"_index":"{i}","_id":"none"}}"#,
            r#"{"doc":{"n":1}}"#,
            r#"{"index":{"_index":"{i}","_id":"11"}}"#,
            r#"{"n":"no number"}"#,
            r#"{"delete":{"_index":"{i}","_id":"10"}}"#,
            r#"{"create":{"_index":"{i}","_id":"10"}}"#,
            r#"{"message":"third"}"#,
        ],
    ),
    Case(
        "a field of the wrong type",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"5"}}"#, r#"{"n":{"not":"a number"}}"#],
    ),
    Case(
        "a date that is none",
        BULK,
        NO_HEADERS,
        &[r#"{"create":{"_index":"{i}","_id":"5"}}"#, r#"{"at":"yesterday"}"#],
    ),
    Case(
        "an unknown field",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}-strict","_id":"1"}}"#, r#"{"unknown":1}"#],
    ),
    Case(
        "an index without writes",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}-blocked","_id":"1"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "an index that comes into being",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}-new","_id":"1"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "a name that no index can have",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}-UPPER","_id":"1"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "two indices, one good",
        BULK,
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}-Bad"}}"#,
            r#"{"n":1}"#,
            r#"{"index":{"_index":"{i}","_id":"6"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    Case(
        "gzip",
        BULK,
        GZIP,
        &[r#"{"create":{"_index":"{i}","_id":"7"}}"#, r#"{"message":"ä\u00e4€"}"#],
    ),
    Case(
        "the index in the path",
        IN_INDEX,
        NO_HEADERS,
        &[r#"{"create":{}}"#, r#"{"n":1}"#, r#"{"index":{"_id":"8"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "the index in path and action",
        IN_INDEX,
        NO_HEADERS,
        &[
            r#"{"create":{"_index":"{i}-new","_id":"2"}}"#,
            r#"{"n":1}"#,
            r#"{"create":{"_id":"9"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    Case(
        "a pipeline",
        "/_bulk?pipeline={i}-pipeline",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"12"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "a pipeline that is missing",
        "/_bulk?pipeline=none-{i}",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"13"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "pipelines in actions",
        "/_bulk?pipeline={i}-pipeline",
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}","_id":"14","pipeline":"none-{i}"}}"#,
            r#"{"n":1}"#,
            r#"{"index":{"_index":"{i}","_id":"15","pipeline":"_none"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    Case(
        "refresh",
        "/_bulk?refresh=true",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"16"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "refresh, bare",
        "/_bulk?refresh",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"16"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "wait for the refresh",
        "/_bulk?refresh=wait_for&timeout=30s",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"17"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "a refresh that is none",
        "/_bulk?refresh=perhaps",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"18"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "an unknown parameter",
        "/_bulk?nonsense=1",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"19"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "an alias is required",
        "/_bulk?require_alias=true",
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}","_id":"20"}}"#, r#"{"n":1}"#],
    ),
    Case(
        "an alias is required and there",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index":"{i}-alias","_id":"21","require_alias":true}}"#, r#"{"n":1}"#],
    ),
    Case(
        "routing",
        "/_bulk?routing=one",
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}","_id":"22"}}"#,
            r#"{"n":1}"#,
            r#"{"delete":{"_index":"{i}","_id":"22","routing":"two"}}"#,
        ],
    ),
    Case(
        "another writer was faster",
        BULK,
        NO_HEADERS,
        &[
            r#"{"index":{"_index":"{i}","_id":"1","if_seq_no":99,"if_primary_term":1}}"#,
            r#"{"n":1}"#,
            r#"{"index":{"_index":"{i}","_id":"23","version":5,"version_type":"external"}}"#,
            r#"{"n":1}"#,
            r#"{"index":{"_index":"{i}","_id":"23","version":4,"version_type":"external"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    Case(
        "a data stream",
        BULK,
        NO_HEADERS,
        &[
            r#"{"create":{"_index":"{i}-stream","_id":"1"}}"#,
            r#"{"@timestamp":"2026-11-22T06:15:31Z"}"#,
            r#"{"create":{"_index":"{i}-stream","_id":"1"}}"#,
            r#"{"@timestamp":"2026-11-22T06:15:31Z"}"#,
            r#"{"index":{"_index":"{i}-stream"}}"#,
            r#"{"@timestamp":"2026-11-22T06:15:31Z"}"#,
            r#"{"create":{"_index":"{i}-stream"}}"#,
            r#"{"message":"no time"}"#,
        ],
    ),
    Case(
        "a data stream is required",
        "/_bulk?require_data_stream=true",
        NO_HEADERS,
        &[
            r#"{"create":{"_index":"{i}-stream"}}"#,
            r#"{"@timestamp":"2026-11-22T06:15:31Z"}"#,
            r#"{"create":{"_index":"{i}"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    Case(
        "nulls, as Logstash sends them",
        BULK,
        NO_HEADERS,
        &[r#"{"create":{"_id":null,"_index":"{i}","routing":null}}"#, r#"{"n":1}"#],
    ),
    Case(
        "blanks, as rsyslog sends them",
        BULK,
        NO_HEADERS,
        &[r#"{"index":{"_index": "{i}", "_id" : "24"}}"#, r#" {"n": 1} "#],
    ),
    Case(
        "media types of the clients",
        BULK,
        VENDORED,
        &[r#"{"create":{"_index":"{i}","_id":"25"}}"#, r#"{"n":1}"#],
    ),
    Case("no action", BULK, NO_HEADERS, &[""]),
];

/// Items for which Elasticsearch refuses everything that is in the same request: action line and, where there is
/// one, document. k8scop refuses the item and delivers its neighbours.
pub const POISON: &[(&str, &[&str])] = &[
    ("no action line", &["nonsense", r#"{"n":1}"#]),
    ("an action that is cut", &[r#"{"index":{"_index":"{i}""#, r#"{"n":1}"#]),
    ("an unknown action", &[r#"{"insert":{"_index":"{i}"}}"#, r#"{"n":1}"#]),
    ("an unknown parameter", &[r#"{"index":{"_index":"{i}","colour":"red"}}"#, r#"{"n":1}"#]),
    ("a parameter of the wrong type", &[r#"{"index":{"_index":["{i}"]}}"#, r#"{"n":1}"#]),
    ("no index", &[r#"{"index":{}}"#, r#"{"n":1}"#]),
    ("an _id that is too long", &[r#"{"index":{"_index":"{i}","_id":"{long}"}}"#, r#"{"n":1}"#]),
    ("delete without _id", &[r#"{"delete":{"_index":"{i}"}}"#]),
    ("update without _id", &[r#"{"update":{"_index":"{i}"}}"#, r#"{"doc":{}}"#]),
    ("an update that is cut", &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":{"#]),
    ("an update of nothing", &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{}"#]),
    (
        "an update of both kinds",
        &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":{},"script":"x"}"#],
    ),
    (
        "an update of another kind",
        &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"document":{}}"#],
    ),
    (
        "create with a version",
        &[r#"{"create":{"_index":"{i}","version":3,"version_type":"external"}}"#, r#"{"n":1}"#],
    ),
];

/// Items that are refused by both while their neighbours are stored.
pub const SPOILT: &[(&str, &[&str])] = &[
    ("an empty document", &[r#"{"index":{"_index":"{i}"}}"#, ""]),
    ("no document but a list", &[r#"{"index":{"_index":"{i}"}}"#, "[]"]),
    ("a document that is cut", &[r#"{"index":{"_index":"{i}"}}"#, r#"{"n":1"#]),
    ("a document with a key twice", &[r#"{"index":{"_index":"{i}"}}"#, r#"{"n":1,"n":2}"#]),
    ("a document of the wrong type", &[r#"{"index":{"_index":"{i}"}}"#, r#"{"n":"one"}"#]),
];

/// Items that k8scop leaves to Elasticsearch: the whole request is refused, in Elasticsearch's words. No shipper
/// sends such.
pub const WHOLE: &[(&str, &[&str])] = &[
    ("an update of the wrong type", &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":5}"#]),
    (
        "a flag of the wrong type",
        &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":{},"doc_as_upsert":"perhaps"}"#],
    ),
    (
        "a version type that is none",
        &[
            r#"{"index":{"_index":"{i}","_id":"1","version":3,"version_type":"newest"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    (
        "a version without number",
        &[r#"{"index":{"_index":"{i}","_id":"1","version":"three"}}"#, r#"{"n":1}"#],
    ),
    ("a version without _id", &[r#"{"index":{"_index":"{i}","version":3}}"#, r#"{"n":1}"#]),
    (
        "a sequence number without term",
        &[r#"{"index":{"_index":"{i}","_id":"1","if_seq_no":3}}"#, r#"{"n":1}"#],
    ),
    (
        "a sequence number below zero",
        &[
            r#"{"index":{"_index":"{i}","_id":"1","if_seq_no":-5,"if_primary_term":1}}"#,
            r#"{"n":1}"#,
        ],
    ),
    (
        "an upsert with a sequence number",
        &[
            r#"{"update":{"_index":"{i}","_id":"1","if_seq_no":3,"if_primary_term":1}}"#,
            r#"{"doc":{},"doc_as_upsert":true}"#,
        ],
    ),
    (
        "update with a version",
        &[
            r#"{"update":{"_index":"{i}","_id":"1","version":3,"version_type":"external"}}"#,
            r#"{"doc":{}}"#,
        ],
    ),
    (
        "require_alias of the wrong type",
        &[r#"{"index":{"_index":"{i}","require_alias":"perhaps"}}"#, r#"{"n":1}"#],
    ),
];

/// Requests that are no bulk requests pass through: method, path, body.
pub const OTHERS: &[(&str, &str, &str)] = &[
    ("GET", "/", ""),
    ("HEAD", "/", ""),
    ("GET", "/?pretty", ""),
    ("GET", "/_license", ""),
    ("GET", "/_license?human=false", ""),
    ("GET", "/_xpack", ""),
    ("HEAD", "/{i}", ""),
    ("HEAD", "/{i}-none", ""),
    ("GET", "/{i}-none", ""),
    ("GET", "/{i}/_mapping", ""),
    ("HEAD", "/_index_template/{i}-other", ""),
    (
        "PUT",
        "/_index_template/{i}-other",
        r#"{"index_patterns":["{i}-other*"],"priority":1,"template":{"mappings":{"dynamic":false}}}"#,
    ),
    ("GET", "/_index_template/{i}-other", ""),
    ("PUT", "/_index_template/{i}-other", r#"{"index_patterns":[],"nonsense":1}"#),
    ("HEAD", "/_index_template/{i}-other", ""),
    ("DELETE", "/_index_template/{i}-other", ""),
    ("GET", "/_alias/{i}-alias", ""),
    ("GET", "/_ilm/policy/{i}", ""),
    (
        "PUT",
        "/%3C{i}-%7Bnow%2Fd%7D-000001%3E",
        r#"{"aliases":{"{i}-rolled":{"is_write_index":true}}}"#,
    ),
    ("PUT", "/{i}/_doc/one?refresh=true", r#"{"n":1,"message":"ä"}"#),
    ("GET", "/{i}/_doc/one", ""),
    ("GET", "/{i}/_doc/none", ""),
    ("POST", "/{i}/_count", r#"{"query":{"term":{"_id":"one"}}}"#),
    ("POST", "/{i}/_count", r#"{"query":{"nonsense":{}}}"#),
    ("GET", "/_cluster/health/{i}?filter_path=status,number_of_nodes", ""),
    ("GET", "/_bulk", ""),
    ("DELETE", "/_bulk", ""),
    ("GET", "/{i}/_nonsense", ""),
    ("DELETE", "/{i}-new", ""),
];
