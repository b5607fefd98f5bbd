//! Moments as people write them: `+2h`, `18:30`, `2026-12-01 08:00`. Read in the zone of the caller, never of the head node.

use proto::units::{Millis, Timestamp};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::{ValueError, span};
use crate::render::Zone;

/// What a moment is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This moment.
    pub now: Timestamp,
    /// Where a time of the day is meant.
    pub zone: Zone,
}

/// A moment to come; none for `now`. A number alone is minutes from now, as HPC Pack has it; a time of the day that is
/// over today is tomorrow's.
pub(crate) fn moment_after(text: &str, clock: Clock) -> Result<Option<Timestamp>, ValueError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(None);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        let minutes: u64 = text.parse().map_err(|_| ValueError::Moment)?;
        let ahead = span(&format!("{minutes}m"))?;
        return Ok(Some(clock.now + ahead));
    }
    if let Some(ahead) = text.strip_prefix('+') {
        let ahead = span(ahead).map_err(|error| match error {
            ValueError::Span => ValueError::Moment,
            other => other,
        })?;
        return Ok(Some(clock.now + ahead));
    }
    if let Some(time) = time_of(text) {
        let today = clock.at(clock.today(), time);
        let day_later = || clock.today().next_day().map(|date| clock.at(date, time));
        return Ok(Some(if today > clock.now {
            today
        } else {
            day_later().unwrap_or(today)
        }));
    }
    match date_and_time(text).map(|(date, time)| clock.at(date, time)) {
        Some(at) if at > clock.now => Ok(Some(at)),
        Some(_) => Err(ValueError::Over),
        None => Err(ValueError::Moment),
    }
}

/// A moment that was.
pub(crate) fn moment_before(text: &str, clock: Clock) -> Result<Timestamp, ValueError> {
    let text = text.trim();
    if let Ok(Millis(ago)) = span(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(Timestamp(clock.now.0.saturating_sub(ago)));
    }
    if let Some(time) = time_of(text) {
        return Ok(clock.at(clock.today(), time));
    }
    let today = clock.today();
    let day = match text.to_ascii_lowercase().as_str() {
        "today" => Some(today),
        "yesterday" => today.previous_day(),
        _ => None,
    };
    if let Some(day) = day {
        return Ok(clock.at(day, Time::MIDNIGHT));
    }
    let (date, time) = date_and_time(text).ok_or(ValueError::Past)?;
    Ok(clock.at(date, time))
}

impl Clock {
    fn offset(self, at: OffsetDateTime) -> UtcOffset {
        match self.zone {
            Zone::Local => UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC),
            Zone::Fixed(offset) => offset,
        }
    }

    fn today(self) -> Date {
        let seconds = i64::try_from(self.now.0 / 1000).unwrap_or(i64::MAX);
        let utc = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        utc.to_offset(self.offset(utc)).date()
    }

    /// Where a clock on the wall shows this. In the hour that is left out in spring it is the hour after.
    fn at(self, date: Date, time: Time) -> Timestamp {
        let wall = PrimitiveDateTime::new(date, time).assume_utc();
        let first = wall - distance(self.offset(wall));
        let at = wall - distance(self.offset(first));
        Timestamp(u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
    }
}

/// How far a zone is from UTC.
fn distance(offset: UtcOffset) -> time::Duration {
    time::Duration::seconds(i64::from(offset.whole_seconds()))
}

/// `18:30`, `18:30:15`
fn time_of(text: &str) -> Option<Time> {
    let parts: Vec<u8> = text.split(':').map(two_digits).collect::<Option<_>>()?;
    match parts.as_slice() {
        [hour, minute] => Time::from_hms(*hour, *minute, 0).ok(),
        [hour, minute, second] => Time::from_hms(*hour, *minute, *second).ok(),
        _ => None,
    }
}

fn two_digits(text: &str) -> Option<u8> {
    let fits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `2026-12-01`, `2026-12-01 08:00`, `2026-12-01T08:00:00`
fn date_and_time(text: &str) -> Option<(Date, Time)> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-');
    let year: i32 = parts.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let month = Month::try_from(two_digits(parts.next()?)?).ok()?;
    let day = two_digits(parts.next()?)?;
    Some((Date::from_calendar_date(year, month, day).ok()?, time_of(time.trim())?))
}

#[cfg(test)]
mod tests {
    use time::macros::offset;

    use super::*;

    /// 2026-11-21 14:00:00 in UTC.
    const CLOCK: Clock = Clock {
        now: Timestamp(1_795_269_600_000),
        zone: Zone::Fixed(offset!(+1)),
    };

    fn minutes_ahead(text: &str) -> Result<Option<u64>, ValueError> {
        moment_after(text, CLOCK).map(|at| at.map(|at| at.since(CLOCK.now).0 / 60_000))
    }

    #[test]
    fn moments_to_come() {
        assert_eq!(minutes_ahead("now"), Ok(None));
        assert_eq!(minutes_ahead("90"), Ok(Some(90)));
        assert_eq!(minutes_ahead("+2h"), Ok(Some(120)));
        assert_eq!(minutes_ahead("18:30"), Ok(Some(3 * 60 + 30)));
        assert_eq!(minutes_ahead("14:00"), Ok(Some(23 * 60)));
        assert_eq!(minutes_ahead("2026-11-22"), Ok(Some(9 * 60)));
        assert_eq!(minutes_ahead("2026-11-21 15:01:00"), Ok(Some(1)));
        assert_eq!(minutes_ahead("2026-11-21T16:00"), Ok(Some(60)));
        assert_eq!(minutes_ahead("2026-11-21 14:59"), Err(ValueError::Over));
        for wrong in ["", "soon", "25:00", "2026-13-01", "12/1/2026", "+", "1:2:3:4", "+2y"] {
            assert_eq!(minutes_ahead(wrong), Err(ValueError::Moment), "{wrong}");
        }
    }

    #[test]
    fn moments_that_were() {
        let ago = |text| moment_before(text, CLOCK).map(|at| CLOCK.now.since(at).0 / 60_000);
        assert_eq!(ago("-2h"), Ok(120));
        assert_eq!(ago("-1d"), Ok(1440));
        assert_eq!(ago("2h"), Ok(120));
        assert_eq!(ago("08:00"), Ok(7 * 60));
        assert_eq!(ago("today"), Ok(15 * 60));
        assert_eq!(ago("Yesterday"), Ok(39 * 60));
        assert_eq!(ago("2026-11-20"), Ok(39 * 60));
        for wrong in ["", "tomorrow", "2", "-"] {
            assert_eq!(ago(wrong), Err(ValueError::Past), "{wrong}");
        }
    }
}
