//! What is measured.

/// What is sent, how, and to which k8scop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) data: Data,
    /// Whether requests are compressed.
    pub(super) gzip: bool,
    /// Size of a request before it is compressed.
    pub(super) body_bytes: usize,
    /// Each sends one request after the other.
    pub(super) connections: usize,
    pub(super) rules: Rules,
    /// Worker threads of k8scop.
    pub(super) threads: usize,
    /// How k8scop compresses what it sends (`elasticsearch.compression_level`).
    pub(super) compression_level: u32,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Audit events, of 1.8 KB on average.
    Audit,
    /// Those of less than 1 KB.
    Small,
    /// The same with an answer of 18 KB in each.
    Big,
    /// Lines of a control plane.
    Lines,
    /// The same lines, of something else.
    Other,
}

/// The rules that k8scop has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    None,
    BuiltIn,
    /// So many generated ones and no others.
    Generated(usize),
    /// The built-in ones, and generated ones beside them: so many together.
    Together(usize),
}

const USUAL: Case = Case {
    name: "identity",
    about: "audit events in requests of 1 MB, built-in rules",
    data: Data::Audit,
    gzip: false,
    body_bytes: 1_000_000,
    connections: 4,
    rules: Rules::BuiltIn,
    threads: 1,
    compression_level: 0,
};

pub(super) const CASES: [Case; 18] = [
    USUAL,
    Case { name: "rules-0", about: "without rules", rules: Rules::None, ..USUAL },
    Case { name: "rules-20", about: "20 rules", rules: Rules::Generated(20), ..USUAL },
    Case {
        name: "rules-1000",
        about: "1,000 rules, the built-in ones among them",
        rules: Rules::Together(1000),
        ..USUAL
    },
    Case {
        name: "rules-10000",
        about: "10,000 rules, the built-in ones among them",
        rules: Rules::Together(10_000),
        ..USUAL
    },
    Case { name: "gzip", about: "requests compressed (gzip -1)", gzip: true, ..USUAL },
    Case { name: "gzip-out", about: "sent on compressed (gzip -1)", compression_level: 1, ..USUAL },
    Case { name: "body-100k", about: "requests of 100 KB", body_bytes: 100_000, ..USUAL },
    Case { name: "body-5m", about: "requests of 5 MB", body_bytes: 5_000_000, ..USUAL },
    Case { name: "body-10m", about: "requests of 10 MB", body_bytes: 10_000_000, ..USUAL },
    Case { name: "connections-1", about: "one connection", connections: 1, ..USUAL },
    Case { name: "connections-64", about: "64 connections", connections: 64, ..USUAL },
    Case {
        name: "connections-1000",
        about: "1,000 connections, requests of 20 KB",
        connections: 1000,
        body_bytes: 20_000,
        ..USUAL
    },
    Case { name: "small", about: "events below 1 KB", data: Data::Small, ..USUAL },
    Case { name: "big", about: "events of 20 KB", data: Data::Big, ..USUAL },
    Case { name: "threads-2", about: "two worker threads", threads: 2, ..USUAL },
    Case { name: "lines", about: "lines of a control plane", data: Data::Lines, ..USUAL },
    Case { name: "other", about: "the same lines, of something else", data: Data::Other, ..USUAL },
];

impl Case {
    /// Whether what is sent are audit events.
    pub(super) fn has_events(&self) -> bool {
        !matches!(self.data, Data::Lines | Data::Other)
    }
}
