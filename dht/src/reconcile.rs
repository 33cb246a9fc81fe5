//! Set reconciliation: two nodes find out what one holds and the other doesn't, with bytes that follow the difference.
//!
//! Range-based: the key space is cut into ranges, each named by a fingerprint of the keys in it; equal ranges are done, unequal
//! ones are cut again or, when small, listed. Sans-IO and ignorant of what the items are: [`Items`] says which there are. The
//! one who asks keeps a [`Session`]; the one who is asked keeps nothing at all and calls [`answer`]. A session unites both sets, or
//! makes the asker's a mirror of the other. Every message is capped ([`MAX_MESSAGE`]), every exchange too ([`MAX_ROUNDS`]); what
//! didn't fit is found by the next exchange. SPEC.md §20.

use crate::counters::DropReason;
use std::collections::{BTreeMap, VecDeque};

mod message;
mod ranges;

pub use message::Message;
use message::{Builder, Range, What};

/// Names an item: the first 16 B of a hash of what the item says. Uniform, or ranges grow uneven.
pub type Key = [u8; 16];

/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = 12_288;
/// Most ranges in a message.
pub const MAX_RANGES: usize = 256;
/// Most keys asked for in a message.
pub const MAX_WANTS: usize = 32;
/// Most items in a message.
pub const MAX_ITEMS: usize = 128;
/// Longest item, in bytes.
pub const MAX_ITEM: usize = 2_304;
/// Requests of one session at most, whatever the other side answers.
pub const MAX_ROUNDS: u32 = 64;

/// A range is cut into so many.
const BRANCH: usize = 16;
/// Ranges are cut while a message has fewer than this, and the first always: each open range costs its name every round.
const BREADTH: usize = 64;
/// A range of at most so many keys is listed instead.
const LIST: usize = 16;
/// Keys are listed while a message lists fewer than this: more than can be settled in the next one would be listed again.
const LISTED: usize = 64;
/// A key that was asked for so often in vain isn't asked for again.
const TRIES: u8 = 3;
/// Keys the other side asked for and still gets, at most.
const MAX_OWED: usize = 4_096;
/// Keys still to be got, at most.
const MAX_OPEN: usize = 8_192;

/// A set as reconciliation sees it.
pub trait Items {
    /// All keys, ascending, each once.
    fn keys(&self) -> &[Key];
    /// Appends an item's bytes, at most [`MAX_ITEM`]; nothing if it is gone.
    fn write(&self, key: &Key, out: &mut Vec<u8>);
    /// The key of an item that came, `None` if it is none.
    fn key_of(&self, item: &[u8]) -> Option<Key>;
    /// Whether a key isn't wanted although it isn't in the set: it was got before and found useless.
    fn refuses(&self, key: &Key) -> bool;
}

/// The asking side of one exchange.
///
/// Call [`request`](Self::request) for a request; give the answer to [`take`](Self::take), put its items into the set, call `request`
/// again, until it returns `None`.
#[derive(Debug)]
pub struct Session {
    salt: [u8; 8],
    rounds: u32,
    /// What the other side's last answer left open.
    ranges: Vec<Range>,
    /// Keys asked for and not got yet, with the answers that brought nothing.
    wants: BTreeMap<Key, u8>,
    /// Keys the other side asked for.
    owed: VecDeque<Key>,
    /// Whether our set shall become the other one, not the union of both.
    mirrors: bool,
    /// Keys of ours that the other side lacks; only if it mirrors.
    excess: Vec<Key>,
    cut_short: bool,
}

impl Session {
    /// An exchange that has not begun. The salt must be random: it makes fingerprints unpredictable, so that nobody can make
    /// items whose difference doesn't show.
    pub fn new(salt: [u8; 8]) -> Self {
        Self {
            salt,
            rounds: 0,
            ranges: Vec::new(),
            wants: BTreeMap::new(),
            owed: VecDeque::new(),
            mirrors: false,
            excess: Vec::new(),
            cut_short: false,
        }
    }

    /// An exchange after which the asker's set is the other's: nothing is given away, and what the asker has in excess is learned.
    /// After each [`take`](Self::take) remove [`take_excess`](Self::take_excess) from the set. The other side answers as always,
    /// but keeps its set as it is.
    pub fn mirroring(salt: [u8; 8]) -> Self {
        Self {
            mirrors: true,
            ..Self::new(salt)
        }
    }

