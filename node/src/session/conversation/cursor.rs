//! Where a conversation stands in its two box chains: which box a frame goes into next, and which
//! boxes are worth fetching.
//!
//! Writing is a counter that never goes back, whatever the clock does. Reading must find what was
//! written although deposits and fetches get lost, writers skip places after a restart, and whole
//! days were slept through. It never waits on one place alone: it looks two places ahead, probes
//! further ones while nothing comes, goes back for gaps, and closes a past day only after asking
//! for its end at several holders. What this can still miss is sent again by the writer. Not here:
//! keys (`boxes`), budgets for fetches (the node's core). SPEC §7.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{ConversationParams, Fetched, InBox};
use crate::session::boxes::{BoxChain, BoxKeys, Series};
use crate::session::{Day, day_of};

/// Places looked at beyond the next expected one.
pub(crate) const LOOK_AHEAD: u32 = 2;
/// Probing goes through this many places beyond those.
const PROBE_SPAN: u32 = 14;
/// Gaps remembered per day.
const MAX_MISSING: usize = 64;
/// An empty answer counts 2, a lost fetch 1.
const EMPTY_COUNTS: u8 = 2;
/// So many counts, and a place is given up: four holders for a gap, two for the end of a past day.
const GAP_TRIES: u8 = 8;
const PARKED_TRIES: u8 = 4;
const LIVE_TRIES: u8 = 2;
/// Holders asked at once for each place while catching up.
const CATCH_UP_ASKS: usize = 3;

/// The writing side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutCursor {
    pub(crate) live_slot: u64,
    pub(crate) live_next: u8,
    pub(crate) parked_day: Day,
    pub(crate) parked_next: u32,
}

impl OutCursor {
    /// Takes the next live place, if this slot has one left.
    pub(crate) fn next_live(&mut self, now: u64, params: &ConversationParams) -> Option<Series> {
        if self.live_left(now, params) == 0 {
            return None;
        }
        let slot = writing_slot(now, params);
        if slot > self.live_slot {
            (self.live_slot, self.live_next) = (slot, 0);
        }
        let index = self.live_next;
        self.live_next += 1;
        Some(Series::Live {
            slot: self.live_slot,
            index,
        })
    }

    /// Live places left in the present slot.
    pub(crate) fn live_left(&self, now: u64, params: &ConversationParams) -> u8 {
        match writing_slot(now, params) > self.live_slot {
            true => params.live_per_slot,
            // A clock that went back continues in the later slot: no box is ever used twice.
            false => params.live_per_slot.saturating_sub(self.live_next),
        }
    }

    /// Takes the next parked place.
    pub(crate) fn next_parked(&mut self, now: u64, params: &ConversationParams) -> Series {
        let day = day_of(now, params.day_ms);
        if day > self.parked_day {
            (self.parked_day, self.parked_next) = (day, 0);
        }
        let index = self.parked_next;
        self.parked_next = self.parked_next.saturating_add(1);
        Series::Parked {
            day: self.parked_day,
            index,
        }
    }
}

/// How far a day of the parked series has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayState {
    /// One past the highest place found.
    pub(crate) next: u32,
    /// Places below that were not found yet.
    pub(crate) missing: BTreeSet<u32>,
    /// When the last place was found; not saved.
    pub(crate) found_at: u64,
}

/// What was found of a live slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotState {
    /// One past the highest place found.
    pub(crate) next: u8,
    /// Places found.
    pub(crate) found: BTreeSet<u8>,
}

/// A place being watched.
#[derive(Clone, Debug)]
struct Track {
    keys: BoxKeys,
    attempts: u8,
    /// Fetches without any answer.
    lost: u8,
    /// The fetch on its way left before the one before it had ended.
    renewed: bool,
    tries: u8,
    flight: Option<Flight>,
    not_before: u64,
    plan: Plan,
}

impl Track {
    /// Whether a fetch may leave: none is on its way, or the one that waits at the most important
    /// place is about to end, so that no moment passes without one there.
    fn is_free(&self, now: u64, params: &ConversationParams) -> bool {
        self.flight.is_none_or(|flight| {
            let waits = flight.ends > flight.since;
            waits
                && !self.renewed
                && self.plan.priority <= 1
                && now.saturating_add(params.expected_rtt_ms / 4) >= flight.ends
        })
    }
}

