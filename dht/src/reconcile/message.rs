//! The one message of reconciliation, request and answer alike: ranges, keys asked for, items. SPEC.md §20.
//!
//! [`Message::decode`] reads a stranger's bytes, `Builder` writes ours and never exceeds a cap.

use super::{Items, Key, MAX_ITEM, MAX_ITEMS, MAX_MESSAGE, MAX_RANGES, MAX_WANTS};
use crate::{counters::DropReason, wire::Reader};
use std::collections::BTreeSet;

const VERSION: u8 = 1;
const FINGERPRINT: u8 = 1;
const LIST: u8 = 2;
/// Flag beside the kind of a range: it doesn't begin where the one before ended.
const GAP: u8 = 0x80;
/// Version, salt, three counts.
const HEAD: usize = 1 + 8 + 3 * 2;
/// The most that a range with a fingerprint takes.
pub(super) const NAMED: usize = 1 + 17 + 17 + 8;

/// A stretch of the key space and what its sender holds in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Range {
    /// The first key inside.
    pub(super) from: Key,
    /// The first key behind it; `None`: it reaches to the end.
    pub(super) until: Option<Key>,
    pub(super) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Of all keys in it.
    Fingerprint([u8; 8]),
    /// All keys in it, ascending.
    List(Vec<Key>),
}

impl Range {
    fn len(&self) -> usize {
        let what = match &self.what {
            What::Fingerprint(_) => 8,
            What::List(keys) => 2 + 16 * keys.len(),
        };
        NAMED - 8 + what
    }
}

/// A message that was read. The items are not looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    salt: [u8; 8],
    ranges: Vec<Range>,
    wants: Vec<Key>,
    items: Vec<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DropReason::Malformed);
        }
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        parse(bytes).ok_or(DropReason::Malformed)
    }

    /// Its one encoding: what [`decode`](Self::decode) read.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Builder::new(self.salt);
        self.ranges.iter().for_each(|range| out.put(range));
        out.wants.extend(&self.wants);
        for item in &self.items {
            out.items
                .extend_from_slice(&(item.len() as u16).to_le_bytes());
            out.items.extend_from_slice(item);
            out.item_count += 1;
        }
        out.finish()
    }

    /// The items that came with it.
    pub fn items(&self) -> &[&'a [u8]] {
        &self.items
    }

    /// The keys that its sender asks for.
    pub fn wants(&self) -> &[Key] {
        &self.wants
    }

    pub(super) fn salt(&self) -> [u8; 8] {
        self.salt
    }

    pub(super) fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let salt = reader.array()?;
    let count = capped(&mut reader, MAX_RANGES)?;
    let mut ranges: Vec<Range> = Vec::with_capacity(count);
    for _ in 0..count {
        let behind = match ranges.last() {
            Some(last) => last.until?,
            None => [0; 16],
        };
        ranges.push(range(&mut reader, behind)?);
    }
    let count = capped(&mut reader, MAX_WANTS)?;
    let wants = keys(&mut reader, count)?;
    let count = capped(&mut reader, MAX_ITEMS)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let len = usize::from(reader.u16()?);
        if len == 0 || len > MAX_ITEM {
            return None;
        }
        items.push(reader.bytes(len)?);
    }
    reader.end()?;
    Some(Message {
        salt,
        ranges,
        wants,
        items,
    })
}

fn capped(reader: &mut Reader<'_>, most: usize) -> Option<usize> {
    let count = usize::from(reader.u16()?);
    (count <= most).then_some(count)
}

/// Keys in ascending order, each once.
fn keys(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::with_capacity(count);
    for _ in 0..count {
        let key = reader.array()?;
        if keys.last().is_some_and(|last| *last >= key) {
            return None;
        }
        keys.push(key);
    }
    Some(keys)
}

fn range(reader: &mut Reader<'_>, behind: Key) -> Option<Range> {
    let kind = reader.u8()?;
    let from = if kind & GAP == 0 {
        behind
    } else {
        bound(reader)?.filter(|from| *from > behind)?
    };
    let until = bound(reader)?;
    if until.is_some_and(|until| until <= from) {
        return None;
    }
    let what = match kind & !GAP {
        FINGERPRINT => What::Fingerprint(reader.array()?),
        LIST => {
            // The list can't be longer than a message.
            let count = capped(reader, MAX_MESSAGE / 16)?;
            let keys = keys(reader, count)?;
            let inside = keys.first().is_none_or(|first| *first >= from)
                && (keys.last()).is_none_or(|last| until.is_none_or(|until| *last < until));
            inside.then_some(What::List(keys))?
        }
        _ => return None,
    };
    Some(Range { from, until, what })
}

