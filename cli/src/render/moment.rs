//! Moments as people read them: local time, `2026-11-21 14:03:07`.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::units::Timestamp;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// Where times are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Where this machine is; UTC, marked by a Z, when that cannot be known.
    Local,
    /// At a fixed distance, for tests.
    Fixed(UtcOffset),
}

/// This moment.
pub(crate) fn now() -> Timestamp {
    // A clock before 1970 shows ages as nothing.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment in a zone.
pub(super) fn show(at: Timestamp, zone: Zone) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let Ok(utc) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return "?".to_owned();
    };
    let offset = match zone {
        Zone::Local => UtcOffset::local_offset_at(utc).ok(),
        Zone::Fixed(offset) => Some(offset),
    };
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let local = utc.to_offset(offset.unwrap_or(UtcOffset::UTC));
    let text = local.format(form).unwrap_or_else(|_| "?".to_owned());
    if offset.is_some() { text } else { text + "Z" }
}

#[cfg(test)]
mod tests {
    use time::macros::offset;

    use super::*;

    #[test]
    fn moments() {
        let at = Timestamp(1_795_269_787_123);
        assert_eq!(show(at, Zone::Fixed(UtcOffset::UTC)), "2026-11-21 14:03:07");
        assert_eq!(show(at, Zone::Fixed(offset!(+1))), "2026-11-21 15:03:07");
        assert_eq!(show(Timestamp(u64::MAX), Zone::Local), "?");
    }
}