/// A fetch on its way: when it left, when its holder stops waiting, when to take it for lost.
#[derive(Clone, Copy, Debug)]
struct Flight {
    since: u64,
    ends: u64,
    until: u64,
}

/// How a place should be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    priority: u8,
    wait_ms: u64,
    rank: usize,
    /// A question about the past: an answer counts towards giving up.
    final_ask: bool,
}

/// The reading side.
#[derive(Clone, Debug, Default)]
pub(crate) struct InCursor {
    /// The oldest day not fully read.
    pub(crate) first_day: Day,
    pub(crate) days: BTreeMap<Day, DayState>,
    pub(crate) slots: BTreeMap<u64, SlotState>,
    tracks: BTreeMap<Series, Track>,
    ids: BTreeMap<[u8; 32], Series>,
    /// Just restored: what came meanwhile is looked for without waiting, at several holders.
    pub(crate) catching_up: bool,
    /// Places given up since the last look.
    pub(crate) given_up: u64,
}

impl InCursor {
    pub(crate) fn new(first_day: Day) -> Self {
        Self {
            first_day,
            ..Self::default()
        }
    }

    /// The boxes worth fetching, most important first. `promised` is until when our own frames said
    /// we wait on live boxes.
    pub(crate) fn wanted(
        &mut self,
        now: u64,
        promised: u64,
        chain: &BoxChain,
        params: &ConversationParams,
    ) -> Vec<InBox> {
        self.expire_flights(now);
        let mut plans = BTreeMap::new();
        let live =
            promised.saturating_add(params.expected_rtt_ms) > now && params.live_per_slot > 0;
        self.plan_live(now, live, promised, params, &mut plans);
        self.plan_sweeps(now, params, &mut plans);
        self.plan_days(now, live, params, &mut plans);
        self.tracks
            .retain(|series, track| plans.contains_key(series) || track.flight.is_some());
        for (series, plan) in &plans {
            self.watch(now, *series, *plan, chain, params);
        }
        let Self { tracks, ids, .. } = self;
        ids.retain(|_, series| tracks.contains_key(series));
        let mut wanted: Vec<InBox> = plans
            .keys()
            .filter_map(|series| Some((series, self.tracks.get(series)?)))
            .filter(|(_, track)| track.is_free(now, params) && track.not_before <= now)
            .map(|(series, track)| InBox {
                keys: track.keys.clone(),
                series: *series,
                rank: track.plan.rank,
                holders: holders(*series, params),
                wait_ms: track.plan.wait_ms,
                priority: track.plan.priority,
            })
            .collect();
        wanted.sort_by_key(|inbox| inbox.priority);
        wanted
    }

    pub(crate) fn fetch_started(&mut self, now: u64, id: &[u8; 32], params: &ConversationParams) {
        if let Some(track) = self.track(id) {
            let renewed = track.flight.is_some();
            let patience = track
                .plan
                .wait_ms
                .saturating_add(params.expected_rtt_ms.saturating_mul(2));
            track.flight = Some(Flight {
                since: now,
                ends: now.saturating_add(track.plan.wait_ms),
                until: now.saturating_add(patience),
            });
            track.renewed = renewed;
            track.attempts = track.attempts.saturating_add(1);
        }
    }

    /// The fetch that just left waits `wait_ms` at its holder, not as long as was asked for.
    pub(crate) fn fetch_waits(&mut self, now: u64, id: &[u8; 32], wait_ms: u64) {
        if let Some(flight) = self.track(id).and_then(|track| track.flight.as_mut()) {
            flight.ends = now.saturating_add(wait_ms);
        }
    }

    pub(crate) fn fetch_done(
        &mut self,
        now: u64,
        id: &[u8; 32],
        outcome: Fetched,
        params: &ConversationParams,
    ) {
        let Some(track) = self.track(id) else { return };
        let Some(flight) = track.flight else { return };
        if outcome == Fetched::Empty && track.renewed && now < flight.ends {
            // The end of the fetch before this one.
            track.renewed = false;
            return;
        }
        track.flight = None;
        if outcome == Fetched::Lost {
            track.lost = track.lost.saturating_add(1);
        }
        let early = now < flight.since + flight.ends.saturating_sub(flight.since) / 2;
        match outcome {
            Fetched::Found => {}
            Fetched::Empty if track.plan.final_ask => {
                track.tries = track.tries.saturating_add(EMPTY_COUNTS);
            }
            // A holder that ends a wait at once must not turn waiting into hammering.
            Fetched::Empty if early => track.not_before = now + params.expected_rtt_ms / 2,
            Fetched::Lost if track.plan.final_ask => track.tries = track.tries.saturating_add(1),
            Fetched::Empty | Fetched::Lost => {}
        }
    }

