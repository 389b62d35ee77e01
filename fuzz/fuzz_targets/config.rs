//! The configuration: what is wrong is told with its line or its option, no message shows a secret, and what is
//! accepted is within its limits.

#![no_main]

use std::time::Duration;

use k8scop::config::{self, ConfigError, OutputConfig, Overrides};
use k8scop_fuzz::last_line;

/// Stands where secrets stand.
const SECRET: &str = "s3cret-0f9a";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut raw = match config::parse(text) {
        Ok(raw) => raw,
        Err((line, reason)) => {
            let lines = last_line(text);
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {reason}");
            assert!(!reason.is_empty());
            return;
        }
    };
    // Nothing is read but the text: `file:` and paths of rules could be anything on this machine.
    raw.rules.paths.clear();
    raw.rules.built_in = data.len().is_multiple_of(32);
    (raw.tls, raw.admin_tls) = (None, None);
    let own =
        raw.auth.iter_mut().flat_map(|it| [&mut it.password, &mut it.api_key, &mut it.bearer]);
    let theirs = [&mut raw.elasticsearch.api_key, &mut raw.elasticsearch.password];
    for secret in own.chain(theirs).flatten() {
        secret.0 = SECRET.into();
    }
    // A host is shown, in lower case and decoded: it must not be what is looked for.
    let hides =
        !text.to_ascii_lowercase().contains(SECRET) && text.is_ascii() && !text.contains('%');
    if let Some((scheme, rest)) = raw.output.split_once("://") {
        // Only where it is a password: behind a name, in front of the last `@` of the host.
        let host = rest.split(['/', '?', '#', '\\', ',']).next().unwrap_or_default();
        if !host.contains('@') && matches!(scheme, "http" | "https") {
            raw.output = format!("{scheme}://user:{SECRET}@{rest}");
        }
    }
    let limits = raw.limits.clone();
    match config::meant(raw, Overrides::default()) {
        Ok(config) => {
            assert!(!hides || !format!("{config:?}").contains(SECRET), "a secret is shown");
            assert!((8..=1000).contains(&config.policy.depth_max));
            assert!(config.policy.items_max > 0 && config.connections_max > 0);
            let largest = config.limits.body_bytes_max.max(config.limits.decoded_bytes_max);
            assert!(largest > 0 && config.in_flight_bytes_max >= largest);
            let day = Duration::from_secs(24 * 60 * 60);
            for wait in [
                config.limits.body_idle_timeout,
                config.limits.request_deadline,
                config.header_read_timeout,
                config.shutdown_grace,
            ] {
                assert!(!wait.is_zero() && wait <= day);
            }
            assert!(k8scop::prepare::is_namespace(&config.policy.namespace));
            match &config.output {
                OutputConfig::Elasticsearch(it) => {
                    assert!(!it.urls.is_empty());
                    for url in &it.urls {
                        assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
                        assert!(url.username().is_empty() && url.password().is_none(), "{url}");
                    }
                }
                OutputConfig::File(it) => assert!(!it.dir.as_os_str().is_empty()),
            }
        }
        Err(ConfigError::Options(wrong)) => {
            assert!(!wrong.is_empty());
            for line in &wrong {
                assert!(line.contains(": "), "no option is named: {line}");
                assert!(!hides || !line.contains(SECRET), "a secret is shown: {line}");
            }
            assert!(
                limits.depth_max > 1000
                    || limits.depth_max < 8
                    || !wrong.join("\n").contains("limits.depth_max:")
            );
        }
        Err(other) => panic!("nothing else was read: {other}"),
    }
});
