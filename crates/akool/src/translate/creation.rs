//! What became of a request to create: [`Creation`].

use std::fmt;

use akool_client::{Ending, Exchange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CreateError;
use crate::{
    BusinessCode, Error, JobId, Language, Status,
    decode::{self, integer, undecodable},
    redact,
};

/// What became of a request: jobs that were created, languages that were refused, and languages of
/// which the answer says nothing clear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Creation {
    jobs: Vec<CreatedJob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unclear: Vec<Language>,
}

/// A job that was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The job's id.
    pub id: JobId,
    /// Its target language, where the answer tells which of several it is.
    pub language: Option<Language>,
    /// Where it stands, where the answer says so.
    pub status: Option<Status>,
}

/// A language that was refused, while others may have been created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The language, where the answer tells which of several it is.
    pub language: Option<Language>,
    /// Why, as a number.
    pub code: BusinessCode,
    /// Why, in the service's words; may be empty.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language}: ")?,
            None => f.write_str("a language that the answer does not name: ")?,
        }
        write!(f, "the service answered with code {}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": \"{}\"", self.message)?;
        }
        Ok(())
    }
}

impl Creation {
    /// The jobs that were created: each was paid for.
    pub fn jobs(&self) -> &[CreatedJob] {
        &self.jobs
    }

    /// The languages that were refused: nothing was paid for them.
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// The languages of which the answer says neither that they were created nor that they were
    /// refused.
    pub fn unclear(&self) -> &[Language] {
        &self.unclear
    }

    /// Whether there is a job for every language that was asked for.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.unclear.is_empty()
    }

    /// Jobs, refusals and unclear languages.
    #[cfg(feature = "ledger")]
    pub(crate) fn into_parts(self) -> (Vec<CreatedJob>, Vec<Refusal>, Vec<Language>) {
        (self.jobs, self.refused, self.unclear)
    }

    #[cfg(all(test, feature = "ledger"))]
    pub(crate) fn from_parts(jobs: Vec<CreatedJob>, refused: Vec<Refusal>, unclear: Vec<Language>) -> Self {
        Self { jobs, refused, unclear }
    }

    /// An error where nothing was created and everything was refused.
    pub(super) fn or_refused(self) -> Result<Self, CreateError> {
        if self.jobs.is_empty() && self.unclear.is_empty() {
            return Err(CreateError::AllRefused(self.refused));
        }
        Ok(self)
    }
}

/// Reads an answer for what became of these languages. Leniently: an id that can be read is never
/// lost, whatever stands around it.
pub(super) fn read(asked: &[Language], exchange: &Exchange) -> Result<Creation, Error> {
    let whole = if exchange.ending == Ending::Complete { decode::parse(&exchange.body).ok() } else { None };
    let creation = whole.map(|answer| collect(asked, &answer)).unwrap_or_default();
    // Jobs may have been created though the envelope says otherwise: it counts for none of them.
    if !creation.jobs.is_empty() {
        return Ok(creation);
    }
    decode::opened(exchange)?;
    if creation.refused.len() >= asked.len() {
        return Ok(creation);
    }
    Err(undecodable("the answer has no job's id").with_http(exchange.status.as_u16(), None))
}

