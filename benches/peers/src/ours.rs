//! Our own packet: hop, creation, reply blocks; alone, in batches, with and without tables for the relays' keys.

use std::hint::black_box;

use mix::sphinx::{BATCH, Element, KeyTables, build_surb_tabled, build_tabled, peel, peel_batch};
use mix::{
    BODY_LEN, Class, Exit, Hop, KeyContext, MixSecret, NetworkId, PACKET_LEN, Packet, ShortId,
    Surb, SurbKeys,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::clock::{Figure, Lineup};

pub const BY: &str = "murmuration";
pub const HOP: Figure = Figure::new(BY, "hop", PACKET_LEN, 3);
pub const HOP_BATCHED: Figure = HOP.batch(BATCH);

pub const fn create(hops: usize) -> Figure {
    Figure::new(BY, "create", PACKET_LEN, hops)
}

pub const NETWORK: NetworkId = NetworkId([3; 32]);
pub const EPOCH: u32 = 5;
/// Distinct packets that are copied for the hop; more would not fit the cache that a relay's packets come from either.
const STOCK: usize = 256;

pub fn register(lineup: &mut Lineup) {
    hop(lineup);
    for hops in 3..=5 {
        creation(lineup, hops);
    }
    creation_among_many(lineup);
    reply(lineup);
}

/// A path, the secrets along it, and the tables a sender has.
pub struct Route {
    pub secrets: Vec<MixSecret>,
    pub path: Vec<Hop>,
    pub tables: KeyTables,
}

impl Route {
    pub fn new(hops: usize) -> Self {
        let mut rng = rng(hops as u64);
        let (secrets, path) = (1..=hops as u8)
            .map(|name| {
                let secret = MixSecret::random(&mut rng);
                let hop = Hop {
                    id: ShortId([name; 16]),
                    key: secret.public(),
                    epoch: EPOCH,
                };
                (secret, hop)
            })
            .unzip();
        Self {
            secrets,
            path,
            tables: KeyTables::new(0),
        }
    }

    /// The same with a table for each key.
    fn tabled(hops: usize) -> Self {
        let mut route = Self::new(hops);
        route.tables = KeyTables::new(hops);
        for hop in &route.path {
            route.tables.insert(&hop.key);
        }
        route
    }

    pub fn context(&self, hop: usize) -> KeyContext {
        KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: self.path[hop].id,
        }
    }

    pub fn packet(&self, rng: &mut ChaCha20Rng) -> Packet {
        self.packet_along(&self.path, rng)
    }

    fn packet_along(&self, path: &[Hop], rng: &mut ChaCha20Rng) -> Packet {
        let body = [7; BODY_LEN];
        let built = build_tabled(
            &self.tables,
            &NETWORK,
            path,
            Class::Fast,
            Exit::Box,
            &body,
            rng,
        );
        built.expect("a path")
    }

    /// Distinct packets for the first hop.
    pub fn stock(&self) -> Vec<Packet> {
        let mut rng = rng(1);
        (0..STOCK).map(|_| self.packet(&mut rng)).collect()
    }

    fn surb(&self, rng: &mut ChaCha20Rng) -> (Surb, SurbKeys) {
        let built = build_surb_tabled(
            &self.tables,
            &NETWORK,
            &self.path,
            Class::Fast,
            [1; 16],
            rng,
        );
        built.expect("a path")
    }

    fn peel(&self, hop: usize, packet: &mut Packet) {
        let peeled = peel(&self.secrets[hop], &self.context(hop), packet);
        assert!(black_box(peeled).is_ok(), "our own packet is refused");
    }
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Copies of the stock, one after the other.
fn copies(stock: Vec<Packet>) -> impl FnMut() -> Packet {
    let mut next = 0;
    move || {
        next = (next + 1) % stock.len();
        stock[next].clone()
    }
}

fn hop(lineup: &mut Lineup) {
    if !lineup.wants(&[HOP, HOP_BATCHED]) {
        return;
    }
    let route = Route::new(HOP.hops);
    let stock = route.stock();
    steps(lineup, &stock);
    let (alone, supply) = (Route::new(HOP.hops), copies(stock.clone()));
    lineup.fed(HOP, supply, move |packet| alone.peel(0, packet));
    let mut results = Vec::with_capacity(BATCH);
    lineup.batched(HOP_BATCHED, copies(stock), move |packets| {
        peel_batch(&route.secrets[0], &route.context(0), packets, &mut results);
        assert!(
            black_box(&results).iter().all(Result::is_ok),
            "our own packet is refused"
        );
    });
}

/// The hop in its three steps: decode the element; multiply, derive and authenticate; take the layer off.
fn steps(lineup: &mut Lineup, stock: &[Packet]) {
    let step = |op| Figure { op, ..HOP };
    lineup.fed(step("hop_read"), copies(stock.to_vec()), |packet| {
        Element::read(packet)
    });
    let (route, mut next) = (Route::new(HOP.hops), copies(stock.to_vec()));
    lineup.fed(
        step("hop_check"),
        move || {
            let packet = next();
            (Element::read(&packet).expect("a point"), packet)
        },
        move |(element, packet)| element.check(&route.secrets[0], &route.context(0), packet),
    );
    let (route, mut next) = (Route::new(HOP.hops), copies(stock.to_vec()));
    lineup.fed(
        step("hop_peel"),
        move || {
            let packet = next();
            let element = Element::read(&packet).expect("a point");
            let authentic = element.check(&route.secrets[0], &route.context(0), &packet);
            (authentic.ok(), packet)
        },
        |(authentic, packet)| authentic.take().map(|authentic| authentic.peel(packet)),
    );
}

fn creation(lineup: &mut Lineup, hops: usize) {
    let (route, mut random) = (Route::new(hops), rng(2));
    lineup.steady(create(hops), move || route.packet(&mut random));
    if lineup.wants(&[create(hops).tabled()]) {
        let (route, mut random) = (Route::tabled(hops), rng(2));
        lineup.steady(create(hops).tabled(), move || route.packet(&mut random));
    }
}

/// Creation where each packet takes another path through a hundred relays: their tables fill 3 MB, beyond the nearer caches.
fn creation_among_many(lineup: &mut Lineup) {
    const RELAYS: usize = 100;
    let figure = Figure {
        op: "create_among_100",
        ..create(3).tabled()
    };
    if lineup.wants(&[figure]) {
        let (route, mut random) = (Route::tabled(RELAYS), rng(2));
        lineup.steady(figure, move || {
            let at = random.next_u32() as usize % (RELAYS - 2);
            route.packet_along(&route.path[at..at + 3], &mut random)
        });
    }
}

fn reply(lineup: &mut Lineup) {
    let hops = 3;
    let figure = |op| Figure::new(BY, op, PACKET_LEN, hops);
    let (route, mut random) = (Route::new(hops), rng(3));
    lineup.steady(figure("surb_create"), move || route.surb(&mut random));
    let (route, mut random) = (Route::tabled(hops), rng(3));
    let tabled = figure("surb_create").tabled();
    lineup.steady(tabled, move || route.surb(&mut random));

    let route = Route::new(hops);
    let (surb, keys) = route.surb(&mut rng(4));
    let (_, mut packet) = surb.clone().reply(&[8; BODY_LEN]);
    for hop in 0..hops {
        route.peel(hop, &mut packet);
    }
    // `reply` takes the block for good, so each gets a copy made outside the clock.
    lineup.fed(
        figure("surb_use"),
        move || Some(surb.clone()),
        |surb| surb.take().map(|surb| surb.reply(&[8; BODY_LEN])),
    );
    lineup.fed(
        figure("reply_open"),
        move || Some(packet.clone()),
        move |packet| {
            let opened = packet.take().map(|packet| keys.open(packet));
            assert!(matches!(opened, Some(Ok(_))), "our own reply is refused");
            opened
        },
    );
}
