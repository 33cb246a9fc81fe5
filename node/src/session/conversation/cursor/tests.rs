//! Cursors alone: nothing is written twice, nothing written is missed for good, nothing grows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::session::hello::tests::{DAY, DAY_MS, NOW};

fn params() -> ConversationParams {
    ConversationParams {
        live_slot_ms: 20_000,
        live_per_slot: 4,
        live_window_ms: 20_000,
        max_wait_ms: 20_000,
        expected_rtt_ms: 4_000,
        ..ConversationParams::default()
    }
}

fn chain() -> BoxChain {
    BoxChain::new([1; 32], DAY)
}

/// Asks for everything wanted until `until`; the holders have exactly `there`.
fn read(
    cursor: &mut InCursor,
    now: u64,
    until: u64,
    promised: u64,
    there: &[Series],
) -> Vec<Series> {
    let (chain, params) = (chain(), params());
    let mut found = Vec::new();
    let mut now = now;
    while now < until {
        for inbox in cursor.wanted(now, promised, &chain, &params) {
            let id = inbox.keys.id();
            cursor.fetch_started(now, &id, &params);
            if there.contains(&inbox.series) {
                cursor.found(now, &id);
                found.push(inbox.series);
            } else {
                cursor.fetch_done(now + inbox.wait_ms, &id, Fetched::Empty, &params);
            }
        }
        assert!(cursor.tracks.len() < 128 && cursor.ids.len() == cursor.tracks.len());
        now += 5_000;
    }
    found.sort_unstable();
    found
}

#[test]
fn writing_never_goes_back() {
    let (params, mut cursor) = (params(), OutCursor::default());
    let mut seen = BTreeSet::new();
    for now in [
        NOW,
        NOW + 1,
        NOW - 60_000,
        NOW,
        NOW + 20_000,
        NOW - DAY_MS,
        NOW + DAY_MS,
    ] {
        while let Some(series) = cursor.next_live(now, &params) {
            assert!(seen.insert(series), "{series:?} twice");
        }
        for _ in 0..3 {
            assert!(seen.insert(cursor.next_parked(now, &params)));
        }
        assert_eq!(cursor.live_left(now, &params), 0);
    }
    assert_eq!(cursor.live_left(NOW + 2 * DAY_MS, &params), 4);
}

#[test]
fn gaps_do_not_stall_reading() {
    for gap in [1, 2, 3, 9, 14] {
        let mut cursor = InCursor::new(DAY);
        let there: Vec<_> = [0, 1, 2 + gap, 3 + gap]
            .map(|index| Series::Parked { day: DAY, index })
            .to_vec();
        let found = read(&mut cursor, NOW, NOW + 600_000, 0, &there);
        assert_eq!(found, there, "gap of {gap}");
        assert_eq!(cursor.days[&DAY].next, 4 + gap);
        assert!(
            cursor.days[&DAY].missing.is_empty(),
            "gaps are given up in the end"
        );
        assert_eq!(cursor.given_up, u64::from(gap));
    }
}

#[test]
fn past_days_are_read_and_closed() {
    let mut cursor = InCursor::new(DAY);
    let there: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 2), (3, 0)]
        .map(|(day, index)| Series::Parked {
            day: DAY + day,
            index,
        })
        .to_vec();
    let now = NOW + 3 * DAY_MS;
    assert_eq!(read(&mut cursor, now, now + 120_000, 0, &there), there);
    assert_eq!((cursor.first_day, cursor.days.len()), (DAY + 3, 1));
    // Away for a month: what no holder keeps any more is not asked for.
    let now = NOW + 33 * DAY_MS;
    let wanted = cursor.wanted(now, 0, &chain(), &params());
    let oldest = wanted.iter().filter_map(|w| match w.series {
        Series::Parked { day, .. } => Some(day),
        Series::Live { .. } => None,
    });
    assert_eq!(oldest.min(), Some(DAY + 33 - 7));
    assert_eq!(
        wanted[0].series,
        Series::Parked {
            day: DAY + 33,
            index: 0
        },
        "today first"
    );
}

