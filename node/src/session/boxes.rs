//! Box chains: which box a frame goes into, and the keys of that box.
//!
//! Each direction of a conversation has one [`BoxChain`]. A day key moves forward by hashing, so
//! yesterday's boxes can't be found from today's state once [`BoxChain::forget_before`] ran. From a
//! day key come two series: *live* boxes, a few per short slot, and *parked* boxes, counted from 0
//! each day. A box's keys are an Ed25519 pair (the public half is its id), an AEAD key used for one
//! frame only, and the order in which its holders are asked. Not here: who the holders are (crate
//! `dht`), which box is next (`conversation::cursor`). SPEC §5.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use ed25519_dalek::SigningKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::frame::FRAME_LEN;
use super::{Day, SEALED_LEN, derive, derive_into};

const NEXT_DAY: &str = "murmuration/v1/box-next-day";
const LIVE: &str = "murmuration/v1/box-live";
const PARKED: &str = "murmuration/v1/box-parked";
const ORDER: &str = "murmuration/v1/box-order";
/// Ten years of days: more than any conversation skips, few enough to walk.
const MAX_DAYS_AHEAD: u32 = 3660;

/// A place in one of the two series of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// A box of a live slot.
    Live {
        /// Unix ms divided by the slot length.
        slot: u64,
        /// From 0, below the network's boxes per slot.
        index: u8,
    },
    /// A box of a day.
    Parked {
        /// Unix ms divided by the day length.
        day: Day,
        /// From 0.
        index: u32,
    },
}

/// One direction's chain of day keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BoxChain {
    day: Day,
    key: [u8; 32],
}

impl BoxChain {
    /// A chain that starts on `first_day` with the root the hello gave.
    #[must_use]
    pub const fn new(root: [u8; 32], first_day: Day) -> Self {
        Self {
            day: first_day,
            key: root,
        }
    }

    /// The oldest day whose boxes can still be found.
    #[must_use]
    pub const fn first_day(&self) -> Day {
        self.day
    }

    /// Keys of a live box. `None` before the chain's first day and absurdly far ahead.
    #[must_use]
    pub fn live(&self, slot: u64, index: u8, live_slot_ms: u64, day_ms: u64) -> Option<BoxKeys> {
        let day = super::day_of(slot.saturating_mul(live_slot_ms), day_ms);
        // A slot that began before the chain's first day belongs to the first day.
        let key = self.day_key(day.max(self.day))?;
        Some(BoxKeys::derive(LIVE, &key, &slot.to_le_bytes(), &[index]))
    }

    /// Keys of a parked box. `None` before the chain's first day and absurdly far ahead.
    #[must_use]
    pub fn parked(&self, day: Day, index: u32) -> Option<BoxKeys> {
        let key = self.day_key(day)?;
        Some(BoxKeys::derive(
            PARKED,
            &key,
            &day.to_le_bytes(),
            &index.to_le_bytes(),
        ))
    }

    /// Keys of the box at `series`.
    #[must_use]
    pub fn at(&self, series: Series, live_slot_ms: u64, day_ms: u64) -> Option<BoxKeys> {
        match series {
            Series::Live { slot, index } => self.live(slot, index, live_slot_ms, day_ms),
            Series::Parked { day, index } => self.parked(day, index),
        }
    }

    /// Moves the chain on, so that boxes before `day` can't be found from this state any more.
    pub fn forget_before(&mut self, day: Day) {
        if let Some(key) = self.day_key(day) {
            self.key = *key;
            self.day = day;
        }
    }

    pub(crate) const fn parts(&self) -> (Day, &[u8; 32]) {
        (self.day, &self.key)
    }

    fn day_key(&self, day: Day) -> Option<zeroize::Zeroizing<[u8; 32]>> {
        let steps = day.checked_sub(self.day)?;
        if steps > MAX_DAYS_AHEAD {
            return None;
        }
        let mut key = zeroize::Zeroizing::new(self.key);
        for _ in 0..steps {
            *key = derive(NEXT_DAY, &[&*key]);
        }
        Some(key)
    }
}

impl std::fmt::Debug for BoxChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxChain")
            .field("day", &self.day)
            .finish_non_exhaustive()
    }
}

/// The keys of one box.
#[derive(Clone)]
pub struct BoxKeys {
    signing: SigningKey,
    aead: [u8; 32],
    order: [u8; 32],
}

