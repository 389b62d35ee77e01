//! The bodies of an event in the form that is asked for. One pass over each: what stays is copied in runs.
//!
//! What is refused was tried with Elasticsearch 7.17.29, 8.19.21 and 9.4.3 and OpenSearch 3.6.0. Under
//! `enabled: false`, as in our template: a key that is there twice, a number of more than 1,000 digits. In an
//! object with `properties`, as in Elastic's own template: keys that are empty, of dots or blanks only, or with
//! nothing before a dot; and a body that is no object. Under `flattened` (no OpenSearch has it): keys with U+0000,
//! more than 20 objects inside one another (arrays are not counted), a path and value of more than 32,766 bytes
//! together, and a body that is no object and no list of objects.

use std::borrow::Cow;

use super::audit::{Objects, written};
use crate::json::{self, Kind};

/// A member whose content a client of the API server chooses.
pub(super) struct Body {
    pub(super) name: &'static str,
    /// Its name when it is JSON text.
    pub(super) raw_name: &'static str,
}

pub(super) const BODIES: [Body; 2] = [
    Body { name: "requestObject", raw_name: "requestObject_raw" },
    Body { name: "responseObject", raw_name: "responseObject_raw" },
];

/// Most levels of a body. The deepest seen (a CustomResourceDefinition's schema) has 38.
const LEVELS_MAX: usize = 64;
/// Most objects inside one another under `flattened`: its default `depth_limit`.
const FLATTENED_OBJECTS_MAX: usize = 20;
/// Longest path of keys under `flattened`. Our template indexes values of up to 8,191 UTF-16 units there
/// (`ignore_above`), which are 24,573 bytes at most.
const FLATTENED_PATH_BYTES_MAX: usize = 8192;
/// Most keys of one body that are renamed: each is compared with those beside it.
const RENAMED_MAX: usize = 64;
/// What `slim` keeps of `metadata`.
const SLIM_METADATA: [&str; 6] =
    ["name", "generateName", "namespace", "labels", "annotations", "ownerReferences"];

/// What a form of bodies allows.
#[derive(Clone, Copy)]
struct Form {
    metadata: Metadata,
    /// Whether keys and depth are changed to what Elasticsearch takes.
    mends: bool,
    objects_max: usize,
    path_bytes_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Stays,
    Goes,
    Slim,
}

const DROP_METADATA: Form = Form {
    metadata: Metadata::Goes,
    mends: true,
    objects_max: LEVELS_MAX,
    path_bytes_max: usize::MAX,
};
const SLIM: Form = Form { metadata: Metadata::Slim, ..DROP_METADATA };
const FLATTENED: Form = Form {
    metadata: Metadata::Stays,
    mends: true,
    objects_max: FLATTENED_OBJECTS_MAX,
    path_bytes_max: FLATTENED_PATH_BYTES_MAX,
};
const TEXT: Form = Form { metadata: Metadata::Stays, mends: false, ..DROP_METADATA };

/// Writes a body with its key. Whether it, or a part of it, became a string though `objects` does not say so.
pub(super) fn write(
    body: &Body,
    raw_key: &str,
    value: &str,
    objects: Objects,
    out: &mut String,
) -> bool {
    let form = match objects {
        Objects::DropMetadata => DROP_METADATA,
        Objects::Slim => SLIM,
        Objects::Flattened => FLATTENED,
        Objects::String => {
            write_text(body, value, out);
            return false;
        }
        Objects::Full => {
            super::overlay::push_member(out, raw_key, value);
            return false;
        }
    };
    let start = out.len();
    out.push('"');
    out.push_str(raw_key);
    out.push_str("\":");
    if let Ok(has_text) = Walk::of(value, form, out).body() {
        return has_text;
    }
    out.truncate(start);
    write_text(body, value, out);
    true
}

