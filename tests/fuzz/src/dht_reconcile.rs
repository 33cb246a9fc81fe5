//! Target `dht_reconcile`: reconciliation. Any bytes as a message, and whole exchanges in which the other side answers honestly,
//! with altered answers or with anything. Messages have one encoding and stay within their caps, every exchange ends, and one
//! with an honest neighbour ends in equal sets.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dht::reconcile::{Items, Key, MAX_ITEM, MAX_ITEMS, MAX_MESSAGE, MAX_ROUNDS, MAX_WANTS};
use dht::reconcile::{Message, Session, answer};

use crate::input::{Input, one_in};

/// Inputs that begin with this are exchanges; no message begins with it.
const EXCHANGE: u8 = 0xe0;
/// The salt of all of them: an answer to another is no answer.
const SALT: [u8; 8] = [5; 8];
/// What strangers may make a set grow to, as the caps of a store do.
const MOST: usize = 128;

/// Who there may be.
static ITEMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let item = |n: u8| [&blake3::hash(&[n]).as_bytes()[..16], &[n; 9]].concat();
    (0..=u8::MAX).map(item).collect()
});

/// The set of whoever is asked.
static ASKED: LazyLock<Set> = LazyLock::new(|| {
    let mut set = Set::default();
    (0..40).for_each(|n| set.add(n));
    set
});

/// Items are their keys and a few bytes more.
#[derive(Clone, Default, PartialEq)]
struct Set {
    keys: Vec<Key>,
    items: BTreeMap<Key, Vec<u8>>,
}

impl Set {
    fn put(&mut self, item: &[u8]) {
        if let Some(key) = self.key_of(item)
            && self.items.len() < MOST
            && let Err(at) = self.keys.binary_search(&key)
        {
            self.keys.insert(at, key);
            self.items.insert(key, item.to_vec());
        }
    }

    /// Node `n` of many, and what it says.
    fn add(&mut self, n: u8) {
        self.put(&ITEMS[usize::from(n)]);
    }
}

impl Items for Set {
    fn keys(&self) -> &[Key] {
        &self.keys
    }
    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        if let Some(item) = self.items.get(key) {
            out.extend_from_slice(item);
        }
    }
    fn key_of(&self, item: &[u8]) -> Option<Key> {
        item.get(..16)?.try_into().ok()
    }
    fn refuses(&self, key: &Key) -> bool {
        key[15] == 0xff
    }
}

/// Plays a message or an exchange.
pub fn play(data: &[u8]) -> Vec<&'static str> {
    match data.split_first() {
        // It takes a hundred times as long as a message.
        Some((&EXCHANGE, steps)) if one_in(8, data) => exchange(&mut Input(steps)),
        Some((&EXCHANGE, _)) => Vec::new(),
        _ => vec![message(data)],
    }
}

fn message(bytes: &[u8]) -> &'static str {
    let Ok(message) = Message::decode(bytes) else {
        return "no message";
    };
    assert_eq!(message.encode(), bytes);
    assert!(message.wants().len() <= MAX_WANTS && message.items().len() <= MAX_ITEMS);
    assert!(
        message
            .items()
            .iter()
            .all(|item| (1..=MAX_ITEM).contains(&item.len()))
    );
    let said = answer(&*ASKED, &message);
    checked(&said);
    "message"
}

/// What we say can be read, and is no longer than may be.
fn checked(bytes: &[u8]) -> Message<'_> {
    assert!(bytes.len() <= MAX_MESSAGE);
    let message = Message::decode(bytes).expect("our own message");
    assert_eq!(message.encode(), bytes);
    message
}