#[test]
fn live_boxes_are_waited_on_while_promised_and_swept_once() {
    let (chain, params) = (chain(), params());
    let mut cursor = InCursor::new(DAY);
    let slot = NOW / 20_000;
    let start = slot * 20_000;
    let wanted = cursor.wanted(start + 2_000, start + 60_000, &chain, &params);
    let live: Vec<_> = wanted
        .iter()
        .filter_map(|w| match w.series {
            Series::Live { slot: s, index } => Some((s, index, w.priority, w.rank)),
            Series::Parked { .. } => None,
        })
        .collect();
    assert_eq!(live, [(slot, 0, 0, 0), (slot, 1, 2, 0)]);
    assert_eq!(wanted[0].wait_ms, 20_000);
    cursor.fetch_started(start + 2_000, &wanted[0].keys.id(), &params);
    let again = cursor.wanted(start + 3_000, start + 60_000, &chain, &params);
    assert!(
        again.iter().all(|w| w.series != wanted[0].series),
        "in flight"
    );
    cursor.found(start + 4_000, &wanted[0].keys.id());
    let next = cursor.wanted(start + 4_000, start + 60_000, &chain, &params);
    assert_eq!(next[0].series, Series::Live { slot, index: 1 });
    // Near the end the next slot's first box; a fetch never outlives its slot by more than a moment.
    let end = cursor.wanted(start + 17_000, start + 60_000, &chain, &params);
    let upcoming = end.iter().find(|w| {
        w.series
            == Series::Live {
                slot: slot + 1,
                index: 0,
            }
    });
    assert_eq!(upcoming.map(|w| w.priority), Some(0));
    let current = end
        .iter()
        .find(|w| w.series == Series::Live { slot, index: 1 });
    assert_eq!(current.map(|w| w.wait_ms), Some(7_000));
    // After it: the places not seen, once, at the second holder.
    let over = start + 25_000;
    let sweeps = |cursor: &mut InCursor| {
        let wanted = cursor.wanted(over, start + 20_000, &chain, &params);
        wanted
            .into_iter()
            .filter(|w| matches!(w.series, Series::Live { slot: s, .. } if s == slot))
            .collect::<Vec<_>>()
    };
    let swept = sweeps(&mut cursor);
    assert_eq!(swept.len(), 2);
    assert!(
        swept
            .iter()
            .all(|w| (w.rank, w.wait_ms, w.priority) == (1, 0, 4))
    );
    for inbox in swept {
        cursor.fetch_started(over, &inbox.keys.id(), &params);
        cursor.fetch_done(over, &inbox.keys.id(), Fetched::Empty, &params);
    }
    assert!(sweeps(&mut cursor).is_empty());
    assert!(!cursor.slots.contains_key(&slot));
    // Nobody promised anything: no live fetches at all.
    let quiet = cursor.wanted(start + 400_000, start, &chain, &params);
    assert!(
        quiet
            .iter()
            .all(|w| matches!(w.series, Series::Parked { .. }))
    );
}

#[test]
fn lost_fetches_are_asked_again_elsewhere() {
    let (chain, params) = (chain(), params());
    let mut cursor = InCursor::new(DAY);
    let mut ranks = Vec::new();
    let mut now = NOW;
    for _ in 0..6 {
        let wanted = cursor.wanted(now, 0, &chain, &params);
        assert_eq!(wanted[0].series, Series::Parked { day: DAY, index: 0 });
        ranks.push(wanted[0].rank);
        cursor.fetch_started(now, &wanted[0].keys.id(), &params);
        let asked = |wanted: &[InBox]| {
            wanted
                .iter()
                .any(|w| w.series == Series::Parked { day: DAY, index: 0 })
        };
        if wanted[0].wait_ms > 0 {
            // Renewed a little before it ends, not sooner.
            assert!(!asked(&cursor.wanted(now + 18_000, 0, &chain, &params)));
            assert!(asked(&cursor.wanted(now + 19_900, 0, &chain, &params)));
        }
        now += 31_000;
    }
    assert_eq!(ranks, [0, 1, 1, 2, 0, 2]);
    // A holder that ends waits at once is not hammered.
    let wanted = cursor.wanted(now, 0, &chain, &params);
    let id = wanted[0].keys.id();
    cursor.fetch_started(now, &id, &params);
    cursor.fetch_done(now + 100, &id, Fetched::Empty, &params);
    cursor.fetch_done(now + 100, &id, Fetched::Empty, &params);
    assert!(
        cursor
            .wanted(now + 200, 0, &chain, &params)
            .iter()
            .all(|w| w.keys.id() != id)
    );
    assert!(
        cursor
            .wanted(now + 2_200, 0, &chain, &params)
            .iter()
            .any(|w| w.keys.id() == id)
    );
    cursor.fetch_done(now, &[0; 32], Fetched::Lost, &params);
    cursor.found(now, &[0; 32]);
}
