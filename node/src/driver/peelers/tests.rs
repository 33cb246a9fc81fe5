//! The threads that open packets: nothing is lost unseen, nothing is unbounded, and a panic ends no thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use mix::sphinx::build;
use mix::time::Span;
use mix::{
    BODY_LEN, Class, EpochKey, Exit, Hop, MixSecret, Mixer, MixerConfig, NetworkId, ShortId,
};
use rand_core::SeedableRng;

use super::*;

const NETWORK: NetworkId = NetworkId([9; 32]);
const START: Moment = Moment::from_secs(1_000);
/// Above any honest wait, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(40);

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A mixer and packets that end there.
fn mixer_and_packets(count: usize) -> (Mixer, Vec<Packet>) {
    let mut rng = rng(1);
    let secret = MixSecret::random(&mut rng);
    let hop = Hop {
        id: ShortId::derive(&NETWORK, &[5; 32]),
        key: secret.public(),
        epoch: 3,
    };
    let mut mixer = Mixer::new(MixerConfig::new(NETWORK, hop.id), rng.clone());
    let key = EpochKey {
        epoch: 3,
        usable_from: START,
        starts: START,
        usable_until: START + Span::from_secs(60),
        secret,
    };
    mixer.add_key(key, []).unwrap();
    let packets = (0..count).map(|_| {
        build(
            &NETWORK,
            &[hop],
            Class::Fast,
            Exit::Drop,
            &[0; BODY_LEN],
            &mut rng,
        )
        .unwrap()
    });
    (mixer, packets.collect())
}

async fn next(peelers: &mut Peelers) -> Opened {
    tokio::time::timeout(LIMIT, peelers.opened())
        .await
        .expect("a batch in time")
        .expect("the threads live")
}

#[tokio::test]
async fn all_that_arrives_is_opened_once_keys_are_there() {
    let (mut mixer, packets) = mixer_and_packets(600);
    for threads in [1, 3] {
        let mut peelers = Peelers::start(threads, rng(2)).unwrap();
        let count = packets.len().min(WAITING * threads);
        peelers.push(START, packets[..count].iter().cloned());
        assert!(peelers.try_opened().is_none(), "there is no key yet");
        peelers.renew(mixer.opener());
        let (mut opened, before) = (0, mixer.counters().received);
        while opened < count {
            let batch = next(&mut peelers).await;
            assert!(batch.len() <= BATCH);
            opened += batch.len();
            mixer.handle_opened(batch);
        }
        assert_eq!((opened, peelers.shed(), peelers.lost()), (count, 0, 0));
        assert_eq!(mixer.counters().received - before, count as u64);
    }
    assert_eq!(mixer.counters().ended, 600);
    assert_eq!(mixer.counters().dropped(mix::DropReason::Replay), 512);
}

#[test]
fn a_full_intake_sheds_old_and_new_alike() {
    let (_, packets) = mixer_and_packets(1);
    let mut peelers = Peelers::start(1, rng(3)).unwrap();
    let packet = || packets[0].clone();
    for n in 0..2 * WAITING as u64 {
        peelers.push(Moment(n), [packet()]);
    }
    assert_eq!(peelers.shed(), WAITING as u64);
    let state = peelers.intake.lock();
    assert_eq!(state.waiting.len(), WAITING);
    let old = state.waiting.iter().filter(|it| it.at.0 < WAITING as u64);
    // Each of the first 512 survives 512 draws of one in 513, with probability 1/e: 188 ± 11.
    let old = old.count();
    assert!((133..244).contains(&old), "{old} of the first half stayed");
}

#[tokio::test]
async fn a_panic_costs_its_batch_and_is_counted() {
    let (mut mixer, packets) = mixer_and_packets(3);
    let mut peelers = Peelers::start_with(1, rng(4), |opener, arrivals| {
        assert!(
            arrivals[0].at != Moment(7),
            "a packet that nobody thought of"
        );
        opener.open(arrivals)
    })
    .unwrap();
    peelers.push(Moment(7), [packets[0].clone()]);
    peelers.renew(mixer.opener());
    tokio::time::timeout(LIMIT, async {
        while peelers.lost() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the panic is counted");
    peelers.push(START, [packets[1].clone()]);
    mixer.handle_opened(next(&mut peelers).await);
    assert_eq!((mixer.counters().ended, peelers.lost()), (1, 1));
}

#[tokio::test]
async fn results_that_nobody_takes_stop_the_threads_and_lose_nothing() {
    let (mut mixer, packets) = mixer_and_packets(1);
    let mut peelers = Peelers::start(1, rng(5)).unwrap();
    peelers.renew(mixer.opener());
    let mut pushed = 0;
    // One packet a batch, and more batches than there is room for.
    while peelers.opened.len() < RESULTS {
        peelers.push(START, [packets[0].clone()]);
        pushed += 1;
        tokio::time::timeout(LIMIT, async {
            while peelers.opened.len() < RESULTS && !peelers.intake.lock().waiting.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("a thread works while there is room");
    }
    peelers.push(START, (0..WAITING / 2).map(|_| packets[0].clone()));
    pushed += WAITING / 2;
    let mut opened = 0;
    while opened < pushed {
        let batch = next(&mut peelers).await;
        opened += batch.len();
        mixer.handle_opened(batch);
    }
    assert_eq!((opened, peelers.shed()), (pushed, 0));
}
