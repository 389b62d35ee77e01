//! The checks, as data: what is sent and what has to come back. To add one, add an entry.
//!
//! In paths, headers and lines `{i}` is the index, `{u}` begins an `_id` that nobody else uses, `{length}` is the
//! length of the body before compression; `{1}` to `{3}` are good items (two lines each), `{bad}` is an action
//! and `{doc}` a document, `{long}` is 300 KB of text, `{deep}` a list in a list, 10⁵ times.
//!
//! What clients say and how they suffer is told from these: Filebeat 7.17.29, Logstash's output 12.1.6, Fluent
//! Bit 5.1.1, Vector 0.58.0, elasticsearch-py 8.19.3 and 9.5.1, rsyslog 8.2302, Telegraf 1.37.2.

use super::want::{
    self,
    Harm::{self, Duplicate, Loss, Refused, Stuck},
    Item, Want,
};

/// What one shipper says, with the headers that it sends on every request.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Media type of its bulk bodies.
    pub(super) media: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) checks: &'static [Check],
}

/// A request, and what its answer has to be.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) lines: &'static [&'static str],
    pub(super) form: Form,
    pub(super) wants: &'static [Want],
    /// What it costs when an answer is not as wanted, and who suffers how.
    pub(super) harm: Harm,
    pub(super) who: &'static str,
}

/// How lines become a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Plain,
    Crlf,
    /// Without the last line feed.
    Unended,
    Gzip(u32),
    /// The first half of what [`Form::Gzip`] gives.
    CutGzip,
    /// Bytes that nobody can read.
    Garbled,
}

const fn get(name: &'static str, path: &'static str, wants: &'static [Want]) -> Check {
    let (headers, lines, form, harm) = (&[], &[], Form::Plain, Stuck);
    Check { name, method: "GET", path, headers, lines, form, wants, harm, who: "" }
}

const fn head(name: &'static str, path: &'static str, wants: &'static [Want]) -> Check {
    Check { method: "HEAD", ..get(name, path, wants) }
}

const fn bulk(name: &'static str, lines: &'static [&'static str], wants: &'static [Want]) -> Check {
    Check { method: "POST", lines, ..get(name, "/_bulk", wants) }
}

impl Check {
    const fn put(self) -> Self {
        Self { method: "PUT", ..self }
    }

    const fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn costs(self, harm: Harm, who: &'static str) -> Self {
        Self { harm, who, ..self }
    }

    /// Whether it asks for something to be stored.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.method, "GET" | "HEAD")
    }
}

/// Filebeat 7.17.29 was given 200, 400, 401, 403, 404, 405 and 500 to each request of its set-up. It went on with
/// these two; with 400 as well where it asks for X-Pack, of which it then uses nothing.
const THERE_OR_NOT: &[u16] = &[200, 404];
const OK: Want = Want::Status(&[200]);
const VERSION: Want = Want::Text("/version/number");
const PRODUCT: Want = Want::Header("x-elastic-product", "Elasticsearch");
const ONE: &[Item] = &[Item::Stored];
const TWO: &[Item] = &[Item::Stored, Item::Stored];
const THREE: &[Item] = &[Item::Stored, Item::Stored, Item::Stored];
/// A bad item between good ones.
const BETWEEN: &[Item] = &[Item::Stored, Item::Failed, Item::Stored];

const FILTERED: &str = "/_bulk?filter_path=errors,items.*.error,items.*.status";
const AS_8: &[(&str, &str)] = &[
    ("content-type", "application/vnd.elasticsearch+x-ndjson; compatible-with=8"),
    ("accept", "application/vnd.elasticsearch+json; compatible-with=8"),
];
const AS_9: &[(&str, &str)] = &[
    ("content-type", "application/vnd.elasticsearch+x-ndjson; compatible-with=9"),
    ("accept", "application/vnd.elasticsearch+json; compatible-with=9"),
];

