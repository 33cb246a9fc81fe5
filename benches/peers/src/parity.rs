//! parity's `mixnet` 0.7, through its public interface: its hop comes with its replay filter and its queue, its creation with
//! the splitting of a message. Packets have one size, 2,048 bytes of data.
//!
//! All relays of the little network have one key, so that one of them can open every packet. The filter is an 8 MiB bit field
//! whose pages the system gives on first touch; packets before the clock starts touch nearly all of them.

use mixnet::core::{
    Config, Message, Mixnet, Mixnode, NetworkStatus, Packet, PeerId, RelSessionIndex, SessionPhase,
    SessionStatus, Surb,
};
use rand_core::Rng as _;

use crate::clock::{Figure, Lineup, now};
use crate::ours::rng;

pub const BY: &str = "parity-mixnet";
const SECRET: [u8; 32] = [4; 32];
/// What a message of one packet may be beside a reply block and the heads.
const MESSAGE: usize = 1_700;
const DATA: usize = 2_048;
/// Packets that warm the filter: eight bits each over 2,048 pages leave about one page in 250 untouched.
const WARMING: usize = 1_400;

struct Up;

impl NetworkStatus for Up {
    fn local_peer_id(&self) -> PeerId {
        [9; 32]
    }

    fn is_connected(&self, _: &PeerId) -> bool {
        true
    }
}

pub fn register(lineup: &mut Lineup) {
    for hops in [3, 5] {
        let figure = Figure::new(BY, "create", DATA, hops);
        if lineup.wants(&[figure]) {
            let mut sender = Sender::new(hops);
            lineup.steady(figure, move || sender.packet(0));
        }
    }
    let hop = Figure::new(BY, "hop", DATA, 3);
    if lineup.wants(&[hop]) {
        self::hop(lineup, hop);
    }
    let surb_use = Figure::new(BY, "surb_use", DATA, 3);
    if lineup.wants(&[surb_use]) {
        reply(lineup, surb_use);
    }
}

struct Sender {
    mixnet: Mixnet<()>,
    hops: usize,
    number: u64,
    data: Vec<u8>,
}

impl Sender {
    fn new(hops: usize) -> Self {
        Self {
            mixnet: node([5; 32], hops),
            hops,
            number: 0,
            data: vec![7; MESSAGE],
        }
    }

    /// A message of one packet with so many reply blocks.
    fn packet(&mut self, surbs: usize) -> Packet {
        self.number += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.number.to_le_bytes());
        let data = self.data.as_slice().into();
        let posted = self
            .mixnet
            .post_request(0, &mut None, &id, data, surbs, &Up);
        let metrics = posted.expect("one packet fits");
        assert_eq!(
            metrics.num_hops,
            self.hops * (1 + surbs),
            "another length of path"
        );
        let packet = self.mixnet.pop_next_authored_packet(&Up).expect("posted");
        *packet.packet
    }
}

/// A member of a network of twelve relays that share a key; a relay if `secret` is theirs.
fn node(secret: [u8; 32], hops: usize) -> Mixnet<()> {
    let mut config = Config {
        session_0_kx_secret: Some(secret),
        gen_cover_packets: false,
        loop_cover_proportion: 0.0,
        num_hops: hops,
        forward_packet_queue_capacity: 1 << 20,
        ..Config::default()
    };
    config.mixnode_session.authored_packet_queue.capacity = 1 << 20;
    if let Some(session) = &mut config.non_mixnode_session {
        session.authored_packet_queue.capacity = 1 << 20;
        session.authored_packet_queue.multiple_messages = true;
    }
    let public =
        *x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(SECRET)).as_bytes();
    let mut random = rng(6);
    let relays: Vec<_> = (0..12)
        .map(|_| {
            let mut peer_id = [0; 32];
            random.fill_bytes(&mut peer_id);
            Mixnode {
                kx_public: public,
                peer_id,
                extra: (),
            }
        })
        .collect();
    let mut mixnet = Mixnet::new(config);
    mixnet.set_session_status(SessionStatus {
        current_index: 0,
        phase: SessionPhase::DisconnectFromPrev,
    });
    mixnet.maybe_set_mixnodes(RelSessionIndex::Current, &mut || Ok(relays.clone()));
    mixnet
}

fn hop(lineup: &mut Lineup, figure: Figure) {
    let (mut sender, mut relay) = (Sender::new(figure.hops), node(SECRET, figure.hops));
    for _ in 0..WARMING {
        relay.handle_packet(&sender.packet(0));
    }
    assert_eq!(drain(&mut relay), WARMING, "warming packets were dropped");
    lineup.body(figure, move |count| {
        // A packet counts once: the filter drops it the second time.
        let packets: Vec<_> = (0..count).map(|_| sender.packet(0)).collect();
        let start = now();
        for packet in &packets {
            relay.handle_packet(packet);
        }
        let took = now() - start;
        assert_eq!(drain(&mut relay), count, "packets were dropped");
        took
    });
}

/// How many packets the relay passed on.
fn drain(relay: &mut Mixnet<()>) -> usize {
    std::iter::from_fn(|| relay.pop_next_forward_packet()).count()
}

/// Replies are written by the last relay of the request. The block is plain bytes: a copy of one serves every reply.
fn reply(lineup: &mut Lineup, figure: Figure) {
    let (mut sender, mut relay) = (Sender::new(figure.hops), node(SECRET, figure.hops));
    let surb = arrived(&mut relay, sender.packet(1));
    let data = vec![8; MESSAGE];
    lineup.body(figure, move |count| {
        let mut blocks: Vec<Vec<Surb>> = (0..count).map(|_| vec![surb]).collect();
        let start = now();
        for block in &mut blocks {
            let posted = relay.post_reply(block, 0, &[1; 16], data.as_slice().into());
            assert!(posted.is_ok(), "parity refuses its own reply block");
        }
        let took = now() - start;
        let posted = std::iter::from_fn(|| relay.pop_next_authored_packet(&Up)).count();
        assert_eq!(posted, count, "replies were dropped");
        took
    });
}

/// Carries a request along its path: every relay on it has the same key, so one does for all.
fn arrived(relay: &mut Mixnet<()>, mut packet: Packet) -> Surb {
    loop {
        if let Some(Message::Request(request)) = relay.handle_packet(&packet) {
            return request.surbs[0];
        }
        packet = *relay
            .pop_next_forward_packet()
            .expect("a request ends as a message")
            .packet;
    }
}