    /// Keys of ours that the last answers have shown to be lacking there.
    pub fn take_excess(&mut self) -> Vec<Key> {
        core::mem::take(&mut self.excess)
    }

    /// Whether the session ended for its rounds: there was more to say, and another one would say it.
    pub fn cut_short(&self) -> bool {
        self.cut_short
    }

    /// Requests made so far.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The next request; `None` when there is nothing left to say, or too much was said already.
    pub fn request(&mut self, set: &impl Items) -> Option<Vec<u8>> {
        if self.rounds >= MAX_ROUNDS {
            self.cut_short = true;
            return None;
        }
        let mut out = Builder::new(self.salt);
        if self.rounds == 0 {
            ranges::open(set, &mut out);
        } else {
            self.pay(set, &mut out);
            self.wants
                .retain(|key, tries| *tries < TRIES && !holds(set, key) && !set.refuses(key));
            for key in self.wants.keys() {
                if !out.want(*key) {
                    break;
                }
            }
            ranges::respond(set, &core::mem::take(&mut self.ranges), &mut out);
            for key in out.wants() {
                if self.wants.len() < MAX_OPEN {
                    self.wants.entry(*key).or_insert(0);
                }
            }
        }
        if out.is_empty() {
            return None;
        }
        self.rounds += 1;
        Some(out.finish())
    }

    /// Takes an answer. Its items are the caller's to check and keep, before [`request`](Self::request) is called.
    ///
    /// # Errors
    /// [`DropReason::Unwanted`] if it doesn't belong to this session: end it then.
    pub fn take(&mut self, set: &impl Items, answer: &Message<'_>) -> Result<(), DropReason> {
        if answer.salt() != self.salt || self.rounds == 0 {
            return Err(DropReason::Unwanted);
        }
        let mut got = 0;
        for item in answer.items() {
            if let Some(key) = set.key_of(item) {
                got += usize::from(self.wants.remove(&key).is_some());
            }
        }
        if got == 0 {
            for tries in self.wants.values_mut() {
                *tries += 1;
            }
        }
        if self.mirrors {
            self.ranges.clear();
            // Who lacks a key asks for it.
            let lacking = answer.wants().iter().filter(|key| holds(set, key));
            self.excess.extend(lacking);
            for range in answer.ranges() {
                self.mirror(set, range);
            }
            return Ok(());
        }
        let room = MAX_OWED.saturating_sub(self.owed.len());
        self.owed.extend(answer.wants().iter().take(room));
        self.ranges = answer.ranges().to_vec();
        Ok(())
    }

    /// A list says all at once and needs no answer but what is asked for; fingerprints are compared when the set is up to date.
    fn mirror(&mut self, set: &impl Items, range: &Range) {
        let What::List(theirs) = &range.what else {
            self.ranges.push(range.clone());
            return;
        };
        let ours = ranges::within(set.keys(), &range.from, range.until.as_ref());
        let lacking = |key: &&Key| theirs.binary_search(key).is_err();
        self.excess.extend(ours.iter().filter(lacking));
        for key in theirs {
            if ours.binary_search(key).is_err() && self.wants.len() < MAX_OPEN {
                self.wants.entry(*key).or_insert(0);
            }
        }
    }

    /// Items the other side asked for, in front of everything else; half the message is kept for the ranges while there are any.
    fn pay(&mut self, set: &impl Items, out: &mut Builder) {
        let keep = kept_for(&self.ranges);
        while let Some(key) = self.owed.front() {
            if !out.item(set, key, keep) {
                break;
            }
            self.owed.pop_front();
        }
    }
}

/// The answer to a request, whose items the caller has put into the set before. Keeps nothing, and takes time in proportion to
/// the set whatever was asked.
pub fn answer(set: &impl Items, request: &Message<'_>) -> Vec<u8> {
    let mut out = Builder::new(request.salt());
    let keep = kept_for(request.ranges());
    for key in request.wants() {
        if holds(set, key) && !out.item(set, key, keep) {
            break;
        }
    }
    ranges::respond(set, request.ranges(), &mut out);
    out.finish()
}

fn kept_for(ranges: &[Range]) -> usize {
    if ranges.is_empty() {
        0
    } else {
        MAX_MESSAGE / 2
    }
}

fn holds(set: &impl Items, key: &Key) -> bool {
    set.keys().binary_search(key).is_ok()
}

#[cfg(test)]
mod tests;
