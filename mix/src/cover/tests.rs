//! Tests of the cover streams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::delay::tests::kolmogorov_smirnov;
use crate::sphinx::testkit::rng;

const RATES: Rates = Rates {
    payload: 2_000,
    fetch: 200,
    loop_: 50,
};
const START: Moment = Moment::from_secs(1_000);

/// All firings until `end`, each with its moment, by a driver that is exactly on time.
fn run(streams: &mut Streams, end: Moment) -> Vec<(Moment, Stream)> {
    let mut fired = Vec::new();
    while let Some(next) = streams.poll_timeout().filter(|&next| next <= end) {
        streams.handle_timeout(next);
        fired.extend(core::iter::from_fn(|| streams.poll()).map(|stream| (next, stream)));
    }
    fired
}

#[test]
fn each_stream_is_poisson_at_its_own_rate() {
    let mut streams = Streams::new(RATES, START, rng(1));
    let fired = run(&mut streams, START + Span::from_secs(100_000));
    for (stream, rate) in [
        (Stream::Payload, 2.0),
        (Stream::Fetch, 0.2),
        (Stream::Loop, 0.05f64),
    ] {
        let moments: Vec<Moment> = fired
            .iter()
            .filter(|(_, s)| *s == stream)
            .map(|(at, _)| *at)
            .collect();
        let expected = rate * 100_000.0;
        assert!(
            (moments.len() as f64 - expected).abs() < 4.0 * expected.sqrt(),
            "{stream:?}: {}",
            moments.len()
        );
        let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let distance = kolmogorov_smirnov(gaps, Span::from_secs_f64(1.0 / rate));
        assert!(distance < 1.63, "{stream:?}: {distance}");
    }
    assert_eq!(streams.skipped(), 0);
}

#[test]
fn the_streams_do_not_know_of_each_other() {
    let mut streams = Streams::new(
        Rates {
            payload: 1_000,
            fetch: 1_000,
            loop_: 0,
        },
        START,
        rng(2),
    );
    let fired = run(&mut streams, START + Span::from_secs(50_000));
    // Counts per second of two independent streams are uncorrelated: 1/√50,000 = 0.0045.
    let mut counts = vec![[0.0f64; 2]; 50_001];
    for (at, stream) in &fired {
        counts[at.since(START).as_millis() as usize / 1_000][*stream as usize] += 1.0;
    }
    let covariance = counts
        .iter()
        .map(|[a, b]| (a - 1.0) * (b - 1.0))
        .sum::<f64>()
        / 50_000.0;
    assert!(covariance.abs() < 0.02, "{covariance}");
}

#[test]
fn a_late_driver_keeps_the_rate_and_a_sleeping_one_makes_no_burst() {
    let mut streams = Streams::new(RATES, START, rng(3));
    let mut now = START;
    let mut count = 0;
    for _ in 0..100_000 {
        now += Span::from_millis(90);
        streams.handle_timeout(now);
        count += core::iter::from_fn(|| streams.poll()).count();
    }
    // 9,000 s at 2.25/s.
    assert!(
        (f64::from(count as u32) - 20_250.0).abs() < 4.0 * 20_250f64.sqrt(),
        "{count}"
    );
    assert_eq!(streams.skipped(), 0);

    now += Span::from_secs(8 * 3_600);
    streams.handle_timeout(now);
    let burst = core::iter::from_fn(|| streams.poll()).count();
    assert!(burst <= 6, "{burst} firings after a sleep");
    assert!(streams.skipped() > 0);
    assert!(streams.poll_timeout().unwrap() > now);
}

#[test]
fn firings_that_nobody_takes_are_bounded() {
    let mut streams = Streams::new(
        Rates {
            payload: 100_000,
            fetch: 0,
            loop_: 0,
        },
        START,
        rng(4),
    );
    for tenth in 1..=20 {
        streams.handle_timeout(START + Span::from_millis(100 * tenth));
    }
    assert!(streams.skipped() > 50);
    assert_eq!(core::iter::from_fn(|| streams.poll()).count(), MAX_QUEUE);
}

#[test]
fn a_rate_of_zero_is_silence_and_rates_can_change() {
    let mut streams = Streams::new(Rates::default(), START, rng(5));
    assert_eq!(streams.poll_timeout(), None);
    streams.handle_timeout(Moment::MAX);
    assert_eq!(streams.poll(), None);
    streams.set_rates(
        START,
        Rates {
            fetch: 1_000,
            ..Rates::default()
        },
    );
    let fired = run(&mut streams, START + Span::from_secs(1_000));
    assert!(fired.iter().all(|(_, stream)| *stream == Stream::Fetch));
    assert!((870..1_130).contains(&fired.len()), "{}", fired.len());
    streams.set_rates(START + Span::from_secs(1_000), Rates::default());
    assert_eq!(streams.poll_timeout(), None);
}

#[test]
fn one_seed_gives_one_run() {
    let go = || {
        run(
            &mut Streams::new(RATES, START, rng(6)),
            START + Span::from_secs(500),
        )
    };
    assert_eq!(go(), go());
}
