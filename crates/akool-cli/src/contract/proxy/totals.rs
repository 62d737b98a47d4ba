//! What all exchanges together found: [`Totals`].

use akool_contract::{Fingerprint, Verdict};
use serde_json::json;

use crate::{outcome::Outcome, report::Report};

#[derive(Clone, Default)]
pub(super) struct Totals {
    pub(super) exchanges: u64,
    /// Of which request and response were validated.
    pub(super) validated: u64,
    /// For which the upstream sent no response.
    pub(super) unreachable: u64,
    pub(super) violations: u64,
    pub(super) drift: u64,
    pub(super) fingerprint: Fingerprint,
}

impl Totals {
    fn verdict(&self) -> Verdict {
        match (self.violations, self.drift) {
            (0, 0) => Verdict::Conforming,
            (0, _) => Verdict::Drifting,
            _ => Verdict::Violating,
        }
    }

    fn fingerprint(&self) -> Option<String> {
        (!self.fingerprint.is_empty()).then(|| self.fingerprint.to_string())
    }

    pub(super) fn print(&self, report: &Report) {
        let Self { exchanges, validated, violations, drift, .. } = *self;
        let not_validated = exchanges - validated;
        if report.is_json() {
            return report.object(&json!({
                "event": "exchange_summary", "exchanges": exchanges, "verdict": self.verdict(),
                "violations": violations, "drift": drift, "not_validated": not_validated,
                "fingerprint": self.fingerprint(),
            }));
        }
        let s = |number| if number == 1 { "" } else { "s" };
        let verdict = if validated == 0 && violations + drift == 0 {
            "nothing was validated".to_owned()
        } else {
            self.verdict().to_string()
        };
        report.line(format_args!(
            "{verdict}: {exchanges} exchange{}, {violations} violation{}, {drift} undocumented, {not_validated} not \
             validated completely",
            s(exchanges),
            s(violations),
        ));
        if let Some(fingerprint) = self.fingerprint() {
            report.line(format_args!("fingerprint: {fingerprint}"));
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let verdict = match self.verdict() {
            Verdict::Violating => Outcome::Violating,
            Verdict::Drifting => Outcome::Drifting,
            Verdict::Conforming if self.validated == 0 => Outcome::Unexpected,
            Verdict::Conforming => Outcome::Done,
        };
        if self.unreachable > 0 { verdict.max(Outcome::Unreachable) } else { verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_validated_nothing_is_no_success() {
        assert_eq!(Totals::default().outcome(), Outcome::Unexpected);
        assert_eq!(Totals { exchanges: 3, ..Totals::default() }.outcome(), Outcome::Unexpected);
        let good = Totals { exchanges: 2, validated: 1, ..Totals::default() };
        assert_eq!(good.outcome(), Outcome::Done);
        assert_eq!(Totals { unreachable: 1, ..good.clone() }.outcome(), Outcome::Unreachable);
        assert_eq!(Totals { drift: 1, ..good.clone() }.outcome(), Outcome::Drifting);
        assert_eq!(Totals { violations: 1, unreachable: 1, ..good }.outcome(), Outcome::Violating);
    }
}
