//! Sets that were proposed or certified and that we lack: which, whom they were asked of, and how far we are.
//!
//! An exchange about one begins with what the open set holds and ends with just the keys of the other side's set. A wrong list
//! costs a try; after four the root is given up for a while. SPEC.md §21.

use super::super::store::{Pair, key_of_item};
use crate::{
    id::NodeId,
    reconcile::{Items, Key},
};
use mix::time::{Moment, Span};
use std::{
    collections::{BTreeMap, VecDeque},
    mem::take,
};

/// Roots wanted at the same time.
const MAX_WANTED: usize = 8;
/// Neighbours that are asked for one root.
const TRIES: u32 = 4;
/// Exchanges that go on where one with the same neighbour was cut short: enough for a whole set of 8,192.
const STEPS: u32 = 8;

/// A set by its root.
pub(in crate::pki) type Name = (u32, [u8; 32]);

/// The records of a set that some neighbour says to have this root. Whether it does is not checked yet.
#[derive(Debug)]
pub(in crate::pki) struct WantedSet {
    pub(in crate::pki) epoch: u32,
    pub(in crate::pki) root: [u8; 32],
    /// Valid pairs, as many as the header counts.
    pub(in crate::pki) items: Vec<Pair>,
}

/// What to do next about a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Ask this one, or anybody else but those asked, at this moment.
    Ask(Moment, Option<NodeId>),
    /// Nothing: it is there, given up or no longer wanted.
    Rest,
}

#[derive(Debug)]
struct Wanted {
    count: usize,
    tries: u32,
    steps: u32,
    asked: Vec<NodeId>,
    /// Got in exchanges that were cut short.
    pool: BTreeMap<Key, Pair>,
    given_up: Option<Moment>,
}

/// All roots wanted.
#[derive(Debug)]
pub(super) struct WantedSets {
    wanted: BTreeMap<Name, Wanted>,
    /// Found, for whoever checks them.
    found: VecDeque<WantedSet>,
    /// Before another neighbour is asked; longer with each.
    pause: Span,
    /// Before a root that was given up may be wanted again.
    rest: Span,
}

impl WantedSets {
    pub(super) fn new(pause: Span, rest: Span) -> Self {
        Self {
            wanted: BTreeMap::new(),
            found: VecDeque::new(),
            pause,
            rest,
        }
    }

    pub(super) fn turn(&mut self, keep: impl Fn(u32) -> bool) {
        self.wanted.retain(|(epoch, _), _| keep(*epoch));
        self.found.retain(|set| keep(set.epoch));
    }

    /// Wants a set of `count` nodes; whether an exchange about it should begin.
    pub(super) fn want(&mut self, now: Moment, name: Name, count: usize) -> bool {
        if let Some(wanted) = self.wanted.get_mut(&name) {
            let again = wanted.given_up.is_some_and(|at| now >= at + self.rest);
            if again {
                (wanted.tries, wanted.steps, wanted.given_up) = (0, 0, None);
                wanted.asked.clear();
            }
            return again;
        }
        if self.wanted.len() >= MAX_WANTED {
            let Some(old) = self.wanted.iter().find(|(_, old)| old.given_up.is_some()) else {
                return false;
            };
            let old = *old.0;
            self.wanted.remove(&old);
        }
        let wanted = Wanted {
            count,
            tries: 0,
            steps: 0,
            asked: Vec::new(),
            pool: BTreeMap::new(),
            given_up: None,
        };
        self.wanted.insert(name, wanted);
        true
    }

    /// Whom not to ask for this root; `None` if it isn't wanted.
    pub(super) fn asked(&self, name: &Name) -> Option<&[NodeId]> {
        let wanted = self.wanted.get(name).filter(|w| w.given_up.is_none());
        wanted.map(|wanted| wanted.asked.as_slice())
    }

    /// The set an exchange begins with: the open one, and what was got before.
    pub(super) fn begin(
        &self,
        name: &Name,
        open: impl Iterator<Item = (Key, Pair)>,
    ) -> Option<Mirror> {
        let wanted = self.wanted.get(name)?;
        let pool = wanted.pool.iter().map(|(key, pair)| (*key, pair.clone()));
        let mut mirror = Mirror {
            epoch: name.0,
            most: wanted.count,
            pairs: open.chain(pool).collect(),
            row: Vec::new(),
            got: BTreeMap::new(),
        };
        mirror.refresh();
        Some(mirror)
    }

