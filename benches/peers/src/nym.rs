//! nym's `sphinx-packet` 0.8: X25519 in ladders, HKDF-SHA256, LIONESS of ChaCha20 and BLAKE2b.
//!
//! Its hop is timed on the parsed packet, its reply on the parsed block; both favour it. It is given messages of two lengths: 2,048
//! bytes, as it is usually quoted, and our body's, so that nobody need ask what the other length would have been.

use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::{PAYLOAD_KEYS_SEEDS_VERSION, SINGLE_SEED_SURB_VERSION};
use sphinx_packet::{ProcessedPacketData, SURB, SURBMaterial, SphinxPacket};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::clock::{Figure, Lineup};

pub const BY: &str = "nym-sphinx-packet";
const STOCK: usize = 64;

pub fn register(lineup: &mut Lineup) {
    for message in [2_048, mix::BODY_LEN] {
        for hops in [3, 5] {
            let route = Route::new(hops, message);
            lineup.steady(Figure::new(BY, "create", message, hops), move || {
                route.packet()
            });
        }
        hop(lineup, message);
        reply(lineup, message);
    }
}

struct Route {
    secrets: Vec<StaticSecret>,
    path: Vec<Node>,
    end: Destination,
    delays: Vec<Delay>,
    message: Vec<u8>,
}

impl Route {
    fn new(hops: usize, message: usize) -> Self {
        let secrets: Vec<_> = (1..=hops as u8)
            .map(|seed| StaticSecret::from([seed; 32]))
            .collect();
        let path = (1..)
            .zip(&secrets)
            .map(|(name, secret)| {
                Node::new(
                    NodeAddressBytes::from_bytes([name; 32]),
                    PublicKey::from(secret),
                )
            })
            .collect();
        Self {
            secrets,
            path,
            end: Destination::new(DestinationAddressBytes::from_bytes([9; 32]), [9; 16]),
            delays: vec![Delay::new_from_nanos(1_000); hops],
            message: vec![7; message],
        }
    }

    fn packet(&self) -> SphinxPacket {
        SphinxPacketBuilder::new()
            .with_payload_size(self.message.len() + PAYLOAD_OVERHEAD_SIZE)
            .build_packet(&self.message, &self.path, &self.end, &self.delays)
            .expect("a path")
    }

    fn surb_material(&self, version: sphinx_packet::version::Version) -> SURBMaterial {
        SURBMaterial::new(
            self.path.clone(),
            self.delays.clone(),
            self.end.clone(),
            version,
        )
    }
}

fn hop(lineup: &mut Lineup, message: usize) {
    let figure = Figure::new(BY, "hop", message, 3);
    if !lineup.wants(&[figure]) {
        return;
    }
    let route = Route::new(3, message);
    let secret = route.secrets[0].clone();
    let stock: Vec<_> = (0..STOCK).map(|_| route.packet().to_bytes()).collect();
    let mut next = 0;
    lineup.fed(
        figure,
        move || {
            next = (next + 1) % stock.len();
            Some(SphinxPacket::from_bytes(&stock[next]).expect("its own bytes"))
        },
        move |packet| {
            let data = packet.take().map(|packet| packet.process(&secret));
            match data {
                Some(Ok(processed)) => {
                    assert!(
                        matches!(processed.data, ProcessedPacketData::ForwardHop { .. }),
                        "not forwarded"
                    );
                    processed
                }
                _ => panic!("nym refuses its own packet"),
            }
        },
    );
}

/// Version 259 leaves all layers to whoever replies; 260 leaves one, as we do.
fn reply(lineup: &mut Lineup, message: usize) {
    let figure = Figure::new(BY, "surb_use", message, 3);
    let every_layer = Figure::new(BY, "surb_use_259", message, 3);
    if !lineup.wants(&[figure, every_layer]) {
        return;
    }
    let route = Route::new(3, message);
    let surb = route
        .surb_material(PAYLOAD_KEYS_SEEDS_VERSION)
        .construct_SURB();
    using(
        lineup,
        every_layer,
        surb.expect("a path").to_bytes(),
        message,
    );
    let surb = route
        .surb_material(SINGLE_SEED_SURB_VERSION)
        .construct_recoverable_SURB();
    using(lineup, figure, surb.expect("a path").0.to_bytes(), message);

    let figure = Figure::new(BY, "surb_create", message, 3);
    lineup.steady(figure, move || {
        let material = route.surb_material(SINGLE_SEED_SURB_VERSION);
        material.construct_recoverable_SURB().expect("a path")
    });
}

fn using(lineup: &mut Lineup, figure: Figure, block: Vec<u8>, message: usize) {
    let message = vec![8; message];
    lineup.fed(
        figure,
        move || Some(SURB::from_bytes(&block).expect("its own bytes")),
        move |surb| {
            let size = message.len() + PAYLOAD_OVERHEAD_SIZE;
            let used = surb.take().map(|surb| surb.use_surb(&message, size));
            assert!(
                matches!(used, Some(Ok(_))),
                "nym refuses its own reply block"
            );
            used
        },
    );
}
