//! Times as people write them: `500ms`, `60s`, `5m`, `2h`, `7d`; a bare number is seconds.

use std::time::Duration;

/// The longest deadline, a year: beyond it is a slip of the finger.
const MAX_MS: u64 = 365 * 24 * 3_600 * 1_000;

pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write it as 500ms, 60s, 5m, 2h or 7d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write it as 500ms, 60s, 5m, 2h or 7d".to_owned())?;
    match number.checked_mul(scale) {
        Some(0) => Err("it must be more than nothing".to_owned()),
        Some(milliseconds) if milliseconds <= MAX_MS => Ok(Duration::from_millis(milliseconds)),
        _ => Err("it must be at most a year, 365d".to_owned()),
    }
}

/// A moment in UTC, to the second: `2026-11-22 14:05:09`.
pub(super) fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Days since 1970 to the Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms"): years start in March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn times_are_read_as_written() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("60s", 60_000),
            ("60", 60_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "0s",
            "1y",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615d",
            "366d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_gregorian() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399_999), "2000-02-28 23:59:59");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_305_909_000), "2026-11-22 00:05:09");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00");
    }
}