/// Writes a body as JSON text. One that is a string, as AKS writes it for a body that is too large, stays as it is.
fn write_text(body: &Body, value: &str, out: &mut String) {
    out.push('"');
    out.push_str(body.raw_name);
    out.push_str("\":");
    if json::kind(value) == Kind::String {
        out.push_str(value);
        return;
    }
    let mut text = String::with_capacity(value.len());
    match Walk::of(value, TEXT, &mut text).body() {
        Ok(_) => json::push_string(out, &text),
        Err(Unfit) => json::push_string(out, value),
    }
}

/// A body that cannot be written as an object.
struct Unfit;

/// Whose members are being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The body, or an item of a list.
    Resource { is_item: bool },
    /// Its `metadata`.
    Metadata,
    /// Its `items`.
    Items,
    /// Anything else.
    Other,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place {
    of: Of,
    levels: usize,
    objects: usize,
    path_bytes: usize,
}

/// One pass over a checked body.
struct Walk<'t, 'o> {
    text: &'t str,
    at: usize,
    /// What stands before is written or left out.
    written: usize,
    form: Form,
    renamed: usize,
    has_text: bool,
    out: &'o mut String,
}

impl<'t, 'o> Walk<'t, 'o> {
    fn of(text: &'t str, form: Form, out: &'o mut String) -> Self {
        Self { text, at: 0, written: 0, form, renamed: 0, has_text: false, out }
    }

    fn body(mut self) -> Result<bool, Unfit> {
        let of = Of::Resource { is_item: false };
        let place = Place { of, levels: 0, objects: 0, path_bytes: 0 };
        if self.form.mends && !self.is_object_or_objects() {
            return Err(Unfit);
        }
        self.value(place)?;
        self.write_to(self.text.len());
        Ok(self.has_text)
    }

    /// Also true of `null`, which is no value to Elasticsearch.
    fn is_object_or_objects(&self) -> bool {
        match json::kind(self.text) {
            Kind::Object | Kind::Null => true,
            // A JSON patch.
            Kind::Array => json::elements(self.text).all(|it| json::kind(it) == Kind::Object),
            _ => false,
        }
    }

    fn value(&mut self, place: Place) -> Result<(), Unfit> {
        let opening = self.peek();
        let objects = place.objects + usize::from(opening == Some(b'{'));
        let inside = Place { levels: place.levels + 1, objects, ..place };
        let fits = inside.levels <= LEVELS_MAX && objects <= self.form.objects_max;
        match opening {
            Some(b'{') if fits => return self.object(inside),
            Some(b'[') if fits => return self.array(inside),
            Some(b'{' | b'[') if self.form.mends => self.as_text(),
            _ => self.skip(),
        }
        Ok(())
    }