    /// The keys of a watched box.
    pub(crate) fn keys(&self, id: &[u8; 32]) -> Option<&BoxKeys> {
        Some(&self.tracks.get(self.ids.get(id)?)?.keys)
    }

    /// The box `id` was read: what it tells about its series.
    pub(crate) fn found(&mut self, now: u64, id: &[u8; 32]) {
        let Some(series) = self.ids.remove(id) else {
            return;
        };
        self.tracks.remove(&series);
        match series {
            Series::Live { slot, index } => {
                let state = self.slots.entry(slot).or_default();
                state.found.insert(index);
                state.next = state.next.max(index.saturating_add(1));
            }
            Series::Parked { day, index } => {
                let state = self.days.entry(day).or_default();
                state.missing.remove(&index);
                state.found_at = now;
                if index >= state.next {
                    state.missing.extend(state.next..index);
                    state.next = index.saturating_add(1);
                }
                while state.missing.len() > MAX_MISSING {
                    state.missing.pop_first();
                    self.given_up += 1;
                }
            }
        }
    }

    fn track(&mut self, id: &[u8; 32]) -> Option<&mut Track> {
        self.tracks.get_mut(self.ids.get(id)?)
    }

    fn watch(
        &mut self,
        now: u64,
        series: Series,
        plan: Plan,
        chain: &BoxChain,
        params: &ConversationParams,
    ) {
        if let Some(track) = self.tracks.get_mut(&series) {
            if track.is_free(now, params) {
                track.plan = plan;
            }
            return;
        }
        let Some(keys) = chain.at(series, params.live_slot_ms, params.day_ms) else {
            return;
        };
        let id = keys.id();
        self.ids.insert(id, series);
        let track = Track {
            keys,
            attempts: 0,
            lost: 0,
            renewed: false,
            tries: 0,
            flight: None,
            not_before: 0,
            plan,
        };
        self.tracks.insert(series, track);
    }

    fn expire_flights(&mut self, now: u64) {
        for track in self.tracks.values_mut() {
            if track.flight.is_some_and(|flight| flight.until <= now) {
                track.flight = None;
                track.lost = track.lost.saturating_add(1);
                if track.plan.final_ask {
                    track.tries = track.tries.saturating_add(1);
                }
            }
        }
    }

    fn attempts(&self, series: Series) -> usize {
        self.tracks
            .get(&series)
            .map_or(0, |track| usize::from(track.attempts))
    }

    fn lost(&self, series: Series) -> usize {
        self.tracks
            .get(&series)
            .map_or(0, |track| usize::from(track.lost))
    }

    /// At which holder to fetch a parked place, and how long to wait there. The first copy of a
    /// deposit goes to the first holder, so that is where to wait; the others are looked at now and
    /// then, and first of all after a restart.
    fn where_to_wait(&self, series: Series, params: &ConversationParams) -> (usize, u64) {
        let attempts = self.attempts(series);
        let others = params.parked_holders.saturating_sub(1).max(1);
        if self.catching_up && attempts < CATCH_UP_ASKS {
            return (attempts % params.parked_holders.max(1), 0);
        }
        if attempts % 3 == 2 {
            return (1 + (attempts / 3) % others, 0);
        }
        (
            alternate(self.lost(series), params.parked_holders),
            params.max_wait_ms,
        )
    }

    fn tries(&self, series: Series) -> u8 {
        self.tracks.get(&series).map_or(0, |track| track.tries)
    }

