//! What a pickle may name, and what that means here. Nothing else is known, and nothing here is Python's.

use tch::Kind;

use super::Problem;
use super::unpickle::Machine;
use super::value::{Id, Name, Node};

type Result<T> = std::result::Result<T, Problem>;

impl Name {
    pub(super) fn find(module: &str, name: &str) -> Result<Name> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            // The reference's learning rate is a number of NumPy's, with its bytes as text in pickle protocol 2.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Name::NumpyScalar,
            ("numpy", "dtype") => Name::NumpyType,
            ("_codecs", "encode") => Name::Encode,
            ("torch", "FloatStorage") => Name::Storage(Kind::Float),
            ("torch", "DoubleStorage") => Name::Storage(Kind::Double),
            ("torch", "HalfStorage") => Name::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Name::Storage(Kind::BFloat16),
            ("torch", "LongStorage") => Name::Storage(Kind::Int64),
            ("torch", "IntStorage") => Name::Storage(Kind::Int),
            ("torch", "ShortStorage") => Name::Storage(Kind::Int16),
            ("torch", "CharStorage") => Name::Storage(Kind::Int8),
            ("torch", "ByteStorage") => Name::Storage(Kind::Uint8),
            ("torch", "BoolStorage") => Name::Storage(Kind::Bool),
            _ => return Err(Problem::call(module, name)),
        })
    }
}

impl Machine<'_> {
    /// A function applied to its arguments.
    pub(super) fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Node::Name(name), Node::List(arguments)) = (self.node(function), self.node(arguments)) else {
            return Err(self.damaged("a call of what is no function"));
        };
        match (name, &arguments[..]) {
            (Name::OrderedDict, []) => self.push(Node::Dict(Vec::new())),
            (Name::RebuildTensor, [storage, offset, size, stride, _, _] | [storage, offset, size, stride, _, _, _]) => {
                let tensor = self.tensor(*storage, *offset, *size, *stride);
                self.push(tensor.ok_or_else(|| self.damaged("a tensor reaches out of its storage, or is not one"))?)
            }
            (Name::RebuildParameter, [data, _, _]) if matches!(self.node(*data), Node::Tensor { .. }) => {
                self.stack.push(*data);
                Ok(())
            }
            (Name::NumpyType, [word, _, _]) => match self.node(*word) {
                Node::Text(word) if word.len() < 4 => self.push(Node::NumpyType(word.clone())),
                _ => Err(self.damaged("a type of NumPy's that is not read here")),
            },
            (Name::NumpyScalar, [kind, bytes]) => {
                let scalar = self.scalar(*kind, *bytes);
                self.push(scalar.ok_or_else(|| self.damaged("a number of NumPy's of a type that is not read here"))?)
            }
            (Name::Encode, [text, encoding]) => {
                let bytes = self.latin1(*text, *encoding);
                self.push(bytes.ok_or_else(|| self.damaged("bytes that are no number"))?)
            }
            _ => Err(self.damaged(&format!("{name:?} with {} arguments", arguments.len()))),
        }
    }

    /// A view of a storage, if it is one and keeps its bounds.
    fn tensor(&self, storage: Id, offset: Id, size: Id, stride: Id) -> Option<Node> {
        let length = |id: Id| match self.node(id) {
            Node::Int(n) => i64::try_from(*n).ok().filter(|n| *n >= 0),
            _ => None,
        };
        let lengths = |id: Id| match self.node(id) {
            Node::List(items) if items.len() <= 8 => items.iter().map(|id| length(*id)).collect::<Option<Vec<i64>>>(),
            _ => None,
        };
        let Node::Storage { numel, .. } = self.node(storage) else { return None };
        let (offset, size, stride) = (length(offset)?, lengths(size)?, lengths(stride)?);
        if size.len() != stride.len() {
            return None;
        }
        size.iter().try_fold(1i64, |product, n| product.checked_mul(*n))?;
        let empty = size.contains(&0);
        let last = size.iter().zip(&stride).try_fold(offset, |at, (n, step)| at.checked_add((n - 1).max(0).checked_mul(*step)?))?;
        (if empty { offset <= *numel } else { last < *numel }).then_some(Node::Tensor { storage, offset, size, stride })
    }

    /// A number of NumPy's: its type and its bytes.
    fn scalar(&self, kind: Id, bytes: Id) -> Option<Node> {
        let (Node::NumpyType(kind), Node::Bytes(bytes)) = (self.node(kind), self.node(bytes)) else { return None };
        Some(match (kind.as_str(), &bytes[..]) {
            ("f8", bytes) => Node::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            ("f4", bytes) => Node::Float(f32::from_le_bytes(bytes.try_into().ok()?).into()),
            ("i8", bytes) => Node::Int(i64::from_le_bytes(bytes.try_into().ok()?).into()),
            ("b1", [byte]) => Node::Bool(*byte != 0),
            _ => return None,
        })
    }

    /// The few bytes of one number.
    fn latin1(&self, text: Id, encoding: Id) -> Option<Node> {
        let (Node::Text(text), Node::Text(encoding)) = (self.node(text), self.node(encoding)) else { return None };
        let bytes = text.chars().map(|letter| u8::try_from(letter).ok());
        (encoding == "latin1" && text.len() <= 16).then(|| bytes.collect::<Option<Vec<u8>>>().map(Node::Bytes)).flatten()
    }

    /// Attributes of an object: those that PyTorch gives its dicts (`_metadata`) say nothing about the weights, those of a type of NumPy's
    /// tell which end of a number is first.
    pub(super) fn build(&mut self) -> Result<()> {
        let attributes = self.pop()?;
        match (self.node(self.top()?), self.node(attributes)) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (Node::NumpyType(_), Node::List(parts)) => match parts.get(1).map(|order| self.node(*order)) {
                Some(Node::Text(order)) if order == "<" || order == "|" => Ok(()),
                _ => Err(self.damaged("a number with the big end first")),
            },
            _ => Err(self.damaged("attributes of what has none")),
        }
    }

    /// A reference to bytes outside the pickle: ("storage", type, key, device, elements) and, in the old layout, None for "not a view".
    pub(super) fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let Node::List(parts) = self.node(id) else { return Err(self.damaged("a reference that is no tuple")) };
        let [word, name, key, _, numel, view @ ..] = &parts[..] else { return Err(self.damaged("a reference that is no storage")) };
        let storage = match (self.node(*word), self.node(*name), self.node(*key), self.node(*numel)) {
            (Node::Text(word), Node::Name(Name::Storage(kind)), Node::Text(_), Node::Int(numel)) if word == "storage" => {
                let bytes = i64::try_from(*numel).ok().filter(|n| *n >= 0).and_then(|n| n.checked_mul(kind.elt_size_in_bytes() as i64));
                bytes.map(|_| Node::Storage { kind: *kind, key: *key, numel: *numel as i64 })
            }
            _ => None,
        };
        match (storage, view) {
            (Some(storage), []) => self.push(storage),
            (Some(storage), [view]) if matches!(self.node(*view), Node::None) => self.push(storage),
            _ => Err(self.damaged("a reference that is no storage")),
        }
    }
}
