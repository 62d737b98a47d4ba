//! Remembers uploads in the ledger: [`LedgerLog`].

use akool_ledger::Ledger;
use akool_stage::{LogResult, UploadLog};
use futures_util::FutureExt;

pub(crate) struct LedgerLog(pub(crate) Ledger);

impl UploadLog for LedgerLog {
    fn begin<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a> {
        async move { Ok(self.0.begin_upload(url, upload).await?) }.boxed()
    }

    fn end<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a> {
        async move { Ok(self.0.end_upload(url, upload).await?) }.boxed()
    }
}
