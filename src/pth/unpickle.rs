//! Pickles as plain values: the instructions that describe data, and no others. What they may name is in `calls.rs`.

use std::collections::HashMap;

use super::value::{Id, Name, Node, Pickle};
use super::{Problem, shown};

type Result<T> = std::result::Result<T, Problem>;

/// Reads one pickle from the front of `bytes`; also returns how many of them it is.
pub fn unpickle(bytes: &[u8]) -> Result<(Pickle, usize)> {
    let mut machine = Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok((Pickle { nodes: machine.nodes, root }, machine.at))
}

/// The stack machine of the pickle format (Python's `pickletools`).
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Obeys one instruction; false at the end of the pickle.
    fn step(&mut self) -> Result<bool> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),                           // PROTO
            0x95 => drop(self.take(8)?),                           // FRAME
            b'(' => self.marks.push(self.stack.len()),             // MARK
            b'N' => self.push(Node::None)?,                        // NONE
            0x88 | 0x89 => self.push(Node::Bool(opcode == 0x88))?, // NEWTRUE, NEWFALSE
            b'J' => {
                let value = i32::from_le_bytes(self.array()?); // BININT
                self.push(Node::Int(value.into()))?;
            }
            b'K' => self.unsigned(1).and_then(|n| self.push(Node::Int(n.into())))?, // BININT1
            b'M' => self.unsigned(2).and_then(|n| self.push(Node::Int(n.into())))?, // BININT2
            0x8a => {
                let length = self.unsigned(1)?; // LONG1
                self.long(length)?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?); // BINFLOAT
                self.push(Node::Float(value))?;
            }
            0x8c => self.unsigned(1).and_then(|n| self.text(n))?, // SHORT_BINUNICODE
            b'X' => self.unsigned(4).and_then(|n| self.text(n))?, // BINUNICODE
            0x8d => self.unsigned(8).and_then(|n| self.text(n))?, // BINUNICODE8
            b'C' => self.unsigned(1).and_then(|n| self.raw(n))?,  // SHORT_BINBYTES
            b'B' => self.unsigned(4).and_then(|n| self.raw(n))?,  // BINBYTES
            b']' => self.push(Node::List(Vec::new()))?,           // EMPTY_LIST
            b')' => self.push(Node::List(Vec::new()))?,           // EMPTY_TUPLE
            b'}' => self.push(Node::Dict(Vec::new()))?,           // EMPTY_DICT
            0x85..=0x87 => {
                let n = usize::from(opcode - 0x84); // TUPLE1, TUPLE2, TUPLE3
                let items = self.pop_above(self.stack.len().checked_sub(n).ok_or_else(|| self.damaged("the stack is empty"))?)?;
                self.push(Node::List(items))?;
            }
            b't' => {
                let items = self.pop_mark()?; // TUPLE
                self.push(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?; // APPEND
                self.append(vec![item])?;
            }
            b'e' => self.pop_mark().and_then(|items| self.append(items))?, // APPENDS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?); // SETITEM
                self.set(&[key, value])?;
            }
            b'u' => self.pop_mark().and_then(|items| self.set(&items))?, // SETITEMS
            b'q' => self.unsigned(1).and_then(|n| self.remember(n as u32))?, // BINPUT
            b'r' => self.unsigned(4).and_then(|n| self.remember(n as u32))?, // LONG_BINPUT
            0x94 => self.remember(self.memo.len() as u32)?,              // MEMOIZE
            b'h' => self.unsigned(1).and_then(|n| self.recall(n as u32))?, // BINGET
            b'j' => self.unsigned(4).and_then(|n| self.recall(n as u32))?, // LONG_BINGET
            b'c' => {
                let (module, name) = (self.line()?, self.line()?); // GLOBAL
                self.push(Node::Name(Name::find(&module, &name)?))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?); // STACK_GLOBAL
                let [Node::Text(module), Node::Text(name)] = [module, name].map(|id| self.node(id)) else {
                    return Err(self.damaged("a name is not text"));
                };
                let name = Name::find(module, name)?;
                self.push(Node::Name(name))?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?); // INST
                return Err(Problem::Call(format!("{}.{}", shown(&module), shown(&name))));
            }
            b'R' => self.reduce()?,     // REDUCE
            b'b' => self.build()?,      // BUILD
            b'Q' => self.persistent()?, // BINPERSID
            other => return Err(self.damaged(&format!("instruction {other:#04x} is not one of a checkpoint's"))),
        }
        Ok(true)
    }

    fn append(&mut self, new: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::List(items) => items.extend(new),
            _ => return Err(self.damaged("items for what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, new: &[Id]) -> Result<()> {
        let top = self.top()?;
        let (pairs, []) = new.as_chunks() else { return Err(self.damaged("a key without a value")) };
        match &mut self.nodes[top as usize] {
            Node::Dict(entries) => entries.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(self.damaged("entries for what is no dict")),
        }
        Ok(())
    }

    fn remember(&mut self, at: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<()> {
        let id = *self.memo.get(&at).ok_or_else(|| self.damaged("a value that was never remembered is recalled"))?;
        self.stack.push(id);
        Ok(())
    }

    /// A whole number of so many bytes, little end first.
    fn long(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = if negative { [0xff; 16] } else { [0; 16] };
        wide.get_mut(..bytes.len()).ok_or_else(|| self.damaged("a number of more than 16 bytes"))?.copy_from_slice(bytes);
        self.push(Node::Int(i128::from_le_bytes(wide)))
    }

    fn text(&mut self, length: u64) -> Result<()> {
        let text = str::from_utf8(self.take(length)?).map_err(|_| self.damaged("a text is not UTF-8"))?;
        self.push(Node::Text(text.to_owned()))
    }

    fn raw(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(length)?.to_owned();
        self.push(Node::Bytes(bytes))
    }

    /// The bytes up to the next end of line.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.damaged("a name does not end"))?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn unsigned(&mut self, size: usize) -> Result<u64> {
        Ok(self.take(size as u64)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N as u64)?.try_into().expect("N bytes were taken"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| self.damaged("it is cut short"))?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn push(&mut self, node: Node) -> Result<()> {
        let id = Id::try_from(self.nodes.len()).map_err(|_| self.damaged("it has too many values"))?;
        self.nodes.push(node);
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn top(&self) -> Result<Id> {
        self.stack.last().copied().ok_or_else(|| self.damaged("the stack is empty"))
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        self.stack.pop().ok_or_else(|| self.damaged("the stack is empty"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged("a mark is missing"))?;
        self.pop_above(mark)
    }

    fn pop_above(&mut self, height: usize) -> Result<Vec<Id>> {
        if height > self.stack.len() {
            return Err(self.damaged("a mark is above the stack"));
        }
        Ok(self.stack.split_off(height))
    }

    pub(super) fn damaged(&self, what: &str) -> Problem {
        Problem::Damaged(format!("{what} (byte {} of the pickle)", self.at))
    }
}
