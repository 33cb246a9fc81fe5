//! Split views: both halves of a conversation notice, nobody else does, and a liar gets little out of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, OnceLock};

use dht::beat::{Beat, BeatFields};
use dht::certificate::Vote;
use dht::committee::Committee;
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::directory::{Basis, Directory};
use dht::epoch;
use dht::network::NetworkParams;
use dht::vrf::VrfSecret;
use ed25519_dalek::SigningKey;
use mix::MixSecret;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use storage::backend::memory::MemoryBackend;
use storage::vault::Vault;

use super::*;
use crate::core::identity::Identity;
use crate::core::people::Talk;
use crate::core::{Core, CoreConfig};
use crate::session::conversation::{Conversation, ConversationParams};
use crate::session::hello::tests::{NOW, answer, greet, party};
use crate::sim::disk::SimDisk;
use crate::view::{AlarmState, Event};

const WITNESSES: u8 = 7;
const AT: Moment = Moment::from_millis(NOW);

fn params() -> Arc<NetworkParams> {
    Arc::new(NetworkParams {
        // In epoch 3 now.
        genesis_ms: NOW - 3 * NetworkParams::local().epoch_ms,
        ..NetworkParams::local()
    })
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

fn records(params: &NetworkParams, number: u8, epoch: u32) -> (Descriptor, Beat) {
    let (network, key) = (params.id(), key(number));
    let from = epoch::start_of(params, epoch).as_millis();
    let descriptor = DescriptorFields {
        seq: 1,
        valid_from: from,
        valid_until: from + 24 * 3_600_000,
        capability: Capability::FULL,
        subnet: u32::from(number),
        vrf_key: VrfSecret::of_identity(&key).public().to_bytes(),
        admission: Vec::new(),
        addresses: Vec::new(),
    };
    let mut rng = ChaCha20Rng::from_seed([number; 32]);
    let beat = BeatFields {
        epoch,
        mix_key: MixSecret::random(&mut rng).public().to_bytes(),
        capability: Capability::FULL,
        load: 0,
        replay_root: [0; 16],
    };
    let descriptor = Descriptor::sign(&network, &key, descriptor).unwrap();
    (descriptor, Beat::sign(&network, &key, beat).unwrap())
}

/// Epoch `epoch` without the nodes in `lacks`, certified by the first that are there. The candidates are always all seven.
fn certified(epoch: u32, lacks: &[u8]) -> Certified {
    let params = params();
    let network = params.id();
    let set = |lacks: &[u8]| {
        let nodes = (0..WITNESSES).filter(|number| !lacks.contains(number));
        let records = nodes.map(|number| records(&params, number, epoch));
        Directory::build_on(&params, epoch, [9; 32], records, &Basis::default())
    };
    let (whole, directory) = (set(&[]), set(lacks));
    let candidates = Candidates::draw(&whole, epoch);
    let committee = Committee::of(&candidates, |short| directory.by_short(short).is_some());
    let root = directory.root();
    let said = (epoch, root, committee.presence());
    let votes: Vec<_> = (0..WITNESSES)
        .filter(|number| !lacks.contains(number))
        .map(|number| {
            let key = key(number);
            Vote::sign(
                &network,
                &key,
                &VrfSecret::of_identity(&key),
                &[9; 32],
                said,
            )
        })
        .collect();
    let certificate = Certificate::assemble(directory.header(), &committee, &votes).unwrap();
    certificate.verify(&network, &candidates).unwrap();
    Certified {
        epoch,
        root,
        certificate,
        candidates,
    }
}

/// What the one half and the other hold of epoch 3: made once.
fn halves() -> [Certified; 2] {
    static HALVES: OnceLock<[Certified; 2]> = OnceLock::new();
    HALVES
        .get_or_init(|| [certified(3, &[6]), certified(3, &[5])])
        .clone()
}

/// A node that never meets a mesh, in one conversation.
struct Half {
    core: Core<MemoryBackend>,
    disk: SimDisk,
    number: u8,
}

const TALK: [u8; 16] = [4; 16];
const CONTACT: ContactId = [5; 16];

impl Half {
    fn new(number: u8, conversation: Conversation) -> Self {
        let mut half = Self {
            core: open(&SimDisk::default(), number),
            disk: SimDisk::default(),
            number,
        };
        half.core
            .people
            .talks
            .insert(TALK, Talk::test(CONTACT, conversation));
        half.core.save_talk(&TALK);
        half
    }

    /// Everything written becomes durable; what was to be told then.
    fn settle(&mut self) -> Vec<Event> {
        while let Some(commit) = self.core.poll_commit() {
            self.disk.commit(&commit).unwrap();
            self.core.handle_durable(AT, commit.seq);
        }
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn restart(&mut self) {
        self.settle();
        self.core = open(&self.disk, self.number);
    }

    fn conversation(&mut self) -> &mut Conversation {
        &mut self.core.people.talks.get_mut(&TALK).unwrap().conversation
    }

    /// As at the begin of an epoch that is certified here, or isn't.
    fn enters(&mut self, epoch: u32, one: Option<Certified>) {
        if let Some(one) = one {
            self.core.learn_certified(AT, one);
        }
        self.core.say_root(epoch);
    }

    /// Takes all frames that `from` has for it.
    fn hears(&mut self, from: &mut Self) {
        from.conversation().hello_repeated();
        while let Some(frame) = from.conversation().next_frame(NOW + 1) {
            let events = self.conversation().handle_frame(NOW + 1, &frame.frame);
            self.core.take_conversation_events(AT, TALK, events);
        }
    }

    /// Proofs that the PKI has taken.
    fn faults(&self) -> u64 {
        self.core.pki.counters().faults
    }

    fn alarms(&self) -> Vec<crate::view::AlarmView> {
        self.core.alarms()
    }
}

fn open(disk: &SimDisk, number: u8) -> Core<MemoryBackend> {
    let mut rng = ChaCha20Rng::from_seed([number; 32]);
    let (backend, vault) = (disk.backend(), Vault::new([number; 32]));
    let identity = Identity::load_or_create(&backend, &vault, &mut rng).unwrap();
    let config = CoreConfig {
        params: NetworkParams::clone(&params()),
        profile: "balanced".to_owned(),
        rates: [1_000; 3],
        weight: 1,
        quota_bytes: 1 << 20,
    };
    let stored = disk.load_keys();
    Core::open(config, identity, backend, vault, stored, AT, rng).unwrap()
}

/// Two nodes that talk; the second one answered the hello.
fn pair(seed: u8) -> [Half; 2] {
    let (a, b) = (party(seed, None), party(seed + 1, None));
    let out = greet(&a, &b, seed);
    let back = answer(&b, &out).unwrap();
    let params = ConversationParams::default();
    let new = |secrets| Conversation::from_hello(secrets, params);
    [
        Half::new(1, new(out.secrets)),
        Half::new(2, new(back.secrets)),
    ]
}

fn told(events: &[Event]) -> Vec<AlarmState> {
    let alarm = |event: &Event| match event {
        Event::Alarm { alarm } => Some(alarm.state),
        _ => None,
    };
    events.iter().filter_map(alarm).collect()
}

#[test]
fn two_halves_raise_the_alarm_on_both_sides_with_proof() {
    let [mut a, mut b] = pair(20);
    let [ours, theirs] = halves();
    a.enters(3, Some(ours.clone()));
    b.enters(3, Some(theirs.clone()));
    a.hears(&mut b);
    assert_eq!(told(&a.settle()), [AlarmState::Claimed]);
    // Its answer carries the certificate; the other side proves it, and sends its own.
    b.hears(&mut a);
    assert_eq!(told(&b.settle()).last(), Some(&AlarmState::Proven));
    a.hears(&mut b);
    assert_eq!(told(&a.settle()), [AlarmState::Proven]);
    for (half, own, other) in [(&a, &ours, &theirs), (&b, &theirs, &ours)] {
        let [alarm] = &half.alarms()[..] else {
            panic!("one alarm");
        };
        assert_eq!((alarm.epoch, alarm.state), (3, AlarmState::Proven));
        assert_eq!(alarm.own_root, crate::core::records::hex(&own.root));
        let root = crate::core::records::hex(&other.root);
        assert_eq!(alarm.their_root.as_ref(), Some(&root));
        let bytes = crate::core::records::hex(&other.certificate.encode());
        assert_eq!(alarm.their_certificate.as_ref(), Some(&bytes));
        // Everyone but the two who were left out somewhere; each certificate has five of its six.
        let signed = Fault::of_certificates(&own.certificate, &other.certificate, &own.candidates);
        assert_eq!(signed.len(), alarm.double_signers);
        assert!(signed.len() >= 2 * 5 - 7, "{} signed both", signed.len());
        assert!(signed.iter().all(|fault| fault.verify(&params()).is_ok()));
        assert_eq!(half.faults(), signed.len() as u64);
        assert!(alarm.what().contains("signed both"), "{}", alarm.what());
    }
    // What goes on being said raises no second alarm.
    for _ in 0..3 {
        a.hears(&mut b);
        b.hears(&mut a);
    }
    assert_eq!((told(&a.settle()), told(&b.settle())), (vec![], vec![]));
}

#[test]
fn alarms_and_evidence_survive_a_restart_until_they_are_seen() {
    let [mut a, mut b] = pair(24);
    let [ours, theirs] = halves();
    a.enters(3, Some(ours));
    b.enters(3, Some(theirs));
    a.hears(&mut b);
    a.settle();
    a.restart();
    let before = a.alarms();
    assert_eq!((before.len(), before[0].seen), (1, false));
    assert_eq!(a.core.open_alarms(), 1);
    // The certified epoch is known, too: the proof still comes through, and the certificate that was on its way.
    b.hears(&mut a);
    a.hears(&mut b);
    assert_eq!(told(&a.settle()), [AlarmState::Proven]);
    assert_eq!(b.alarms()[0].state, AlarmState::Proven);
    a.core.alarm_seen(&before[0].id).unwrap();
    a.restart();
    assert_eq!((a.core.open_alarms(), a.alarms().len()), (0, 1));
    assert!(a.core.alarm_seen("nothing-1").is_err());
}

#[test]
fn honest_differences_raise_none() {
    let [mut a, mut b] = pair(28);
    let [ours, theirs] = halves();
    let talk = |a: &mut Half, b: &mut Half| {
        a.hears(b);
        b.hears(a);
        assert_eq!((told(&a.settle()), told(&b.settle())), (vec![], vec![]));
    };
    // Nobody certified anything; then one side alone; then both the same.
    a.enters(3, None);
    b.enters(3, None);
    talk(&mut a, &mut b);
    a.enters(3, Some(ours.clone()));
    talk(&mut a, &mut b);
    b.enters(3, Some(ours.clone()));
    talk(&mut a, &mut b);
    // One is an epoch ahead, certified or not; and one comes back to an epoch that the other has forgotten.
    a.enters(4, Some(certified(4, &[])));
    talk(&mut a, &mut b);
    a.enters(5, None);
    talk(&mut a, &mut b);
    let [mut c, mut d] = pair(32);
    d.enters(3, Some(theirs));
    for epoch in 4..=12 {
        c.enters(epoch, Some(certified(epoch, &[])));
    }
    c.hears(&mut d);
    assert_eq!(told(&c.settle()), []);
    assert_eq!(c.core.split.known.len(), MAX_ROOTS);
}

#[test]
fn a_lying_contact_is_counted_and_capped() {
    let [mut a, mut b] = pair(36);
    for epoch in 0..8 {
        a.enters(epoch, Some(certified(epoch, &[])));
    }
    // Roots made up for every epoch that can be compared.
    for epoch in 0..8 {
        b.conversation().set_root(epoch, Some([epoch as u8; 32]));
        a.hears(&mut b);
    }
    assert_eq!(told(&a.settle()).len(), MAX_ALARMS_EACH);
    assert!(a.core.split.heard.capped >= 4, "{:?}", a.core.split.heard);
    // Notes that are nothing, of another network, of our own root, of an unknown epoch.
    let own = certified(0, &[]);
    let mut foreign = certified(0, &[6]).certificate.encode();
    foreign[1 + 12] ^= 1;
    let notes = [
        Vec::new(),
        vec![NOTE_CERTIFICATE],
        vec![7; 6_000],
        [&[NOTE_CERTIFICATE], &foreign[..]].concat(),
        note_of(&own.certificate),
        // Its frames stood for another root than this.
        note_of(&certified(0, &[6]).certificate),
    ];
    for (count, note) in (1..).zip(&notes) {
        a.core.hear_note(AT, TALK, note);
        assert_eq!(a.core.split.heard.bad_notes, count);
    }
    a.core
        .hear_note(AT, TALK, &note_of(&certified(99, &[]).certificate));
    assert_eq!(a.core.split.heard.unknown_epochs, 1);
    // A certificate for a fifth epoch finds no room; one with a broken signature proves nothing, once.
    a.core
        .hear_note(AT, TALK, &note_of(&certified(7, &[6]).certificate));
    assert_eq!(told(&a.settle()), []);
    let [mut c, _] = pair(40);
    c.enters(3, Some(halves()[0].clone()));
    let mut bytes = note_of(&halves()[1].certificate);
    *bytes.last_mut().unwrap() ^= 1;
    c.core.hear_note(AT, TALK, &bytes);
    c.core.hear_note(AT, TALK, &bytes);
    assert_eq!(told(&c.settle()), [AlarmState::Unproven]);
    assert_eq!((c.faults(), c.core.split.heard.bad_notes), (0, 1));
}

#[test]
fn a_second_present_is_our_own_alarm() {
    let [mut a, _] = pair(44);
    let [first, second] = halves();
    a.enters(3, Some(first.clone()));
    let mut id = [1; 16];
    a.core.sign_loop(3, &mut id);
    assert!(a.core.loop_agrees(3, &id));
    // Over a restart as well: who feeds us another present has to get past what is on disk.
    a.restart();
    a.enters(3, Some(second.clone()));
    assert!(!a.core.loop_agrees(3, &id));
    a.enters(3, Some(second));
    let events = a.settle();
    assert_eq!(told(&events), [AlarmState::Proven]);
    let [alarm] = &a.alarms()[..] else {
        panic!("one alarm");
    };
    assert_eq!((alarm.with.as_ref(), alarm.epoch), (None, 3));
    assert_eq!(a.faults(), alarm.double_signers as u64);
    assert_eq!(a.core.split.root(3), Some(first.root));
    // A loop that left before anything was certified says nothing.
    let mut early = [2; 16];
    a.core.sign_loop(8, &mut early);
    a.enters(8, Some(certified(8, &[])));
    assert!(a.core.loop_agrees(8, &early));
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let [own, other] = halves();
    let mut alarm = Alarm::new(CONTACT, AT, &own);
    let again = Alarm::from_bytes(&alarm.to_bytes()).unwrap();
    assert_eq!(again.view(String::new()), alarm.view(String::new()));
    alarm.check = Some([1; 8]);
    alarm.answer(State::Proven, &other.certificate);
    let again = Alarm::from_bytes(&alarm.to_bytes()).unwrap();
    assert_eq!(again.view(String::new()), alarm.view(String::new()));
    assert!(Alarm::from_bytes(b"damaged").is_none());
    let read = Certified::from_bytes(&params().id(), &own.to_bytes()).unwrap();
    assert_eq!((read.epoch, read.root), (own.epoch, own.root));
    assert_eq!(read.candidates, own.candidates);
    assert!(Certified::from_bytes(&params().id(), &own.to_bytes()[..99]).is_none());
}
