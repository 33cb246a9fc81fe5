//! `replay/full`: more tags than a key's replay set holds, at the production size, with the real file behind it.

use mix::mixer::Arrival;
use mix::sphinx::build;
use mix::{BODY_LEN, Class, DropReason, Exit, Hop, Mixer, MixerConfig, Packet};
use node::core::KeyFile;
use node::disk::Disk;
use storage::backend::memory::MemoryBackend;

use crate::lab::{self, EPOCH, NETWORK};
use crate::relay::{START, commit};

/// Packets that are made for this; the rest of the set is filled with tags from the file, as after a restart.
const PACKETS: usize = 20_000;

/// A key's file is filled to just below the cap by an earlier life. Then as many packets come as go beyond it, then all of them
/// again, until three times the cap has been offered.
pub(crate) fn measure() {
    let cap = lab::size(1 << 20, 2_000);
    let packets = lab::size(PACKETS, 200);
    let before = lab::resident_kib();
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(MemoryBackend::new(), dir.path().to_owned()).unwrap();
    let (secret, hop) = lab::relay(u64::from(EPOCH));
    let key = lab::epoch_key(secret, START);
    let sealed = key.to_bytes().to_vec();
    let room = packets / 2;
    let earlier: Vec<[u8; 16]> = (0..cap - room).map(tag).collect();
    let mut first = commit(vec![KeyFile::Create {
        epoch: EPOCH,
        sealed,
    }]);
    for tags in earlier.chunks(4_096) {
        first.keys.push(KeyFile::Append {
            epoch: EPOCH,
            tags: tags.to_vec(),
        });
    }
    disk.commit(&mut first).unwrap();
    drop(earlier);

    let mut config = MixerConfig::new(NETWORK, hop.id);
    config.replay_cap = cap;
    // All of a piece at once, so that none is shed for lack of room for its event.
    config.event_cap = 4_096;
    let mut mixer = Mixer::new(config, lab::rng(1));
    let stored = disk.load_keys().unwrap().remove(0);
    mixer.add_key(key, stored.tags).unwrap();
    let all = capture(packets, hop);
    // The earlier life's were offered, too.
    let mut offered = cap - room;
    let mut rounds = 0;
    let mut left = 0;
    while offered < 3 * cap {
        for packets in all.chunks(4_096) {
            offered += packets.len();
            let opener = mixer.opener();
            let open = |packets: &[Packet]| {
                let arrivals = packets.iter().cloned();
                let arrivals = arrivals.map(|packet| Arrival { at: START, packet });
                opener.open(arrivals.collect())
            };
            let (one, other) = packets.split_at(packets.len() / 2);
            let opened = std::thread::scope(|scope| {
                let other = scope.spawn(|| open(other));
                [open(one), other.join().unwrap()]
            });
            opened
                .into_iter()
                .for_each(|opened| mixer.handle_opened(opened));
            let mut seq = 0;
            let mut keys = Vec::new();
            while let Some(batch) = mixer.poll_tags() {
                seq = batch.seq;
                let (epoch, tags) = (batch.epoch, batch.tags);
                keys.push(KeyFile::Append { epoch, tags });
            }
            if !keys.is_empty() {
                disk.commit(&mut commit(keys)).unwrap();
                mixer.handle_synced(seq);
            }
            while mixer.poll_event().is_some() {
                left += 1;
            }
            assert!(mixer.pool_len() == 0);
        }
        rounds += 1;
    }
    let counters = mixer.counters();
    let (replays, full) = (
        counters.dropped(DropReason::Replay),
        counters.dropped(DropReason::ReplayFull),
    );
    let file = disk.load_keys().unwrap().remove(0).tags.len();
    println!(
        "replay/full: a set of {cap} tags, {} from the file; {offered} packets offered: {left} left, {replays} dropped as replays, {full} because the set is full; {file} tags in the file; {:.1} MB of memory more than before",
        cap - room,
        (lab::resident_kib().saturating_sub(before)) as f64 / 1024.0,
    );
    assert_eq!(left, room, "as many as there was room for, each once");
    assert_eq!(file, cap);
    assert_eq!(replays as usize, room * (rounds - 1));
    assert_eq!(full as usize, (packets - room) * rounds);
}

/// A tag that no packet has.
fn tag(number: usize) -> [u8; 16] {
    let hash = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    hash.to_le_bytes()
}

fn capture(count: usize, relay: Hop) -> Vec<Packet> {
    let rng = &mut lab::rng(3);
    (0..count)
        .map(|number| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(number as u64).to_le_bytes());
            build(
                &NETWORK,
                &[relay],
                Class::Fast,
                Exit::Loop { id },
                &[0; BODY_LEN],
                rng,
            )
            .unwrap()
        })
        .collect()
}