    fn plan_live(
        &mut self,
        now: u64,
        live: bool,
        promised: u64,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        if !live {
            return;
        }
        let slot = now / params.live_slot_ms.max(1);
        let start = slot.saturating_mul(params.live_slot_ms);
        let end = (slot + 1).saturating_mul(params.live_slot_ms);
        let next = self.slots.entry(slot).or_default().next;
        // The next slot's boxes too when this one is about to end: writers are a little ahead.
        let near_end = end.saturating_sub(now) < params.expected_rtt_ms && promised > end;
        let upcoming =
            near_end.then(|| (slot + 1, self.slots.entry(slot + 1).or_default().next, 0));
        // And the last slot's, while what was written at its end may still be on its way.
        let just_over = now.saturating_sub(start) < params.expected_rtt_ms / 2;
        let passing = slot
            .checked_sub(1)
            .filter(|_| just_over)
            .and_then(|last| Some((last, self.slots.get(&last)?.next, 1)));
        let places = [(slot, next, 0), (slot, next.saturating_add(1), 2)];
        for (slot, index, priority) in places.into_iter().chain(upcoming).chain(passing) {
            if index >= params.live_per_slot {
                continue;
            }
            let series = Series::Live { slot, index };
            let over = (slot + 1).saturating_mul(params.live_slot_ms) + params.expected_rtt_ms;
            let wait_ms = params.max_wait_ms.min(over.saturating_sub(now));
            let rank = alternate(self.lost(series), params.live_holders);
            plans.insert(
                series,
                Plan {
                    priority,
                    wait_ms,
                    rank,
                    final_ask: false,
                },
            );
        }
    }

    /// Places of live slots that ended unseen: asked once more, at the second holder.
    fn plan_sweeps(
        &mut self,
        now: u64,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        let slot_now = now / params.live_slot_ms.max(1);
        let slots: Vec<u64> = self.slots.keys().copied().collect();
        for slot in slots {
            let over = (slot + 1).saturating_mul(params.live_slot_ms) + params.expected_rtt_ms;
            if now < over {
                continue;
            }
            let state = self.slots.get(&slot).cloned().unwrap_or_default();
            let end = state
                .next
                .saturating_add(LOOK_AHEAD as u8)
                .min(params.live_per_slot);
            let mut open = false;
            for index in (0..end).filter(|index| !state.found.contains(index)) {
                let series = Series::Live { slot, index };
                let tries = self.tries(series);
                if tries >= LIVE_TRIES {
                    continue;
                }
                open = true;
                let rank = (1 + usize::from(tries)) % params.live_holders.max(1);
                plans.insert(
                    series,
                    Plan {
                        priority: 4,
                        wait_ms: 0,
                        rank,
                        final_ask: true,
                    },
                );
            }
            // Holders drop live boxes two slots later: no use in asking after that.
            if !open || slot + 3 < slot_now {
                self.slots.remove(&slot);
                plans.retain(
                    |series, _| !matches!(series, Series::Live { slot: s, .. } if *s == slot),
                );
            }
        }
    }

    fn plan_days(
        &mut self,
        now: u64,
        live: bool,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        let today = day_of(now, params.day_ms).max(self.first_day);
        let oldest = today.saturating_sub(params.parked_days);
        self.first_day = self.first_day.max(oldest);
        self.days.retain(|day, _| *day >= oldest);
        for day in self.first_day..=today {
            self.days.entry(day).or_default();
        }
        let days: Vec<Day> = self
            .days
            .range(self.first_day..=today)
            .map(|(day, _)| *day)
            .collect();
        for day in days {
            let over = (u64::from(day) + 1).saturating_mul(params.day_ms)
                + params.clock_tolerance_ms
                + params.expected_rtt_ms;
            let first = match (day == today, live) {
                (true, false) => 0,
                (true, true) => 1,
                (false, _) => 2,
            };
            if now >= over {
                self.plan_past_day(now, day, params, plans);
            } else {
                self.plan_open_day(now, day, first, params, plans);
            }
        }
        // Only the oldest day can close the books; a later one that is read through waits for it.
        while let Some((day, _)) = self
            .days
            .first_key_value()
            .map(|(day, state)| (*day, state.next))
        {
            let asked = plans
                .keys()
                .any(|s| matches!(s, Series::Parked { day: d, .. } if *d == day));
            if day >= today || asked {
                break;
            }
            self.days.remove(&day);
            self.first_day = day + 1;
        }
    }

