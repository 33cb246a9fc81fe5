//! The packets that the `mixer_ops` target hands to its mixer, made once, and what must become of each.

use std::sync::LazyLock;

use mix::sphinx::{Peeled, build, build_surb};
use mix::time::{Moment, Span};
use mix::{BODY_LEN, Class, DropReason, EpochKey, Exit, Hop, Packet, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::lab::{Case, NETWORK, OWN, Relay};
use crate::model::{self, BETA, GAMMA, Wire};

/// The epochs whose keys the mixer may be given.
pub const EPOCHS: core::ops::RangeInclusive<u32> = 1..=5;

/// A packet that stands before the mixer.
pub struct Letter {
    /// All of it.
    pub wire: Wire,
    /// The epoch of the key that opens it; none opens some.
    pub epoch: Option<u32>,
    /// Its replay tag under that key.
    pub tag: [u8; 16],
    /// What comes of it once it is open, and how it leaves.
    pub fate: Result<(Peeled, Wire), DropReason>,
}

impl Letter {
    /// Whether the mixer's own dice decide if it waits too long.
    pub fn may_exceed_cap(&self) -> bool {
        matches!(self.fate, Ok((Peeled::Forward { quantile, .. }, _)) if quantile.0 == 0)
    }
}

/// The mixer's relay in an epoch.
pub fn relay(epoch: u32) -> Relay {
    Relay::named(OWN, epoch)
}

/// Its key in that epoch: 1,000 s each, usable from 100 s before until 100 s after.
pub fn key(epoch: u32) -> EpochKey {
    static KEYS: LazyLock<Vec<EpochKey>> = LazyLock::new(|| {
        EPOCHS
            .map(|epoch| {
                let starts = Moment::from_secs(1_000 * u64::from(epoch));
                EpochKey {
                    epoch,
                    usable_from: starts - Span::from_secs(100),
                    starts,
                    usable_until: starts + Span::from_secs(1_100),
                    secret: relay(epoch).secret,
                }
            })
            .collect()
    });
    KEYS[epoch as usize - 1].clone()
}

/// All letters.
pub static LETTERS: LazyLock<Vec<Letter>> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut letters = Vec::new();
    for epoch in EPOCHS {
        for kind in 0..14 {
            letters.push(letter(epoch, kind, &mut rng));
        }
    }
    // Damaged before any key was tried.
    for kind in 0..4 {
        let mut wire = letters[0].wire;
        match kind {
            0 => wire[0] = 2,
            1 => wire[1..33].fill(0),
            2 => wire[40] ^= 1,
            _ => wire[228] ^= 128,
        }
        letters.push(Letter {
            wire,
            epoch: None,
            tag: [0; 16],
            fate: Err([DropReason::Version, DropReason::Alpha, DropReason::Mac][kind.min(2)]),
        });
    }
    letters
});

fn letter(epoch: u32, kind: u8, rng: &mut ChaCha20Rng) -> Letter {
    let relay = relay(epoch);
    let hop = |name| Relay::named(name, epoch).hop;
    let onward = kind < 7;
    let path: Vec<Hop> = if onward {
        vec![relay.hop, hop(11), hop(12)]
    } else {
        vec![relay.hop]
    };
    let class = Class::ALL[usize::from(kind) % 3];
    // No two letters may end alike: an event must tell which letter it was, for of two that are equal one may have been shed.
    let mark = epoch as u8 * 16 + kind;
    let exit = match kind {
        7 => Exit::Loop { id: [mark; 16] },
        8 => Exit::Drop,
        _ => Exit::Box,
    };
    let packet: Packet = if kind == 9 {
        let (surb, _) =
            build_surb(&NETWORK, &path, class, [mark; 16], rng).expect("an honest path");
        surb.reply(&[mark; BODY_LEN]).1
    } else {
        build(&NETWORK, &path, class, exit, &[mark; BODY_LEN], rng).expect("an honest path")
    };
    let mut case = Case::before(&relay, &packet);
    // What only a sender can do: the longest delay, the shortest, ourselves as next hop, nonsense.
    match kind {
        3 => write_block(&mut case, 2, &[0, 0]),
        4 => write_block(&mut case, 2, &[1, 0]),
        5 => write_block(&mut case, 2, &[0xff, 0xff]),
        6 => write_block(&mut case, 4, &[OWN; 16]),
        10 => write_block(&mut case, 0, &[0]),
        11 => write_block(&mut case, 1, &[3]),
        12 => case.packet[2047] ^= 1,
        _ => {}
    }
    let mut fate = model::peel(&case.packet, &case.keys, &case.next_alpha);
    if let Ok((Peeled::Forward { next, .. }, _)) = fate
        && next == ShortId([OWN; 16])
    {
        fate = Err(DropReason::NextIsSelf);
    }
    Letter {
        wire: case.packet,
        epoch: Some(epoch),
        tag: case.keys.tag,
        fate,
    }
}

fn write_block(case: &mut Case, at: usize, value: &[u8]) {
    let clear = case.keys.clear(&case.packet[BETA]);
    for (i, byte) in value.iter().enumerate() {
        case.packet[49 + at + i] ^= clear[at + i] ^ byte;
    }
    let gamma = case.keys.gamma(&case.packet[BETA]);
    case.packet[GAMMA].copy_from_slice(&gamma);
}
