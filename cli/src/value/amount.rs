//! Counts, ranges, indexes and exit codes as HPC Pack writes them.

use proto::model::job::{OrderBy, OrderKey, Span};
use proto::model::sweep::Sweep;
use proto::model::task::ExitCodes;

use super::ValueError;

/// The most nodes, sockets or cores of one request.
const MOST_UNITS: u64 = 1_000_000;

/// The most MiB of a node: 1 PiB.
const MOST_MEMORY: u64 = 1 << 30;

/// How many units: at least, and at most when that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    /// At least 1.
    pub(crate) least: u32,
    /// More than the least.
    pub(crate) most: Option<u32>,
}

/// How many nodes, sockets or cores: `4` or `4-8`.
pub(crate) fn amount(text: &str) -> Result<Amount, ValueError> {
    let (least, most) = range(text, 1, MOST_UNITS, plain)?;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Amount {
        least: small(least),
        most: most.filter(|most| *most > least).map(small),
    })
}

/// Cores of a node: `8` for at least so many, or `8-16`.
pub(crate) fn cores_span(text: &str) -> Result<Span<u32>, ValueError> {
    let (least, most) = range(text, 1, 65_536, plain)?;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Span {
        min: Some(small(least)),
        max: most.map(small),
    })
}

/// Memory of a node in MiB: `4000` for at least so much, `4G`, `4G-64G`.
pub(crate) fn memory_span(text: &str) -> Result<Span<u64>, ValueError> {
    let (least, most) = range(text, 1, MOST_MEMORY, mebibytes)?;
    Ok(Span {
        min: Some(least),
        max: most,
    })
}

/// Memory in MiB: `4000`, `4G`.
pub(crate) fn memory(text: &str) -> Result<u64, ValueError> {
    let read = mebibytes(text).filter(|mib| (1..=MOST_MEMORY).contains(mib));
    read.ok_or(ValueError::Memory { most: MOST_MEMORY })
}

fn range(
    text: &str,
    least: u64,
    most: u64,
    read: impl Fn(&str) -> Option<u64>,
) -> Result<(u64, Option<u64>), ValueError> {
    if text.split('-').any(|end| end == "*") {
        return Err(ValueError::Star);
    }
    let refused = ValueError::Amount { least, most };
    let end = |text: &str| read(text).filter(|number| (least..=most).contains(number));
    let Some((first, last)) = text.split_once('-') else {
        return end(text).map(|number| (number, None)).ok_or(refused);
    };
    match (end(first), end(last)) {
        (Some(first), Some(last)) if last < first => Err(ValueError::Backwards { first, last }),
        (Some(first), Some(last)) => Ok((first, Some(last))),
        _ => Err(refused),
    }
}

fn plain(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn mebibytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        "t" | "tb" | "tib" => 1024 * 1024,
        _ => return None,
    };
    plain(number)?.checked_mul(factor)
}

/// The index of a sweep: `1-100`, `1-100:5`; `100` is 1 to 100.
pub(crate) fn sweep(text: &str) -> Result<Sweep, ValueError> {
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| ValueError::Sweep);
    let (bounds, increment) = match text.split_once(':') {
        Some((bounds, increment)) => (bounds, number(increment)?),
        None => (text, 1),
    };
    let (first, last) = match bounds.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (1, number(bounds)?),
    };
    Ok(Sweep::new(first, last, increment)?)
}

/// Exit codes that count as success: `0,5..9`, also `5-9`.
pub(crate) fn exit_codes(text: &str) -> Result<ExitCodes, ValueError> {
    let code = |text: &str| text.trim().parse::<i32>().map_err(|_| ValueError::ExitCodes);
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        // The first sign of a part may be a minus.
        let dash = part.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
        ranges.push(match (part.split_once(".."), dash) {
            (Some((first, last)), _) => (code(first)?, code(last)?),
            (None, Some(at)) => (code(&part[..at])?, code(&part[at + 1..])?),
            (None, None) => (code(part)?, code(part)?),
        });
    }
    Ok(ExitCodes::new(ranges)?)
}

/// By what nodes are preferred: `cores,-memory`.
pub(crate) fn order_by(text: &str) -> Result<Vec<OrderBy>, ValueError> {
    let key = |part: &str| {
        let part = part.trim();
        let (name, more_first) = part.strip_prefix('-').map_or((part, true), |name| (name, false));
        let by = match name.to_ascii_lowercase().as_str() {
            "cores" => OrderKey::Cores,
            "memory" => OrderKey::Memory,
            _ => return Err(ValueError::OrderBy),
        };
        Ok(OrderBy { by, more_first })
    };
    text.split(',').map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(amount("4"), Ok(Amount { least: 4, most: None }));
        assert_eq!(
            amount("4-8"),
            Ok(Amount {
                least: 4,
                most: Some(8)
            })
        );
        assert_eq!(amount("4-4"), Ok(Amount { least: 4, most: None }));
        for star in ["2-*", "*-4", "*", "*-*"] {
            assert_eq!(amount(star), Err(ValueError::Star), "{star}");
        }
        assert_eq!(
            amount("8-2").unwrap_err().to_string(),
            "its end is before its start; write 2-8"
        );
        for wrong in ["0", "-4", "four", "4x", "", "99999999999", "4-", "1-2-3", "+4"] {
            let refused = ValueError::Amount {
                least: 1,
                most: 1_000_000,
            };
            assert_eq!(amount(wrong), Err(refused), "{wrong}");
        }
    }

    #[test]
    fn sizes_of_nodes() {
        let span = |min, max| Ok(Span { min: Some(min), max });
        assert_eq!(memory_span("4000"), span(4000, None));
        assert_eq!(memory_span("4G-1T"), span(4096, Some(1 << 20)));
        assert!(memory_span("4X").is_err() && memory_span("99999999999T").is_err());
        assert_eq!(
            cores_span("8-16"),
            Ok(Span {
                min: Some(8),
                max: Some(16)
            })
        );
    }

    #[test]
    fn indexes_of_sweeps() {
        let shown = |text| sweep(text).map(|sweep| sweep.to_string());
        assert_eq!(shown("1-100"), Ok("1-100".to_owned()));
        assert_eq!(shown("0-100:5"), Ok("0-100:5".to_owned()));
        assert_eq!(shown("10"), Ok("1-10".to_owned()));
        for wrong in ["", "a-b", "1-", "-3", "1-2-3", "1:2:3", "1.5"] {
            assert_eq!(shown(wrong), Err(ValueError::Sweep), "{wrong}");
        }
        assert!(shown("5-1").unwrap_err().to_string().contains("no step"));
        assert_eq!(shown("1-10000000"), Ok("1-10000000".to_owned()));
        assert!(shown("0-10000000").unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn codes_and_orders() {
        let codes = |text| exit_codes(text).map(|codes| codes.to_string());
        assert_eq!(codes("0,5..9"), Ok("0,5..9".to_owned()));
        assert_eq!(codes("5-9, 12"), Ok("5..9,12".to_owned()));
        assert_eq!(codes("-3--1"), Ok("-3..-1".to_owned()));
        assert!(codes("").is_err() && codes("9..5").is_err() && codes("x").is_err());
        let keys = order_by("cores,-Memory").expect("keys");
        assert_eq!((keys[0].more_first, keys[1].more_first), (true, false));
        assert!(order_by("speed").is_err() && order_by("").is_err());
    }
}
