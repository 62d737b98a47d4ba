//! Keeps a run within the limits on credits: [`Spending`] asks for the balance, and remembers why nothing more is created.

use std::{cell::RefCell, fs::File};

use akool::{BusinessCode, CreateError, Created, NotCreated, Rejection};
use akool_ledger::{EnsureError, Ensured, Estimate, Ledger};

use crate::{
    args::Limits,
    budget::{Budget, Reached},
    connect::Connection,
    ledger,
};

/// Codes about the account, so that other requests get them too.
const ACCOUNT: &[BusinessCode] = &[
    BusinessCode(1004),
    BusinessCode(1006),
    BusinessCode(1103),
    BusinessCode(1104),
    BusinessCode(1213),
    BusinessCode(1221),
];

pub(crate) struct Spending<'a> {
    connection: &'a Connection,
    ledger: Option<&'a Ledger>,
    budget: RefCell<Budget<'a>>,
    /// Why nothing more is created in this run.
    reached: RefCell<Option<Reached>>,
}

impl<'a> Spending<'a> {
    pub(crate) fn new(limits: &'a Limits, connection: &'a Connection, ledger: Option<&'a Ledger>) -> Self {
        let budget = RefCell::new(Budget::new(limits));
        Self { connection, ledger, budget, reached: RefCell::default() }
    }

    /// Whether it has to be asked before jobs are created.
    pub(crate) fn is_limited(&self) -> bool {
        self.budget.borrow().is_limited() || self.reached.borrow().is_some()
    }

    pub(crate) fn reached(&self) -> Option<Reached> {
        self.reached.borrow().clone()
    }

    /// Processes that share a ledger check the balance in turn: until the file is closed.
    pub(crate) async fn lock(&self) -> Option<File> {
        let needs_balance = self.budget.borrow().needs_balance();
        ledger::lock_balance(self.ledger.filter(|_| needs_balance)?).await
    }

    /// How many jobs of a row may be created now. Once it is none, nothing more is created in this run.
    pub(crate) async fn room(&self, row: usize, estimate: Option<Estimate>) -> usize {
        if self.reached.borrow().is_some() {
            return 0;
        }
        // If this fails, the balance is calculated.
        let _ = self.read_balance().await;
        let room = self.budget.borrow().room(row, estimate);
        room.unwrap_or_else(|reached| {
            *self.reached.borrow_mut() = Some(reached);
            0
        })
    }

    /// Asks for the balance, if a limit needs it.
    pub(crate) async fn read_balance(&self) -> Result<(), akool::Error> {
        let needs_balance = self.budget.borrow().needs_balance();
        if needs_balance {
            let balance = self.connection.client.credits().await?;
            self.budget.borrow_mut().set_balance(balance);
        }
        Ok(())
    }

    /// Counts what a request for this many languages of a row holds.
    pub(crate) fn add(
        &self,
        row: usize,
        sent: &Result<Created, EnsureError>,
        languages: usize,
        estimate: Option<Estimate>,
    ) {
        self.budget.borrow_mut().add(row, sent, languages, estimate);
    }

    /// Creates nothing more if the response is about the account.
    pub(crate) fn note_account(&self, ensured: &Ensured) {
        if let Some(code) = account_code(ensured) {
            *self.reached.borrow_mut() = Some(Reached::Account(code));
        }
    }
}

/// The rejections by language of a request that created nothing.
pub(crate) fn rejections(error: &EnsureError) -> &[Rejection] {
    match error {
        EnsureError::NotCreated(CreateError::NotCreated(NotCreated { rejected, .. })) => rejected,
        _ => &[],
    }
}

/// A code about the account in the response.
pub(crate) fn account_code(ensured: &Ensured) -> Option<BusinessCode> {
    let codes: Vec<_> = match ensured.sent.as_ref()? {
        Ok(created) | Err(EnsureError::Unrecorded { created, .. }) => {
            created.rejected.iter().map(|rejection| rejection.code).collect()
        }
        Err(error) => {
            let code = error.error().and_then(akool::Error::code);
            code.into_iter().chain(rejections(error).iter().map(|rejection| rejection.code)).collect()
        }
    };
    codes.into_iter().find(|code| ACCOUNT.contains(code))
}
