use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use sha2::{Digest, Sha256};

/// Most answers that are kept.
const COPIES_MAX: usize = 512;
/// Largest answer that is kept (bytes). Filebeat's index template has 100 kB.
pub(super) const COPY_BYTES_MAX: usize = 1 << 20;
/// Most bytes of all copies together.
const ALL_BYTES_MAX: usize = 16 << 20;
/// The header that tells a copy from an answer.
pub(super) const COPY_HEADER: HeaderName = HeaderName::from_static("x-k8scop-copy");

/// The last good answers to what shippers ask when they start, for when Elasticsearch is down.
///
/// A copy is shown only to a client with the same credentials as the one that got the answer. They are kept as a
/// digest.
#[derive(Debug, Default)]
pub(super) struct Copies {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    copies: HashMap<Key, Copy>,
    bytes: usize,
}

/// What a copy answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    method: Method,
    path_and_query: String,
    accept: Option<HeaderValue>,
    credentials: [u8; 32],
}

/// An answer that was kept.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How it was asked for, to ask again.
    asked: HeaderMap,
}

impl Key {
    pub(super) fn new(method: &Method, path_and_query: &str, headers: &HeaderMap) -> Self {
        let mut digest = Sha256::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            digest.update((value.len() as u64).to_le_bytes());
            digest.update(value.as_bytes());
        }
        Self {
            method: method.clone(),
            path_and_query: path_and_query.to_owned(),
            accept: headers.get(header::ACCEPT).cloned(),
            credentials: digest.finalize().into(),
        }
    }
}

impl Copies {
    /// Keeps an answer if it is worth it: what is there (2xx) and what is not (404).
    pub(super) fn keep(&self, key: Key, asked: HeaderMap, copy: (StatusCode, HeaderMap, Bytes)) {
        let (status, headers, body) = copy;
        if !status.is_success() && status != StatusCode::NOT_FOUND || body.len() > COPY_BYTES_MAX {
            return;
        }
        let mut all = self.all();
        let old = all.copies.get(&key).map_or(0, |it| it.body.len());
        let bytes = all.bytes - old + body.len();
        let is_full = all.copies.len() >= COPIES_MAX && !all.copies.contains_key(&key);
        if is_full || bytes > ALL_BYTES_MAX {
            // Some shipper asks for ever new things. What the others asked is worth more.
            tracing::debug!("an answer is not kept: there are enough of them");
            return;
        }
        all.bytes = bytes;
        all.copies.insert(key, Copy { status, headers, body, asked });
    }

    /// The last good answer.
    pub(super) fn get(&self, key: &Key) -> Option<Copy> {
        self.all().copies.get(key).cloned()
    }

    /// What was not there when it was asked for: after something was set up it may be.
    pub(super) fn missing(&self) -> Vec<(Key, Method, String, HeaderMap)> {
        let all = self.all();
        let missing = all.copies.iter().filter(|(_, copy)| copy.status == StatusCode::NOT_FOUND);
        missing
            .map(|(key, copy)| {
                let (method, path) = (key.method.clone(), key.path_and_query.clone());
                (key.clone(), method, path, copy.asked.clone())
            })
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    fn answer(status: u16, bytes: usize) -> (StatusCode, HeaderMap, Bytes) {
        (StatusCode::from_u16(status).unwrap(), HeaderMap::new(), vec![b'x'; bytes].into())
    }

    #[test]
    fn a_copy_is_for_whoever_had_the_answer() {
        let copies = Copies::default();
        let key = |authorization| Key::new(&Method::GET, "/", &headers(authorization));
        copies.keep(key("Basic a"), HeaderMap::new(), answer(200, 10));
        assert!(copies.get(&key("Basic a")).is_some());
        assert!(copies.get(&key("Basic b")).is_none());
        assert!(copies.get(&Key::new(&Method::GET, "/", &HeaderMap::new())).is_none());
        assert!(copies.get(&Key::new(&Method::HEAD, "/", &headers("Basic a"))).is_none());
        copies.keep(key("Basic c"), HeaderMap::new(), answer(401, 10));
        assert!(copies.get(&key("Basic c")).is_none(), "only good answers are kept");
        assert!(!format!("{:?}", copies.all().copies.keys()).contains("Basic"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let copies = Copies::default();
        for number in 0..COPIES_MAX + 10 {
            let key = Key::new(&Method::GET, &format!("/{number}"), &HeaderMap::new());
            copies.keep(key, HeaderMap::new(), answer(404, 100_000));
        }
        let all = copies.all();
        assert!(all.copies.len() <= COPIES_MAX && all.bytes <= ALL_BYTES_MAX);
        assert_eq!(all.bytes, all.copies.len() * 100_000);
        drop(all);
        assert_eq!(copies.missing().len(), copies.all().copies.len());
    }
}
