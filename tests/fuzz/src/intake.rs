//! How packets come into the mixer of the `mixer_ops` target: one at a time, damaged, or opened elsewhere by an opener that may
//! be out of date by then. Says of each beforehand whether it must be accepted or for which reason it must be dropped.

use std::collections::BTreeMap;

use mix::mixer::{Arrival, Opened, Opener};
use mix::sphinx::Peeled;
use mix::time::Moment;
use mix::{Counters, DropReason};

use crate::book::{Book, Stay, What, packet};
use crate::letters::{LETTERS, key};

/// An opener and the epochs whose keys it has.
pub struct Snapshot {
    opener: Opener,
    epochs: Vec<u32>,
}

/// Packets that were opened and not yet handed in.
pub struct Pending {
    opened: Opened,
    letters: Vec<Coming>,
}

/// A letter on its way in: which, when it arrived, and what opening it gave.
struct Coming {
    number: usize,
    at: Moment,
    opened: Result<(), DropReason>,
}

impl Book {
    /// Hands a letter in.
    pub fn letter(&mut self, now: Moment, number: usize) {
        let epochs: Vec<u32> = self.ring.keys().copied().collect();
        let coming = Coming {
            number,
            at: now,
            opened: opens(number, now, &epochs),
        };
        let before = self.state();
        self.each(|mixer| mixer.handle_packet(now, packet(&LETTERS[number].wire)));
        self.settle(&before, &[coming]);
    }

    /// Hands in a letter that somebody damaged: one bit of its header.
    pub fn damaged(&mut self, now: Moment, number: usize, bit: usize) {
        let mut wire = LETTERS[number].wire;
        wire[bit / 8] ^= 1 << (bit % 8);
        if LETTERS
            .iter()
            .any(|letter| letter.wire[..229] == wire[..229])
        {
            return;
        }
        let (before, _) = self.state();
        self.each(|mixer| mixer.handle_packet(now, packet(&wire)));
        self.count.received += 1;
        let drops = intake_drops(&before, self.mixer.counters());
        use DropReason::{Alpha, Mac, Version};
        assert!(
            matches!(drops[..], [(Version | Alpha | Mac, 1)]),
            "an altered header was accepted"
        );
        self.reach("damaged");
    }

    /// Keeps an opener for later, when it will be out of date.
    pub fn keep_opener(&mut self) {
        self.kept = Some(self.snapshot());
    }

    /// Opens letters elsewhere, and hands them in now or with [`deliver`](Self::deliver). Keys are those of the latest arrival.
    pub fn stage(&mut self, letters: &[(usize, Moment)], at_once: bool) {
        let Some(latest) = letters.iter().map(|&(_, at)| at).max() else {
            return;
        };
        self.deliver();
        // The twin, who opens packets itself, does so with the keys of each packet's own moment: one moment for all, and now.
        let alone = self.twin.is_none();
        let letters = letters.iter().map(|&(number, at)| Coming {
            number,
            at: if alone { at } else { latest },
            opened: Ok(()),
        });
        let mut letters: Vec<Coming> = letters.collect();
        let kept = self.kept.take().filter(|_| alone);
        let Snapshot { opener, epochs } = kept.unwrap_or_else(|| self.snapshot());
        let mut arrivals = Vec::new();
        for letter in &mut letters {
            letter.opened = opens(letter.number, latest, &epochs);
            arrivals.push(Arrival {
                at: letter.at,
                packet: packet(&LETTERS[letter.number].wire),
            });
        }
        let opened = opener.open(arrivals);
        assert_eq!(opened.len(), letters.len());
        self.pending = Some(Pending { opened, letters });
        if at_once || !alone {
            self.deliver();
        }
    }

