//! What the exit sees of the header beyond its own block must not tell how long the path was (Kuhn, Beck, Strufe 2020). Real
//! packets and reply blocks of every path length are made by the code under test; the exit's 216 bytes in clear come from the
//! plain reference. Tested are all byte values at every place, sums and differences of places in different blocks, the number
//! of ones in blocks and between blocks, and whether the five path lengths have one law. The smallest p-value counts, times
//! the number of tests (Bonferroni). The same tests must fail on headers that are padded with zeros.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use mix::sphinx::{build, build_surb};
use mix::{BODY_LEN, Class, Exit, Hop, MAX_HOPS, MixSecret};
use rand_core::Rng as _;

use crate::lab::{self, EPOCH, NETWORK};
use crate::reference::tape::Tape;
use crate::reference::{self, Drawn, Keys, Order};
use crate::stats;

/// The exit's view: its block and, behind it, as many bytes as five blocks have.
const VIEW: usize = 216;
const BLOCK: usize = 36;
/// Packets that one worker makes at a time.
const CHUNK: usize = 500;

pub(crate) fn run() -> bool {
    let chunks = lab::size(2_000, 5);
    let real = gather(chunks, CHUNK, real_view);
    let holds = real.verdict("real packets") > 0.01;
    let control = gather(MAX_HOPS * lab::size(4, 1), CHUNK, zero_padded_view);
    let caught = control.verdict("control, padded with zeros") < 1e-6;
    println!(
        "padding: the control {}",
        if caught {
            "fails the test, as it must"
        } else {
            "PASSES"
        }
    );
    holds && caught
}

/// Chunks of views: the path lengths take turns.
fn gather(chunks: usize, each: usize, view: fn(&Relays, usize, u64) -> Vec<u8>) -> Counts {
    let relays = Relays::new();
    let parts = crate::on_all_cores(chunks, Counts::new, |counts, chunk| {
        let hops = 1 + chunk % MAX_HOPS;
        for i in 0..each {
            let seed = (chunk * each + i) as u64;
            counts.lengths[hops - 1].add(&view(&relays, hops, seed));
        }
    });
    let mut all = Counts::new();
    for part in parts {
        for (sum, one) in all.lengths.iter_mut().zip(part.lengths) {
            sum.merge(one);
        }
    }
    all
}

struct Relays {
    secrets: Vec<Scalar>,
    path: Vec<Hop>,
}

impl Relays {
    fn new() -> Self {
        let (secrets, path): (Vec<MixSecret>, Vec<_>) =
            (0..MAX_HOPS as u64).map(lab::relay).unzip();
        let scalar = |secret: &MixSecret| Scalar::from_canonical_bytes(*secret.to_bytes()).unwrap();
        Self {
            secrets: secrets.iter().map(scalar).collect(),
            path,
        }
    }
}

/// Builds with the code under test, every second one as a reply block, and walks to the exit with the keys that follow from
/// the drawn scalar and all secrets: one multiplication of the base point a hop, and none of any other.
fn real_view(relays: &Relays, hops: usize, seed: u64) -> Vec<u8> {
    let rng = &mut lab::rng(seed);
    let mut drawn = [0; 64 + 180 + 2 * MAX_HOPS + 32];
    rng.fill_bytes(&mut drawn);
    let path = &relays.path[..hops];
    let class = Class::ALL[seed as usize / 2 % 3];
    let tape = &mut Tape(&drawn);
    let header = if seed.is_multiple_of(2) {
        let (surb, _) = build_surb(&NETWORK, path, class, [1; 16], tape).unwrap();
        surb.to_bytes()[..229].to_vec()
    } else {
        let exit = [Exit::Drop, Exit::Box, Exit::Loop { id: [1; 16] }][seed as usize / 6 % 3];
        let packet = build(&NETWORK, path, class, exit, &[0; BODY_LEN], tape).unwrap();
        packet.as_bytes()[..229].to_vec()
    };
    let mut x = Scalar::from_bytes_mod_order_wide(&drawn[..64].try_into().unwrap());
    let keys = path.iter().zip(&relays.secrets).map(|(hop, secret)| {
        let shared = RistrettoPoint::mul_base(&(x * secret));
        let keys = Keys::new(&shared, &NETWORK.0, EPOCH, &hop.id.0);
        x *= keys.blinding;
        keys
    });
    last_view(&header, keys)
}

/// The mistake that this is about, made by the reference: what no block covers starts as zeros.
fn zero_padded_view(relays: &Relays, hops: usize, seed: u64) -> Vec<u8> {
    let mut drawn = [0; 64 + 180 + 2 * MAX_HOPS];
    let rng = &mut lab::rng(seed);
    rng.fill_bytes(&mut drawn);
    drawn[64..244].fill(0);
    let hop = |hop: &Hop| reference::Hop {
        name: hop.id.0,
        epoch: hop.epoch,
        public: hop.key.to_bytes(),
    };
    let path: Vec<_> = relays.path[..hops].iter().map(hop).collect();
    let order = Order {
        command: reference::BOX,
        class: 0,
        id: None,
    };
    let (header, keys) = reference::header(&NETWORK.0, &path, &order, &mut Drawn(&drawn));
    last_view(&header, keys.into_iter())
}

/// Follows a header; every hop on the way must find it authentic.
fn last_view(header: &[u8], keys: impl Iterator<Item = Keys>) -> Vec<u8> {
    let mut gamma = header[33..49].to_vec();
    let mut beta = header[49..229].to_vec();
    let mut view = Vec::new();
    for keys in keys {
        assert_eq!(keys.gamma(&beta), gamma);
        view = keys.view(&beta);
        gamma = view[20..36].to_vec();
        beta = view[36..].to_vec();
    }
    view
}

