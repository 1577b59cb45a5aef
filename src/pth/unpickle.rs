//! Pickles as plain values: the instructions that describe data, and no others. What they may name is in `calls.rs`.

use std::collections::HashMap;

use super::Problem;
use super::opcode::*;
use super::value::{Id, Name, Node, Pickle};

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
            STOP => return Ok(false),
            PROTO => drop(self.take(1)?),
            FRAME => drop(self.take(8)?),
            MARK => self.marks.push(self.stack.len()),
            NONE => self.push(Node::None)?,
            NEWTRUE => self.push(Node::Bool(true))?,
            NEWFALSE => self.push(Node::Bool(false))?,
            BININT => self.array().and_then(|n| self.push(Node::Int(i32::from_le_bytes(n).into())))?,
            BININT1 => self.unsigned(1).and_then(|n| self.push(Node::Int(n.into())))?,
            BININT2 => self.unsigned(2).and_then(|n| self.push(Node::Int(n.into())))?,
            LONG1 => self.unsigned(1).and_then(|n| self.long(n))?,
            BINFLOAT => self.array().and_then(|x| self.push(Node::Float(f64::from_be_bytes(x))))?,
            SHORT_BINUNICODE => self.unsigned(1).and_then(|n| self.text(n))?,
            BINUNICODE => self.unsigned(4).and_then(|n| self.text(n))?,
            BINUNICODE8 => self.unsigned(8).and_then(|n| self.text(n))?,
            SHORT_BINBYTES => self.unsigned(1).and_then(|n| self.raw(n))?,
            BINBYTES => self.unsigned(4).and_then(|n| self.raw(n))?,
            EMPTY_LIST | EMPTY_TUPLE => self.push(Node::List(Vec::new()))?,
            EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            TUPLE => self.pop_mark().and_then(|items| self.push(Node::List(items)))?,
            TUPLE1 | TUPLE2 | TUPLE3 => self.pop_last(usize::from(opcode - TUPLE1 + 1)).and_then(|items| self.push(Node::List(items)))?,
            APPEND => self.pop_last(1).and_then(|items| self.append(items))?,
            APPENDS => self.pop_mark().and_then(|items| self.append(items))?,
            SETITEM => self.pop_last(2).and_then(|items| self.set(&items))?,
            SETITEMS => self.pop_mark().and_then(|items| self.set(&items))?,
            BINPUT => self.unsigned(1).and_then(|n| self.remember(n as u32))?,
            LONG_BINPUT => self.unsigned(4).and_then(|n| self.remember(n as u32))?,
            MEMOIZE => self.remember(self.memo.len() as u32)?,
            BINGET => self.unsigned(1).and_then(|n| self.recall(n as u32))?,
            LONG_BINGET => self.unsigned(4).and_then(|n| self.recall(n as u32))?,
            GLOBAL => self.lines().and_then(|[module, name]| self.name(&module, &name))?,
            STACK_GLOBAL => self.name_on_stack()?,
            INST => return Err(self.lines().map_or_else(|e| e, |[module, name]| Problem::call(&module, &name))),
            REDUCE => self.reduce()?,
            BUILD => self.build()?,
            BINPERSID => self.persistent()?,
            other => return Err(self.damaged(&format!("instruction {other:#04x} is not one of a checkpoint's"))),
        }
        Ok(true)
    }

    fn name(&mut self, module: &str, name: &str) -> Result<()> {
        self.push(Node::Name(Name::find(module, name)?))
    }

    fn name_on_stack(&mut self) -> Result<()> {
        let ids = self.pop_last(2)?;
        match (self.node(ids[0]), self.node(ids[1])) {
            (Node::Text(module), Node::Text(name)) => self.push(Node::Name(Name::find(module, name)?)),
            _ => Err(self.damaged("a name is not text")),
        }
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

    /// The next two lines.
    fn lines(&mut self) -> Result<[String; 2]> {
        Ok([self.line()?, self.line()?])
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.damaged("a name does not end"))?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
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
        let above = self.stack.len().checked_sub(mark).ok_or_else(|| self.damaged("a mark is above the stack"))?;
        self.pop_last(above)
    }

    fn pop_last(&mut self, n: usize) -> Result<Vec<Id>> {
        let height = self.stack.len().checked_sub(n).ok_or_else(|| self.damaged("the stack is empty"))?;
        Ok(self.stack.split_off(height))
    }

    pub(super) fn damaged(&self, what: &str) -> Problem {
        Problem::Damaged(format!("{what} (byte {} of the pickle)", self.at))
    }
}