    fn object(&mut self, place: Place) -> Result<(), Unfit> {
        let open = self.at;
        self.at += 1;
        self.blanks();
        // Where what stays ends, so that a comma behind it can go with what goes.
        let mut stays = open + 1;
        let mut is_first = true;
        while self.peek() == Some(b'"') {
            let start = self.at;
            let raw_key = self.key();
            let is_plain = is_plain(raw_key);
            let name = if is_plain { Cow::Borrowed(raw_key) } else { name(raw_key) };
            if self.drops(place.of, &name) {
                self.write_to(stays);
                self.skip();
                self.blanks();
                let comma = self.at;
                let has_next = self.comma();
                self.written = if is_first && has_next { self.at } else { comma };
                continue;
            }
            let name = if !is_plain && self.form.mends && is_refused(&name) {
                Cow::Owned(self.rename(open, start, raw_key, &name)?)
            } else {
                name
            };
            let path_bytes = place.path_bytes.saturating_add(name.len() + 1);
            if path_bytes > self.form.path_bytes_max {
                return Err(Unfit);
            }
            self.value(Place { of: self.below(place.of, &name), path_bytes, ..place })?;
            stays = self.at;
            is_first = false;
            self.blanks();
            self.comma();
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, place: Place) -> Result<(), Unfit> {
        let of = match place.of {
            Of::Items => Of::Resource { is_item: true },
            _ => Of::Other,
        };
        self.at += 1;
        self.blanks();
        while self.peek().is_some_and(|it| it != b']') {
            self.value(Place { of, ..place })?;
            self.blanks();
            self.comma();
        }
        self.at += 1;
        Ok(())
    }

    fn drops(&self, of: Of, name: &str) -> bool {
        let is_own = |it: &str| match self.form.metadata {
            Metadata::Stays => false,
            Metadata::Goes => it == "metadata" && of == Of::Resource { is_item: false },
            Metadata::Slim => it == "status",
        };
        name == "managedFields"
            || match of {
                Of::Resource { .. } => is_own(name),
                Of::Metadata => !SLIM_METADATA.contains(&name),
                Of::Items | Of::Other => false,
            }
    }

    fn below(&self, of: Of, name: &str) -> Of {
        match (of, name) {
            (Of::Resource { .. }, "metadata") if self.form.metadata == Metadata::Slim => {
                Of::Metadata
            }
            (Of::Resource { is_item: false }, "items") => Of::Items,
            _ => Of::Other,
        }
    }

    /// Writes another key for the one at `start`, in the object that opens at `open`; gives it back.
    fn rename(
        &mut self,
        open: usize,
        start: usize,
        raw_key: &str,
        name: &str,
    ) -> Result<String, Unfit> {
        self.renamed += 1;
        let new = renamed(name);
        let beside = json::members(self.text.get(open..).unwrap_or_default());
        let called = beside.filter(|it| {
            let name = self::name(it.raw_key);
            *name == *new || (is_refused(&name) && renamed(&name) == new)
        });
        // One is the key itself.
        if self.renamed > RENAMED_MAX || called.take(2).count() > 1 {
            return Err(Unfit);
        }
        self.write_to(start);
        self.out.push('"');
        self.out.push_str(&written(&new));
        self.out.push('"');
        self.written = start + raw_key.len() + 2;
        Ok(new)
    }

    /// Writes the value here as a string of JSON.
    fn as_text(&mut self) {
        self.write_to(self.at);
        self.skip();
        json::push_string(self.out, self.text.get(self.written..self.at).unwrap_or_default());
        self.written = self.at;
        self.has_text = true;
    }

    fn write_to(&mut self, end: usize) {
        if let Some(run) = self.text.get(self.written..end) {
            self.out.push_str(run);
            self.written = end;
        }
    }

    /// Reads a key, to the start of its value.
    fn key(&mut self) -> &'t str {
        let start = self.at + 1;
        self.string();
        let raw_key = self.text.get(start..self.at.saturating_sub(1)).unwrap_or_default();
        self.blanks();
        self.at += 1;
        self.blanks();
        raw_key
    }

    /// Goes behind the value here.
    fn skip(&mut self) {
        self.at = json::value_end(self.text, self.at).unwrap_or(self.text.len());
    }

    /// Goes behind the string here.
    fn string(&mut self) {
        self.at = json::string_end(self.text, self.at + 1).unwrap_or(self.text.len());
    }

    fn comma(&mut self) -> bool {
        let is_there = self.peek() == Some(b',');
        if is_there {
            self.at += 1;
            self.blanks();
        }
        is_there
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn name(raw_key: &str) -> Cow<'_, str> {
    json::decode(raw_key).unwrap_or(Cow::Borrowed(raw_key))
}

/// Whether a key has no escape and is surely taken by Elasticsearch: most are.
fn is_plain(raw_key: &str) -> bool {
    let bytes = raw_key.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_graphic)
        && !bytes.iter().any(|it| matches!(it, b'.' | b'\\'))
}

/// Whether Elasticsearch refuses a key. One that ends in a dot it takes for the same without: two would be one.
fn is_refused(name: &str) -> bool {
    name.contains('\0') || name.split('.').any(|it| it.trim().is_empty())
}

fn renamed(name: &str) -> String {
    let new = name.replace(['.', '\0'], "_");
    if new.trim().is_empty() { "_".into() } else { new }
}

#[cfg(test)]
mod tests;
