//! A model of Kademlia lookups, with the limits of `dht::net`: who serves a value is found among twenty random running nodes.
//!
//! In production those are the twenty nearest to the key. A lookup asks four at a time; one of a head ends at three distinct
//! values or eight answers, one of a page at the first. What a node serves is made when it is asked for, out of the set it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dht::page::{Head, Page, PageKind, bans_key, page_count, page_key};
use dht::pki::head_key;
use dht::{Directory, epoch};
use mix::time::Span;

use super::queue::Event;
use super::{Kind, Mesh, place};

/// Nodes that serve a key.
const NEAREST: usize = 20;
/// Distinct values, or answers, that end the lookup of a head.
const VALUES: usize = 3;
const ANSWERS: usize = 8;
/// Asked at the same time: when a lookup ends, the others still answer.
const PARALLEL: usize = 4;
/// Crossings of a lookup: two rounds there and back.
const CROSSINGS: u64 = 4;
/// A question, wrapped; and an answer without its value: twenty closer peers with an address each.
const QUESTION: u64 = 110;
const CLOSER: u64 = 1_250;

type Key = [u8; 32];

/// Of which set which page is, by epoch: what is over is not asked for.
#[derive(Debug, Default)]
pub(super) struct Pages {
    epochs: BTreeMap<u32, Offered>,
}

/// What of a set lies under a key.
#[derive(Clone, Copy, Debug)]
enum Part {
    Page(u32),
    Bans,
}

#[derive(Debug, Default)]
struct Offered {
    roots: BTreeSet<Key>,
    keys: BTreeMap<Key, (Arc<Directory>, Part)>,
    made: BTreeMap<Key, Arc<[u8]>>,
}

impl Pages {
    /// A head of this set is given to somebody: its pages may be asked for.
    fn offer(&mut self, directory: &Arc<Directory>) {
        let epoch = directory.epoch();
        let offered = self.epochs.entry(epoch).or_default();
        if !offered.roots.insert(directory.root()) {
            return;
        }
        for index in 0..page_count(directory.len() as u32) {
            let key = page_key(&directory.root(), PageKind::Records, index);
            let part = Part::Page(index);
            offered.keys.insert(key, (directory.clone(), part));
        }
        if !directory.bans().is_empty() {
            let key = bans_key(&directory.header().bans);
            offered.keys.insert(key, (directory.clone(), Part::Bans));
        }
        self.epochs.retain(|of, _| *of + 2 > epoch);
    }

    fn set_of(&self, key: &Key) -> Option<&Arc<Directory>> {
        let mut all = self.epochs.values();
        all.find_map(|offered| offered.keys.get(key))
            .map(|(set, _)| set)
    }

    fn page(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let mut all = self.epochs.values_mut();
        let offered = all.find(|offered| offered.keys.contains_key(key))?;
        if let Some(made) = offered.made.get(key) {
            return Some(made.clone());
        }
        let (directory, part) = offered.keys.get(key)?;
        let page: Arc<[u8]> = match part {
            Part::Page(index) => Page::of(directory, PageKind::Records, *index)?
                .encode()
                .into(),
            Part::Bans => directory.bans().encode().into(),
        };
        offered.made.insert(*key, page.clone());
        Some(page)
    }
}

impl Mesh {
    pub(super) fn look_up(&mut self, node: u32, key: Key) {
        let life = self.life_of(node);
        let current = epoch::epoch_at(&self.config.params, self.now);
        let head_of = |epoch: &u32| head_key(&self.network, *epoch) == key;
        let head = [current, current + 1, current.saturating_sub(1)]
            .into_iter()
            .find(head_of);
        let mut values: Vec<Arc<[u8]>> = Vec::new();
        let (mut answers, mut silent) = (0, 0);
        let servers = self.servers(node);
        let most = if head.is_some() { ANSWERS } else { 1 };
        for &server in &servers {
            let value = match head {
                Some(epoch) => self.head(server, epoch),
                None => self.page(server, &key),
            };
            self.peers[node as usize]
                .traffic
                .send(Kind::Lookup, QUESTION);
            let size = CLOSER + value.as_ref().map_or(0, |value| value.len() as u64);
            let traffic = &mut self.peers[server as usize].traffic;
            traffic.receive(Kind::Lookup, QUESTION);
            traffic.send(Kind::Lookup, size);
            self.peers[node as usize]
                .traffic
                .receive(Kind::Lookup, size);
            // Answers that come after the end are paid for, and not read.
            let ended = answers >= most || values.len() >= VALUES;
            match value {
                Some(value) if !ended => {
                    answers += 1;
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                _ if ended => {
                    silent += 1;
                    if silent + 1 >= PARALLEL {
                        break;
                    }
                }
                _ => {}
            }
        }
        let mut last = Span::ZERO;
        for value in values {
            let took = self.lookup_time();
            last = last.max(took);
            let what = Event::Found(life, Box::new((key, value)));
            self.queue.plan(self.now + took, what);
        }
        let took = last.max(self.lookup_time());
        self.queue
            .plan(self.now + took, Event::Done(life, Box::new(key)));
    }

    /// The nodes that a key lies at: running ones at random, each once.
    fn servers(&mut self, node: u32) -> Vec<u32> {
        let mut servers = Vec::with_capacity(NEAREST);
        // Without a connection there is nobody to ask.
        if self.peers[node as usize].links.is_empty() {
            return servers;
        }
        for _ in 0..NEAREST * 8 {
            let pick = place(self.peers.len(), &mut self.dice.lookups) as u32;
            let fits = pick != node
                && self.peers[pick as usize].pki.is_some()
                && self.reaches(node, pick)
                && !servers.contains(&pick);
            if fits {
                servers.push(pick);
                if servers.len() == NEAREST {
                    break;
                }
            }
        }
        servers
    }

    fn head(&mut self, server: u32, epoch: u32) -> Option<Arc<[u8]>> {
        let directory = self.directory(server, epoch)?;
        self.pages.offer(&directory);
        let mut head = Head::of(&directory);
        let pki = self.pki(server)?;
        let certificate = pki.certificate(epoch);
        if let Some(held) = certificate.filter(|held| *held.header() == head.header) {
            head.certificate = held.encode();
        }
        Some(head.encode().into())
    }

    fn page(&mut self, server: u32, key: &Key) -> Option<Arc<[u8]>> {
        let directory = self.pages.set_of(key)?;
        let (epoch, root) = (directory.epoch(), directory.root());
        let held = self.directory(server, epoch)?;
        (held.root() == root).then(|| self.pages.page(key))?
    }

    fn lookup_time(&mut self) -> Span {
        let link = self.config.link;
        link.latency(&mut self.dice.lookups).times(CROSSINGS)
    }
}
