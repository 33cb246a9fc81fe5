//! One seed, one run: bit for bit, restarts included.

use mix::time::Span;
use node::sim::metrics::Metrics;
use node::view::CounterView;

use super::{greet, mesh};

struct Run {
    digest: String,
    metrics: Metrics,
    counters: Vec<CounterView>,
    latencies: Vec<Option<u64>>,
}

fn run(seed: u64) -> Run {
    let mut world = mesh(seed, 10);
    greet(&mut world, &[(0, 1), (2, 3)]);
    let mut letters = vec![
        world.send(0, 1, "one").unwrap(),
        world.send(2, 3, "two").unwrap(),
    ];
    world.run_for(Span::from_secs(1));
    world.kill(9);
    letters.push(world.send(0, 1, "three").unwrap());
    world.run_for(Span::from_secs(2));
    world.start(9).unwrap();
    world.run_for(Span::from_secs(12));
    Run {
        digest: world.digest(),
        metrics: world.metrics().clone(),
        counters: (0..world.len())
            .map(|index| world.counters(index))
            .collect(),
        latencies: letters
            .iter()
            .map(|letter| world.latency_ms(letter))
            .collect(),
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let [one, again, other] = std::thread::scope(|scope| {
        [1, 1, 2]
            .map(|seed| scope.spawn(move || run(seed)))
            .map(|run| run.join().unwrap())
    });
    assert_eq!(one.digest, again.digest);
    assert_eq!(one.metrics, again.metrics);
    assert_eq!(one.counters, again.counters);
    assert_eq!(one.latencies, again.latencies);
    assert_ne!(one.digest, other.digest);
    assert_ne!(one.metrics, other.metrics);
    assert!(
        one.metrics.packets > 1_000,
        "the run was too quiet to mean anything"
    );
}
