//! Target `mixer_ops`: a mixer with tiny bounds lives through what the input says: packets new, old and damaged, time that
//! passes or jumps, a slow disk, keys that come and go, crashes. A second set of books ([`book`]) is kept beside it and must
//! balance after every operation: nothing leaves before its tag is durable, before its time, or twice; nothing is lost uncounted.

use std::collections::BTreeSet;

use mix::time::{Moment, Span};
use mix::{Class, MixerConfig, ShortId};

use crate::lab::{Input, NETWORK, OWN};

use crate::book::{Book, HOLD};
use crate::letters::LETTERS;

const MOST_OPERATIONS: usize = 48;
/// Letters cost an hour's worth of everything else.
const MOST_LETTERS: usize = 6;
const STEPS: [Span; 8] = [
    Span::ZERO,
    Span::from_micros(1),
    HOLD,
    Span::from_millis(200),
    Span::from_secs(1),
    Span::from_secs(10),
    Span::from_secs(160),
    Span::from_secs(1_000),
];

/// Plays one life of a mixer, and names all that was reached.
pub fn play(data: &[u8]) -> BTreeSet<&'static str> {
    let mut input = Input(data);
    let mut book = Book::new(config(&mut input), u64::from(input.byte()));
    let mut now = Moment::from_secs(1_950);
    for epoch in 1..=input.below(4) {
        book.add_key(epoch as u32, &[]);
    }
    let (mut last, mut letters) = (0, 0);
    for _ in 0..MOST_OPERATIONS {
        if input.is_empty() {
            break;
        }
        let operation = input.below(16);
        match operation {
            0..=4 if letters < MOST_LETTERS => {
                letters += 1;
                if operation != 4 {
                    last = input.below(LETTERS.len());
                }
                if operation == 3 {
                    book.damaged(now, last, input.wide(229 * 8));
                } else {
                    book.letter(now, last);
                }
            }
            0..=4 => {}
            5 | 6 => _ = book.poll_tags(),
            7 => book.sync(match input.byte() {
                255 => u64::MAX,
                0..=127 => book.polled(),
                any => u64::from(any % 8),
            }),
            8 => {
                now = now + STEPS[input.below(8)];
                book.timeout(now);
            }
            9 => {
                let moment = match input.byte() {
                    0 => Moment::ZERO,
                    255 => Moment::MAX,
                    any => Moment::from_secs(u64::from(any) * 30),
                };
                // The clock may be wrong for one timeout, or from now on.
                if input.byte() % 2 == 0 {
                    now = moment;
                }
                book.timeout(moment);
            }
            10 => while book.poll_transmit() {},
            11 => while book.poll_event() {},
            12 => {
                let seen: Vec<usize> = (0..input.below(6))
                    .map(|i| (last + i) % LETTERS.len())
                    .collect();
                book.add_key(1 + input.below(5) as u32, &seen);
            }
            13 => book.drop_expired(now),
            14 => {
                let wait = Class::ALL.get(input.below(5)).copied();
                book.start(now, wait);
            }
            _ => book.crash(),
        }
        book.balance();
    }
    book.close();
    book.reached()
}

fn config(input: &mut Input<'_>) -> MixerConfig {
    let mut config = MixerConfig::new(NETWORK, ShortId([OWN; 16]));
    let cap = |input: &mut Input<'_>| [8, 0, 1, 2, 3, 4, 5, 100][input.below(8)];
    config.hold = HOLD;
    config.pool_cap = cap(input);
    config.transmit_cap = cap(input);
    config.event_cap = cap(input);
    config.tag_cap = cap(input);
    config.replay_cap = cap(input);
    config.replay_reserve = 4;
    config
}
