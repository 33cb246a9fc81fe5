//! The statistics that proofs by measurement stand on: chi-square, Kolmogorov and Smirnov, Welch. Plain textbook forms;
//! [`check`] compares them with printed tables before anybody believes them.
#![allow(dead_code, reason = "no benchmark uses all of it")]

/// The chance that chi-square with `df` degrees of freedom is at least `x`.
pub(crate) fn chi_square_p(x: f64, df: f64) -> f64 {
    gamma_q(df / 2.0, x / 2.0)
}

/// Chi-square of counts against equal chances, and its p-value.
pub(crate) fn uniform_p(counts: &[u32]) -> f64 {
    let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
    let mean = total / counts.len() as f64;
    let x = counts.iter().map(|&n| (f64::from(n) - mean).powi(2) / mean);
    chi_square_p(x.sum(), (counts.len() - 1) as f64)
}

/// Whether rows of counts come from one law, whatever it is: chi-square of homogeneity.
pub(crate) fn same_law_p(rows: &[&[u32]]) -> f64 {
    let columns = rows[0].len();
    let row_sums: Vec<f64> = rows.iter().map(|row| sum(row)).collect();
    let total: f64 = row_sums.iter().sum();
    let (mut x, mut used) = (0.0, 0);
    for column in 0..columns {
        let in_column: f64 = rows.iter().map(|row| f64::from(row[column])).sum();
        if in_column == 0.0 {
            continue;
        }
        used += 1;
        for (row, row_sum) in rows.iter().zip(&row_sums) {
            let expected = in_column * row_sum / total;
            x += (f64::from(row[column]) - expected).powi(2) / expected;
        }
    }
    chi_square_p(x, ((rows.len() - 1) * (used - 1)).max(1) as f64)
}

/// Chi-square of counts against the binomial law of `counts.len() - 1` fair coins; what is expected less than 20 times is
/// taken together with its neighbours.
pub(crate) fn coins_p(counts: &[u32]) -> f64 {
    let coins = (counts.len() - 1) as f64;
    let total = sum(counts);
    let (mut x, mut bins) = (0.0, 0);
    let (mut seen, mut expected) = (0.0, 0.0);
    // Both tails end in one bin each: the last one is closed by what is still to come being too little.
    let mut left = total;
    for (heads, &count) in counts.iter().enumerate() {
        let heads = heads as f64;
        let ln_ways = ln_gamma(coins + 1.0) - ln_gamma(heads + 1.0) - ln_gamma(coins - heads + 1.0);
        let here = total * (ln_ways - coins * core::f64::consts::LN_2).exp();
        seen += f64::from(count);
        expected += here;
        left -= here;
        let last = heads == coins;
        if last || expected >= 20.0 && left >= 20.0 {
            x += (seen - expected).powi(2) / expected.max(1e-12);
            bins += 1;
            (seen, expected) = (0.0, 0.0);
        }
    }
    chi_square_p(x, f64::from((bins - 1).max(1)))
}

/// The largest distance between the samples' distribution and `cdf`, and the chance of one as large. Sorts the samples.
pub(crate) fn kolmogorov_smirnov(samples: &mut [f64], cdf: impl Fn(f64) -> f64) -> (f64, f64) {
    samples.sort_unstable_by(f64::total_cmp);
    let n = samples.len() as f64;
    let mut distance: f64 = 0.0;
    for (i, &sample) in samples.iter().enumerate() {
        let at = cdf(sample);
        distance = distance.max(at - i as f64 / n).max((i + 1) as f64 / n - at);
    }
    // Stephens 1970: good to three digits from n = 4 on.
    let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    (distance, kolmogorov_q(scaled))
}

/// Kolmogorov's limit law: the chance of a scaled distance of at least `x`.
fn kolmogorov_q(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0; // to eleven digits; the series below would need many terms
    }
    let mut q = 0.0;
    for k in 1..=100 {
        let term = (-2.0 * f64::from(k * k) * x * x).exp();
        q += if k % 2 == 1 { term } else { -term };
    }
    (2.0 * q).clamp(0.0, 1.0)
}

