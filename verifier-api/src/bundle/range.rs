//! The part of a file that a request asks for (RFC 9110, section 14), one part at most.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything: nothing else was asked, or in a way that is not served, or of other bytes.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes that there are not.
    Outside,
}

/// Reads `Range` and `If-Range` for a file of `length` bytes named by `tag`.
pub(super) fn part(headers: &HeaderMap, tag: &str, length: u64) -> Part {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
        return Part::Whole;
    }
    let Some(wanted) = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes="))
    else {
        return Part::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match wanted.split_once('-') {
        Some(("", last)) => number(last).map(|last| (length.saturating_sub(last), length)),
        Some((first, "")) => number(first).map(|first| (first, length)),
        Some((first, last)) => number(first).zip(number(last)).and_then(|(first, last)| {
            (first <= last).then_some((first, last.saturating_add(1).min(length)))
        }),
        None => None,
    };
    match range {
        None => Part::Whole,
        Some((first, end)) if first >= end => Part::Outside,
        Some((first, end)) => Part::Bytes(first..end),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Part, part};

    fn asked(range: &str, if_range: Option<&str>) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, HeaderValue::from_str(tag).unwrap());
        }
        part(&headers, "\"t\"", 100)
    }

    #[test]
    fn one_part_is_served_and_whatever_else_is_asked_gets_the_whole() {
        assert_eq!(asked("bytes=10-", None), Part::Bytes(10..100));
        assert_eq!(asked("bytes=10-19", Some("\"t\"")), Part::Bytes(10..20));
        assert_eq!(asked("bytes=90-1000", None), Part::Bytes(90..100));
        assert_eq!(asked("bytes=-10", None), Part::Bytes(90..100));
        assert_eq!(asked("bytes=0-0", None), Part::Bytes(0..1));
        for outside in ["bytes=100-", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(asked(outside, None), Part::Outside, "{outside}");
        }
        for whole in [
            "bytes=5-4",
            "bytes=1-2,5-6",
            "bytes=a-",
            "lines=1-2",
            "bytes=",
            "bytes=-",
        ] {
            assert_eq!(asked(whole, None), Part::Whole, "{whole}");
        }
        assert_eq!(
            asked("bytes=10-", Some("\"other\"")),
            Part::Whole,
            "other bytes by now"
        );
        assert_eq!(part(&HeaderMap::new(), "\"t\"", 100), Part::Whole);
    }
}
