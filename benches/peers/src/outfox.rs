//! nym's `nym-outfox` 1.21: a fresh key a layer, so one ladder a hop, and a header that shrinks on the way; four layers, always.
//!
//! Its hop is timed in place on the parsed packet. It stands on an older x25519-dalek than the rest; the ladder is the same.

use nym_outfox::packet::OutfoxPacket;
use sphinx_packet_outfox::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek_outfox::{PublicKey, StaticSecret};

use crate::clock::{Figure, Lineup};

pub const BY: &str = "nym-outfox";
const LAYERS: usize = 4;
const STOCK: usize = 64;

pub fn register(lineup: &mut Lineup) {
    for message in [2_048, mix::BODY_LEN] {
        let create = Figure::new(BY, "create", message, LAYERS);
        let hop = Figure::new(BY, "hop", message, LAYERS);
        if !lineup.wants(&[create, hop]) {
            continue;
        }
        let build = builder(message);
        let stock: Vec<_> = (0..STOCK)
            .map(|_| build().to_bytes().expect("its own packet"))
            .collect();
        lineup.steady(create, build);
        let first = secret(1);
        let mut next = 0;
        lineup.fed(
            hop,
            move || {
                next = (next + 1) % stock.len();
                OutfoxPacket::try_from(stock[next].as_slice()).expect("its own bytes")
            },
            move |packet| {
                packet
                    .decode_next_layer(&first)
                    .expect("it refuses its own packet")
            },
        );
    }
}

fn secret(number: u8) -> StaticSecret {
    StaticSecret::from([number; 32])
}

fn builder(message: usize) -> impl Fn() -> OutfoxPacket {
    let route: [Node; LAYERS] = [1, 2, 3, 4].map(|number| {
        Node::new(
            NodeAddressBytes::from_bytes([number; 32]),
            PublicKey::from(&secret(number)),
        )
    });
    let end = Destination::new(DestinationAddressBytes::from_bytes([9; 32]), [9; 16]);
    let message = vec![7; message];
    move || {
        OutfoxPacket::build(&message, &route, &end, Some(message.len())).expect("four layers fit")
    }
}
