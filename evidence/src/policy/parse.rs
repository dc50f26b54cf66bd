//! Reading a policy file, line by line.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use super::{Node, Policy};
use crate::checkpoint::parse_decimal;
use crate::note::{SignatureKind, Vkey, VkeyError};

/// Longest policy file in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Most logs, most witnesses and most groups; C2SP asks for at least 32 of each.
const MAX_OF_A_KIND: usize = 1024;
/// The predefined name of the empty quorum.
const NONE: &str = "none";

/// Why a policy file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// More than 1 MiB.
    #[error("policy file of {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// A line that breaks a rule.
    #[error("policy line {line}: {problem}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineError,
    },
    /// No `quorum` line at all.
    #[error(
        "the policy has no `quorum` line; end it with `quorum <name>`, or `quorum none` to ask for no witness"
    )]
    NoQuorum,
}

/// What is wrong with one line of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// A control character other than tab, for example CR of a Windows editor.
    #[error(
        "control character 0x{0:02x}; only tabs and newlines are allowed (save with Unix line ends)"
    )]
    ControlCharacter(u8),
    /// The first word is no keyword.
    #[error(
        "unknown keyword `{0}`; known are `log`, `witness`, `group`, `quorum`, and `#` for a comment"
    )]
    UnknownKeyword(String),
    /// Too few or too many words.
    #[error("wrong number of words; the form is `{0}`")]
    Form(&'static str),
    /// A verifier key that cannot be read.
    #[error(transparent)]
    Vkey(#[from] VkeyError),
    /// A cosigner's key for a log, or a log's for a witness.
    #[error("key `{name}` is of type 0x{found:02x}; a {role} needs type 0x{needed:02x}")]
    KindOfKey {
        /// Name of the key.
        name: String,
        /// `log` or `witness`.
        role: &'static str,
        /// Its type.
        found: u8,
        /// The type of the role.
        needed: u8,
    },
    /// One key twice, under whatever names; a second name would count one signer twice.
    #[error("the key of `{0}` was already given to another log or witness; one key has one line")]
    DuplicateKey(String),
    /// A name defined before, or `none`.
    #[error(
        "the name `{0}` is taken; witnesses and groups share one set of names, and `none` is reserved"
    )]
    NameTaken(String),
    /// A name not defined on an earlier line.
    #[error("`{0}` is not defined on an earlier line as a witness or group")]
    UndefinedName(String),
    /// A name that is already a member.
    #[error("`{0}` is already a member of a group; each name may be a member once")]
    MemberTwice(String),
    /// A threshold outside 1 to n.
    #[error(
        "threshold `{found}` is not `any`, `all` or a number from 1 to {members}, the number of members"
    )]
    Threshold {
        /// The word found.
        found: String,
        /// Members of the group.
        members: usize,
    },
    /// A second `quorum` line.
    #[error("a second `quorum` line; a policy has exactly one")]
    SecondQuorum,
    /// More lines of one kind than are read.
    #[error("more than {MAX_OF_A_KIND} lines of one kind")]
    TooMany,
}

/// The policy so far.
#[derive(Default)]
struct Builder {
    logs: Vec<Vkey>,
    witnesses: Vec<(String, Vkey)>,
    nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    keys_seen: HashSet<[u8; 32]>,
    members_seen: HashSet<usize>,
    quorum: Option<Option<usize>>,
}

pub(super) fn parse(text: &str) -> Result<Policy, PolicyError> {
    if text.len() > MAX_BYTES {
        return Err(PolicyError::TooLarge(text.len()));
    }
    let mut builder = Builder::default();
    for (i, line) in text.split('\n').enumerate() {
        builder.line(line).map_err(|problem| PolicyError::Line {
            line: i + 1,
            problem,
        })?;
    }
    let Builder {
        logs,
        witnesses,
        nodes,
        quorum,
        ..
    } = builder;
    let quorum = quorum.ok_or(PolicyError::NoQuorum)?;
    let keys = witnesses
        .iter()
        .map(|(_, vkey)| vkey)
        .chain(&logs)
        .cloned()
        .collect();
    Ok(Policy {
        logs,
        witnesses,
        nodes,
        quorum,
        keys,
    })
}