impl BoxKeys {
    /// The box id: the public half of the signing key.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The key that signs deposits and deletions of this box.
    #[must_use]
    pub const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The order in which `k` holders are written and asked: a permutation of `0..k` that only the
    /// two contacts know. Both use the same one, so that the first copy written is the first read.
    #[must_use]
    pub fn holder_order(&self, k: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..k).collect();
        let mut stream = blake3::Hasher::new_derive_key(ORDER)
            .update(&self.order)
            .finalize_xof();
        for last in (1..k).rev() {
            let mut word = [0; 8];
            stream.fill(&mut word);
            // The modulo bias over 64 bits is far below anything a holder could see.
            let pick = u64::from_le_bytes(word) % (last as u64 + 1);
            order.swap(last, usize::try_from(pick).unwrap_or(0));
        }
        order
    }

    /// Seals a frame. A box takes one frame ever, so the nonce is zero; sealing two different frames
    /// into one box would break its secrecy, which is why cursors are saved before a frame leaves.
    #[must_use]
    pub fn seal(&self, frame: &[u8; FRAME_LEN]) -> Box<[u8; SEALED_LEN]> {
        let mut out = Box::new([0; SEALED_LEN]);
        let (body, tag) = out.split_at_mut(FRAME_LEN);
        body.copy_from_slice(frame);
        // The cipher refuses only inputs beyond 256 GiB; a box left zero is unreadable, not leaking.
        if let Ok(made) =
            self.cipher()
                .encrypt_inout_detached(&Nonce::default(), &self.id(), body.into())
        {
            tag.copy_from_slice(&made);
        } else {
            body.zeroize();
        }
        out
    }

    /// Opens what a holder gave. `None` if it was not sealed for this box.
    #[must_use]
    pub fn open(&self, sealed: &[u8; SEALED_LEN]) -> Option<Box<[u8; FRAME_LEN]>> {
        let (body, tag) = sealed.split_at(FRAME_LEN);
        let mut frame = Box::new([0; FRAME_LEN]);
        frame.copy_from_slice(body);
        let tag = Tag::try_from(tag).ok()?;
        self.cipher()
            .decrypt_inout_detached(
                &Nonce::default(),
                &self.id(),
                frame.as_mut_slice().into(),
                &tag,
            )
            .ok()?;
        Some(frame)
    }

    fn derive(context: &str, day_key: &[u8; 32], place: &[u8], index: &[u8]) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0; 96]);
        derive_into(context, &[day_key, place, index], bytes.as_mut_slice());
        let mut part = zeroize::Zeroizing::new([0; 32]);
        part.copy_from_slice(&bytes[..32]);
        let signing = SigningKey::from_bytes(&part);
        let mut keys = Self {
            signing,
            aead: [0; 32],
            order: [0; 32],
        };
        keys.aead.copy_from_slice(&bytes[32..64]);
        keys.order.copy_from_slice(&bytes[64..]);
        keys
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&Key::from(self.aead))
    }
}

impl Drop for BoxKeys {
    fn drop(&mut self) {
        self.aead.zeroize();
        self.order.zeroize();
    }
}

impl std::fmt::Debug for BoxKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SLOT: u64 = 20_000;
    const DAY: u64 = 86_400_000;

    fn chain() -> BoxChain {
        BoxChain::new([6; 32], 100)
    }

    #[test]
    fn no_two_places_share_an_id() {
        let chain = chain();
        let mut ids = Vec::new();
        for day in 100..104 {
            ids.extend((0..4).map(|index| chain.parked(day, index).unwrap().id()));
        }
        let first = 100 * DAY / SLOT;
        for slot in first..first + 4 {
            ids.extend((0..4).map(|index| chain.live(slot, index, SLOT, DAY).unwrap().id()));
        }
        ids.push(BoxChain::new([7; 32], 100).parked(100, 0).unwrap().id());
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn forgetting_keeps_the_future_and_loses_the_past() {
        let (mut moved, whole) = (chain(), chain());
        moved.forget_before(103);
        assert!(moved.parked(102, 0).is_none());
        assert_eq!(
            moved.parked(105, 3).unwrap().id(),
            whole.parked(105, 3).unwrap().id()
        );
        let slot = 104 * DAY / SLOT;
        let id = |chain: &BoxChain| chain.live(slot, 1, SLOT, DAY).unwrap().id();
        assert_eq!(id(&moved), id(&whole));
        assert_ne!(moved.parts().1, whole.parts().1);
        assert!(whole.parked(99, 0).is_none() && whole.parked(u32::MAX, 0).is_none());
    }

    #[test]
    fn a_sealed_frame_opens_only_with_its_own_box() {
        let (one, two) = (
            chain().parked(100, 0).unwrap(),
            chain().parked(100, 1).unwrap(),
        );
        let frame = [9; FRAME_LEN];
        let sealed = one.seal(&frame);
        assert_eq!(sealed.len(), SEALED_LEN);
        assert_eq!(one.open(&sealed).unwrap()[..], frame[..]);
        assert!(two.open(&sealed).is_none());
        for at in [0, 800, FRAME_LEN - 1, FRAME_LEN, SEALED_LEN - 1] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(one.open(&bad).is_none());
        }
    }

    #[test]
    fn holder_orders_are_permutations_that_differ() {
        let chain = chain();
        let mut firsts = [0; 6];
        for index in 0..600 {
            let mut order = chain.parked(100, index).unwrap().holder_order(6);
            firsts[order[0]] += 1;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        }
        assert!(
            firsts.iter().all(|count| (60..140).contains(count)),
            "{firsts:?}"
        );
        assert!(chain.parked(100, 0).unwrap().holder_order(0).is_empty());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", chain().parked(100, 0).unwrap()),
            "BoxKeys(…)"
        );
        assert_eq!(format!("{:?}", chain()), "BoxChain { day: 100, .. }");
    }
}