fn collect(asked: &[Language], answer: &Value) -> Creation {
    let mut creation = Creation::default();
    let results = answer.get("all_results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    // Without a language of its own, a result can be told by its place, where there are as many as
    // were asked for.
    let by_place = results.len() == asked.len();
    for (place, result) in results.iter().enumerate() {
        let data = result.get("data").and_then(Value::as_object);
        let named = data.and_then(|data| text(data, "language")).map(Language::from);
        let language =
            named.map(|name| asked_as(asked, name)).or_else(|| by_place.then(|| asked[place].clone()));
        let code = result.get("code").and_then(integer).map(BusinessCode);
        match (data.and_then(|data| text(data, "_id")), code) {
            (Some(id), _) => {
                let status = data.and_then(|data| integer(data.get("video_status")?)).map(Status::from);
                creation.jobs.push(CreatedJob { id: id.into(), language, status });
            }
            (None, Some(code)) if code != BusinessCode::SUCCESS => {
                let message = result.get("msg").and_then(Value::as_str).unwrap_or_default();
                creation.refused.push(Refusal { language, code, message: redact::excerpt(message.trim()) });
            }
            // Created, and its id is not told; or nothing that can be read: see `unclear`.
            (None, _) => {}
        }
    }
    if let Some(data) = answer.get("data").and_then(Value::as_object)
        && let Some(id) = text(data, "_id").map(JobId::from)
        && creation.jobs.iter().all(|job| job.id != id)
    {
        // The only job there is word of. Of several languages it may be any.
        let language = <[Language; 1]>::try_from(asked.to_vec()).ok().map(|[only]| only);
        let status = data.get("video_status").and_then(integer).map(Status::from);
        creation.jobs.push(CreatedJob { id, language, status });
    }
    let told = |language: &Language| {
        let created = creation.jobs.iter().filter_map(|job| job.language.as_ref());
        created
            .chain(creation.refused.iter().filter_map(|refusal| refusal.language.as_ref()))
            .any(|told| told == language)
    };
    // One result without a name for one language without a result: that is the one.
    let open: Vec<_> = asked.iter().filter(|language| !told(language)).cloned().collect();
    let nameless = creation.jobs.iter().filter(|job| job.language.is_none()).count()
        + creation.refused.iter().filter(|refusal| refusal.language.is_none()).count();
    match <[Language; 1]>::try_from(open) {
        Ok([only]) if nameless == 1 => {
            let jobs = creation.jobs.iter_mut().map(|job| &mut job.language);
            let refusals = creation.refused.iter_mut().map(|refusal| &mut refusal.language);
            if let Some(language) = jobs.chain(refusals).find(|language| language.is_none()) {
                *language = Some(only);
            }
        }
        Ok(open) => creation.unclear = open.into(),
        Err(open) => creation.unclear = open,
    }
    creation
}

/// A language as it was asked for, where the service writes it in other letters.
fn asked_as(asked: &[Language], named: Language) -> Language {
    asked.iter().find(|asked| asked.code().eq_ignore_ascii_case(named.code())).cloned().unwrap_or(named)
}

/// A text that is not empty; a number is one too.
fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    match members.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &Value) -> Exchange {
        let status = StatusCode::from_u16(status).unwrap();
        Exchange::new(status, HeaderMap::new(), body.to_string().into_bytes(), Ending::Complete)
    }

    fn asked(languages: &[&str]) -> Vec<Language> {
        languages.iter().map(|code| Language::from(*code)).collect()
    }

    /// Jobs, refusals and what is unclear, in a few letters.
    fn seen(languages: &[&str], body: Value) -> String {
        let creation = match read(&asked(languages), &answer(200, &body)) {
            Ok(creation) => creation,
            Err(error) => return error.cause().to_owned(),
        };
        let name = |language: &Option<Language>| language.as_ref().map_or("?".into(), ToString::to_string);
        let jobs: Vec<_> =
            creation.jobs.iter().map(|job| format!("{}={}", name(&job.language), job.id)).collect();
        let refused: Vec<_> = creation
            .refused
            .iter()
            .map(|refusal| format!("{}!{}", name(&refusal.language), refusal.code.0))
            .collect();
        let unclear: Vec<_> = creation.unclear.iter().map(|language| format!("{language}??")).collect();
        [jobs, refused, unclear].concat().join(" ")
    }

    #[test]
    fn each_language_is_told_apart() {
        let job = |id: &str, language: &str| json!({"code": 1000, "data": {"_id": id, "language": language}});
        let all = json!([job("1", "es"), {"code": 1006, "msg": "no"}, job("3", "JA")]);
        assert_eq!(
            seen(
                &["es", "fr", "ja"],
                json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}, "all_results": all})
            ),
            "es=1 ja=3 fr!1006"
        );
        assert_eq!(seen(&["es"], json!({"code": 1000, "data": {"_id": "1", "video_status": 1}})), "es=1");
        // In another order, and with one that nobody asked for.
        let all = json!([job("2", "fr"), job("1", "es"), job("9", "xx")]);
        assert_eq!(seen(&["es", "fr"], json!({"code": 1000, "all_results": all})), "fr=2 es=1 xx=9");
    }

    #[test]
    fn one_job_for_several_languages_may_be_any_of_them() {
        let body = json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}});
        assert_eq!(seen(&["es", "fr"], body), "?=1 es?? fr??");
    }

    #[test]
    fn no_id_that_can_be_read_is_lost() {
        for body in [
            json!({"code": 1000, "all_results": [{"data": {"_id": 17}}]}),
            json!({"code": "1000", "data": {"_id": "17", "video_status": "odd"}, "all_results": null}),
            json!({"data": {"_id": " 17 "}}),
            // An envelope that says no, around a job that is there.
            json!({"code": 1006, "msg": "no", "all_results": [{"code": 1006, "data": {"_id": "17"}}]}),
            json!({"code": 1000, "data": {"_id": "17"}, "all_results": [{"code": 1000, "data": {"_id": "17"}}]}),
        ] {
            assert_eq!(seen(&["es"], body.clone()), "es=17", "{body}");
        }
    }

    #[test]
    fn an_answer_without_an_id_is_an_error() {
        for body in [
            json!({"code": 1000, "msg": "OK"}),
            json!({"code": 1000, "data": {"_id": ""}}),
            json!({"code": 1000, "data": [], "all_results": [{"code": 1000, "data": {}}]}),
        ] {
            assert_eq!(seen(&["es"], body.clone()), "the answer has no job's id", "{body}");
        }
        assert!(seen(&["es"], json!({"code": 1006, "msg": "no"})).contains("1006"));
    }

    #[test]
    fn what_is_refused_as_a_whole_is_no_creation() {
        let all = json!([{"code": 1006, "msg": "no"}, {"code": 1003}]);
        let creation =
            read(&asked(&["es", "fr"]), &answer(200, &json!({"code": 1000, "all_results": all}))).unwrap();
        assert!(matches!(creation.or_refused(), Err(CreateError::AllRefused(refused)) if refused.len() == 2));
    }

    #[test]
    fn broken_answers_never_panic() {
        for body in ["", "[]", "null", "{\"all_results\": 3}", "{\"all_results\": [[], 1, null]}"] {
            let exchange =
                Exchange::new(StatusCode::OK, HeaderMap::new(), body.as_bytes().to_vec(), Ending::Complete);
            assert!(read(&asked(&["es", "fr"]), &exchange).is_err(), "{body}");
        }
    }
}
