//! Tests of the delay law.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::sphinx::testkit::rng;

const MEAN: Span = Span::from_millis(200);

/// Largest distance between the samples' distribution and the exponential law, times the root of their number. Beyond 1.63
/// the law is refused at the 1 % level.
pub(crate) fn kolmogorov_smirnov(mut spans: Vec<Span>, mean: Span) -> f64 {
    spans.sort_unstable();
    let n = spans.len() as f64;
    let mut distance: f64 = 0.0;
    for (i, span) in spans.iter().enumerate() {
        let law = 1.0 - (-(span.0 as f64) / mean.0 as f64).exp();
        distance = distance
            .max((law - i as f64 / n).abs())
            .max(((i + 1) as f64 / n - law).abs());
    }
    distance * n.sqrt()
}

#[test]
fn a_sender_quantile_and_a_relay_draw_make_an_exponential() {
    let mut rng = rng(1);
    let spans: Vec<Span> = (0..100_000)
        .filter_map(|_| {
            let quantile = Quantile(rng.next_u32() as u16);
            from_quantile(quantile, MEAN, &mut rng)
        })
        .collect();
    assert!(spans.len() > 99_990);
    let distance = kolmogorov_smirnov(spans, MEAN);
    assert!(distance < 1.63, "{distance}");
}

#[test]
fn our_own_draw_is_exponential_below_the_cap() {
    let mut rng = rng(2);
    let spans: Vec<Span> = (0..100_000).map(|_| own(MEAN, &mut rng)).collect();
    assert!(spans.iter().all(|&span| span <= MEAN.times(CAP_IN_MEANS)));
    let distance = kolmogorov_smirnov(spans, MEAN);
    assert!(distance < 1.63, "{distance}");
}

#[test]
fn the_law_would_be_refused_if_it_were_another() {
    let mut rng = rng(3);
    let uniform = (0..100_000)
        .map(|_| Span(rng.next_u64() % (2 * MEAN.0)))
        .collect();
    assert!(kolmogorov_smirnov(uniform, MEAN) > 10.0);
    let shifted = (0..100_000)
        .map(|_| own(MEAN, &mut rng) + Span::from_millis(2))
        .collect();
    assert!(kolmogorov_smirnov(shifted, MEAN) > 1.63);
}

#[test]
fn a_quantile_bounds_the_delay_and_the_relay_draws_within() {
    let mut rng = rng(4);
    for u in [1u16, 100, 32_768, 65_534, 65_535] {
        let bound = |q: f64| -(q / 65_536.0).ln() * MEAN.0 as f64;
        let (low, high) = (bound(f64::from(u) + 1.0), bound(f64::from(u)));
        let spans: Vec<f64> = (0..1_000)
            .map(|_| from_quantile(Quantile(u), MEAN, &mut rng).unwrap().0 as f64)
            .collect();
        assert!(
            spans
                .iter()
                .all(|&span| (low - 1.0..=high + 1.0).contains(&span)),
            "{u}"
        );
        let middle = spans.iter().sum::<f64>() / 1_000.0;
        assert!(
            (middle - (low + high) / 2.0).abs() <= (high - low) * 0.2 + 1.0,
            "{u}"
        );
    }
}

#[test]
fn delays_beyond_the_cap_are_refused_as_rarely_as_the_law_says() {
    let mut rng = rng(5);
    let refused = (0..100_000)
        .filter(|_| from_quantile(Quantile(0), MEAN, &mut rng).is_none())
        .count();
    // Only the lowest quantile can exceed the cap: e^-16 × 65,536 = 0.74 % of it.
    assert!((620..860).contains(&refused), "{refused}");
    assert!((0..100_000).all(|_| from_quantile(Quantile(1), MEAN, &mut rng).is_some()));
    assert_eq!(
        from_quantile(Quantile(7), Span::ZERO, &mut rng),
        Some(Span::ZERO),
        "a network without delays"
    );
}
