use super::text;

/// Writes a checked JSON text as Elasticsearch does for `?pretty` (7.17.29 and 8.19.21 alike): two blanks a
/// level, ` : `, `{ }` and `[ ]` when empty, a newline at the end.
///
/// A level costs two blanks a line, so a text that is deep and wide grows by its depth; limit the depth before.
#[must_use]
pub fn pretty(json: &str) -> String {
    let bytes = json.as_bytes();
    let mut out = String::with_capacity(json.len() + json.len() / 2);
    let (mut at, mut depth) = (0, 0_usize);
    let mut is_fresh = false;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if is_fresh {
                    out.push(' ');
                } else {
                    line(&mut out, depth);
                }
                is_fresh = false;
                out.push(char::from(byte));
                continue;
            }
            _ => (),
        }
        if is_fresh {
            line(&mut out, depth);
        }
        is_fresh = false;
        match byte {
            b'{' | b'[' => {
                out.push(char::from(byte));
                depth += 1;
                is_fresh = true;
            }
            b',' => {
                out.push(',');
                line(&mut out, depth);
            }
            b':' => out.push_str(" : "),
            b'"' => {
                at = string_end(bytes, at);
                out.push_str(json.get(start..at).unwrap_or_default());
            }
            _ => {
                let rest = bytes.get(at..).unwrap_or_default();
                at += rest.iter().take_while(|it| is_in_word(**it)).count();
                out.push_str(json.get(start..at).unwrap_or_default());
            }
        }
    }
    out.push('\n');
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Where the string ends whose first quote stands before `at`: behind its last quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += text::plain_len(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Whether a byte goes on with a number or a literal.
fn is_in_word(byte: u8) -> bool {
    !matches!(byte, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer of Elasticsearch 8.19.21 without and with `?pretty`, cut down.
    #[test]
    fn as_elasticsearch_prints_it() {
        let compact = r#"{"errors":true,"took":7,"items":[{"index":{"_id":"1","_shards":{"total":2},"status":200}},{"create":{"status":400,"error":{"reason":"For input string: \"x\", {[:]}"}}}]}"#;
        let expected = r#"{
  "errors" : true,
  "took" : 7,
  "items" : [
    {
      "index" : {
        "_id" : "1",
        "_shards" : {
          "total" : 2
        },
        "status" : 200
      }
    },
    {
      "create" : {
        "status" : 400,
        "error" : {
          "reason" : "For input string: \"x\", {[:]}"
        }
      }
    }
  ]
}
"#;
        assert_eq!(pretty(compact), expected);
        assert_eq!(pretty(expected), expected, "blanks do not count");
    }

    #[test]
    fn empty_and_scalar() {
        let compact = r#"{"a":{},"b":[],"c":[{}],"h":[[]],"k":[{"x":-1.5e3},null,[1]]}"#;
        let expected = r#"{
  "a" : { },
  "b" : [ ],
  "c" : [
    { }
  ],
  "h" : [
    [ ]
  ],
  "k" : [
    {
      "x" : -1.5e3
    },
    null,
    [
      1
    ]
  ]
}
"#;
        assert_eq!(pretty(compact), expected);
        assert_eq!(pretty("{}"), "{ }\n");
        assert_eq!(pretty("\"\""), "\"\"\n");
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        scalar.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn means_the_same(value in values()) {
            let printed = pretty(&value.to_string());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        }

        #[test]
        fn any_text_stops_nothing(text in any::<String>()) {
            prop_assert!(pretty(&text).ends_with('\n'));
        }
    }
}
