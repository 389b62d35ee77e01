//! One walk through a body for all paths that rules look at in it.

use super::{
    fields::NESTED_ARRAYS_MAX,
    literals::FieldLiterals,
    plain::root,
    view::{View, expanded},
};
use crate::json::{self, Kind};

/// All fields that start at the same objects.
#[derive(Debug)]
pub(super) struct Tree {
    root: usize,
    fields: Vec<FieldLiterals>,
    nodes: Vec<Node>,
}

/// A place that paths go through.
#[derive(Debug, Default)]
struct Node {
    /// The next names of these paths, and the place of their nodes.
    next: Vec<(Box<str>, usize)>,
    /// The field whose path ends here.
    field: Option<usize>,
}

/// Called with the rules whose texts were found, and whether it is sure that they stand in a value.
pub(super) type Take<'t> = &'t mut dyn FnMut(&[u32], bool);

impl Tree {
    /// A tree of no fields yet, for those that [`root`] says start there.
    pub(super) fn new(root: usize) -> Self {
        Self { root, fields: Vec::new(), nodes: vec![Node::default()] }
    }

    /// The place in [`root`]'s order of the objects that it starts at.
    pub(super) fn root(&self) -> usize {
        self.root
    }

    pub(super) fn add(&mut self, field: FieldLiterals) {
        let path = root(field.field()).map_or("", |(_, path)| path);
        let mut at = 0;
        for name in path.split('.') {
            let end = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match node.next.iter().find(|it| &*it.0 == name) {
                Some((_, next)) => *next,
                None => {
                    node.next.push((name.into(), end));
                    self.nodes.push(Node::default());
                    end
                }
            };
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.field = Some(self.fields.len());
            self.fields.push(field);
        }
    }

    /// Calls `take` with the rules whose texts stand in its fields.
    pub(super) fn find(&self, view: &View<'_>, take: Take<'_>) {
        let event = view.event;
        if self.root < 2 && (event.is_odd || event.has_others) {
            // There may be other members that these paths go through.
            return self.fields.iter().for_each(|it| it.find(view, take));
        }
        let mut walk = |it: &str| self.walk(it, 0, NESTED_ARRAYS_MAX, take);
        match self.root {
            0 => event.request_object.into_iter().flat_map(expanded).for_each(|it| walk(&it)),
            1 => event.response_object.into_iter().flat_map(expanded).for_each(|it| walk(&it)),
            2 => view.objects().iter().for_each(|it| walk(it)),
            3 => view.pods().iter().for_each(|it| walk(it)),
            _ => view.containers().iter().for_each(|it| walk(it)),
        }
    }

    fn walk(&self, value: &str, at: usize, arrays_left: usize, take: Take<'_>) {
        let Some(node) = self.nodes.get(at) else { return };
        let field = node.field.and_then(|it| self.fields.get(it));
        match json::kind(value) {
            Kind::Object => {
                if let Some(field) = field {
                    field.found(None, take);
                }
                for member in json::members(value) {
                    self.step(node, member.raw_key, member.value, take);
                }
            }
            Kind::Array => {
                let mut elements = json::elements(value).peekable();
                match field {
                    Some(field) if elements.peek().is_none() => field.found(None, take),
                    _ if arrays_left > 0 => {
                        elements.for_each(|it| self.walk(it, at, arrays_left - 1, take));
                    }
                    _ => (),
                }
            }
            Kind::Null => (),
            Kind::String => {
                if let Some(field) = field {
                    field.found(json::string(value).as_deref(), take);
                }
            }
            Kind::Number | Kind::Bool => {
                if let Some(field) = field {
                    field.found(Some(value), take);
                }
            }
        }
    }

    /// Goes on below a member, on all paths that go through it.
    fn step(&self, node: &Node, raw_key: &str, value: &str, take: Take<'_>) {
        if !raw_key.contains(['.', '_', '\\']) {
            if let Some((_, next)) = node.next.iter().find(|it| &*it.0 == raw_key) {
                self.walk(value, *next, NESTED_ARRAYS_MAX, take);
            }
        } else if let Some(key) = json::decode(raw_key)
            && !key.is_empty()
        {
            self.step_dotted(node, &key, value, take);
        }
    }

    /// The same for a key that may hold several names: see [`super::fields::below`].
    fn step_dotted(&self, node: &Node, key: &str, value: &str, take: Take<'_>) {
        for (name, next) in &node.next {
            match key.strip_prefix(&**name) {
                Some("") => self.walk(value, *next, NESTED_ARRAYS_MAX, take),
                Some(rest) => {
                    let rest = rest.strip_prefix(['.', '_']);
                    if let (Some(rest), Some(node)) = (rest, self.nodes.get(*next)) {
                        self.step_dotted(node, rest, value, take);
                    }
                }
                None => (),
            }
        }
    }
}