impl Builder {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        if let Some(byte) = line
            .bytes()
            .find(|b| matches!(b, 0..=0x08 | 0x0a..=0x1f | 0x7f))
        {
            return Err(LineError::ControlCharacter(byte));
        }
        let words: Vec<&str> = line
            .split([' ', '\t'])
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] | ["log", vkey, _] => self.log(vkey),
            ["log", ..] => Err(LineError::Form("log <verifier key> [<url>]")),
            ["witness", name, vkey] | ["witness", name, vkey, _] => self.witness(name, vkey),
            ["witness", ..] => Err(LineError::Form("witness <name> <verifier key> [<url>]")),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["group", ..] => Err(LineError::Form("group <name> any|all|<k> <member>...")),
            ["quorum", name] => self.quorum(name),
            ["quorum", ..] => Err(LineError::Form("quorum <name>")),
            [other, ..] => Err(LineError::UnknownKeyword((*other).to_owned())),
        }
    }

    fn log(&mut self, vkey: &str) -> Result<(), LineError> {
        let vkey = self.key(vkey, "log", SignatureKind::Ed25519)?;
        self.logs.push(vkey);
        at_most(self.logs.len())
    }

    fn witness(&mut self, name: &str, vkey: &str) -> Result<(), LineError> {
        let vkey = self.key(vkey, "witness", SignatureKind::Cosignature)?;
        self.define(name, Node::Witness(self.witnesses.len()))?;
        self.witnesses.push((name.to_owned(), vkey));
        at_most(self.witnesses.len())
    }

    fn group(&mut self, name: &str, word: &str, names: &[&str]) -> Result<(), LineError> {
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let node = self.defined(member)?;
            if !self.members_seen.insert(node) {
                return Err(LineError::MemberTwice((*member).to_owned()));
            }
            members.push(node);
        }
        let threshold = match word {
            "any" => Some(1),
            "all" => Some(members.len()),
            number => parse_decimal(number)
                .and_then(|k| usize::try_from(k).ok())
                .filter(|k| (1..=members.len()).contains(k)),
        };
        let threshold = threshold.ok_or_else(|| LineError::Threshold {
            found: word.to_owned(),
            members: members.len(),
        })?;
        self.define(name, Node::Group { threshold, members })?;
        at_most(self.nodes.len() - self.witnesses.len())
    }

    fn quorum(&mut self, name: &str) -> Result<(), LineError> {
        if self.quorum.is_some() {
            return Err(LineError::SecondQuorum);
        }
        self.quorum = Some(if name == NONE {
            None
        } else {
            Some(self.defined(name)?)
        });
        Ok(())
    }

    /// Reads a key of the right kind that no line had before. A log's key is no witness's either:
    /// a log that vouches for itself adds nothing.
    fn key(
        &mut self,
        text: &str,
        role: &'static str,
        kind: SignatureKind,
    ) -> Result<Vkey, LineError> {
        let vkey = Vkey::parse(text)?;
        if vkey.kind() != kind {
            return Err(LineError::KindOfKey {
                name: vkey.name().to_owned(),
                role,
                found: vkey.kind().code(),
                needed: kind.code(),
            });
        }
        if !self.keys_seen.insert(*vkey.key().bytes()) {
            return Err(LineError::DuplicateKey(vkey.name().to_owned()));
        }
        Ok(vkey)
    }

    fn define(&mut self, name: &str, node: Node) -> Result<(), LineError> {
        if name == NONE || self.by_name.contains_key(name) {
            return Err(LineError::NameTaken(name.to_owned()));
        }
        self.by_name.insert(name.to_owned(), self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn defined(&self, name: &str) -> Result<usize, LineError> {
        self.by_name
            .get(name)
            .copied()
            .ok_or_else(|| LineError::UndefinedName(name.to_owned()))
    }
}

const fn at_most(count: usize) -> Result<(), LineError> {
    if count > MAX_OF_A_KIND {
        Err(LineError::TooMany)
    } else {
        Ok(())
    }
}
