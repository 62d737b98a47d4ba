//! The tools `credits` and `languages`.

use akool::redact::excerpt;
use rmcp::model::CallToolResult;

use super::{
    call::Server,
    output::{CreditsResult, Language, LanguagesResult, refused, result},
};

/// How many languages a result has. The service has about 150.
const MAX_LANGUAGES: usize = 500;

impl Server<'_> {
    pub(super) async fn credits(&self) -> CallToolResult {
        match self.client.credits().await {
            Ok(credits) => {
                let budget = self.limit.budget(&self.ledger).await;
                result(&CreditsResult { credits, budget }, [], false)
            }
            Err(error) => refused(&(&error).into()),
        }
    }

    pub(super) async fn languages(&self, filter: Option<&str>) -> CallToolResult {
        let mut languages = match self.client.languages().await {
            Ok(languages) => languages,
            Err(error) => return refused(&(&error).into()),
        };
        let filter = filter.unwrap_or_default().to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&filter);
        languages.retain(|language| matches(language.language.code()) || matches(&language.name));
        languages.sort_by(|a, b| a.language.cmp(&b.language));
        let left_out = languages.len().saturating_sub(MAX_LANGUAGES);
        let listed = languages.iter().take(MAX_LANGUAGES).map(|listed| Language {
            code: excerpt(listed.language.code()),
            untrusted_name: excerpt(&listed.name),
        });
        result(&LanguagesResult { languages: listed.collect(), left_out }, [], false)
    }
}
