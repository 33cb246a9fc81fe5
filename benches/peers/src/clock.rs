//! The clock: every sample is thread CPU time, stands between two samples of the unit, and is kept as a ratio to them.
//!
//! All benches take turns in each round, so that a machine that slows down slows them alike; what a neighbour does to one
//! sample it mostly does to the two beside it. The figure of a bench is the median of its ratios.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use x25519_dalek::{PublicKey, StaticSecret};

/// CPU time of this thread so far. What other programs take from the core does not count.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// What was measured: one line of the table, one line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Whose code.
    pub by: &'static str,
    /// Doing what.
    pub op: &'static str,
    /// Bytes: for a peer the message it is given, for us the packet on the wire, for a part what it works on.
    pub payload: usize,
    /// Length of the path.
    pub hops: usize,
    /// How many at once; the figure is for one of them.
    pub batch: usize,
    /// Whether the relays' keys have tables.
    pub tabled: bool,
}

impl Figure {
    pub const fn new(by: &'static str, op: &'static str, payload: usize, hops: usize) -> Self {
        Self {
            by,
            op,
            payload,
            hops,
            batch: 1,
            tabled: false,
        }
    }

    pub const fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    pub const fn tabled(mut self) -> Self {
        self.tabled = true;
        self
    }

    /// For `--filter`.
    fn matches(&self, filter: &[String]) -> bool {
        let name = format!("{}/{}", self.by, self.op);
        filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
    }
}

/// The figure of a bench, once all rounds are over.
pub struct Measured {
    pub figure: Figure,
    /// Multiples of the unit: lower quartile, median, upper quartile.
    pub units: [f64; 3],
    /// Median CPU time of one operation.
    pub micros: f64,
}

/// Does the operation as often as asked and returns the CPU time of that alone.
type Body = Box<dyn FnMut(usize) -> Duration>;

struct Bench {
    figure: Figure,
    body: Body,
    count: usize,
    nanos: Vec<f64>,
    ratios: Vec<f64>,
}

impl Bench {
    /// Time of one operation in nanoseconds, from a sample of about `count`.
    fn sample(&mut self, count: usize) -> f64 {
        (self.body)(count).as_nanos() as f64 / count as f64
    }

    /// How many operations fill `length`; warms up on the way.
    fn calibrate(&mut self, length: Duration) {
        let mut count = self.figure.batch;
        loop {
            let took = (self.body)(count);
            if took * 4 >= length || count > 1 << 20 {
                let wanted = count as f64 * length.as_secs_f64() / took.as_secs_f64().max(1e-9);
                let batches = (wanted / self.figure.batch as f64).round().max(1.0) as usize;
                self.count = batches * self.figure.batch;
                return;
            }
            count *= 2;
        }
    }
}

/// All benches of a run.
pub struct Lineup {
    filter: Vec<String>,
    unit: Bench,
    benches: Vec<Bench>,
}

impl Lineup {
    pub fn new(filter: Vec<String>) -> Self {
        let secret = StaticSecret::from([4; 32]);
        let public = PublicKey::from(&StaticSecret::from([9; 32]));
        let ladder = steady(move || black_box(&secret).diffie_hellman(black_box(&public)));
        Self {
            filter,
            unit: bench(Figure::new("unit", "x25519", 0, 0), ladder),
            benches: Vec::new(),
        }
    }

    /// Whether `--filter` lets one of these through: asked before a preparation that takes long.
    pub fn wants(&self, figures: &[Figure]) -> bool {
        figures.iter().any(|figure| figure.matches(&self.filter))
    }

    /// An operation that needs nothing fresh; all of it is timed.
    pub fn steady<R: 'static>(&mut self, figure: Figure, routine: impl FnMut() -> R + 'static) {
        self.body(figure, steady(routine));
    }

    /// An operation on something fresh, which `make` supplies outside the clock.
    pub fn fed<T, R>(
        &mut self,
        figure: Figure,
        mut make: impl FnMut() -> T + 'static,
        mut routine: impl FnMut(&mut T) -> R + 'static,
    ) {
        self.body(figure, move |count| {
            let mut inputs: Vec<T> = (0..count).map(|_| make()).collect();
            let start = now();
            for input in &mut inputs {
                black_box(routine(input));
            }
            now() - start
        });
    }

    /// The same for an operation that takes `figure.batch` fresh things at once.
    pub fn batched<T: 'static>(
        &mut self,
        figure: Figure,
        mut make: impl FnMut() -> T + 'static,
        mut routine: impl FnMut(&mut [T]) + 'static,
    ) {
        self.body(figure, move |count| {
            let mut inputs: Vec<T> = (0..count).map(|_| make()).collect();
            let start = now();
            for batch in inputs.chunks_exact_mut(figure.batch) {
                routine(black_box(batch));
            }
            now() - start
        });
    }

    /// An operation that times itself: it is told how often, a multiple of `figure.batch`.
    pub fn body(&mut self, figure: Figure, body: impl FnMut(usize) -> Duration + 'static) {
        if self.wants(&[figure]) {
            self.benches.push(bench(figure, body));
        }
    }

    /// Takes the samples. `progress` hears of each round.
    pub fn run(&mut self, rounds: usize, length: Duration, mut progress: impl FnMut(usize)) {
        self.unit.calibrate(length / 2);
        for bench in &mut self.benches {
            bench.calibrate(length);
        }
        for round in 1..=rounds {
            let mut before = self.unit.sample(self.unit.count);
            for bench in &mut self.benches {
                let took = at_depth(round % DEPTHS, &mut || bench.sample(bench.count));
                let after = self.unit.sample(self.unit.count);
                bench.nanos.push(took);
                bench.ratios.push(took / ((before + after) / 2.0));
                self.unit.nanos.push(after);
                before = after;
            }
            progress(round);
        }
    }

    /// The unit in microseconds: median over the run.
    pub fn unit_micros(&self) -> f64 {
        quantile(&self.unit.nanos, 0.5) / 1e3
    }

    pub fn results(&self) -> Vec<Measured> {
        self.benches
            .iter()
            .map(|bench| Measured {
                figure: bench.figure,
                units: [0.25, 0.5, 0.75].map(|at| quantile(&bench.ratios, at)),
                micros: quantile(&bench.nanos, 0.5) / 1e3,
            })
            .collect()
    }
}

fn bench(figure: Figure, body: impl FnMut(usize) -> Duration + 'static) -> Bench {
    Bench {
        figure,
        body: Box::new(body),
        count: figure.batch,
        nanos: Vec::new(),
        ratios: Vec::new(),
    }
}

fn steady<R: 'static>(
    mut routine: impl FnMut() -> R + 'static,
) -> impl FnMut(usize) -> Duration + 'static {
    move |count| {
        let start = now();
        for _ in 0..count {
            black_box(routine());
        }
        now() - start
    }
}

/// Stack depths that samples are taken at.
const DEPTHS: usize = 13;

/// Calls a sample with the stack some way further down in each round. Where a process' stack lies is drawn when it starts, and on
/// some processors a loop of vector loads and stores costs up to eight per cent more in unlucky places: so one run sees many
/// places, and its median does not hang on a draw.
#[inline(never)]
fn at_depth(depth: usize, sample: &mut dyn FnMut() -> f64) -> f64 {
    let filler = black_box([0_u8; 304]);
    let taken = if depth == 0 {
        sample()
    } else {
        at_depth(depth - 1, sample)
    };
    black_box(&filler);
    taken
}

/// The nearest value at a place between 0 and 1 of the sorted list; NaN of an empty one.
pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted
        .get((last * at).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
