//! What a packet costs the allocator: nothing, once its own buffer is received. A counting allocator watches the peel, the
//! batched peel, and a packet's whole way through a mixer.
#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use mix::sphinx::{Peeled, build, peel, peel_batch};
use mix::time::{Moment, Span};
use mix::{
    BODY_LEN, Class, EpochKey, Exit, Hop, KeyContext, MixSecret, Mixer, MixerConfig, NetworkId,
    Packet, ShortId,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const NETWORK: NetworkId = NetworkId([1; 32]);
const EPOCH: u32 = 3;
const START: Moment = Moment::from_secs(100);

struct Relay {
    secret: MixSecret,
    hop: Hop,
    rng: ChaCha20Rng,
}

impl Relay {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = MixSecret::random(&mut rng);
        let hop = Hop {
            id: ShortId([1; 16]),
            key: secret.public(),
            epoch: EPOCH,
        };
        Self { secret, hop, rng }
    }

    fn context(&self) -> KeyContext {
        KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: self.hop.id,
        }
    }

    /// A packet that goes on from here, or one that ends here.
    fn packet(&mut self, passing: bool) -> Packet {
        let next = Hop {
            id: ShortId([2; 16]),
            ..self.hop
        };
        let path = [self.hop, next];
        let path = if passing { &path[..] } else { &path[..1] };
        let body = [7; BODY_LEN];
        build(
            &NETWORK,
            path,
            Class::Fast,
            Exit::Drop,
            &body,
            &mut self.rng,
        )
        .unwrap()
    }

    fn packets(&mut self, count: usize) -> Vec<Packet> {
        (0..count).map(|_| self.packet(true)).collect()
    }
}

/// Heap allocations of one call.
fn allocations(call: impl FnOnce()) -> u64 {
    measure(call).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_peel_allocates_nothing() {
    let mut relay = Relay::new();
    // Constants of the libraries are computed once, at the first packet.
    let mut first = relay.packet(true);
    peel(&relay.secret, &relay.context(), &mut first).unwrap();
    for passing in [true, false] {
        let mut packet = relay.packet(passing);
        let count = allocations(|| {
            let (_, peeled) = peel(&relay.secret, &relay.context(), &mut packet).unwrap();
            assert_eq!(passing, matches!(peeled, Peeled::Forward { .. }));
        });
        assert_eq!(count, 0, "passing: {passing}");
    }
    for at in [0, 1, 40, 60] {
        let mut bytes = relay.packet(true).into_boxed();
        bytes[at] ^= 0x80;
        let mut packet = Packet::from_boxed(bytes);
        let count = allocations(|| {
            peel(&relay.secret, &relay.context(), &mut packet).unwrap_err();
        });
        assert_eq!(count, 0, "altered at {at}");
    }
}

/// The curve library takes a few vectors for each inversion that a group shares, and the number of packets changes nothing.
#[test]
fn a_batch_allocates_the_same_however_many_packets_share_it() {
    let mut relay = Relay::new();
    let mut results = Vec::with_capacity(256);
    let mut count = |relay: &mut Relay, packets: usize| {
        let mut packets = relay.packets(packets);
        let (secret, context) = (&relay.secret, relay.context());
        let count = allocations(|| peel_batch(secret, &context, &mut packets, &mut results));
        assert!(results.iter().all(Result::is_ok));
        count
    };
    count(&mut relay, 1);
    assert_eq!(count(&mut relay, 0), 0);
    assert_eq!(count(&mut relay, 1), 0, "nothing is shared");
    let group = count(&mut relay, 2);
    assert!(group <= 2 * 4, "{group} allocations for two inversions");
    for packets in [3, 4, 7, 16, 31, 63, 64] {
        assert_eq!(count(&mut relay, packets), group, "{packets} packets");
    }
    assert_eq!(count(&mut relay, 65), group, "a group and one alone");
    assert_eq!(count(&mut relay, 192), 3 * group, "three groups");
}

#[test]
fn a_packet_passes_through_a_mixer_without_an_allocation() {
    const PACKETS: usize = 500;
    let mut relay = Relay::new();
    let mut mixer = Mixer::new(
        MixerConfig::new(NETWORK, relay.hop.id),
        ChaCha20Rng::seed_from_u64(2),
    );
    let key = EpochKey {
        epoch: EPOCH,
        usable_from: START,
        starts: START,
        usable_until: START + Span::from_secs(3_600),
        secret: relay.secret.clone(),
    };
    mixer.add_key(key, []).unwrap();
    // The tags of a batch are a vector that is given away to the disk and doubles while it fills. 513 of them make room for
    // 1,024; from there on nothing may allocate until the batch is fetched.
    for packet in relay.packets(513) {
        mixer.handle_packet(START, packet);
    }
    let packets = relay.packets(PACKETS);
    // The vector that holds them is given back after the clock stops.
    let mut packets = packets.into_iter();
    let taken_in = allocations(|| {
        for packet in packets.by_ref() {
            mixer.handle_packet(START, packet);
        }
    });
    assert_eq!(mixer.pool_len(), 513 + PACKETS);
    assert_eq!(taken_in, 0);

    let batch = mixer.poll_tags().unwrap();
    assert_eq!(batch.tags.len(), 513 + PACKETS);
    let mut left = Vec::with_capacity(513 + PACKETS);
    let sent_on = allocations(|| {
        mixer.handle_synced(batch.seq);
        while let Some(due) = mixer.poll_timeout() {
            mixer.handle_timeout(due);
            while let Some(packet) = mixer.poll_transmit() {
                left.push(packet);
            }
        }
    });
    assert_eq!(left.len(), 513 + PACKETS);
    assert_eq!(sent_on, 0);
}
