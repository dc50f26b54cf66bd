//! The answers a line gave a short while ago, for others who want to know the same.
//!
//! A question is answered from one answer or not at all: words of two answers are never joined, or
//! half of a counter from before a carry could stand beside half from after it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{Answer, Request};
use crate::plan::Span;

/// Answers that are kept; beyond that the oldest is forgotten.
const MOST: usize = 512;

/// The newest answers of one line.
#[derive(Debug, Default)]
pub struct Recent {
    answers: Mutex<HashMap<(u8, Span), (Instant, Answer)>>,
}

impl Recent {
    /// Keeps an answer that came at `at`.
    pub fn keep(&self, request: Request, answer: &Answer, at: Instant) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (request.unit, request.span);
        if answers.len() >= MOST && !answers.contains_key(&key) {
            let oldest = answers.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                answers.remove(&oldest);
            }
        }
        answers.insert(key, (at, answer.clone()));
    }

    /// The newest answer not older than `max_age` that holds everything asked for. An exception
    /// answers the very question only that it was the answer to.
    #[must_use]
    pub fn find(&self, request: Request, max_age: Duration, now: Instant) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let young = |at: Instant| now.saturating_duration_since(at) <= max_age;
        let newest = answers
            .iter()
            .filter(|((unit, span), (at, answer))| {
                *unit == request.unit
                    && young(*at)
                    && match answer {
                        Answer::Words(_) => span.contains(request.span),
                        Answer::Exception(_) => *span == request.span,
                    }
            })
            .max_by_key(|(_, (at, _))| *at);
        let ((_, span), (_, answer)) = newest?;
        match answer {
            Answer::Exception(code) => Some(Answer::Exception(*code)),
            Answer::Words(words) => {
                let first = usize::from(request.span.address.checked_sub(span.address)?);
                let end = first + usize::from(request.span.count);
                Some(Answer::Words(words.get(first..end)?.to_vec()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Recent};
    use crate::modbus::frame::{Answer, Request};
    use crate::plan::Span;
    use evidence::measurement::Table;
    use std::time::Duration;
    use tokio::time::Instant;

    fn holding(unit: u8, address: u16, count: u16) -> Request {
        let table = Table::Holding;
        Request {
            unit,
            span: Span {
                table,
                address,
                count,
            },
        }
    }

    #[test]
    fn a_question_is_answered_from_the_newest_single_answer_that_holds_all_of_it() {
        let (recent, start) = (Recent::default(), Instant::now());
        let second = Duration::from_secs(1);
        recent.keep(holding(1, 10, 3), &Answer::Words(vec![1, 2, 3]), start);
        recent.keep(
            holding(1, 12, 2),
            &Answer::Words(vec![30, 4]),
            start + second,
        );
        let find = |request, age| recent.find(request, age, start + second);
        assert_eq!(
            find(holding(1, 11, 2), second),
            Some(Answer::Words(vec![2, 3]))
        );
        assert_eq!(
            find(holding(1, 12, 1), second),
            Some(Answer::Words(vec![30])),
            "the newest"
        );
        assert_eq!(
            find(holding(1, 11, 3), second),
            None,
            "it would take two answers"
        );
        assert_eq!(find(holding(2, 11, 1), second), None, "another unit");
        assert_eq!(
            find(holding(1, 10, 1), second / 2),
            None,
            "older than wanted"
        );
    }

    #[test]
    fn an_exception_answers_its_own_question_only_and_memory_is_bounded() {
        let (recent, start) = (Recent::default(), Instant::now());
        recent.keep(holding(1, 10, 5), &Answer::Exception(2), start);
        let age = Duration::from_secs(1);
        assert_eq!(recent.find(holding(1, 11, 1), age, start), None);
        assert_eq!(
            recent.find(holding(1, 10, 5), age, start),
            Some(Answer::Exception(2))
        );
        for address in 0..2_000 {
            recent.keep(holding(1, address, 1), &Answer::Words(vec![0]), start);
        }
        assert_eq!(recent.answers.lock().unwrap().len(), MOST);
    }
}
