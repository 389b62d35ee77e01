use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

use crate::json;

// One kind of token is read, with one algorithm, by a library that the program has for TLS already: a general one for
// JSON Web Tokens would bring a second implementation of RSA, and would read the clock itself.

/// Who signs Google's tokens ("OpenID Connect", Google Identity).
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// How far the clocks may be apart (seconds).
const LEEWAY_S: i64 = 60;
/// Longest token (bytes). Google's have about 1 kB.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Deepest header and claims (levels).
const DEPTH_MAX: usize = 16;

/// Public keys (RFC 7517), by their id.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// What a token must say.
#[derive(Debug)]
pub(super) struct Expected<'e> {
    pub(super) audience: &'e str,
    pub(super) email: &'e str,
    /// Seconds since 1970.
    pub(super) now_s: i64,
}

/// Why a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no token with RS256.
    Malformed,
    /// It names a key that is not among ours.
    UnknownKey,
    /// Its signature or a claim is wrong, or its time is over.
    Wrong,
}

impl Keys {
    /// Reads a key set: its RSA keys for signatures. Others are passed over.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_bytes| "it is no UTF-8")?.trim();
        json::check(text, DEPTH_MAX).map_err(|_error| "it is no JSON")?;
        let keys = json::get(text, "keys").ok_or("it is no key set: it has no `keys`")?;
        let keys: Vec<_> = json::elements(keys).filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err("it has no RSA key with kid, n and e");
        }
        Ok(Self(keys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    fn read(key: &str) -> Option<Self> {
        let text = |name| json::get(key, name).and_then(json::string);
        let number = |name| URL_SAFE_NO_PAD.decode(text(name)?.as_bytes()).ok();
        let is_rsa = text("kty")? == "RSA";
        let signs = text("use").is_none_or(|it| it == "sig");
        let fits = text("alg").is_none_or(|it| it == "RS256");
        (is_rsa && signs && fits).then_some(())?;
        Some(Self { id: text("kid")?.into_owned(), modulus: number("n")?, exponent: number("e")? })
    }
}

/// Checks a token: its signature first, then its claims.
pub(super) fn check(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<(), Refused> {
    let parts = || -> Option<(String, &str, &str, Vec<u8>)> {
        let (signed, signature) =
            token.rsplit_once('.').filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
        let (header, claims) = signed.split_once('.').filter(|(_, it)| !it.contains('.'))?;
        Some((object(header)?, signed, claims, URL_SAFE_NO_PAD.decode(signature).ok()?))
    };
    let (header, signed, claims, signature) = parts().ok_or(Refused::Malformed)?;
    let text = |name| json::get(&header, name).and_then(json::string);
    // Which algorithm is used is ours to say. An extension that must be understood (`crit`) is not.
    if text("alg").is_none_or(|it| it != "RS256") || json::get(&header, "crit").is_some() {
        return Err(Refused::Malformed);
    }
    let id = text("kid").ok_or(Refused::Malformed)?;
    let key = keys.0.iter().find(|it| it.id == id).ok_or(Refused::UnknownKey)?;
    RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .map_err(|_unspecified| Refused::Wrong)?;
    let claims = object(claims).ok_or(Refused::Malformed)?;
    if holds(&claims, expected) { Ok(()) } else { Err(Refused::Wrong) }
}

/// A part of a token: a JSON object.
fn object(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    (json::check(&text, DEPTH_MAX) == Ok(json::Kind::Object)).then(|| text.trim().to_owned())
}

fn holds(claims: &str, expected: &Expected<'_>) -> bool {
    let text = |name| json::get(claims, name).and_then(json::string);
    let time = |name| json::get(claims, name).map(|it| it.parse::<i64>().ok());
    let now = expected.now_s;
    // Not valid before some time: a token need not say so; if it does, it must be a time that can be read.
    let is_in_time = |name| match time(name) {
        None => true,
        Some(begins) => begins.is_some_and(|it| it <= now.saturating_add(LEEWAY_S)),
    };
    text("iss").is_some_and(|it| ISSUERS.contains(&it.as_ref()))
        && text("aud").is_some_and(|it| it == expected.audience)
        && text("email").is_some_and(|it| it == expected.email)
        && json::get(claims, "email_verified") == Some("true")
        && time("exp").flatten().is_some_and(|it| it > now.saturating_sub(LEEWAY_S))
        && is_in_time("iat")
        && is_in_time("nbf")
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use ring::{
        rand::SystemRandom,
        signature::{RSA_PKCS1_SHA256, RsaKeyPair},
    };

    use super::*;

    const AUDIENCE: &str = "https://k8scop.example/pubsub";
    const EMAIL: &str = "push@demo.iam.gserviceaccount.com";
    const NOW: i64 = 1_800_000_000;

    fn pair() -> RsaKeyPair {
        let der = include_bytes!("../../../tests/data/push/key.pk8");
        RsaKeyPair::from_pkcs8(der).unwrap()
    }

    fn key_set(id: &str) -> String {
        let pair = pair();
        let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!(
            r#"{{"keys":[{{"kty":"EC","kid":"e"}},{{"kid":"{id}","kty":"RSA","alg":"RS256","use":"sig","n":"{}","e":"{}"}}]}}"#,
            encode(&public.n),
            encode(&public.e)
        )
    }

    fn signed(header: &str, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let pair = pair();
        let mut signature = vec![0; pair.public().modulus_len()];
        let random = SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut claims = serde_json::json!({"iss": ISSUERS[0], "aud": AUDIENCE, "email": EMAIL, "email_verified": true,
            "exp": NOW + 3000, "iat": NOW - 600, "azp": "1", "sub": "1"});
        change(&mut claims);
        claims.to_string()
    }

    const HEADER: &str = r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#;

    #[track_caller]
    fn check(token: &str, expected: Result<(), Refused>) {
        let keys = Keys::parse(key_set("k1").as_bytes()).unwrap();
        let says = Expected { audience: AUDIENCE, email: EMAIL, now_s: NOW };
        assert_eq!(super::check(token, &keys, &says), expected, "{token}");
    }

    #[test]
    fn good_tokens() {
        check(&signed(HEADER, &claims(|_| ())), Ok(()));
        check(&signed(HEADER, &claims(|it| it["iss"] = ISSUERS[1].into())), Ok(()));
        check(&signed(HEADER, &claims(|it| it["exp"] = (NOW - 30).into())), Ok(()));
    }

    #[test]
    fn wrong_claims() {
        let wrong = |name: &str, value: serde_json::Value| {
            check(&signed(HEADER, &claims(|it| it[name] = value.clone())), Err(Refused::Wrong));
        };
        for name in ["iss", "aud", "email", "email_verified", "exp"] {
            wrong(name, serde_json::Value::Null);
            wrong(name, "x".into());
            let without = claims(|it| drop(it.as_object_mut().unwrap().remove(name)));
            check(&signed(HEADER, &without), Err(Refused::Wrong));
        }
        wrong("aud", serde_json::json!([AUDIENCE]));
        wrong("email_verified", false.into());
        wrong("email_verified", "true".into());
        wrong("exp", (NOW - 61).into());
        wrong("exp", 1e300.into());
        wrong("iat", (NOW + 61).into());
        wrong("nbf", (NOW + 61).into());
        wrong("nbf", "soon".into());
    }

    #[test]
    fn wrong_signatures() {
        let good = signed(HEADER, &claims(|_| ()));
        let (text, signature) = good.rsplit_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(claims(|it| it["sub"] = "2".into()));
        let header = text.split_once('.').unwrap().0;
        check(&format!("{header}.{other}.{signature}"), Err(Refused::Wrong));
        check(&format!("{text}."), Err(Refused::Wrong));
        check(&format!("{text}.AAAA"), Err(Refused::Wrong));
        // Without a signature, or with one that anybody can make with the public key.
        for header in [
            r#"{"alg":"none","kid":"k1"}"#,
            r#"{"alg":"HS256","kid":"k1"}"#,
            r#"{"alg":"RS512","kid":"k1"}"#,
            r#"{"alg":"rs256","kid":"k1"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":"k1","crit":["exp"]}"#,
            r#"{"kid":"k1"}"#,
            "[]",
        ] {
            check(&signed(header, &claims(|_| ())), Err(Refused::Malformed));
        }
        check(&signed(r#"{"alg":"RS256","kid":"k2"}"#, &claims(|_| ())), Err(Refused::UnknownKey));
        for malformed in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            &format!("{good}.a"),
            &format!("{good}="),
            &"a".repeat(9000),
        ] {
            check(malformed, Err(Refused::Malformed));
        }
    }

    #[test]
    fn key_sets() {
        for wrong in [
            "",
            "x",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"RSA","kid":"k","n":"!","e":"AQAB"}]}"#,
        ] {
            assert!(Keys::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let encrypts = key_set("k1").replace("\"sig\"", "\"enc\"");
        assert!(Keys::parse(encrypts.as_bytes()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text(token in "[a-zA-Z0-9_=.-]{0,64}", keys in any::<Vec<u8>>()) {
            Keys::parse(&keys).ok();
            let says = Expected { audience: AUDIENCE, email: EMAIL, now_s: NOW };
            let keys = Keys::parse(key_set("k1").as_bytes()).unwrap();
            prop_assert!(super::check(&token, &keys, &says).is_err());
        }
    }
}
