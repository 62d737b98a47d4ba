//! The result of a check: [`Report`].

use std::fmt;

use serde::Serialize;

use crate::redact;

/// How many findings of each kind a report keeps for one message.
pub(crate) const MAX_FINDINGS: usize = 100;

/// What a check of one or more messages found.
///
/// Pointers lead into a message as if it were one document: `/method`, `/path`, `/query/NAME`,
/// `/headers/NAME` and `/body` of a request, `/status`, `/headers/NAME` and `/body` of a response. Each is one line of
/// at most 400 characters: control characters and those that change the direction of text become blanks.
/// Values are shown as excerpts, without credentials and without the paths of links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The `operationId`, if the message belongs to an operation that has one.
    pub operation: Option<String>,
    /// Where a message breaks the description; at most 100 for each message.
    pub violations: Vec<Violation>,
    /// What the description does not list but allows; at most 100 for each message.
    pub drift: Vec<Drift>,
}

/// The summary of a report. Of several verdicts, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is documented.
    Conforming,
    /// Something is undocumented, but nothing breaks the description.
    Drifting,
    /// Something breaks the description.
    Violating,
}

/// A place where a message breaks the description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// The place in the message, as a JSON Pointer.
    pub pointer: String,
    /// The rule that is broken: a keyword of JSON Schema (`type`, `required`, `enum`, ...), or `path`,
    /// `method`, `parameter`, `security`, `content-type`, `content-encoding`, `header`, `body`, `utf-8`
    /// or `json`.
    pub rule: String,
    /// What the description requires, in words.
    pub expected: String,
    /// What the message has, in words and as an excerpt.
    pub actual: String,
    /// The place of the rule in the description, as a JSON Pointer.
    pub spec_pointer: String,
}

/// Something that is undocumented, or documented and never received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// The place in the message, as a JSON Pointer; `*` stands for any element of a list.
    pub pointer: String,
    /// What kind of difference it is.
    pub kind: DriftKind,
    /// What the message has, in words and as an excerpt.
    pub actual: String,
    /// What is documented for that place, in words. For an undocumented field, which may be a renamed one:
    /// the documented fields that are missing.
    pub documented: String,
    /// The place in the description, as a JSON Pointer.
    pub spec_pointer: String,
}

/// The kind of a [`Drift`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftKind {
    /// An undocumented field.
    UnknownField,
    /// A value beside the listed ones, if the list is open.
    UnknownValue,
    /// An undocumented HTTP status.
    UnknownStatus,
    /// An undocumented query parameter.
    UnknownParameter,
    /// A documented field or value that was not in any response.
    NotReceived,
}

impl Report {
    /// The summary. [`DriftKind::NotReceived`] does not count, because few messages contain everything.
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() {
            Verdict::Violating
        } else if self.drift.iter().any(|drift| drift.kind != DriftKind::NotReceived) {
            Verdict::Drifting
        } else {
            Verdict::Conforming
        }
    }

    /// Whether the verdict is [`Verdict::Conforming`].
    pub fn is_conforming(&self) -> bool {
        self.verdict() == Verdict::Conforming
    }

    /// Appends the findings of another check. The first operation is kept.
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
        actual: impl Into<String>,
        spec_pointer: &str,
    ) {
        let (pointer, expected) = (redact::pointer(pointer), expected.into());
        // Several parts of a description may state the same rule.
        let same = |own: &Violation| own.pointer == pointer && own.rule == rule && own.expected == expected;
        if self.violations.len() < MAX_FINDINGS && !self.violations.iter().any(same) {
            self.violations.push(Violation {
                pointer,
                rule: rule.to_owned(),
                expected,
                actual: actual.into(),
                spec_pointer: spec_pointer.to_owned(),
            });
        }
    }

    pub(crate) fn drift(
        &mut self,
        kind: DriftKind,
        pointer: &str,
        actual: impl Into<String>,
        documented: impl Into<String>,
        spec_pointer: &str,
    ) {
        if self.drift.len() < MAX_FINDINGS {
            self.drift.push(Drift {
                pointer: redact::pointer(pointer),
                kind,
                actual: actual.into(),
                documented: documented.into(),
                spec_pointer: spec_pointer.to_owned(),
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
        let Self { pointer, rule, expected, actual, spec_pointer } = self;
        write!(f, "{pointer}: expected {expected}, got {actual} (rule `{rule}` at {spec_pointer})")
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, kind, actual, documented, spec_pointer } = self;
        let (what, label) = match kind {
            DriftKind::UnknownField => ("field", "documented but missing"),
            DriftKind::UnknownValue => ("value", "documented"),
            DriftKind::UnknownStatus => ("HTTP status", "documented"),
            DriftKind::UnknownParameter => ("parameter", "documented"),
            DriftKind::NotReceived => {
                return write!(f, "{pointer}: {documented} was not received (see {spec_pointer})");
            }
        };
        write!(f, "{pointer}: undocumented {what}: {actual}; {label}: {documented} (see {spec_pointer})")
    }
}

impl fmt::Display for Report {
    /// One finding on each line, or `conforming`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violations.is_empty() && self.drift.is_empty() {
            return f.write_str("conforming");
        }
        let violations = self.violations.iter().map(|finding| format!("violation  {finding}"));
        let drift = self.drift.iter().map(|finding| match finding.kind {
            DriftKind::NotReceived => format!("missing    {finding}"),
            _ => format!("drift      {finding}"),
        });
        f.write_str(&violations.chain(drift).collect::<Vec<_>>().join("\n"))
    }
}
