//! Random sequences of operations against a model that is as simple as can be: a few maps and no store.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A step of a sequence. Few keys and contents, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, content: u8, ttl: u64 },
    Del { key: u8 },
    Get { key: u8, wait: u32 },
    PutInbox { key: u8, content: u8 },
    DelInbox { key: u8, index: u16 },
    GetInbox { key: u8, index: u16, wait: u32 },
    PutPrekey { key: u8, content: u8, issued: u64 },
    GetPrekey { key: u8 },
    Stat { key: u8 },
    Commit,
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, content) = (0u8..3, 0u8..3);
    prop_oneof![
        (key.clone(), content.clone(), 1u64..60).prop_map(|(key, content, ttl)| Step::Put {
            key,
            content,
            ttl
        }),
        key.clone().prop_map(|key| Step::Del { key }),
        (key.clone(), prop_oneof![Just(0), 1u32..20_000])
            .prop_map(|(key, wait)| Step::Get { key, wait }),
        (key.clone(), content.clone()).prop_map(|(key, content)| Step::PutInbox { key, content }),
        (key.clone(), 0u16..3).prop_map(|(key, index)| Step::DelInbox { key, index }),
        (key.clone(), 0u16..4, prop_oneof![Just(0), 1u32..20_000])
            .prop_map(|(key, index, wait)| Step::GetInbox { key, index, wait }),
        (key.clone(), content, 0u64..4).prop_map(|(key, content, issued)| Step::PutPrekey {
            key,
            content,
            issued
        }),
        key.clone().prop_map(|key| Step::GetPrekey { key }),
        key.prop_map(|key| Step::Stat { key }),
        Just(Step::Commit),
        (0u64..15_000).prop_map(Step::Pass),
        Just(Step::Restart),
    ]
}

/// A record of the model: when its bucket ends, its content, whether it was deleted.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    ends: u64,
    content: u8,
    issued: u64,
    deleted: bool,
}

type Name = (u8, u8, u16);

/// What must be true: `said` is durable, `meant` includes what is staged.
#[derive(Default)]
struct Model {
    said: BTreeMap<Name, Kept>,
    meant: BTreeMap<Name, Kept>,
    waiting: Vec<(u8, Name, u64)>,
    expected: Vec<(u8, Answer)>,
}

impl Model {
    fn commit(&mut self) {
        self.said = self.meant.clone();
        let (said, mut done) = (self.said.clone(), vec![]);
        self.waiting.retain(|(surb, name, _)| match said.get(name) {
            Some(kept) if !kept.deleted => {
                done.push((*surb, *name, kept.content));
                false
            }
            _ => true,
        });
        for (surb, name, content) in done {
            self.say(surb, name, Some(content));
        }
    }

    fn count(&self, key: u8) -> u16 {
        self.said
            .range((2, key, 0)..=(2, key, u16::MAX))
            .next_back()
            .map_or(0, |((.., index), _)| index + 1)
    }

    fn say(&mut self, surb: u8, name: Name, content: Option<u8>) {
        let answer = match (name.0, content) {
            (2, content) => entry(name.2, self.count(name.1), content),
            (_, Some(content)) => found(content),
            (_, None) => Answer::Empty,
        };
        self.expected.push((surb, answer));
    }

    fn get(&mut self, now: u64, surb: u8, name: Name, wait: u32) {
        match self.said.get(&name).cloned() {
            None if wait > 0 && !(name.0 == 2 && name.2 < self.count(name.1)) => {
                self.waiting.push((surb, name, now + u64::from(wait)));
            }
            kept => self.say(surb, name, kept.filter(|k| !k.deleted).map(|k| k.content)),
        }
    }

    fn pass(&mut self, now: u64) {
        let mut ended: Vec<_> = self
            .waiting
            .iter()
            .filter(|(.., until)| *until <= now)
            .copied()
            .collect();
        self.waiting.retain(|(.., until)| *until > now);
        ended.sort_by_key(|(.., until)| *until);
        for (surb, name, _) in ended {
            self.say(surb, name, None);
        }
        self.said.retain(|_, kept| kept.ends > now);
        self.meant.retain(|_, kept| kept.ends > now);
    }
}

fn bucket_end(expires: u64) -> u64 {
    expires.div_ceil(10_000) * 10_000
}

