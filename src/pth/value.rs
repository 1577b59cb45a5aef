//! The values that a pickle holds.

use tch::Kind;

use super::shown;

/// The values of one pickle. Values refer to each other by number, so that lists in themselves and nesting of any depth cost nothing.
#[derive(Debug)]
pub struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
}

pub(super) type Id = u32;

#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Name),
    NumpyType(String),
    Storage { kind: Kind, key: Id, numel: i64 },
    Tensor { storage: Id, offset: i64, size: Vec<i64>, stride: Vec<i64> },
}

/// The names a pickle may use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    NumpyScalar,
    NumpyType,
    Encode,
    Storage(Kind),
}

/// One value of a pickle.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pickle: &'a Pickle,
    id: Id,
}

/// A tensor as the file describes it: a strided view of a storage, in bounds.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    pub(super) kind: Kind,
    pub(super) key: &'a str,
    /// Elements of the storage.
    pub(super) numel: i64,
    pub(super) offset: i64,
    pub(super) stride: &'a [i64],
    pub(super) size: &'a [i64],
}

impl TensorRef<'_> {
    pub fn size(&self) -> &[i64] {
        self.size
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Pickle {
    pub fn root(&self) -> Value<'_> {
        Value { pickle: self, id: self.root }
    }

    /// Every tensor of the pickle, used or not.
    pub fn tensors(&self) -> impl Iterator<Item = TensorRef<'_>> {
        (0..self.nodes.len() as Id).filter_map(|id| Value { pickle: self, id }.tensor())
    }

    /// Key, kind and number of elements of every storage.
    pub(super) fn storages(&self) -> impl Iterator<Item = (&str, Kind, i64)> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage { kind, key, numel } => Some((Value { pickle: self, id: *key }.text()?, *kind, *numel)),
            _ => None,
        })
    }
}

impl<'a> Value<'a> {
    fn node(self) -> &'a Node {
        &self.pickle.nodes[self.id as usize]
    }

    fn with(self, id: Id) -> Value<'a> {
        Value { id, ..self }
    }

    /// Of a dict: the value at a text key; of two, the later.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.entries()?.rev().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Of a dict: keys and values in the order of the file.
    pub fn entries(self) -> Option<impl DoubleEndedIterator<Item = (Value<'a>, Value<'a>)>> {
        match self.node() {
            Node::Dict(entries) => Some(entries.iter().map(move |(key, value)| (self.with(*key), self.with(*value)))),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'a>>> {
        match self.node() {
            Node::List(items) => Some(items.iter().map(move |id| self.with(*id))),
            _ => None,
        }
    }

    pub fn text(self) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn int(self) -> Option<i128> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole or a floating-point number.
    pub fn number(self) -> Option<f64> {
        match self.node() {
            Node::Int(value) => Some(*value as f64),
            Node::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn tensor(self) -> Option<TensorRef<'a>> {
        let Node::Tensor { storage, offset, size, stride } = self.node() else { return None };
        let Node::Storage { kind, key, numel } = self.with(*storage).node() else { return None };
        Some(TensorRef { kind: *kind, key: self.with(*key).text()?, numel: *numel, offset: *offset, stride, size })
    }

    /// What this is, in a few words for a message.
    pub fn describe(self) -> String {
        match self.node() {
            Node::None => "None".into(),
            Node::Bool(value) => format!("the word {value}"),
            Node::Int(value) => format!("the number {value}"),
            Node::Float(value) => format!("the number {value}"),
            Node::Text(text) => format!("the text \"{}\"", shown(text)),
            Node::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Node::List(items) => format!("a list of {}", items.len()),
            Node::Dict(entries) => format!("a dict of {}", entries.len()),
            Node::Name(_) | Node::NumpyType(_) => "a name".into(),
            Node::Storage { .. } => "a storage".into(),
            Node::Tensor { size, .. } => format!("a tensor {size:?}"),
        }
    }
}
