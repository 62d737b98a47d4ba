//! The account: the languages that it can translate videos into, and the credits that it has left.

use std::{borrow::Cow, fmt};

use akool_client::types;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, call_span},
    error::Error,
    redact,
};

/// A language by the service's code, such as `es` or `zh-CN-shandong`.
///
/// Any code is accepted: [`Client::languages`] returns those that the service knows today.
///
/// ```
/// use akool::Language;
///
/// let language = Language::from("zh-CN-shandong");
/// assert_eq!(language.code(), "zh-CN-shandong");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Language(Cow<'static, str>);

impl Language {
    /// The code.
    pub fn code(&self) -> &str {
        &self.0
    }

    /// Whether both are the same language. The case of a code makes no difference.
    ///
    /// ```
    /// use akool::Language;
    ///
    /// assert!(Language::from("zh-CN").is(&Language::from("zh-cn")));
    /// ```
    pub fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// One language, or a list of languages, for [`Translate::to`](crate::Translate::to). `M` tells the two apart and is
/// inferred.
pub trait IntoLanguages<M> {
    /// The languages.
    fn into_languages(self) -> impl Iterator<Item = Language>;
}

/// See [`IntoLanguages`].
#[derive(Debug)]
pub enum One {}

/// See [`IntoLanguages`].
#[derive(Debug)]
pub enum Several {}

impl<L: Into<Language>> IntoLanguages<One> for L {
    fn into_languages(self) -> impl Iterator<Item = Language> {
        std::iter::once(self.into())
    }
}

impl<L: Into<Language>, I: IntoIterator<Item = L>> IntoLanguages<Several> for I {
    fn into_languages(self) -> impl Iterator<Item = Language> {
        self.into_iter().map(Into::into)
    }
}

impl From<&str> for Language {
    fn from(code: &str) -> Self {
        Self(Cow::Owned(code.to_owned()))
    }
}

impl From<String> for Language {
    fn from(code: String) -> Self {
        Self(Cow::Owned(code))
    }
}

impl From<&Self> for Language {
    fn from(language: &Self) -> Self {
        language.clone()
    }
}

impl fmt::Display for Language {
    /// Escapes characters that are not safe on a terminal: a code may come from anywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redact::fmt_escaped(&self.0, f)
    }
}

/// A language that the service translates into, as [`Client::languages`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LanguageInfo {
    /// The code, as a translation takes it. `lang_code` on the wire.
    pub language: Language,
    /// Its name in English, empty if the response has none. `lang_name` on the wire.
    pub name: String,
    /// The address of an image of a flag. `url` on the wire.
    pub flag: Option<String>,
    /// Whether a translation into it must choose a voice. `need_voice_id` on the wire. Only older responses have it:
    /// the vendor withdrew the choice of a voice in November 2025, and no request takes one.
    pub needs_voice: Option<bool>,
}

impl Client {
    /// The languages that the service translates into.
    ///
    /// # Errors
    /// If the list cannot be read. [`Error::is_retryable`] says whether to try again.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
    /// for language in client.languages().await? {
    ///     println!("{:16} {}", language.language, language.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn languages(&self) -> Result<Vec<LanguageInfo>, Error> {
        let reply = self.call(call_span("list_languages"), || self.api.list_languages().send()).await;
        let response: types::ListLanguagesResponse = reply.into_result()?.value;
        let list = response.data.map(|data| data.lang_list).filter(|list| !list.is_empty());
        let list =
            list.ok_or_else(|| Error::undecodable("the response has no languages in `data.lang_list`"))?;
        Ok(list.into_iter().filter_map(info).collect())
    }

    /// The credits that the account has left. `credit` on the wire, which may have a fraction.
    ///
    /// Translations hold and then charge credits: see [`CreatedJob::credits_held`](crate::CreatedJob::credits_held) and
    /// [`Snapshot::credits_charged`](crate::Snapshot::credits_charged). The operation is documented for another product
    /// of the same account; that translations use the same balance is unverified.
    ///
    /// # Errors
    /// If the balance cannot be read. [`Error::is_retryable`] says whether to try again.
    ///
    /// ```no_run
    /// # async fn example(client: akool::Client) -> Result<(), akool::Error> {
    /// if client.credits().await? < 100.0 {
    ///     eprintln!("fewer than 100 credits are left");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn credits(&self) -> Result<f64, Error> {
        let reply = self.call(call_span("get_credits"), || self.api.get_credits().send()).await;
        let response: types::GetCreditsResponse = reply.into_result()?.value;
        let credits = response.data.and_then(|data| data.credit);
        credits.ok_or_else(|| Error::undecodable("the response has no balance in `data.credit`"))
    }
}

/// An entry of the list. `None` if it has no code.
fn info(entry: types::LanguageInfo) -> Option<LanguageInfo> {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    Some(LanguageInfo {
        language: text(entry.lang_code)?.into(),
        name: entry.lang_name.unwrap_or_default(),
        flag: text(entry.url),
        needs_voice: entry.need_voice_id,
    })
}
