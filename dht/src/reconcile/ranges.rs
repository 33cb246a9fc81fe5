//! What to say about the ranges of the other side: nothing where the sets agree, smaller ranges where they don't, and keys and
//! items where it is clear what is missing.
//!
//! Each message moves at least its first range on. Ranges that find no room are named again as they are, and if not even that
//! fits, all the rest as one range: nothing is lost but a little time.

use super::message::{Builder, NAMED, Range, What};
use super::{BRANCH, BREADTH, Items, Key, LIST, LISTED, MAX_MESSAGE, MAX_RANGES};
use crate::id::derive;

/// The first request: everything, cut once if there is enough of it.
pub(super) fn open(set: &impl Items, out: &mut Builder) {
    let keys = set.keys();
    if keys.len() < 2 * BRANCH {
        out.range(&named(out.salt(), keys, [0; 16], None));
    } else {
        cut(keys, [0; 16], None, out);
    }
}

/// Answers the other side's ranges.
pub(super) fn respond(set: &impl Items, theirs: &[Range], out: &mut Builder) {
    for (at, range) in theirs.iter().enumerate() {
        if out.room() < 2 * NAMED || out.slots() < 2 {
            let rest = within(set.keys(), &range.from, None);
            out.range(&named(out.salt(), rest, range.from, None));
            return;
        }
        // Room for the ranges behind this one, but never so much that this one could not move on.
        let behind = theirs.len() - at - 1;
        let kept = Kept {
            bytes: NAMED + (behind * NAMED).min(MAX_MESSAGE / 4),
            behind,
        };
        match &range.what {
            What::Fingerprint(theirs) => compare(set, range, *theirs, &kept, out),
            What::List(theirs) => settle(set, range, theirs, &kept, out),
        }
    }
}

/// What one range must leave to those behind it.
struct Kept {
    bytes: usize,
    /// How many those are.
    behind: usize,
}

fn compare(set: &impl Items, range: &Range, theirs: [u8; 8], kept: &Kept, out: &mut Builder) {
    let keys = within(set.keys(), &range.from, range.until.as_ref());
    let whole = named(out.salt(), keys, range.from, range.until);
    if whole.what == What::Fingerprint(theirs) {
        return;
    }
    let room = out.room().saturating_sub(kept.bytes);
    if keys.len() <= LIST {
        let few = out.listed() == 0 || out.listed() + keys.len() <= LISTED;
        if few && room >= NAMED + 2 + 16 * keys.len() {
            let what = What::List(keys.to_vec());
            out.range(&Range { what, ..whole });
            return;
        }
    } else if room >= BRANCH * NAMED && may_cut(out, kept) {
        cut(keys, range.from, range.until, out);
        return;
    }
    out.range(&whole);
}

/// The other side has said all it holds in this range: give it what it lacks, ask for what we lack.
fn settle(set: &impl Items, range: &Range, theirs: &[Key], kept: &Kept, out: &mut Builder) {
    let ours = within(set.keys(), &range.from, range.until.as_ref());
    let (mut mine, mut other) = (ours.iter().peekable(), theirs.iter().peekable());
    // The range may have to be named again from where the room ended.
    let keep = kept.bytes + NAMED;
    loop {
        let (key, fits) = match (mine.peek(), other.peek()) {
            (None, None) => return,
            (Some(a), Some(b)) if a == b => {
                mine.next();
                other.next();
                continue;
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                let key = **a;
                mine.next();
                (key, out.item(set, &key, keep))
            }
            (_, b) => {
                let Some(key) = b.map(|b| **b) else { return };
                other.next();
                let fits = set.refuses(&key) || (out.room() >= keep + 16 && out.want(key));
                (key, fits)
            }
        };
        if !fits {
            let rest = within(ours, &key, None);
            out.range(&named(out.salt(), rest, key, range.until));
            return;
        }
    }
}

/// The first range always, if there is but room for the rest as one; others as long as there are few.
fn may_cut(out: &Builder, kept: &Kept) -> bool {
    let written = MAX_RANGES - out.slots();
    out.slots() > BRANCH && (written == 0 || written + BRANCH + kept.behind <= BREADTH)
}

/// Cuts a range of more than [`LIST`] keys into ranges of equally many.
fn cut(keys: &[Key], from: Key, until: Option<Key>, out: &mut Builder) {
    let mut from = from;
    for part in 0..BRANCH {
        let (start, end) = (keys.len() * part / BRANCH, keys.len() * (part + 1) / BRANCH);
        let until = match (
            end.checked_sub(1).and_then(|last| keys.get(last)),
            keys.get(end),
        ) {
            (Some(last), Some(next)) => Some(between(last, next)),
            _ => until,
        };
        out.range(&named(out.salt(), &keys[start..end], from, until));
        if let Some(until) = until {
            from = until;
        }
    }
}

/// The shortest bound above `last` and not above `next`.
fn between(last: &Key, next: &Key) -> Key {
    let same = last.iter().zip(next).take_while(|(a, b)| a == b).count();
    let mut bound = [0; 16];
    // They differ, so `same` is below 16 and the byte there isn't zero.
    bound[..=same].copy_from_slice(&next[..=same]);
    bound
}

fn named(salt: &[u8; 8], keys: &[Key], from: Key, until: Option<Key>) -> Range {
    let count = (keys.len() as u32).to_le_bytes();
    let hash = derive("murmuration/v1/range", &[salt, &count, keys.as_flattened()]);
    let mut fingerprint = [0; 8];
    fingerprint.copy_from_slice(&hash[..8]);
    Range {
        from,
        until,
        what: What::Fingerprint(fingerprint),
    }
}

/// The keys of a range.
pub(super) fn within<'a>(keys: &'a [Key], from: &Key, until: Option<&Key>) -> &'a [Key] {
    let start = keys.partition_point(|key| key < from);
    let end = until.map_or(keys.len(), |until| keys.partition_point(|key| key < until));
    keys.get(start..end).unwrap_or_default()
}