fn take(model: &mut Model, w: &mut World, surb: u8, step: &Step) {
    let now = w.now.0;
    let at = |ttl: u64| Millis(now).plus(ttl * SECOND);
    match *step {
        Step::Put { key, content, ttl } => {
            w.give(&put(key, content, at(ttl)));
            let ends = bucket_end(at(ttl).0);
            model.meant.entry((1, key, 0)).or_insert(Kept {
                ends,
                content,
                issued: 0,
                deleted: false,
            });
        }
        Step::Del { key } => {
            w.give(&del(key));
            if let Some(kept) = model.meant.get_mut(&(1, key, 0)) {
                kept.deleted = true;
            }
        }
        Step::Get { key, wait } => {
            w.give(&get(key, wait, surb));
            model.get(now, surb, (1, key, 0), wait);
        }
        Step::PutInbox { key, content } => {
            w.give(&put_inbox(key, content, at(30)));
            let entries = || model.meant.range((2, key, 0)..=(2, key, u16::MAX));
            if entries().all(|(_, kept)| kept.content != content) {
                let (next, front) = entries()
                    .next_back()
                    .map_or((0, 0), |((.., i), kept)| (i + 1, kept.ends));
                let ends = bucket_end(at(30).0).max(front);
                model.meant.insert(
                    (2, key, next),
                    Kept {
                        ends,
                        content,
                        issued: 0,
                        deleted: false,
                    },
                );
            }
        }
        Step::DelInbox { key, index } => {
            w.give(&Op::del_inbox(&SCOPE, &blinded(key), index, [surb; 16]));
            if let Some(kept) = model.meant.get_mut(&(2, key, index)) {
                kept.deleted = true;
            }
        }
        Step::GetInbox { key, index, wait } => {
            w.give(&get_inbox(key, index, wait, surb));
            model.get(now, surb, (2, key, index), wait);
        }
        Step::PutPrekey {
            key,
            content,
            issued,
        } => {
            w.give(&put_prekey(key, content, Millis(issued), at(20 + issued)));
            let new = Kept {
                ends: bucket_end(at(20 + issued).0),
                content,
                issued,
                deleted: false,
            };
            if model
                .meant
                .get(&(3, key, 0))
                .is_none_or(|old| old.issued < issued)
            {
                model.meant.insert((3, key, 0), new);
            }
        }
        Step::GetPrekey { key } => {
            w.give(&Op::get_prekey(5, blinded_public(key), surb_of(surb)));
            model.get(now, surb, (3, key, 0), 0);
        }
        Step::Stat { key } => {
            w.give(&Op::stat_box(5, id(key), surb_of(surb)));
            let held = model.said.get(&(1, key, 0));
            let held = held.map_or(Held::Absent, |kept| {
                if kept.deleted {
                    Held::Deleted
                } else {
                    Held::Held
                }
            });
            model.expected.push((surb, is(held)));
        }
        Step::Commit => {
            w.settle();
            model.commit();
        }
        Step::Pass(ms) => {
            w.now = w.now.plus(ms);
            w.boxes.handle_timeout(w.now);
            model.pass(w.now.0);
        }
        Step::Restart => {
            w.restart();
            w.boxes.handle_timeout(w.now);
            model.meant = model.said.clone();
            model.waiting.clear();
        }
    }
}

fn surb_of(n: u8) -> SurbBytes {
    surb(n)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_sequence_gives_the_answers_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let (mut w, mut model) = (World::with(MailboxConfig { waiters_per_id: 100, ..config() }), Model::default());
        for (number, step) in steps.iter().enumerate() {
            take(&mut model, &mut w, number as u8, step);
            // One deposit answers several fetches in the order of its batch; the model says which, not in which order.
            let (mut got, mut want) = (w.answers(), std::mem::take(&mut model.expected));
            got.sort_by_key(|(surb, _)| *surb);
            want.sort_by_key(|(surb, _)| *surb);
            prop_assert_eq!(got, want, "step {}: {:?}", number, step);
        }
        // Usage is what the records take, nothing drifts.
        w.settle();
        let before = w.boxes.usage();
        w.restart();
        prop_assert_eq!(w.boxes.usage().bytes, before.bytes);
        w.pass(1_000_000);
        prop_assert_eq!(w.boxes.usage().bytes, 0);
        prop_assert!(w.store.buckets().unwrap().is_empty());
    }

    #[test]
    fn random_bytes_never_panic(bodies in prop::collection::vec((any::<u8>(), any::<[u8; 32]>(), 0usize..1803), 1..40)) {
        let mut w = World::new();
        for (kind, seed, tail) in bodies {
            let mut body = [0u8; crate::BODY_LEN];
            blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut body);
            body[..2].copy_from_slice(&[1, kind % 12]);
            body[tail.max(2)..].fill(0);
            w.boxes.handle_op(w.now, &body);
            w.settle();
        }
        w.pass(100_000);
        prop_assert_eq!(w.boxes.usage().records, 0);
    }
}
