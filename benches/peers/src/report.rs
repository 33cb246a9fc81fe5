//! The figures for people and for programs.

use crate::clock::{Figure, Measured};
use crate::ours;
use crate::scaling::Scaling;

/// One line a figure: who, what, how much.
pub fn table(results: &[Measured], unit: f64, rounds: usize) {
    println!(
        "U = one X25519 multiplication = {unit:.1} µs of CPU time; medians of {rounds} rounds"
    );
    let mut by = "";
    for measured in results {
        let Figure {
            by: who,
            op,
            payload,
            hops,
            ..
        } = measured.figure;
        if by != who {
            by = who;
            println!(
                "\n{who:<40} {:>8}  {:^15} {:>9} {:>9}",
                "U", "quartiles", "µs", "a second"
            );
        }
        let [low, median, high] = measured.units;
        println!(
            "  {:<38} {median:>8.4}  {low:>7.4}–{high:<7.4} {:>9.2} {:>9.0}",
            format!("{op}{}", conditions(&measured.figure, payload, hops)),
            measured.micros,
            1e6 / measured.micros,
        );
    }
}

fn conditions(figure: &Figure, payload: usize, hops: usize) -> String {
    let mut text = String::new();
    if payload > 0 {
        text += &format!(", {payload} B");
    }
    if hops > 0 {
        text += &format!(", {hops} hops");
    }
    if figure.batch > 1 {
        text += &format!(", {} at once", figure.batch);
    }
    if figure.tabled {
        text += ", tabled";
    }
    text
}

/// How many times our cost each peer's is, for what both do.
pub fn ratios(results: &[Measured]) {
    let peers = results
        .iter()
        .filter(|one| one.figure.by != ours::BY && one.figure.hops > 0);
    let lines: Vec<String> = peers
        .filter_map(|peer| {
            let figure = peer.figure;
            // A hop costs the same wherever on the path it is.
            let alike = |one: &&Measured| {
                one.figure.by == ours::BY
                    && one.figure.op == figure.op
                    && (one.figure.hops == figure.hops || figure.op == ours::HOP.op)
            };
            let times: Vec<String> = results
                .iter()
                .filter(alike)
                .map(|own| {
                    let mut label = String::new();
                    if own.figure.batch > 1 {
                        label = format!(" ({} at once)", own.figure.batch);
                    }
                    if own.figure.tabled {
                        label = " (tabled)".into();
                    }
                    format!("{:.2}{label}", peer.units[1] / own.units[1])
                })
                .collect();
            let what = format!(
                "{} {}{}",
                figure.by,
                figure.op,
                conditions(&figure, figure.payload, figure.hops)
            );
            (!times.is_empty()).then(|| format!("  {what:<50} {}", times.join(", ")))
        })
        .collect();
    if !lines.is_empty() {
        println!("\nhow many times ours\n{}", lines.join("\n"));
    }
}

pub fn threads(scaling: &Scaling) {
    println!(
        "\npeel in batches: {:.0} packets a second by one thread, {:.0} by {} = {:.2} times ({:.2} by CPU time)",
        scaling.one, scaling.all, scaling.threads, scaling.times, scaling.times_cpu
    );
}

/// One object a line. Nothing in it needs escaping: names are ours, numbers are finite.
pub fn json(results: &[Measured], scaling: Option<&Scaling>) {
    for measured in results {
        let Figure {
            by,
            op,
            payload,
            hops,
            batch,
            tabled,
        } = measured.figure;
        let tabled = if tabled { r#","tabled":true"# } else { "" };
        println!(
            r#"{{"impl":"{by}","op":"{op}","payload":{payload},"hops":{hops},"batch":{batch},"u":{:.5},"us":{:.4}{tabled}}}"#,
            measured.units[1], measured.micros
        );
    }
    if let Some(scaling) = scaling {
        println!(
            r#"{{"impl":"{}","op":"scaling","threads":{},"one_per_s":{:.0},"all_per_s":{:.0},"times":{:.4},"times_cpu":{:.4}}}"#,
            ours::BY,
            scaling.threads,
            scaling.one,
            scaling.all,
            scaling.times,
            scaling.times_cpu
        );
    }
}
