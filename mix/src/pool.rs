//! Where packets wait: a heap by deadline, bounded, that sheds uniformly at random when it is full. Knows nothing of packets,
//! keys or sync; [`crate::mixer`] decides what goes in and when. SPEC.md §8.

use rand_core::Rng;

use crate::dice::below;
use crate::time::Moment;

/// A bounded heap of things that wait for a moment. Its order at equal deadlines is random, never that of arrival.
#[derive(Debug)]
pub struct Pool<T> {
    heap: Vec<Slot<T>>,
    cap: usize,
}

#[derive(Debug)]
struct Slot<T> {
    key: (Moment, u64),
    item: T,
}

impl<T> Pool<T> {
    /// An empty pool for at most `cap` items.
    pub fn new(cap: usize) -> Self {
        Self {
            // All of it now: growing would copy the heap while packets wait.
            heap: Vec::with_capacity(cap),
            cap,
        }
    }

    /// Puts an item in until `deadline`. If the pool is full, one of all those inside and the new one, each as likely as any
    /// other, is thrown out and returned.
    pub fn insert(&mut self, deadline: Moment, item: T, rng: &mut impl Rng) -> Option<T> {
        let shed = if self.heap.len() < self.cap {
            None
        } else {
            let victim = below(self.heap.len() + 1, rng);
            if victim == self.heap.len() {
                return Some(item);
            }
            Some(self.remove(victim))
        };
        let slot = Slot {
            key: (deadline, rng.next_u64()),
            item,
        };
        self.heap.push(slot);
        self.sift_up(self.heap.len() - 1);
        shed
    }

    /// Throws out one item, each as likely as any other.
    pub fn shed(&mut self, rng: &mut impl Rng) -> Option<T> {
        if self.heap.is_empty() {
            return None;
        }
        let victim = below(self.heap.len(), rng);
        Some(self.remove(victim))
    }

    /// Takes the item with the earliest deadline, if that has come.
    pub fn pop_due(&mut self, now: Moment) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        Some(self.remove(0))
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.heap.first().map(|slot| slot.key.0)
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The item at a place of the heap; the caller knows that there is one.
    fn remove(&mut self, place: usize) -> T {
        let slot = self.heap.swap_remove(place);
        if place < self.heap.len() {
            // What came from the end may belong further up as well as further down: it is from another branch.
            self.sift_down(place);
            self.sift_up(place);
        }
        slot.item
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].key <= self.heap[place].key {
                return;
            }
            self.heap.swap(parent, place);
            place = parent;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut least) = (left < self.heap.len()).then_some(left) else {
                return;
            };
            if left + 1 < self.heap.len() && self.heap[left + 1].key < self.heap[left].key {
                least = left + 1;
            }
            if self.heap[place].key <= self.heap[least].key {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests;
