//! Two exact draws that everything random here is made of: an index below n without bias, and a number in (0, 1].

use rand_core::Rng;

/// Uniform in `0..n`, without bias; zero if `n` is zero.
pub(crate) fn below(n: usize, rng: &mut impl Rng) -> usize {
    below_u64(n as u64, rng) as usize
}

/// [`below`] for counts that a `usize` need not hold.
pub(crate) fn below_u64(n: u64, rng: &mut impl Rng) -> u64 {
    if n < 2 {
        return 0;
    }
    // Draws in the incomplete last run of n values are thrown away, for they would favour small indices.
    let ragged = (u64::MAX % n + 1) % n;
    loop {
        let draw = rng.next_u64();
        if draw <= u64::MAX - ragged {
            return draw % n;
        }
    }
}

/// Uniform in (0, 1] with 53 bits: never zero, so that its logarithm is finite.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn indices_are_uniform_and_in_range() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[below(7, &mut rng)] += 1;
        }
        let chi2: f64 = seen
            .iter()
            .map(|&n| (f64::from(n) - 10_000.0).powi(2) / 10_000.0)
            .sum();
        assert!(chi2 < 22.5, "chi-square {chi2} with 6 degrees of freedom");
        assert_eq!(below(0, &mut rng), 0);
        assert_eq!(below(1, &mut rng), 0);
    }

    #[test]
    fn the_unit_draw_has_a_finite_logarithm() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for _ in 0..10_000 {
            let draw = unit(&mut rng);
            assert!(draw > 0.0 && draw <= 1.0);
        }
    }
}
