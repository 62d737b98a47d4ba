//! What a check found: [`Report`].

use std::fmt;

use serde::Serialize;

use crate::redact;

/// How many findings of each kind are kept of one message.
pub(crate) const KEPT: usize = 100;

/// What a check of one message, or of several, found.
///
/// Pointers lead into the message as one document: `/method`, `/path`, `/query/NAME`,
/// `/headers/NAME` and `/body` of a request, `/status`, `/headers/NAME` and `/body` of an answer.
/// Values are shown in excerpts, without credentials and without the signed part of links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The description's name of the operation, where the message belongs to one.
    pub operation: Option<String>,
    /// What is not as described. The first 100 of a message.
    pub violations: Vec<Violation>,
    /// What the description does not know, and what it allows to come. The first 100 of a message.
    pub drift: Vec<Drift>,
}

/// What a report comes to. The greater one counts where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is as described.
    Conforming,
    /// Nothing is against the description, but something is new.
    Drifting,
    /// Something is against the description.
    Violating,
}

/// A place where a message is not as described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// Where in the message, as a JSON Pointer.
    pub pointer: String,
    /// The rule that is broken: a keyword of JSON Schema (`type`, `required`, `enum`, ...), or `path`,
    /// `method`, `parameter`, `security`, `content-type`, `content-encoding`, `header`, `body`, `utf-8`
    /// or `json`.
    pub rule: String,
    /// What the description asks for, in words.
    pub expected: String,
    /// What came, in words: an excerpt.
    pub came: String,
    /// Where in the description it says so, as a JSON Pointer.
    pub described_at: String,
}

/// Something that the description does not know, or knows and that does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// Where in the message, as a JSON Pointer; `*` stands for any element of a list.
    pub pointer: String,
    /// What kind of thing it is.
    pub kind: DriftKind,
    /// What came, in words: an excerpt.
    pub came: String,
    /// What the description knows of that place, in words.
    pub known: String,
    /// Where in the description that is, as a JSON Pointer.
    pub described_at: String,
}

/// What has drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftKind {
    /// A field that is not described.
    UnknownField,
    /// A value beside those that are listed, where others may come.
    UnknownValue,
    /// An HTTP status that is not described.
    UnknownStatus,
    /// A parameter that is not described.
    UnknownParameter,
    /// A documented field, or a documented value, that never came.
    NeverCame,
}

impl Report {
    /// What it comes to. What never came does not count: few messages hold everything.
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() {
            Verdict::Violating
        } else if self.drift.iter().any(|drift| drift.kind != DriftKind::NeverCame) {
            Verdict::Drifting
        } else {
            Verdict::Conforming
        }
    }

    /// Whether all is as described.
    pub fn is_conforming(&self) -> bool {
        self.verdict() == Verdict::Conforming
    }

    /// Adds what another check found. The operation stays the first one's.
    pub fn extend(&mut self, other: Self) {
        self.operation = self.operation.take().or(other.operation);
        self.violations.extend(other.violations);
        self.drift.extend(other.drift);
    }

    pub(crate) fn violation(
        &mut self,
        pointer: &str,
        rule: &str,
        expected: impl Into<String>,
        came: impl Into<String>,
        described_at: &str,
    ) {
        let expected = expected.into();
        let same = |own: &Violation| own.pointer == pointer && own.rule == rule && own.expected == expected;
        // Several parts of a description may ask for the same.
        if self.violations.len() < KEPT && !self.violations.iter().any(same) {
            self.violations.push(Violation {
                pointer: redact::bounded(pointer),
                rule: rule.to_owned(),
                expected,
                came: came.into(),
                described_at: described_at.to_owned(),
            });
        }
    }

    pub(crate) fn drift(
        &mut self,
        kind: DriftKind,
        pointer: &str,
        came: impl Into<String>,
        known: impl Into<String>,
        described_at: &str,
    ) {
        if self.drift.len() < KEPT {
            self.drift.push(Drift {
                pointer: redact::bounded(pointer),
                kind,
                came: came.into(),
                known: known.into(),
                described_at: described_at.to_owned(),
            });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conforming => "conforming",
            Self::Drifting => "drifting",
            Self::Violating => "violating",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, rule, expected, came, described_at } = self;
        write!(f, "{pointer}: expected {expected}, came {came} ({rule}; described at {described_at})")
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, kind, came, known, described_at } = self;
        let what = match kind {
            DriftKind::UnknownField => "a field that is not described came",
            DriftKind::UnknownValue => "a value that is not described came",
            DriftKind::UnknownStatus => "an HTTP status that is not described came",
            DriftKind::UnknownParameter => "a parameter that is not described came",
            DriftKind::NeverCame => {
                return write!(f, "{pointer}: {known} never came (described at {described_at})");
            }
        };
        write!(f, "{pointer}: {what}, {came}; {known} (described at {described_at})")
    }
}

impl fmt::Display for Report {
    /// One finding a line; `conforming` where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violations.is_empty() && self.drift.is_empty() {
            return f.write_str("conforming");
        }
        let violations = self.violations.iter().map(|finding| format!("violation  {finding}"));
        let drift = self.drift.iter().map(|finding| match finding.kind {
            DriftKind::NeverCame => format!("never came {finding}"),
            _ => format!("drift      {finding}"),
        });
        f.write_str(&violations.chain(drift).collect::<Vec<_>>().join("\n"))
    }
}