const PAIR: &[&str] = &["{1}", "{2}"];
const MALFORMED: &[&str] = &["{1}", "{bad}", r#"{"n":1,"message":"cut"#, "{2}"];
/// Operations of two kinds, and ids that do not rise.
const MIXED: &[&str] = &[
    r#"{"index":{"_index":"{i}","_id":"{u}z"}}"#,
    r#"{"n":1,"message":"first"}"#,
    r#"{"create":{"_index":"{i}","_id":"{u}m"}}"#,
    r#"{"n":2,"message":"second"}"#,
    r#"{"index":{"_index":"{i}","_id":"{u}b"}}"#,
    r#"{"n":3,"message":"third"}"#,
    r#"{"create":{"_index":"{i}","_id":"{u}a"}}"#,
    r#"{"n":4,"message":"fourth"}"#,
];

const ON_CONNECT: &str = "Filebeat tries to connect again and again and sends nothing";
const ON_SET_UP: &str = "Filebeat with set-up on, its default, starts over and sends nothing";
const NO_START: &str = "Logstash finds no compatible version: the pipeline does not start";
const CLIENT_RAISES: &str =
    "elasticsearch-py, -js and -go raise, though all was stored: sent again";
const POISON: &str = "Filebeat and Logstash send the batch for ever; Vector and rsyslog drop it";
const AS_ELASTICSEARCH: &str = "the whole batch is refused, as Elasticsearch does";
const TELEGRAF: &str = "Telegraf does not connect its output";

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "Filebeat 7.17",
        media: "application/json; charset=UTF-8",
        headers: &[
            ("user-agent", "Elastic-filebeat/7.17.29 (linux; amd64)"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("x-elastic-product-origin", "beats"),
        ],
        checks: &[
            get("GET /", "/", &[OK, VERSION]).costs(Stuck, ON_CONNECT),
            get(
                "GET /_license",
                "/_license?human=false",
                &[OK, Want::Text("/license/status"), Want::Text("/license/type")],
            )
            .costs(Stuck, ON_CONNECT),
            get("GET /, again", "/", &[OK, VERSION]).costs(Stuck, ON_CONNECT),
            get("GET /_xpack", "/_xpack", &[Want::SetUp(&[200, 400])]).costs(Stuck, ON_SET_UP),
            get("GET of the ILM policy", "/_ilm/policy/filebeat", &[Want::SetUp(THERE_OR_NOT)])
                .costs(Stuck, ON_SET_UP),
            head(
                "HEAD of the index template",
                "/_index_template/filebeat-7.17.29",
                &[Want::SetUp(THERE_OR_NOT)],
            )
            .costs(Stuck, ON_SET_UP),
            get("GET of the alias", "/_alias/filebeat-7.17.29", &[Want::SetUp(THERE_OR_NOT)])
                .costs(Stuck, ON_SET_UP),
            head("HEAD of the index", "/filebeat-7.17.29", &[Want::SetUp(THERE_OR_NOT)])
                .costs(Stuck, ON_SET_UP),
            get("GET / before the first batch", "/", &[OK, VERSION]).costs(Stuck, ON_CONNECT),
            bulk("bulk, gzip", &["{1}", "{2}", "{3}"], &[Want::Items(THREE)])
                .form(Form::Gzip(1))
                .costs(Stuck, "Filebeat sends the same batch for ever"),
            bulk("bulk, one document malformed", MALFORMED, &[Want::Items(BETWEEN)])
                .costs(Stuck, "Filebeat sends the same batch for ever, or takes all as stored"),
        ],
    },
    Group {
        name: "Logstash output 12",
        media: "application/json",
        headers: &[
            (
                "user-agent",
                "Logstash/9.1.0 (OS=Linux; JVM=21) logstash-output-elasticsearch/12.1.6",
            ),
            ("accept-encoding", "gzip,deflate"),
            ("x-elastic-product-origin", "logstash-output-elasticsearch"),
        ],
        checks: &[
            head("HEAD /", "/", &[OK])
                .costs(Stuck, "Logstash takes the URL as dead and tries it again every 5 s"),
            get("GET /", "/", &[OK, VERSION, Want::Is(want::logstash_believes)])
                .costs(Refused, NO_START),
            get(
                "GET / names a build flavor",
                "/",
                &[Want::Noted(&Want::Text("/version/build_flavor"))],
            )
            .costs(Stuck, "Logstash warns; it cannot tell serverless from the rest"),
            get("GET /_license", "/_license", &[OK, Want::Text("/license/status")])
                .costs(Stuck, "Logstash takes the URL as dead and tries it again every 5 s"),
            bulk(
                "bulk, gzip, filter_path, nulls",
                &[
                    r#"{"create":{"_id":null,"_index":"{i}","routing":null}}"#,
                    "{doc}",
                    r#"{"index":{"_id":"{u}2","_index":"{i}","routing":null}}"#,
                    "{doc}",
                ],
                &[Want::Items(TWO)],
            )
            .path(FILTERED)
            .headers(&[
                ("x-elastic-event-count", "2"),
                ("x-elastic-uncompressed-request-length", "{length}"),
            ])
            .form(Form::Gzip(1))
            .costs(Stuck, "Logstash sends the same batch for ever"),
            bulk("bulk, filter_path, one fails", MALFORMED, &[Want::Items(BETWEEN)])
                .path(FILTERED)
                .headers(&[
                    ("x-elastic-event-count", "3"),
                    ("x-elastic-uncompressed-request-length", "{length}"),
                ])
                .form(Form::Gzip(1))
                .costs(Stuck, "Logstash sends the same batch for ever, or takes all as stored"),
        ],
    },
    Group {
        name: "Fluent Bit",
        media: "application/x-ndjson",
        headers: &[("user-agent", "Fluent-Bit")],
        checks: &[
            bulk("bulk", PAIR, &[Want::Items(TWO)])
                .costs(Stuck, "Fluent Bit repeats the chunk up to retry_limit, then drops it"),
            bulk(
                "errors and items, side by side",
                PAIR,
                &[Want::Noted(&Want::Literal(r#""errors":false,"items":["#))],
            )
            .costs(
                Stuck,
                "Fluent Bit searches for it where an answer exceeds Buffer_Size: repeats",
            ),
        ],
    },
    Group {
        name: "Vector",
        media: "application/x-ndjson",
        // Vector also offers zstd, deflate and br, which this program cannot read.
        headers: &[("user-agent", "Vector/0.58.0"), ("accept-encoding", "gzip")],
        checks: &[
            get("GET /", "/", &[Want::Noted(&VERSION)])
                .costs(Stuck, "Vector cannot choose its API version by itself: set api_version"),
            get("GET /_cluster/health", "/_cluster/health", &[Want::Noted(&OK)]).costs(
                Stuck,
                "Vector's health check fails; where that is required it does not start",
            ),
            bulk("bulk", PAIR, &[Want::Items(TWO)])
                .path("/_bulk?timeout=60s")
                .costs(Stuck, "Vector drops the batch on a 4xx other than 429"),
            bulk("errors, as plain text", MALFORMED, &[Want::Literal(r#""errors":true"#)])
                .path("/_bulk?timeout=60s")
                .costs(Loss, "Vector knows failures by this text; it drops what is refused whole"),
        ],
    },
    Group {
        name: "elasticsearch-py and -js",
        media: "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
        headers: &[],
        checks: &[
            get("GET / has the product header", "/", &[OK, PRODUCT])
                .costs(Refused, "elasticsearch-py and -js since 7.14, and Bento, refuse to work"),
            bulk("PUT /_bulk, compatible with 8", PAIR, &[Want::Items(TWO)])
                .put()
                .headers(AS_8)
                .costs(Refused, "elasticsearch-py 8 raises: it knows no other request"),
            bulk("POST /_bulk, compatible with 9", PAIR, &[Want::Items(TWO)])
                .headers(AS_9)
                .costs(Refused, "the clients of version 9 raise"),
            bulk("the bulk answer has the product header", &["{1}"], &[PRODUCT])
                .put()
                .headers(AS_8)
                .costs(Duplicate, CLIENT_RAISES),
            bulk("the bulk answer has a media type of JSON", &["{1}"], &[Want::Is(want::is_json)])
                .put()
                .headers(AS_8)
                .costs(
                    Duplicate,
                    "the client cannot read it and raises, though all was stored: sent again",
                ),
        ],
    },
    Group {
        name: "go-elasticsearch BulkIndexer",
        media: "application/json",
        headers: &[("user-agent", "go-elasticsearch/8.19.0")],
        checks: &[bulk(
            "POST /{index}/_bulk, index only in the path",
            &[r#"{"create":{}}"#, "{doc}", r#"{"create":{"_id":"{u}2"}}"#, "{doc}"],
            &[Want::Items(TWO)],
        )
        .path("/{i}/_bulk")
        .costs(Loss, "the BulkIndexer calls OnError and goes on: the batch is lost")],
    },
    Group {
        name: "rsyslog",
        media: "application/json; charset=utf-8",
        headers: &[("accept", "*/*")],
        checks: &[bulk(
            "bulk, blanks in the action line",
            &[r#"{"index":{"_index": "{i}","_id": "{u}1"}}"#, "{doc}"],
            &[Want::Items(ONE)],
        )
        .costs(Loss, "rsyslog writes the batch to its error file, or drops it")],
    },
    Group {
        name: "Telegraf",
        media: "application/x-ndjson",
        headers: &[("user-agent", "elastic/6.2.37 (linux-amd64)"), ("accept", "application/json")],
        checks: &[
            head("HEAD /", "/", &[OK]).costs(Refused, TELEGRAF),
            head("HEAD /, again", "/", &[OK]).costs(Refused, TELEGRAF),
            get("GET /", "/", &[OK, VERSION, Want::Is(want::telegraf_believes)])
                .costs(Refused, TELEGRAF),
            bulk(
                "bulk",
                &[r#"{"index":{"_index":"{i}","_id":"{u}1"}}"#, "{doc}"],
                &[Want::Items(ONE)],
            )
            .costs(Stuck, "Telegraf sends the whole batch again at each flush"),
        ],
    },
    Group {
        name: "sniffing clients",
        media: "",
        headers: &[],
        checks: &[get(
            "GET /_nodes/http names this address",
            "/_nodes/http",
            &[Want::Noted(&Want::Nodes)],
        )
        .costs(Stuck, "clients that sniff leave this address for the one that is named")],
    },
    Group { name: "contract", media: "application/x-ndjson", headers: &[], checks: CONTRACT },
];

const CONTRACT: &[Check] = &[
    bulk("one item for each action", MIXED, &[Want::Items(&[Item::Any; 4])])
        .costs(Loss, "shippers read the answer by position"),
    bulk("items in the order of the actions", MIXED, &[Want::Order])
        .costs(Loss, "a shipper repeats what was stored and forgets what failed"),
    bulk("each item under its operation's name", MIXED, &[Want::Same("")])
        .costs(Stuck, "clients that look an item up by its operation find none"),
    bulk("_index of each item", MIXED, &[Want::Noted(&Want::Same("_index"))])
        .costs(Stuck, "logs and dead letters of the shippers name another index"),
    bulk("_id of each item", MIXED, &[Want::Same("_id")])
        .costs(Duplicate, "clients cannot tell which document was stored"),
    bulk("errors is false when all is stored", PAIR, &[Want::Flag])
        .costs(Duplicate, "shippers take success for failure"),
    bulk("errors is true when one failed", MALFORMED, &[Want::Flag])
        .costs(Loss, "with errors:false nobody reads the items: failures are lost unseen"),
    bulk("a malformed document costs only itself", MALFORMED, &[Want::Items(BETWEEN)])
        .costs(Stuck, POISON),
    bulk(
        "text that is no JSON costs only itself",
        &["{1}", "{bad}", "plain text", "{2}"],
        &[Want::Items(BETWEEN)],
    )
    .costs(Stuck, POISON),
    bulk(
        "a list as document costs only itself",
        &["{1}", "{bad}", "[1,2]", "{2}"],
        &[Want::Items(BETWEEN)],
    )
    .costs(Stuck, POISON),
    bulk(
        "a field of the wrong type",
        &["{1}", "{bad}", r#"{"n":{"not":"a number"},"message":"x"}"#, "{2}"],
        &[Want::Items(&[Item::Stored, Item::FailedElseNote, Item::Stored])],
    )
    .costs(Stuck, "documents pass that Elasticsearch would refuse"),
    bulk(
        "a malformed action line",
        &["{1}", "nonsense", "{doc}", "{2}"],
        &[Want::ItemsOrRefusal(BETWEEN)],
    )
    .costs(Stuck, AS_ELASTICSEARCH),
    bulk(
        "an unknown operation",
        &["{1}", r#"{"insert":{"_index":"{i}","_id":"{u}bad"}}"#, "{doc}", "{2}"],
        &[Want::ItemsOrRefusal(BETWEEN)],
    )
    .costs(Stuck, AS_ELASTICSEARCH),
    bulk(
        "an action without index",
        &[r#"{"create":{}}"#, "{doc}", "{1}"],
        &[Want::ItemsOrRefusal(&[Item::Failed, Item::Stored])],
    )
    .costs(Stuck, AS_ELASTICSEARCH),
    bulk(
        "an index name that cannot be",
        &["{1}", r#"{"create":{"_index":"{i} UPPER","_id":"{u}bad"}}"#, "{doc}", "{2}"],
        &[Want::Items(BETWEEN)],
    )
    .costs(Loss, "documents are said to be stored where nobody will find them"),
    bulk(
        "create of what is there",
        &["{1}", "{1}", "{2}"],
        &[Want::Items(&[Item::Stored, Item::Conflict, Item::Stored])],
    )
    .costs(Duplicate, "a batch whose answer was lost is stored twice when sent again"),
    bulk(
        "delete of what is missing",
        &[r#"{"delete":{"_index":"{i}","_id":"{u}none"}}"#],
        &[Want::Items(&[Item::Missing])],
    )
    .costs(Loss, "clients that delete cannot tell what became of it"),
    bulk(
        "a line of 300 KB",
        &[
            "{1}",
            r#"{"create":{"_index":"{i}","_id":"{u}long"}}"#,
            r#"{"n":1,"message":"{long}"}"#,
            "{2}",
        ],
        &[Want::Items(&[Item::Stored, Item::StoredElseNote, Item::Stored])],
    )
    .costs(Stuck, "long events, such as audit events with bodies, do not arrive"),
    bulk(
        "JSON of 100000 levels costs only itself",
        &[
            "{1}",
            r#"{"create":{"_index":"{i}","_id":"{u}deep"}}"#,
            r#"{"n":1,"deep":{deep}}"#,
            "{2}",
        ],
        &[Want::Items(&[Item::Stored, Item::FailedElseNote, Item::Stored])],
    )
    .costs(Stuck, "whoever can write to a log stops everybody's logs"),
    bulk("blank lines between items", &["{1}", "", "{2}", ""], &[Want::Items(TWO)])
        .costs(Stuck, "the batch is not taken: sent again without end, or dropped"),
    bulk("lines that end in CR LF", PAIR, &[Want::Items(TWO)])
        .form(Form::Crlf)
        .costs(Stuck, "clients on Windows: the batch is not taken"),
    bulk("no line feed at the end", PAIR, &[Want::ItemsOrRefusal(TWO)])
        .form(Form::Unended)
        .costs(Stuck, AS_ELASTICSEARCH),
    bulk("gzip", PAIR, &[Want::Items(TWO)])
        .form(Form::Gzip(6))
        .costs(Stuck, "Filebeat and Logstash compress unless told otherwise"),
    bulk("gzip that is cut", &["{1}", "{2}", "{3}"], &[Want::Refused])
        .form(Form::CutGzip)
        .costs(Loss, "the part that did not arrive is taken as stored"),
    bulk("an encoding that nobody knows", PAIR, &[Want::Refused])
        .form(Form::Garbled)
        .costs(Loss, "what the target cannot read is taken as stored"),
    bulk("an empty body", &[], &[Want::Noted(&Want::Refused)])
        .costs(Stuck, "a client whose body got lost is told that all is well"),
    bulk("PUT as well as POST", PAIR, &[Want::Items(TWO)])
        .put()
        .costs(Loss, "elasticsearch-py 8 and 9 say PUT"),
    bulk("/{index}/_bulk", &[r#"{"index":{"_id":"{u}1"}}"#, "{doc}"], &[Want::Items(ONE)])
        .path("/{i}/_bulk")
        .costs(Refused, "the BulkIndexer of go-elasticsearch names the index only there"),
    bulk("the answer is compact JSON", PAIR, &[Want::Is(want::is_compact)])
        .costs(Loss, "Vector and Fluent Bit search for text without blanks: failures pass"),
    bulk("the answer has the product header", &["{1}"], &[PRODUCT]).costs(Duplicate, CLIENT_RAISES),
    bulk(
        "the answer's media type is the one asked for",
        &["{1}"],
        &[Want::Noted(&Want::Header(
            "content-type",
            "application/vnd.elasticsearch+json;compatible-with=8",
        ))],
    )
    .headers(AS_8)
    .costs(Stuck, "clients that insist on the type that they accept"),
];