struct Counts {
    lengths: [Length; MAX_HOPS],
}

/// Everything counted for one path length.
struct Length {
    views: u64,
    /// By kind of statistic and place; each a histogram of byte values.
    bytes: Vec<[u32; 256]>,
    /// Ones in each block of 36 bytes, then in the sum of each two of them.
    ones: Vec<[u32; BLOCK * 8 + 1]>,
}

const PAIRS: [(usize, usize); 10] = {
    let mut pairs = [(0, 0); 10];
    let (mut at, mut a) = (0, 1);
    while a <= 5 {
        let mut b = a + 1;
        while b <= 5 {
            pairs[at] = (a, b);
            at += 1;
            b += 1;
        }
        a += 1;
    }
    pairs
};

/// How many histograms of each kind there are, in their order.
const KINDS: [(&str, usize); 6] = [
    ("byte values beyond the block", VIEW - BLOCK),
    ("delay and next gamma of the exit's own block", 18),
    (
        "sums (xor) of bytes at one place of two blocks",
        PAIRS.len() * BLOCK,
    ),
    ("differences (mod 256) from block to block", 4 * BLOCK),
    ("sums (xor) of neighbours", VIEW - BLOCK - 1),
    ("sums (xor) of the own next gamma and each block's", 5 * 16),
];

impl Length {
    fn new() -> Self {
        Self {
            views: 0,
            bytes: vec![[0; 256]; KINDS.iter().map(|(_, places)| places).sum()],
            ones: vec![[0; BLOCK * 8 + 1]; 5 + PAIRS.len()],
        }
    }

    fn add(&mut self, view: &[u8]) {
        self.views += 1;
        let mut histograms = self.bytes.iter_mut();
        let mut count = |byte: u8| histograms.next().unwrap()[usize::from(byte)] += 1;
        view[BLOCK..].iter().for_each(|&byte| count(byte));
        view[2..4]
            .iter()
            .chain(&view[20..BLOCK])
            .for_each(|&byte| count(byte));
        let block = |i: usize| &view[i * BLOCK..(i + 1) * BLOCK];
        for (a, b) in PAIRS {
            block(a)
                .iter()
                .zip(block(b))
                .for_each(|(a, b)| count(a ^ b));
        }
        for i in 1..5 {
            block(i)
                .iter()
                .zip(block(i + 1))
                .for_each(|(a, b)| count(b.wrapping_sub(*a)));
        }
        view[BLOCK..]
            .windows(2)
            .for_each(|two| count(two[0] ^ two[1]));
        for i in 1..=5 {
            let gammas = view[20..BLOCK].iter().zip(&block(i)[20..]);
            gammas.for_each(|(a, b)| count(a ^ b));
        }
        let single = (1..=5).map(|i| block(i).iter().map(|byte| byte.count_ones()).sum::<u32>());
        let sums = PAIRS.map(|(a, b)| {
            let both = block(a).iter().zip(block(b));
            both.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
        });
        for (histogram, ones) in self.ones.iter_mut().zip(single.chain(sums)) {
            histogram[ones as usize] += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.views += other.views;
        let bytes = self.bytes.as_flattened_mut().iter_mut();
        bytes
            .zip(other.bytes.as_flattened())
            .for_each(|(sum, n)| *sum += n);
        let ones = self.ones.as_flattened_mut().iter_mut();
        ones.zip(other.ones.as_flattened())
            .for_each(|(sum, n)| *sum += n);
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            lengths: core::array::from_fn(|_| Length::new()),
        }
    }

    /// All tests; the smallest p-value times their number.
    fn verdict(&self, what: &str) -> f64 {
        let views: Vec<_> = self.lengths.iter().map(|length| length.views).collect();
        println!(
            "padding: {what}: {} views, {views:?} with 1 to {MAX_HOPS} hops",
            views.iter().sum::<u64>()
        );
        let mut families: Vec<(&str, Vec<f64>)> = Vec::new();
        let mut from = 0;
        for (kind, places) in KINDS {
            let here = from..from + places;
            let p = self
                .lengths
                .iter()
                .flat_map(|length| &length.bytes[here.clone()]);
            families.push((kind, p.map(|counts| stats::uniform_p(counts)).collect()));
            from += places;
        }
        let ones = self.lengths.iter().flat_map(|length| &length.ones);
        let ones = ones.map(|counts| stats::coins_p(counts)).collect();
        families.push(("ones in blocks and between blocks", ones));
        let one_law = (0..VIEW - BLOCK).map(|place| {
            let rows: Vec<&[u32]> = self
                .lengths
                .iter()
                .map(|length| &length.bytes[place][..])
                .collect();
            stats::same_law_p(&rows)
        });
        families.push((
            "byte values, all path lengths as one law",
            one_law.collect(),
        ));

        let tests: usize = families.iter().map(|(_, p)| p.len()).sum();
        let mut least: f64 = 1.0;
        for (kind, p) in &families {
            let smallest = p.iter().copied().fold(1.0, f64::min);
            println!(
                "padding: {:>5} tests, smallest p {smallest:.2e}: {kind}",
                p.len()
            );
            least = least.min(smallest);
        }
        let corrected = (least * tests as f64).min(1.0);
        println!(
            "padding: {what}: {tests} tests, smallest p corrected for their number: {corrected:.3e}"
        );
        corrected
    }
}