/// Welch's t of two samples: the difference of their means in its own standard errors.
pub(crate) fn welch_t(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> f64 {
    let (a, b) = (Moments::of(a), Moments::of(b));
    let error = (a.variance() / a.count + b.variance() / b.count).sqrt();
    if error == 0.0 {
        0.0
    } else {
        (a.mean - b.mean) / error
    }
}

/// Welford's running mean and variance.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(samples: impl Iterator<Item = f64>) -> Self {
        let mut all = Self::default();
        for sample in samples {
            all.count += 1.0;
            let off = sample - all.mean;
            all.mean += off / all.count;
            all.squares += off * (sample - all.mean);
        }
        all
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

fn sum(counts: &[u32]) -> f64 {
    counts.iter().map(|&n| f64::from(n)).sum()
}

/// Γ(a, x) / Γ(a), by the series below a + 1 and by Lentz's continued fraction above.
fn gamma_q(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut series, mut n) = (1.0 / a, 1.0 / a, a);
        while term > series * 1e-16 {
            n += 1.0;
            term *= x / n;
            series += term;
        }
        return 1.0 - front * series;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let step = -i * (i - a);
        b += 2.0;
        d = 1.0 / (step * d + b);
        c = b + step / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// Lanczos's approximation with g = 7 and nine terms, good to fifteen digits.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (i, term) in TERMS.iter().enumerate() {
        sum += term / (x + (i + 1) as f64);
    }
    let t = x + 7.5;
    0.5 * core::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Compares all of the above with values from printed tables; each line that is off.
pub(crate) fn check() -> Vec<String> {
    let mut off = Vec::new();
    let mut expect = |what: &str, got: f64, want: f64| {
        if (got - want).abs() > want.abs() * 1e-3 {
            off.push(format!("{what}: {got} where the tables say {want}"));
        }
    };
    expect(
        "chi-square, 1 degree, 3.841",
        chi_square_p(3.8415, 1.0),
        0.05,
    );
    expect(
        "chi-square, 10 degrees, 18.307",
        chi_square_p(18.307, 10.0),
        0.05,
    );
    expect(
        "chi-square, 10 degrees, 3.940",
        chi_square_p(3.9403, 10.0),
        0.95,
    );
    expect(
        "chi-square, 100 degrees, 135.807",
        chi_square_p(135.807, 100.0),
        0.01,
    );
    // With even degrees there is a closed form: e^−50 (1 + 50 + 50²/2 + 50³/6 + 50⁴/24).
    let closed = (-50f64).exp() * (1.0 + 50.0 + 1_250.0 + 125_000.0 / 6.0 + 6_250_000.0 / 24.0);
    expect("chi-square, far out", chi_square_p(100.0, 10.0), closed);
    expect("Kolmogorov, 1.2238", kolmogorov_q(1.2238), 0.10);
    expect("Kolmogorov, 1.3581", kolmogorov_q(1.3581), 0.05);
    expect("Kolmogorov, 1.6276", kolmogorov_q(1.6276), 0.01);
    let (distance, _) = kolmogorov_smirnov(&mut [0.1, 0.6, 0.7, 0.9], |x| x);
    expect("distance of four samples", distance, 0.35);
    // Four cells off by 2 from 12, 18, 28 and 42; with one degree of freedom the law is that of a squared normal.
    expect(
        "two rows, one law",
        same_law_p(&[&[10, 20], &[30, 40]]),
        0.372998,
    );
    expect("a fair die", uniform_p(&[5, 8, 9, 8, 10, 20]), 0.019_905);
    let a = [
        27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4,
    ];
    let b = [
        27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.0, 23.9,
    ];
    expect("Welch", welch_t(a.into_iter(), b.into_iter()), -2.835_264);
    off
}
