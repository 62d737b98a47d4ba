//! Languages, and what the service says of them: [`Language`], [`LanguageInfo`].

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::{Instrument, debug_span};

use crate::{
    Client, Error,
    call::answered,
    decode::{self, undecodable},
};

/// A language by the service's code, such as `es` or `zh-CN-shandong`.
///
/// Any code is taken: [`Client::languages`] tells which ones the service knows today.
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
    /// A language that is known when the program is compiled.
    pub const fn from_static(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.0
    }

    /// Whether both name the same language: codes are the same in capital letters too.
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A code may come from anywhere: nothing in it reaches a terminal as a control character.
        if self.0.chars().any(char::is_control) {
            write!(f, "{}", self.0.escape_debug())
        } else {
            f.pad(&self.0)
        }
    }
}

/// A language that the service translates into, as [`Client::languages`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LanguageInfo {
    /// The code, as a translation takes it. `lang_code` on the wire.
    pub language: Language,
    /// Its name in English, empty where the answer has none. `lang_name` on the wire.
    pub name: String,
    /// Where a picture of a flag is. `url` on the wire.
    pub flag: Option<String>,
    /// Deprecated: whether a translation into it must choose a voice. A request can no longer choose
    /// one; only older answers have this field (*unverified*). `need_voice_id` on the wire.
    pub needs_voice: Option<bool>,
}

impl Client {
    /// The languages that the service translates into.
    ///
    /// # Errors
    /// When the list cannot be read; [`Error::is_transient`] says whether to try again.
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
        let list = async || {
            let (client, recording) = self.api.recording();
            let exchange = answered(client.list_languages().send().await, &recording)?;
            let mut members = decode::opened(&exchange)?;
            match members.get_mut("data").and_then(|data| data.get_mut("lang_list")).map(Value::take) {
                Some(Value::Array(list)) => Ok(list.into_iter().filter_map(info).collect()),
                _ => Err(undecodable("the answer has no `data.lang_list`")),
            }
        };
        let listed = self.call(list).instrument(debug_span!("akool.languages")).await;
        listed.map_err(|error| error.scrubbed(&self.transport))
    }
}

/// An entry of the list; none without a code.
fn info(entry: Value) -> Option<LanguageInfo> {
    let Value::Object(mut entry) = entry else { return None };
    let text = |entry: &mut Map<String, Value>, name: &str| match entry.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    Some(LanguageInfo {
        language: text(&mut entry, "lang_code")?.into(),
        name: text(&mut entry, "lang_name").unwrap_or_default(),
        flag: text(&mut entry, "url"),
        needs_voice: entry.get("need_voice_id").and_then(Value::as_bool),
    })
}