    /// An exchange with `peer` ended. `cut_short`: there was more to say, and it said only what it should.
    pub(super) fn ended(
        &mut self,
        now: Moment,
        name: &Name,
        peer: NodeId,
        mirror: Mirror,
        cut_short: bool,
    ) -> Next {
        let Some(wanted) = self.wanted.get_mut(name) else {
            return Next::Rest;
        };
        if mirror.pairs.len() == wanted.count && !cut_short {
            note(&mut wanted.asked, peer);
            if self.found.len() < MAX_WANTED {
                self.found.push_back(WantedSet {
                    epoch: name.0,
                    root: name.1,
                    items: mirror.pairs.into_values().collect(),
                });
            }
            return Next::Rest;
        }
        let moved = !mirror.got.is_empty() && mirror.got.len() <= wanted.count;
        if cut_short && moved && wanted.steps < STEPS {
            wanted.steps += 1;
            wanted.pool.extend(mirror.got);
            if wanted.pool.len() <= wanted.count {
                return Next::Ask(now, Some(peer));
            }
        }
        self.failed(now, name, Some(peer))
    }

    /// A try was in vain: nobody had it (`None`), or what `peer` gave isn't it.
    pub(super) fn failed(&mut self, now: Moment, name: &Name, peer: Option<NodeId>) -> Next {
        let Some(wanted) = self.wanted.get_mut(name) else {
            return Next::Rest;
        };
        wanted.pool.clear();
        if let Some(peer) = peer {
            note(&mut wanted.asked, peer);
        }
        wanted.tries += 1;
        if wanted.tries >= TRIES {
            wanted.given_up = Some(now);
            return Next::Rest;
        }
        Next::Ask(now + self.pause.times(u64::from(wanted.tries)), None)
    }

    /// The one who was to be asked first isn't there: that is no try.
    pub(super) fn unreachable(&mut self, now: Moment, name: &Name, peer: NodeId) -> Next {
        let Some(wanted) = self.wanted.get_mut(name) else {
            return Next::Rest;
        };
        if wanted.asked.contains(&peer) {
            return self.failed(now, name, None);
        }
        wanted.asked.push(peer);
        Next::Ask(now, None)
    }

    /// Whether the records of a set had its root, by whoever checked them.
    pub(super) fn settle(&mut self, now: Moment, name: &Name, good: bool) -> Next {
        if good {
            self.wanted.remove(name);
            return Next::Rest;
        }
        self.failed(now, name, None)
    }

    pub(super) fn take_found(&mut self) -> Vec<WantedSet> {
        take(&mut self.found).into()
    }
}

fn note(asked: &mut Vec<NodeId>, peer: NodeId) {
    if !asked.contains(&peer) {
        asked.push(peer);
    }
}

/// Our side of an exchange about one root: a copy of the open set that becomes the other's set.
#[derive(Debug)]
pub(super) struct Mirror {
    epoch: u32,
    /// How many it shall be in the end; also how many are taken.
    most: usize,
    pairs: BTreeMap<Key, Pair>,
    row: Vec<Key>,
    /// Those that came.
    got: BTreeMap<Key, Pair>,
}

impl Mirror {
    /// Takes away what is in excess and adds what came; `false` if more came than the set can hold.
    pub(super) fn update(&mut self, excess: &[Key], came: Vec<(Key, Pair)>) -> bool {
        for key in excess {
            self.pairs.remove(key);
            self.got.remove(key);
        }
        for (key, pair) in came {
            self.pairs.insert(key, pair.clone());
            self.got.insert(key, pair);
        }
        self.refresh();
        self.got.len() <= self.most
    }

    fn refresh(&mut self) {
        self.row = self.pairs.keys().copied().collect();
    }
}

impl Items for Mirror {
    fn keys(&self) -> &[Key] {
        &self.row
    }

    fn write(&self, _: &Key, _: &mut Vec<u8>) {}

    fn key_of(&self, item: &[u8]) -> Option<Key> {
        key_of_item(self.epoch, item)
    }

    fn refuses(&self, _: &Key) -> bool {
        false
    }
}
