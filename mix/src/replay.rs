//! The exact set of replay tags seen under one mix key. Never evicts: when it is full it says so and the intake closes. It is
//! owned by its key ([`crate::keyring`]) and erased with it. SPEC.md §8.

use core::fmt;

use rand_core::Rng;

/// Parts that grow by themselves: doubling all of a large set at once would hold up every packet for tens of milliseconds.
const SHARDS: usize = 64;
/// Slots of a shard that holds anything.
const SMALLEST: usize = 1 << 4;

/// What came of showing a tag to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// New; now remembered.
    New,
    /// Known: a replay.
    Again,
    /// New, but there is no room to remember it: it must be refused.
    Full,
}

/// A set of 16-byte tags with open addressing, exact, of bounded size. 32 to 64 bytes a tag, but at least 256 for each part that
/// holds any.
pub struct ReplaySet {
    shards: [Shard; SHARDS],
    /// The one tag that a slot cannot hold.
    zero: bool,
    len: usize,
    cap: usize,
    /// Secret, so that nobody can craft packets whose tags fall into one run of slots.
    seed: [u64; 2],
}

/// A power of two of slots, at most half of them used. Zero marks a free slot.
struct Shard {
    slots: Vec<[u8; 16]>,
    len: usize,
}

impl ReplaySet {
    /// An empty set for at most `cap` tags. It grows as it fills, a part at a time.
    pub fn new(cap: usize, rng: &mut impl Rng) -> Self {
        let seed = [rng.next_u64(), rng.next_u64()];
        Self {
            shards: [const {
                Shard {
                    slots: Vec::new(),
                    len: 0,
                }
            }; SHARDS],
            zero: false,
            len: 0,
            cap,
            seed,
        }
    }

    /// Makes room for `tags` tags now and touches its memory, so that insertions pay neither for growth nor for page faults.
    pub fn reserve(&mut self, tags: usize) {
        let tags = tags.min(self.cap);
        if tags == 0 {
            return;
        }
        // Tags spread over the shards by chance; an eighth above the mean is more than they stray when there are a hundred
        // thousand. With fewer, the power of two mostly leaves more room, and if not, a shard of some KiB grows.
        let slots = (tags / SHARDS * 9 / 4).next_power_of_two().max(SMALLEST);
        for number in 0..SHARDS {
            if slots > self.shards[number].slots.len() {
                self.grow(number, slots);
            }
        }
    }

    /// Looks a tag up and remembers it if there is room.
    pub fn insert(&mut self, tag: [u8; 16]) -> Seen {
        if tag == [0; 16] {
            return self.insert_zero();
        }
        let hash = self.hash(&tag);
        let number = shard_of(hash);
        let shard = &self.shards[number];
        if !shard.slots.is_empty() && shard.slots[shard.place(hash, &tag)] == tag {
            return Seen::Again;
        }
        if self.len >= self.cap {
            return Seen::Full;
        }
        if (shard.len + 1) * 2 > shard.slots.len() {
            self.grow(number, (shard.slots.len() * 2).max(SMALLEST));
        }
        let shard = &mut self.shards[number];
        let place = shard.place(hash, &tag);
        shard.slots[place] = tag;
        shard.len += 1;
        self.len += 1;
        Seen::New
    }

    /// How many tags are remembered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn insert_zero(&mut self) -> Seen {
        if self.zero {
            return Seen::Again;
        }
        if self.len >= self.cap {
            return Seen::Full;
        }
        self.zero = true;
        self.len += 1;
        Seen::New
    }

    fn hash(&self, tag: &[u8; 16]) -> u64 {
        let (low, high) = tag.split_at(8);
        let (mut a, mut b) = ([0; 8], [0; 8]);
        a.copy_from_slice(low);
        b.copy_from_slice(high);
        let product = u128::from(u64::from_le_bytes(a) ^ self.seed[0])
            * u128::from(u64::from_le_bytes(b) ^ self.seed[1]);
        product as u64 ^ (product >> 64) as u64
    }

    fn grow(&mut self, number: usize, slots: usize) {
        // Resized, not made of zeros at once: that would leave touching the pages to the packets.
        let mut fresh = Vec::with_capacity(slots);
        fresh.resize(slots, [0; 16]);
        let old = core::mem::replace(&mut self.shards[number].slots, fresh);
        for tag in old.into_iter().filter(|tag| *tag != [0; 16]) {
            let hash = self.hash(&tag);
            let shard = &mut self.shards[number];
            let place = shard.place(hash, &tag);
            shard.slots[place] = tag;
        }
    }
}

impl Shard {
    /// The slot that holds this tag, or the free one where it belongs. Terminates because half of the slots are free.
    fn place(&self, hash: u64, tag: &[u8; 16]) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        while self.slots[place] != [0; 16] && self.slots[place] != *tag {
            place = (place + 1) & mask;
        }
        place
    }
}

/// The upper bits; the lower ones give the slot.
fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize
}

impl fmt::Debug for ReplaySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplaySet({} of {})", self.len, self.cap)
    }
}

#[cfg(test)]
mod tests;
