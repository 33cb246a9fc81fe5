//! A kill between commits, in a process of its own: all that was acknowledged is there afterwards.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

const CHILD: &str = "MURMURATION_STORAGE_CHILD";

/// Not a test by itself: the process that is killed. It writes for ever and says each number once it is durable.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let store = DiskBackend::open(dir).unwrap();
    for n in 0u32.. {
        let mut batch = Batch::default();
        // Two spaces a batch: both or none.
        batch.put(Space::State, n.to_be_bytes(), n.to_le_bytes().repeat(300));
        batch.put(
            Space::Bucket(n / 50),
            n.to_be_bytes(),
            n.to_le_bytes().repeat(300),
        );
        if n % 50 == 49 && n > 100 {
            batch.drop_bucket(n / 50 - 2);
        }
        store.commit(&batch).unwrap();
        #[allow(clippy::print_stdout)]
        {
            println!("durable {n}");
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 1..=4u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "backend::disk::tests::kill::child",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = None;
        while said.is_none_or(|n| n < 90 * round) {
            let line = lines.next().expect("the child ended by itself").unwrap();
            said = line
                .rsplit_once("durable ")
                .map(|(_, n)| n.parse::<u32>().unwrap())
                .or(said);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said in the meantime counts too.
        let more = lines
            .map_while(Result::ok)
            .filter_map(|l| l.rsplit_once("durable ").map(|(_, n)| n.parse::<u32>()));
        last = more.last().and_then(Result::ok).or(said).max(last);

        let store = DiskBackend::open(dir.path()).unwrap();
        let last = last.unwrap();
        let in_state = |n: u32| store.get(Space::State, &n.to_be_bytes()).unwrap();
        for n in 0..=last {
            assert_eq!(
                in_state(n).expect("acknowledged"),
                n.to_le_bytes().repeat(300),
                "{n} of {last}"
            );
        }
        // A prefix: at most the batch that was on its way has come on top, and then whole.
        let next = in_state(last + 1);
        let beside = store
            .get(Space::Bucket((last + 1) / 50), &(last + 1).to_be_bytes())
            .unwrap();
        assert_eq!(next.is_some(), beside.is_some());
        for bucket in store.buckets().unwrap() {
            store
                .scan(Space::Bucket(bucket), &[], &mut |key, value| {
                    assert_eq!(
                        value,
                        u32::from_be_bytes(key.try_into().unwrap())
                            .to_le_bytes()
                            .repeat(300)
                    );
                })
                .unwrap();
        }
    }
}
