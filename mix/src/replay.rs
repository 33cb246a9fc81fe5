//! The exact set of replay tags seen under one mix key. Never evicts: when it is full it says so and the intake closes. It is
//! owned by its key ([`crate::keyring`]) and erased with it. SPEC.md §8.

use core::fmt;

use rand_core::Rng;

const SMALLEST: usize = 1 << 10;

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

/// A set of 16-byte tags with open addressing, exact, of bounded size. 32 to 64 bytes a tag.
pub struct ReplaySet {
    /// A power of two of slots, at most half of them used. Zero marks a free slot.
    slots: Vec<[u8; 16]>,
    /// The one tag that a slot cannot hold.
    zero: bool,
    len: usize,
    cap: usize,
    /// Secret, so that nobody can craft packets whose tags fall into one run of slots.
    seed: [u64; 2],
}

impl ReplaySet {
    /// An empty set for at most `cap` tags. It grows by doubling; a set that will fill is best sized once, by
    /// [`reserve`](Self::reserve).
    pub fn new(cap: usize, rng: &mut impl Rng) -> Self {
        let seed = [rng.next_u64() | 1, rng.next_u64() | 1];
        Self {
            slots: Vec::new(),
            zero: false,
            len: 0,
            cap,
            seed,
        }
    }

    /// Makes room for `tags` tags now, so that no insertion pays for growth (memory is touched here).
    pub fn reserve(&mut self, tags: usize) {
        let wanted = tags
            .min(self.cap)
            .saturating_mul(2)
            .next_power_of_two()
            .max(SMALLEST);
        if wanted > self.slots.len() {
            self.grow_to(wanted);
        }
    }

    /// Looks a tag up and remembers it if there is room.
    pub fn insert(&mut self, tag: [u8; 16]) -> Seen {
        if tag == [0; 16] {
            return self.insert_zero();
        }
        if !self.slots.is_empty() && self.slots[self.place(&tag)] == tag {
            return Seen::Again;
        }
        if self.len >= self.cap {
            return Seen::Full;
        }
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow_to((self.slots.len() * 2).max(SMALLEST));
        }
        let place = self.place(&tag);
        self.slots[place] = tag;
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

    /// The slot that holds this tag, or the free one where it belongs. Terminates because half of the slots are free.
    fn place(&self, tag: &[u8; 16]) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = self.start(tag) & mask;
        while self.slots[place] != [0; 16] && self.slots[place] != *tag {
            place = (place + 1) & mask;
        }
        place
    }

    fn start(&self, tag: &[u8; 16]) -> usize {
        let (low, high) = tag.split_at(8);
        let (mut a, mut b) = ([0; 8], [0; 8]);
        a.copy_from_slice(low);
        b.copy_from_slice(high);
        let product = u128::from(u64::from_le_bytes(a) ^ self.seed[0])
            * u128::from(u64::from_le_bytes(b) ^ self.seed[1]);
        (product as u64 ^ (product >> 64) as u64) as usize
    }

    fn grow_to(&mut self, slots: usize) {
        let old = core::mem::replace(&mut self.slots, vec![[0; 16]; slots]);
        for tag in old {
            if tag != [0; 16] {
                let place = self.place(&tag);
                self.slots[place] = tag;
            }
        }
    }
}

impl fmt::Debug for ReplaySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplaySet({} of {})", self.len, self.cap)
    }
}

#[cfg(test)]
mod tests;
