//! Every known way to bend a bundle, as data: the tamper matrix.
//!
//! A [`Mutation`] takes a proven bundle ([`Good`]) and gives the bytes of a broken one, and says what must
//! come of it. The tests run all of them through this verifier and through the one in Python, which must
//! give the same code; [`try_all`] runs them on the machine of whoever wants to see it, over the
//! [`specimen()`]. Some are attacks by somebody who holds keys; what those can and cannot do is said by
//! [`Expected`], and [`table`] is the list for people (`verify/TAMPER.md`).
//!
//! No key of a real log is ever needed: the keys of the specimen are published.

mod archive;
mod draft;
mod forge;
mod matrix;
mod specimen;

use std::fmt::Write as _;

use crate::verdict::Verdict;

pub use draft::{Good, Keys};
pub use matrix::matrix;
pub use specimen::{Specimen, specimen};

/// What the attacker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// The bundle and nothing else.
    Nothing,
    /// The entry key of that day.
    EntryKey,
    /// All entry keys there ever were, and not the log's key.
    EntryKeys,
    /// The key of the log, and no entry key.
    LogKey,
    /// All keys of the gateway.
    Gateway,
    /// All keys of the gateway and the collector's.
    GatewayAndCollector,
    /// The key of one witness.
    Witness,
    /// All keys of the gateway and of every witness of the policy.
    Everybody,
}

impl Hand {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::EntryKey => "that day's entry key",
            Self::EntryKeys => "all entry keys",
            Self::LogKey => "the log key",
            Self::Gateway => "all keys of the gateway",
            Self::GatewayAndCollector => "the gateway's and the collector's keys",
            Self::Witness => "a witness's key",
            Self::Everybody => "the gateway's and all witnesses' keys",
        }
    }
}

/// What must come of a mutation.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// It is refused: the first failure has this code.
    Refused(&'static str),
    /// It is not refused, and the verdict shows it: the words say as what, the function finds it.
    Shown(&'static str, fn(&Verdict) -> bool),
    /// It changes nothing that was proven; the words say why it is harmless.
    Harmless(&'static str),
    /// No cryptography can find it. The verdict names everybody whose keys it took.
    Undetectable,
}

impl Expected {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Refused(code) => code.to_string(),
            Self::Shown(words, _) => format!("proven, and shown: {words}"),
            Self::Harmless(words) => format!("proven: {words}"),
            Self::Undetectable => {
                "proven: **undetectable in principle**; the verdict names whose keys it takes"
                    .to_owned()
            }
        }
    }

    /// Whether a verdict is what must come of it.
    #[must_use]
    pub fn is_met(&self, verdict: &Verdict, good: &Good) -> bool {
        let code = verdict.failures.first().map(|failure| failure.code);
        match self {
            Self::Refused(wanted) => code == Some(*wanted) && verdict.exit >= 2,
            Self::Shown(_, finds) => code.is_none() && finds(verdict),
            Self::Harmless(_) => code.is_none() && verdict.exit == 0,
            Self::Undetectable => {
                // All that the format can say about it: who had to join in.
                let named = verdict.policy.split_view_witnesses.len();
                code.is_none() && verdict.exit == 0 && named == good.keys.witnesses.len()
            }
        }
    }
}

/// One way to bend a bundle.
#[derive(Clone, Copy)]
pub struct Mutation {
    /// What kind of thing is broken.
    pub class: &'static str,
    /// What is done.
    pub name: &'static str,
    /// What it takes.
    pub hand: Hand,
    /// What must come of it.
    pub expected: Expected,
    make: fn(&Good) -> Option<Vec<u8>>,
}

impl std::fmt::Debug for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.class, self.name)
    }
}

impl Mutation {
    const fn refused(
        class: &'static str,
        name: &'static str,
        hand: Hand,
        code: &'static str,
        make: fn(&Good) -> Option<Vec<u8>>,
    ) -> Self {
        Self {
            class,
            name,
            hand,
            expected: Expected::Refused(code),
            make,
        }
    }

    /// The broken bundle; none when this bundle has nothing to which it could be done (no gap entry, no
    /// change of keys, or entries that do not begin at 0).
    #[must_use]
    pub fn apply(&self, good: &Good) -> Option<Vec<u8>> {
        (self.make)(good)
    }
}

/// What came of one mutation.
#[derive(Debug)]
pub struct Tried {
    /// Which.
    pub mutation: &'static Mutation,
    /// What the verifier said; none if the mutation could not be made.
    pub verdict: Option<Verdict>,
    /// Whether that is what must come of it.
    pub as_expected: bool,
}

/// Runs the whole matrix over the specimen and hands each result to `each`; returns how many did not
/// come out as expected.
///
/// # Errors
/// When the specimen that ships with this program cannot be read or is not proven, which a broken
/// installation would explain.
pub fn try_all(threads: u16, each: &mut dyn FnMut(&Tried)) -> anyhow::Result<u64> {
    let specimen = specimen()?;
    let whole = specimen.verify(&specimen.good.bytes(), threads);
    if let Some(failure) = whole.failures.first() {
        anyhow::bail!("the specimen itself is refused: {}", failure.text);
    }
    let mut wrong = 0;
    for mutation in matrix() {
        let verdict = mutation
            .apply(&specimen.good)
            .map(|bytes| specimen.verify(&bytes, threads));
        let as_expected = verdict
            .as_ref()
            .is_some_and(|verdict| mutation.expected.is_met(verdict, &specimen.good));
        wrong += u64::from(!as_expected);
        each(&Tried {
            mutation,
            verdict,
            as_expected,
        });
    }
    Ok(wrong)
}

/// The matrix as a table in Markdown.
#[must_use]
pub fn table() -> String {
    let mut text = String::new();
    let mut class = "";
    for mutation in matrix() {
        if mutation.class != class {
            class = mutation.class;
            write!(text, "\n### {class}\n\n| what is done | by whom: holds | what comes of it |\n|---|---|---|\n")
                .expect("a String takes every write");
        }
        let (name, hand) = (mutation.name, mutation.hand.name());
        writeln!(text, "| {name} | {hand} | {} |", mutation.expected.words())
            .expect("a String takes every write");
    }
    text
}