fn exchange(input: &mut Input<'_>) -> Vec<&'static str> {
    let (mut ours, mut theirs) = (Set::default(), Set::default());
    let (from, both, only) = (input.byte(), input.below(60), input.below(60));
    for n in 0..both as u8 {
        ours.add(from.wrapping_add(n));
        theirs.add(from.wrapping_add(n));
    }
    for n in 0..only as u8 {
        let side = if n % 3 == 0 { &mut ours } else { &mut theirs };
        side.add(from.wrapping_sub(n + 1));
    }
    let mut session = Session::new(SALT);
    let (mut honest, mut refused) = (true, false);
    while let Some(request) = session.request(&ours) {
        assert!(session.rounds() <= MAX_ROUNDS);
        let asked = checked(&request);
        asked.items().iter().for_each(|item| theirs.put(item));
        let mut said = answer(&theirs, &asked);
        checked(&said);
        if !input.is_empty() {
            honest &= !alter(&mut said, input);
        }
        let Ok(answered) = Message::decode(&said) else {
            refused = true;
            break;
        };
        if session.take(&ours, &answered).is_err() {
            refused = true;
            break;
        }
        answered.items().iter().for_each(|item| ours.put(item));
    }
    let wanted = |set: &Set, key: &Key| set.keys.contains(key) || set.refuses(key);
    let agree = theirs.keys.iter().all(|key| wanted(&ours, key))
        && ours.keys.iter().all(|key| wanted(&theirs, key));
    assert!(agree || !honest, "an honest exchange left a difference");
    vec![match (honest, refused, session.rounds()) {
        (true, ..) => "agreed",
        (_, true, _) => "refused",
        (_, _, MAX_ROUNDS) => "cut off",
        _ => "ended",
    }]
}

/// Alters an answer as the input says; `false` if it stays as it is.
fn alter(said: &mut Vec<u8>, input: &mut Input<'_>) -> bool {
    let before = said.clone();
    match input.below(6) {
        0 | 1 => {}
        2 => {
            for _ in 0..=input.below(4) {
                let at = input.wide(said.len());
                said[at] ^= input.byte();
            }
        }
        3 => {
            // Something else altogether.
            let len = 9 + input.below(200);
            said.resize(len, 0);
            said[9..].iter_mut().for_each(|byte| *byte = input.byte());
        }
        4 => {
            // It claims to hold other keys, or wants what nobody has.
            said.truncate(9);
            said.extend_from_slice(&[1, 0, 2, 0]);
            let mut keys: Vec<Key> = (0..input.below(20)).map(|_| [input.byte(); 16]).collect();
            keys.sort_unstable();
            keys.dedup();
            for _ in 0..2 {
                said.extend_from_slice(&(keys.len() as u16).to_le_bytes());
                said.extend_from_slice(keys.as_flattened());
            }
            said.extend_from_slice(&[0, 0]);
        }
        _ => {
            // It differs everywhere, for ever.
            said.truncate(9);
            said.extend_from_slice(&[1, 0, 1, 0]);
            said.extend_from_slice(&[input.byte(); 8]);
            said.extend_from_slice(&[0; 4]);
        }
    }
    *said != before
}

/// Messages of a real exchange, and exchanges of each sort.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (mut ours, mut theirs) = (Set::default(), Set::default());
    (0..40).for_each(|n| ours.add(n));
    (9..50).for_each(|n| theirs.add(n));
    let mut session = Session::new(SALT);
    let mut said = Vec::new();
    while let Some(request) = session.request(&ours) {
        let answered = answer(&theirs, &checked(&request));
        let message = checked(&answered);
        session.take(&ours, &message).expect("it is ours");
        message.items().iter().for_each(|item| ours.put(item));
        said.extend([request, answered]);
    }
    let names = [
        "message-0",
        "message-1",
        "message-2",
        "message-3",
        "message-4",
        "message-5",
    ];
    let mut seeds: Vec<_> = names.into_iter().zip(said).collect();
    seeds.push(("exchange-honest", vec![EXCHANGE, 7, 40, 30]));
    seeds.push((
        "exchange-altered",
        vec![EXCHANGE, 7, 40, 30, 0, 2, 1, 9, 0, 3, 4],
    ));
    seeds.push((
        "exchange-other-keys",
        vec![EXCHANGE, 7, 40, 30, 4, 5, 1, 2, 3, 4, 5],
    ));
    let never = [EXCHANGE, 7, 40, 30]
        .into_iter()
        .chain([5, 9].into_iter().cycle().take(140));
    seeds.push(("exchange-for-ever", never.collect()));
    seeds
}
