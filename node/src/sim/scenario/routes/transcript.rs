//! What the wire shows of routes: the same world is run several times, and only the routes are drawn otherwise. If the lookups and
//! dials of all runs are the same to the microsecond, they can't tell anything about the routes.

use mix::time::{Moment, Span};

use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::world::{World, WorldConfig};

/// More than the 32 of which everyone is on duty: flocks change, and links with them.
const NODES: usize = 36;
/// Two epochs and a half of the demo's network.
const LASTS: Span = Span::from_secs(50);
/// The runs: the routes of each are drawn from dice of their own; in the last one people also write.
const RUNS: u64 = 3;

pub(super) struct Seen {
    pub(super) runs: u64,
    pub(super) lookups: u64,
    pub(super) dials: u64,
    pub(super) lookups_differ: u64,
    pub(super) dials_differ: u64,
    /// Lookups of anything but heads and pages of a whole directory.
    pub(super) strange: u64,
    /// Runs whose packets went other ways than those of the first.
    pub(super) other_routes: u64,
}

type Asked = Vec<(Moment, usize, [u8; 32])>;
type Dialled = Vec<(Moment, usize, usize)>;

struct Run {
    asked: Asked,
    dialled: Dialled,
    strange: u64,
    digest: String,
}

pub(super) fn compare(seed: u64, progress: &Progress) -> Result<Seen, Error> {
    progress.stage("runs", usize::try_from(RUNS).unwrap_or(0));
    let first = run(seed, 0)?;
    progress.step();
    let mut seen = Seen {
        runs: RUNS,
        lookups: first.asked.len() as u64,
        dials: first.dialled.len() as u64,
        lookups_differ: 0,
        dials_differ: 0,
        strange: first.strange,
        other_routes: 0,
    };
    for dice in 1..RUNS {
        let other = run(seed, dice)?;
        progress.step();
        seen.lookups_differ += differ(&first.asked, &other.asked);
        seen.dials_differ += differ(&first.dialled, &other.dialled);
        seen.strange += other.strange;
        seen.other_routes += u64::from(other.digest != first.digest);
    }
    Ok(seen)
}

/// Places at which two transcripts differ.
fn differ<T: PartialEq>(one: &[T], other: &[T]) -> u64 {
    let changed = one
        .iter()
        .zip(other)
        .filter(|(one, other)| one != other)
        .count();
    (changed + one.len().abs_diff(other.len())) as u64
}

fn run(seed: u64, dice: u64) -> Result<Run, Error> {
    let mut config = WorldConfig::demo(seed, NODES);
    config.route_dice = dice;
    // A disk that is busy with messages makes a beat wait; that is a matter of disks, not of routes.
    config.sync = Span::ZERO;
    let mut world = World::new(config);
    world.start_all(Span::from_millis(100))?;
    if dice + 1 == RUNS {
        for from in 0..8 {
            world.add_contact(from, from + 8)?;
            world.send(from, from + 8, "is anybody looking?")?;
        }
    }
    world.run_for(LASTS);
    Ok(Run {
        strange: world.strange_lookups(),
        asked: world.asked().to_vec(),
        dialled: world.dialled().to_vec(),
        digest: world.digest(),
    })
}
