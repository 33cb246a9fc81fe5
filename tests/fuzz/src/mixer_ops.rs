//! Target `mixer_ops`: a mixer with tiny bounds lives through what the input says: packets new, old and damaged, time that
//! passes or jumps, a slow disk, keys that come and go, crashes. A second set of books ([`book`]) is kept beside it and must
//! balance after every operation: nothing leaves before its tag is durable, before its time, or twice; nothing is lost uncounted.

use std::collections::BTreeSet;

use mix::time::{Moment, Span};
use mix::{Class, MixerConfig, ShortId};

use crate::lab::{Input, NETWORK, OWN, one_in};

use crate::book::{Book, HOLD};
use crate::letters::LETTERS;

const MOST_OPERATIONS: usize = 32;
const STEPS: [Span; 8] = [
    Span::ZERO,
    Span::from_micros(24_999),
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
    let config = config(&mut input);
    let seed = u64::from(input.byte());
    let mut book = Book::new(config, seed, one_in(5, data));
    let mut now = Moment::from_secs([1_500, 1_950, 2_050, 2_150][input.below(4)]);
    for epoch in 1..=input.below(4) {
        book.add_key(epoch as u32, &[]);
    }
    let mut last = 0;
    // They cost more than everything else together.
    let mut letters = match () {
        () if one_in(8, data) => 5,
        () if one_in(3, data) => 3,
        () if one_in(2, data) => 1,
        () => 0,
    };
    for _ in 0..MOST_OPERATIONS {
        if input.is_empty() {
            break;
        }
        match input.below(18) {
            operation @ 0..=3 => {
                if letters == 0 {
                    continue;
                }
                letters -= 1;
                if operation != 2 {
                    last = input.below(LETTERS.len());
                }
                if operation == 3 {
                    book.damaged(now, last, input.wide(229 * 8));
                } else {
                    book.letter(now, last);
                }
            }
            4 | 16 => {
                let count = (1 + input.below(3)).min(letters);
                letters -= count;
                let staged = stage(count, now, last, &mut input);
                book.stage(&staged, input.byte().is_multiple_of(2));
            }
            17 => {
                book.keep_opener();
                book.deliver();
            }
            5 | 6 => _ = book.poll_tags(),
            7 => book.sync(match input.byte() {
                255 => u64::MAX,
                0..=127 => book.polled(),
                any => u64::from(any % 8),
            }),
            8 => {
                now += STEPS[input.below(8)];
                book.timeout(now);
            }
            9 => {
                let moment = match input.byte() {
                    0 => Moment::ZERO,
                    255 => Moment::MAX,
                    any => Moment::from_secs(u64::from(any) * 30),
                };
                // The clock may be wrong for one timeout, or from now on.
                if input.byte().is_multiple_of(2) {
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

/// Letters that arrived together, or one after the other, or some of them twice.
fn stage(count: usize, now: Moment, last: usize, input: &mut Input<'_>) -> Vec<(usize, Moment)> {
    let mut staged: Vec<(usize, Moment)> = Vec::new();
    let step = [Span::ZERO, Span::from_millis(1), Span::from_secs(100)][input.below(3)];
    for _ in 0..count {
        let choice = input.below(LETTERS.len() + 5);
        let number = if choice < LETTERS.len() { choice } else { last };
        // Of two letters whose delay may exceed the cap nobody could tell which did.
        let dicey = |number: usize| LETTERS[number].may_exceed_cap();
        if !dicey(number) || !staged.iter().any(|&(other, _)| dicey(other)) {
            staged.push((number, now + step.times(staged.len() as u64)));
        }
    }
    staged
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
    config.replay_reserve = usize::from(input.byte() == 1);
    config
}