    /// Hands in what was opened.
    pub fn deliver(&mut self) {
        let Some(Pending { opened, letters }) = self.pending.take() else {
            return;
        };
        let before = self.state();
        self.mixer.handle_opened(opened);
        if let Some(twin) = &mut self.twin {
            for letter in &letters {
                twin.handle_packet(letter.at, packet(&LETTERS[letter.number].wire));
            }
        }
        self.settle(&before, &letters);
        self.reach("opened elsewhere");
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            opener: self.mixer.opener(),
            epochs: self.ring.keys().copied().collect(),
        }
    }

    fn state(&self) -> (Counters, usize) {
        (self.mixer.counters().clone(), self.mixer.pool_len())
    }

    /// Enters letters that were handed in into the books, and compares with what the mixer counted.
    fn settle(&mut self, (before, inside): &(Counters, usize), letters: &[Coming]) {
        let drops = intake_drops(before, self.mixer.counters());
        // A quantile of zero is beyond the cap or not, by the mixer's own dice.
        let over_cap = drops.contains(&(DropReason::OverCapDelay, 1));
        let relayed = self.count.relayed;
        let mut want: BTreeMap<DropReason, u64> = BTreeMap::new();
        for letter in letters {
            self.count.received += 1;
            match self.enter(letter, over_cap) {
                Ok(()) => self.reach("accepted"),
                Err(reason) => {
                    *want.entry(reason).or_default() += 1;
                    self.reach(reason.name());
                }
            }
        }
        assert_eq!(drops, want.into_iter().collect::<Vec<_>>(), "other drops");
        let entered = inside + (self.count.relayed - relayed) as usize;
        let shed = self.mixer.counters().dropped(DropReason::PoolFull)
            - before.dropped(DropReason::PoolFull);
        assert_eq!(
            shed as usize,
            entered.saturating_sub(self.config.pool_cap),
            "shed from a pool with room, or not from a full one"
        );
    }

    fn enter(&mut self, coming: &Coming, over_cap: bool) -> Result<(), DropReason> {
        coming.opened?;
        let letter = &LETTERS[coming.number];
        let epoch = letter.epoch.expect("it was opened");
        let waiting: usize = self.open.iter().map(|(_, _, tags)| tags.len()).sum();
        if waiting >= self.config.tag_cap {
            return Err(DropReason::TagsBacklog);
        }
        // The key may have gone since the packet was opened.
        let seen = self.ring.get_mut(&epoch).ok_or(DropReason::Mac)?;
        if seen.contains(&letter.tag) {
            return Err(DropReason::Replay);
        }
        if seen.len() >= self.config.replay_cap {
            return Err(DropReason::ReplayFull);
        }
        seen.insert(letter.tag);
        let seq = self.note_tag(epoch, letter.tag);
        match letter.fate.as_ref().map_err(|reason| *reason)?.0 {
            Peeled::Forward { quantile, .. } if over_cap && quantile.0 == 0 => {
                return Err(DropReason::OverCapDelay);
            }
            Peeled::Forward { next, .. } => {
                self.count.relayed += 1;
                self.inside.push(Stay {
                    seq,
                    earliest: coming.at + self.config.hold,
                    to: next,
                    what: What::Letter(coming.number),
                });
                return Ok(());
            }
            Peeled::Drop => self.count.cover += 1,
            _ => self.ended.push((seq, coming.number, coming.at)),
        }
        self.count.ended += 1;
        Ok(())
    }

    fn note_tag(&mut self, epoch: u32, tag: [u8; 16]) -> u64 {
        if let Some((seq, _, tags)) = self.open.iter_mut().find(|open| open.1 == epoch) {
            tags.push(tag);
            return *seq;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.open.push_back((seq, epoch, vec![tag]));
        seq
    }
}

/// Whether the keys of these epochs open a letter.
fn opens(number: usize, now: Moment, epochs: &[u32]) -> Result<(), DropReason> {
    let letter = &LETTERS[number];
    match (letter.epoch, &letter.fate) {
        (Some(epoch), _) if epochs.contains(&epoch) && key(epoch).is_usable(now) => Ok(()),
        (None, Err(reason)) => Err(*reason),
        _ => Err(DropReason::Mac),
    }
}

/// Reasons for which an arriving packet itself is dropped, in place of being accepted.
pub fn at_intake(reason: DropReason) -> bool {
    use DropReason::{EventsFull, PoolFull, TransmitFull};
    !matches!(reason, PoolFull | TransmitFull | EventsFull)
}

/// For which reasons arriving packets were dropped between two states of the counters, and how many.
fn intake_drops(before: &Counters, after: &Counters) -> Vec<(DropReason, u64)> {
    DropReason::ALL
        .into_iter()
        .filter(|&reason| at_intake(reason))
        .map(|reason| (reason, after.dropped(reason) - before.dropped(reason)))
        .filter(|&(_, drops)| drops > 0)
        .collect()
}
