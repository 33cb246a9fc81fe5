//! What is going to happen, in order of time. Things due at one moment happen in the order in which
//! they were planned, so that a run never depends on a heap's whims.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use mix::time::Moment;

use crate::sim::adversary::Frame;

/// One life of one node: what was meant for an earlier life never reaches a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) number: u64,
}

/// A gossip message on its way.
#[derive(Debug)]
pub(super) struct Gossip {
    /// The message id: a hash of the data.
    pub(super) id: [u8; 16],
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Happening {
    /// A core's timer.
    Wake(Life),
    /// The disk has written what was in flight.
    Durable(Life),
    /// A packet arrives.
    Packet { from: usize, to: Life, frame: Frame },
    /// A replayer sends a copy, to whatever life the node is in by then.
    Inject {
        from: usize,
        to: usize,
        frame: Frame,
    },
    /// A gossip message arrives.
    Gossip {
        from: usize,
        to: Life,
        message: Arc<Gossip>,
    },
    /// A lookup brings a value.
    Found {
        to: Life,
        key: [u8; 32],
        value: Vec<u8>,
    },
    /// A lookup ends.
    LookupDone { to: Life, key: [u8; 32] },
    /// A request to reconcile arrives.
    Ask {
        from: Life,
        to: Life,
        token: u64,
        data: Vec<u8>,
    },
    /// Its answer arrives, or the news that there is none.
    Answer {
        to: Life,
        from: usize,
        token: u64,
        data: Option<Vec<u8>>,
    },
    /// A dial succeeds, unless one of the two is gone by then.
    Connect { dialler: Life, to: Life },
    /// A node notices that a connection is gone.
    Lost { to: Life, peer: usize },
}

#[derive(Debug)]
struct Planned {
    at: Moment,
    number: u64,
    what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    /// Earliest first in a heap that gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Moment, what: Happening) {
        self.planned += 1;
        self.heap.push(Planned {
            at,
            number: self.planned,
            what,
        });
    }

    /// What happens next, unless it is after `end`.
    pub(super) fn next(&mut self, end: Moment) -> Option<(Moment, Happening)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn time_first_then_order_of_planning() {
        let mut queue = Queue::default();
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3), (9, 4)] {
            queue.plan(Moment(at), Happening::Wake(Life { node, number: 0 }));
        }
        let mut order = Vec::new();
        while let Some((at, Happening::Wake(life))) = queue.next(Moment(5)) {
            order.push((at.0, life.node));
        }
        assert_eq!(order, [(3, 1), (3, 3), (5, 0), (5, 2)]);
        assert!(queue.next(Moment(9)).is_some());
    }
}