/// A bound: its bytes without the zeros at the end; none at all is the end of the key space.
fn bound(reader: &mut Reader<'_>) -> Option<Option<Key>> {
    let len = usize::from(reader.u8()?);
    if len == 0 {
        return Some(None);
    }
    let mut key = [0; 16];
    let bytes = reader.bytes(len)?;
    key.get_mut(..len)?.copy_from_slice(bytes);
    (bytes.last() != Some(&0)).then_some(Some(key))
}

fn put_bound(out: &mut Vec<u8>, key: Option<&Key>) {
    let key = key.map_or(&[][..], |key| key);
    let len = key
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    out.push(len as u8);
    out.extend_from_slice(&key[..len]);
}

/// A message being written.
#[derive(Debug)]
pub(super) struct Builder {
    salt: [u8; 8],
    ranges: Vec<u8>,
    range_count: usize,
    /// Keys in lists.
    listed: usize,
    /// Where the last range ended.
    behind: Key,
    wants: BTreeSet<Key>,
    items: Vec<u8>,
    item_count: usize,
}

impl Builder {
    pub(super) fn new(salt: [u8; 8]) -> Self {
        Self {
            salt,
            ranges: Vec::new(),
            range_count: 0,
            listed: 0,
            behind: [0; 16],
            wants: BTreeSet::new(),
            items: Vec::new(),
            item_count: 0,
        }
    }

    pub(super) fn salt(&self) -> &[u8; 8] {
        &self.salt
    }

    /// Bytes left.
    pub(super) fn room(&self) -> usize {
        MAX_MESSAGE - HEAD - self.ranges.len() - 16 * self.wants.len() - self.items.len()
    }

    /// Ranges left.
    pub(super) fn slots(&self) -> usize {
        MAX_RANGES - self.range_count
    }

    /// Keys listed so far.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.range_count == 0 && self.wants.is_empty() && self.item_count == 0
    }

    pub(super) fn wants(&self) -> &BTreeSet<Key> {
        &self.wants
    }

    /// Adds a range behind the ones before; `false` if there is no room.
    pub(super) fn range(&mut self, range: &Range) -> bool {
        if self.slots() == 0 || self.room() < range.len() {
            return false;
        }
        self.put(range);
        true
    }

    fn put(&mut self, range: &Range) {
        let kind = match &range.what {
            What::Fingerprint(_) => FINGERPRINT,
            What::List(_) => LIST,
        };
        if range.from == self.behind {
            self.ranges.push(kind);
        } else {
            self.ranges.push(kind | GAP);
            put_bound(&mut self.ranges, Some(&range.from));
        }
        put_bound(&mut self.ranges, range.until.as_ref());
        match &range.what {
            What::Fingerprint(fingerprint) => self.ranges.extend_from_slice(fingerprint),
            What::List(keys) => {
                self.ranges
                    .extend_from_slice(&(keys.len() as u16).to_le_bytes());
                self.ranges.extend_from_slice(keys.as_flattened());
                self.listed += keys.len();
            }
        }
        self.range_count += 1;
        self.behind = range.until.unwrap_or([0xff; 16]);
    }

    /// Asks for a key; `false` if there is no room.
    pub(super) fn want(&mut self, key: Key) -> bool {
        if self.wants.contains(&key) {
            return true;
        }
        if self.wants.len() >= MAX_WANTS || self.room() < 16 {
            return false;
        }
        self.wants.insert(key)
    }

    /// Adds an item if `keep` bytes stay free; `false` if there is no room. An item that is gone needs none.
    pub(super) fn item(&mut self, set: &impl Items, key: &Key, keep: usize) -> bool {
        let (start, room) = (self.items.len(), self.room());
        self.items.extend_from_slice(&[0; 2]);
        set.write(key, &mut self.items);
        let len = self.items.len() - start - 2;
        if len == 0 || len > MAX_ITEM {
            self.items.truncate(start);
            return true;
        }
        if self.item_count >= MAX_ITEMS || room < len + 2 + keep {
            self.items.truncate(start);
            return false;
        }
        self.items[start..start + 2].copy_from_slice(&(len as u16).to_le_bytes());
        self.item_count += 1;
        true
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_MESSAGE - self.room());
        out.push(VERSION);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&(self.range_count as u16).to_le_bytes());
        out.extend_from_slice(&self.ranges);
        out.extend_from_slice(&(self.wants.len() as u16).to_le_bytes());
        for key in &self.wants {
            out.extend_from_slice(key);
        }
        out.extend_from_slice(&(self.item_count as u16).to_le_bytes());
        out.extend_from_slice(&self.items);
        out
    }
}