    fn plan_open_day(
        &mut self,
        now: u64,
        day: Day,
        first: u8,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        let state = self.days.get(&day).cloned().unwrap_or_default();
        self.plan_missing(now, day, &state, params, plans);
        // Catching up: what was just found is probably followed by more.
        let busy = now.saturating_sub(state.found_at) < params.expected_rtt_ms.saturating_mul(2);
        let priorities = if busy { [first, 2, 3] } else { [first, 3, 5] };
        for (ahead, priority) in (0..=LOOK_AHEAD).zip(priorities) {
            let series = Series::Parked {
                day,
                index: state.next.saturating_add(ahead),
            };
            let (rank, wait_ms) = self.where_to_wait(series, params);
            let plan = Plan {
                priority,
                wait_ms,
                rank,
                final_ask: false,
            };
            plans.insert(series, plan);
        }
        let next = Series::Parked {
            day,
            index: state.next,
        };
        if self.catching_up && self.attempts(next) >= CATCH_UP_ASKS {
            self.catching_up = false;
        }
        // Nothing there twice: perhaps the writer is further on than we look.
        let attempts = self.attempts(Series::Parked {
            day,
            index: state.next,
        });
        if attempts >= 2 {
            let ahead = LOOK_AHEAD + 1 + (attempts as u32 - 2) % PROBE_SPAN;
            let series = Series::Parked {
                day,
                index: state.next.saturating_add(ahead),
            };
            let rank = attempts % params.parked_holders.max(1);
            plans.insert(
                series,
                Plan {
                    priority: 6,
                    wait_ms: 0,
                    rank,
                    final_ask: true,
                },
            );
        }
    }

    fn plan_past_day(
        &mut self,
        now: u64,
        day: Day,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        let state = self.days.get(&day).cloned().unwrap_or_default();
        self.plan_missing(now, day, &state, params, plans);
        for ahead in 0..=LOOK_AHEAD {
            let series = Series::Parked {
                day,
                index: state.next.saturating_add(ahead),
            };
            if self.tries(series) < PARKED_TRIES {
                let rank = self.attempts(series) % params.parked_holders.max(1);
                let priority = if ahead == 0 { 2 } else { 3 };
                plans.insert(
                    series,
                    Plan {
                        priority,
                        wait_ms: 0,
                        rank,
                        final_ask: true,
                    },
                );
            }
        }
        // While one end place is open the others stay watched, so that their counts survive.
        if plans
            .keys()
            .any(|s| matches!(s, Series::Parked { day: d, .. } if *d == day))
        {
            for ahead in 0..=LOOK_AHEAD {
                let series = Series::Parked {
                    day,
                    index: state.next.saturating_add(ahead),
                };
                if let Some(track) = self
                    .tracks
                    .get_mut(&series)
                    .filter(|t| t.tries >= PARKED_TRIES)
                {
                    track.not_before = u64::MAX;
                    plans.insert(series, track.plan);
                }
            }
        }
    }

    fn plan_missing(
        &mut self,
        now: u64,
        day: Day,
        state: &DayState,
        params: &ConversationParams,
        plans: &mut BTreeMap<Series, Plan>,
    ) {
        for index in &state.missing {
            let series = Series::Parked { day, index: *index };
            if self.tries(series) >= GAP_TRIES {
                self.given_up += 1;
                if let Some(state) = self.days.get_mut(&day) {
                    state.missing.remove(index);
                }
                continue;
            }
            // A later place is filled, so this one should be: whoever still waits for it was lost.
            if let Some(track) = self.tracks.get_mut(&series) {
                let patient = track.flight.filter(|_| !track.plan.final_ask);
                if patient.is_some_and(|flight| flight.since + params.expected_rtt_ms <= now) {
                    track.flight = None;
                }
            }
            let rank = self.attempts(series) % params.parked_holders.max(1);
            plans.insert(
                series,
                Plan {
                    priority: 3,
                    wait_ms: 0,
                    rank,
                    final_ask: true,
                },
            );
        }
    }
}

/// The first holder every other time, the others in turn between: the first is where a fresh
/// deposit arrives first, the others cover for a dead one.
fn alternate(attempts: usize, holders: usize) -> usize {
    match attempts % 2 {
        1 if holders > 1 => 1 + (attempts / 2) % (holders - 1),
        _ => 0,
    }
}

/// The live slot to write into: the one in which a frame that leaves now will arrive.
fn writing_slot(now: u64, params: &ConversationParams) -> u64 {
    now.saturating_add(params.expected_rtt_ms / 4) / params.live_slot_ms.max(1)
}

fn holders(series: Series, params: &ConversationParams) -> usize {
    match series {
        Series::Live { .. } => params.live_holders,
        Series::Parked { .. } => params.parked_holders,
    }
}

#[cfg(test)]
mod tests;
