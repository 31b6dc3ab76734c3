//! Typed values as the text of the log: dates, timestamps and decimals.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// The day numbered 0.
const EPOCH: NaiveDate = DateTime::UNIX_EPOCH.naive_utc().date();

/// A timestamp as it stood in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParsedTimestamp {
    /// Microseconds since the epoch, rounded down; without a zone, as if it was UTC.
    pub(crate) us: i64,
    /// Whether a zone was given.
    pub(crate) zoned: bool,
    /// How many digits of a second were given.
    pub(crate) digits: usize,
}

/// Days since the epoch of `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let (date, rest) = date_prefix(text)?;
    rest.is_empty().then(|| days(date)).flatten()
}

/// `YYYY-MM-DD`; `None` for years that other readers cannot parse.
pub(crate) fn format_date(days: i32) -> Option<String> {
    let date = if days >= 0 {
        EPOCH.checked_add_days(Days::new(u64::from(days.unsigned_abs())))
    } else {
        EPOCH.checked_sub_days(Days::new(u64::from(days.unsigned_abs())))
    }?;
    (0..=9999).contains(&date.year()).then(|| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
}

/// `YYYY-MM-DD`, then optionally ` HH:MM[:SS[.fraction]]` (or with `T`), then optionally `Z` or an offset.
pub(crate) fn parse_timestamp(text: &str) -> Option<ParsedTimestamp> {
    let (date, rest) = date_prefix(text)?;
    let Some(rest) = rest.strip_prefix(['T', ' ']) else {
        return (rest.is_empty()).then(|| micros(date.and_time(NaiveTime::MIN))).flatten().map(|us| ParsedTimestamp {
            us,
            zoned: false,
            digits: 6,
        });
    };
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.trim_end().split_once('.').unwrap_or((clock.trim_end(), ""));
    let mut parts = clock.split(':').map(two_digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micro = format!("{fraction:0<6}")[..6].parse().ok()?;
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, micro)?;
    let offset_s = match zone {
        "" => None,
        "Z" | "z" => Some(0),
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
            if !matches!(digits.len(), 2 | 4) || zone[1..].len() > 5 {
                return None;
            }
            let hours = two_digits(&digits[..2])?;
            let minutes = if digits.len() == 4 { two_digits(&digits[2..])? } else { 0 };
            if hours > 18 || minutes > 59 {
                return None;
            }
            Some(sign * i64::from(hours * 3600 + minutes * 60))
        }
    };
    let local = micros(date.and_time(time))?;
    let us = local.checked_sub(offset_s.unwrap_or(0) * 1_000_000)?;
    Some(ParsedTimestamp { us, zoned: offset_s.is_some(), digits: fraction.len() })
}

/// `YYYY-MM-DDTHH:MM:SS.` and six digits, without zone; `None` for years that other readers cannot parse.
pub(crate) fn format_timestamp_us(us: i64) -> Option<String> {
    let (date, time) = split(us)?;
    Some(format!("{date}T{time}.{:06}", us.rem_euclid(1_000_000)))
}

/// `YYYY-MM-DD HH:MM:SS`, with six more digits when they are not all zero.
pub(crate) fn format_local_timestamp(us: i64) -> Option<String> {
    let (date, time) = split(us)?;
    match us.rem_euclid(1_000_000) {
        0 => Some(format!("{date} {time}")),
        micro => Some(format!("{date} {time}.{micro:06}")),
    }
}

/// `YYYY-MM-DDTHH:MM:SS.` and three digits, without zone; what is below a millisecond is dropped.
pub(crate) fn format_timestamp_ms(us: i64) -> Option<String> {
    let (date, time) = split(us)?;
    Some(format!("{date}T{time}.{:03}", us.rem_euclid(1_000_000) / 1000))
}

fn split(us: i64) -> Option<(String, String)> {
    let moment = DateTime::from_timestamp_micros(us)?.naive_utc();
    let date = moment.date();
    (0..=9999).contains(&date.year()).then(|| {
        (
            format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
            format!("{:02}:{:02}:{:02}", moment.hour(), moment.minute(), moment.second()),
        )
    })
}

/// The digits of a decimal number with this scale, exactly: `None` when it has more digits than that.
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if !digits.iter().all(u8::is_ascii_digit) || exponent.unsigned_abs() > 1000 || digits.len() > 1000 {
        return None;
    }
    // How many zeros are to be added (or taken away) so that the last digit has the place of `scale`.
    let mut shift = i32::from(scale) + exponent - i32::try_from(fraction.len()).ok()?;
    while shift < 0 {
        match digits.pop() {
            None | Some(b'0') => shift += 1,
            Some(_) => return None,
        }
    }
    let mut unscaled: i128 = 0;
    for digit in digits {
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    if unscaled != 0 {
        unscaled = unscaled.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?;
    }
    if unscaled >= 10_i128.pow(u32::from(precision.min(38))) {
        return None;
    }
    Some(if negative { -unscaled } else { unscaled })
}

/// A decimal number, without exponent.
pub(crate) fn format_decimal(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The date that text starts with, and the rest.
fn date_prefix(text: &str) -> Option<(NaiveDate, &str)> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, rest) = unsigned.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let day_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (day, rest) = rest.split_at(day_len);
    if !(4..=6).contains(&year.len()) || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(sign * year.parse::<i32>().ok()?, two_digits(month)?, two_digits(day)?)?;
    Some((date, rest))
}

fn two_digits(text: &str) -> Option<u32> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn days(date: NaiveDate) -> Option<i32> {
    i32::try_from(date.signed_duration_since(EPOCH).num_days()).ok()
}

fn micros(moment: NaiveDateTime) -> Option<i64> {
    let since: TimeDelta = moment.signed_duration_since(EPOCH.and_time(NaiveTime::MIN));
    since.num_microseconds()
}
