//! What a world counts, and quantiles of what it measures.
//!
//! The world counts what no node can know of itself: what links carried and lost. What nodes count
//! comes from their own views, kept across restarts.

use std::collections::BTreeMap;

use crate::view::CounterView;

/// Counts of a world since its beginning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Events taken from the queue.
    pub events: u64,
    /// Packets put on links.
    pub packets: u64,
    /// Packets that did not arrive, by reason: `lost`, `no_link`, `node_down`, `adversary`.
    pub undelivered: BTreeMap<&'static str, u64>,
    /// Packets delivered to cores.
    pub delivered: u64,
    /// Copies injected by replayers that arrived at a running node.
    pub replays: u64,
    /// Of those, copies of a packet that had arrived before and that the mixer took again.
    pub replays_accepted: u64,
    /// Packets that left a node a second time: a replay that had an effect.
    pub repeated: u64,
    /// Gossip messages that crossed a link, and their bytes.
    pub gossip: (u64, u64),
    /// Requests to reconcile and answers that crossed a link, and their bytes.
    pub sync: (u64, u64),
    /// Lookups, and those that found nothing.
    pub lookups: (u64, u64),
    /// Commits made durable.
    pub commits: u64,
    /// Times a core asked to be called at a moment that was over already, right after its call.
    pub spins: u64,
}

impl Metrics {
    pub(crate) fn lose(&mut self, reason: &'static str) {
        *self.undelivered.entry(reason).or_default() += 1;
    }
}

/// Adds up the counters of several nodes, or of one node's lives. `pool` becomes the mean weighted
/// equally, which is right for one life each.
#[must_use]
pub fn sum<'a>(views: impl IntoIterator<Item = &'a CounterView>) -> CounterView {
    let mut total = CounterView::default();
    let mut count = 0.0;
    for view in views {
        total.real += view.real;
        total.cover += view.cover;
        total.relayed += view.relayed;
        for (reason, drops) in &view.dropped {
            *total.dropped.entry(reason.clone()).or_default() += drops;
        }
        total.loops.0 += view.loops.0;
        total.loops.1 += view.loops.1;
        total.held.0 += view.held.0;
        total.held.1 += view.held.1;
        total.pool += view.pool;
        count += 1.0;
    }
    if count > 0.0 {
        total.pool /= count;
    }
    total
}

/// Nearest-rank quantile of unsorted values: `percent` of them are not above it.
#[must_use]
pub fn quantile(values: &[u64], percent: u64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let count = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
    let rank = count.saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(usize::try_from(rank - 1).ok()?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(quantile(&values, 50), Some(50));
        assert_eq!(quantile(&values, 99), Some(99));
        assert_eq!(quantile(&values, 100), Some(100));
        assert_eq!(quantile(&values, 0), Some(1));
        assert_eq!(quantile(&[5], 99), Some(5));
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn drops_add_up_by_reason() {
        let mut one = CounterView {
            real: 2,
            pool: 1.0,
            ..CounterView::default()
        };
        one.dropped.insert("mac".to_owned(), 3);
        let other = CounterView {
            pool: 3.0,
            ..one.clone()
        };
        let total = sum([&one, &other]);
        assert_eq!((total.real, total.dropped["mac"], total.pool), (4, 6, 2.0));
    }
}
