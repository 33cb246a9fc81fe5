//! What a relay does around the hop: looks the tag up and keeps it, draws the delay, lets the packet wait, takes out the one
//! that is due. Once with the bare replay set and pool, once with the whole mixer and what its driver calls.

use mix::delay;
use mix::pool::Pool;
use mix::replay::{ReplaySet, Seen};
use mix::sphinx::Quantile;
use mix::time::{Moment, Span};
use mix::{Arrival, EpochKey, Mixer, MixerConfig, PACKET_LEN, Packet, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

use crate::clock::{Figure, Lineup, now};
use crate::ours::{BY, EPOCH, NETWORK, Route, rng};

pub const AROUND: Figure = Figure::new(BY, "replay_pool", PACKET_LEN, 3);
/// Batches of a sample of the mixer. Its packets must be new to it, and building them takes four hundred times as long.
const BATCHES: usize = 8;
const MIXER: Figure = Figure::new(BY, "mixer", PACKET_LEN, 3).batch(64);

/// Tags that the set remembers when the clock starts.
const REMEMBERED: usize = 1_000_000;
/// Packets that wait.
const WAITING: usize = 4_000;
const MEAN: Span = Span::from_millis(200);

struct Waiting {
    _seq: u64,
    _to: ShortId,
    packet: Packet,
}

pub fn register(lineup: &mut Lineup) {
    bare(lineup);
    whole(lineup);
}

/// Check and remember a new tag, draw the delay, into the pool, and the packet that is due out of it.
fn bare(lineup: &mut Lineup) {
    if !lineup.wants(&[AROUND]) {
        return;
    }
    let mut random = rng(5);
    let mut seen = warm_set(&mut random);
    let mut pool = Pool::new(2 * WAITING);
    let mut spare = Some(Packet::from_slice(&[0; PACKET_LEN]).expect("its length"));
    for seq in 0..WAITING as u64 {
        let deadline = Moment::ZERO + delay::own(MEAN, &mut random);
        let waiting = Waiting {
            _seq: seq,
            _to: ShortId([1; 16]),
            packet: Packet::from_slice(&[0; PACKET_LEN]).expect("its length"),
        };
        pool.insert(deadline, waiting, &mut random);
    }
    lineup.body(AROUND, move |count| {
        if seen.len() + count > 2 * REMEMBERED {
            seen = warm_set(&mut random);
        }
        let tags: Vec<[u8; 16]> = (0..count).map(|_| tag(&mut random)).collect();
        let start = now();
        for (seq, &tag) in (0..).zip(&tags) {
            let clock = pool.next_deadline().expect("the pool is never empty");
            assert!(seen.insert(tag) == Seen::New, "a random tag seen twice");
            let quantile = Quantile(u16::from_le_bytes([tag[0], tag[1]]));
            // Above the cap on delays, which a relay refuses, a packet waits no time here.
            let wait = delay::from_quantile(quantile, MEAN, &mut random).unwrap_or(Span::ZERO);
            let waiting = Waiting {
                _seq: seq,
                _to: ShortId(tag),
                packet: spare.take().expect("put back below"),
            };
            pool.insert(clock + wait, waiting, &mut random);
            spare = pool.pop_due(clock).map(|waiting| waiting.packet);
        }
        now() - start
    });
}

fn tag(random: &mut ChaCha20Rng) -> [u8; 16] {
    let mut tag = [0; 16];
    random.fill_bytes(&mut tag);
    tag
}

/// A set with room for twice the tags it holds, every page of it touched.
fn warm_set(random: &mut ChaCha20Rng) -> ReplaySet {
    let mut set = ReplaySet::new(4 * REMEMBERED, random);
    set.reserve(2 * REMEMBERED);
    for _ in 0..REMEMBERED {
        set.insert(tag(random));
    }
    set
}

/// All that the mixer does with opened packets until they leave, and all that its driver calls; no disk, no link.
fn whole(lineup: &mut Lineup) {
    if !lineup.wants(&[MIXER]) {
        return;
    }
    let route = Route::new(MIXER.hops);
    let config = MixerConfig::new(NETWORK, route.path[0].id);
    let mut mixer = Mixer::new(config, rng(7));
    let mut random = rng(8);
    let key = EpochKey {
        epoch: EPOCH,
        usable_from: Moment::ZERO,
        starts: Moment::ZERO,
        usable_until: Moment::MAX,
        secret: route.secrets[0].clone(),
    };
    mixer.add_key(key, []).expect("the first key");
    let opener = mixer.opener();
    let mut clock = Moment::from_secs(1);
    lineup.body(MIXER, move |count| {
        let wanted = count / MIXER.batch;
        let done = wanted.min(BATCHES);
        let batches: Vec<_> = (0..done)
            .map(|_| {
                let packets = (0..MIXER.batch).map(|_| Arrival {
                    at: clock,
                    packet: route.packet(&mut random),
                });
                opener.open(packets.collect())
            })
            .collect();
        let start = now();
        for opened in batches {
            // Packets come so fast that about as many wait as wait at a relay of some thousand a second.
            clock += Span::from_millis(5);
            mixer.handle_opened(opened);
            while let Some(batch) = mixer.poll_tags() {
                mixer.handle_synced(batch.seq);
            }
            mixer.handle_timeout(clock);
            while let Some((_, packet)) = mixer.poll_transmit() {
                std::hint::black_box(packet);
            }
        }
        let took = now() - start;
        let counters = mixer.counters();
        assert_eq!(counters.relayed, counters.received, "packets were dropped");
        took.mul_f64(wanted as f64 / done as f64)
    });
}
