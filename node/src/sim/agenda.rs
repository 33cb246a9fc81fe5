//! What is going to happen in a simulated world, in order of time: a run depends on nothing but what was planned.

use std::collections::BTreeMap;

use mix::time::Moment;

/// Something that can be planned.
pub(super) trait Ranked {
    /// What is due at one moment happens in ascending rank, and of one rank in the order in which it was planned.
    fn rank(&self) -> usize {
        0
    }
}

/// What is planned.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    plans: BTreeMap<(Moment, usize, u64), T>,
    planned: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            plans: BTreeMap::new(),
            planned: 0,
        }
    }
}

impl<T: Ranked> Agenda<T> {
    pub(super) fn plan(&mut self, at: Moment, what: T) {
        self.planned += 1;
        self.plans.insert((at, what.rank(), self.planned), what);
    }

    /// What happens next, unless it is after `end`.
    pub(super) fn next(&mut self, end: Moment) -> Option<(Moment, T)> {
        let first = self.plans.first_entry()?;
        let at = first.key().0;
        (at <= end).then(|| (at, first.remove()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Named(usize, &'static str);

    impl Ranked for Named {
        fn rank(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn time_first_then_rank_then_the_order_of_planning() {
        let mut agenda = Agenda::default();
        for (at, what) in [
            (5, Named(2, "c")),
            (3, Named(1, "a")),
            (5, Named(0, "b")),
            (5, Named(2, "d")),
            (9, Named(4, "late")),
        ] {
            agenda.plan(Moment(at), what);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next(Moment(5))).collect();
        let names: Vec<_> = order.iter().map(|(at, what)| (at.0, what.1)).collect();
        assert_eq!(names, [(3, "a"), (5, "b"), (5, "c"), (5, "d")]);
        assert_eq!(agenda.next(Moment(9)), Some((Moment(9), Named(4, "late"))));
    }
}
