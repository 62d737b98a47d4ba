//! What became of a request to create: [`Creation`].

use std::fmt;

use akool_client::Exchange;
use serde_json::{Map, Value};

use super::CreateError;
use crate::{
    BusinessCode, Error, JobId, Language, Status,
    decode::{self, integer, undecodable},
    redact,
};

/// What became of a request: jobs that were created, languages that were refused, and languages of
/// which the answer says nothing clear.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Creation {
    jobs: Vec<CreatedJob>,
    refused: Vec<Refusal>,
    unclear: Vec<Language>,
}

/// A job that was created.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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

impl CreatedJob {
    /// A job of which nothing but its id is known.
    pub fn new(id: impl Into<JobId>) -> Self {
        Self { id: id.into(), language: None, status: None }
    }
}

impl Refusal {
    /// A refusal of a language that the answer does not name.
    pub fn new(code: BusinessCode, message: impl Into<String>) -> Self {
        Self { language: None, code, message: message.into() }
    }
}

impl Creation {
    /// What became of a request, made by hand: for tests of a ledger.
    pub fn new(jobs: Vec<CreatedJob>, refused: Vec<Refusal>, unclear: Vec<Language>) -> Self {
        Self { jobs, refused, unclear }
    }

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

    /// An error where nothing was created and everything was refused.
    pub(super) fn or_rejected(self) -> Result<Self, CreateError> {
        if self.jobs.is_empty() && self.unclear.is_empty() {
            return Err(CreateError::AllRefused(self.refused));
        }
        Ok(self)
    }
}

/// Reads an answer for what became of these languages. Leniently: an id that can be read is never
/// lost, whatever stands around it, and however the connection ended.
pub(super) fn read(asked: &[Language], exchange: &Exchange) -> Result<Creation, Error> {
    if let Some(creation) = salvage(asked, exchange) {
        return Ok(creation);
    }
    decode::opened(exchange)?;
    let whole = decode::parse(&exchange.body).unwrap_or_default();
    let creation = collect(asked, &whole);
    if creation.refused.len() >= asked.len() {
        return Ok(creation);
    }
    Err(undecodable("the answer has no job's id").with_http(exchange.status.as_u16(), None))
}

/// What an answer says of jobs that were created, whatever else it says. `None` where it says nothing
/// of any.
pub(super) fn salvage(asked: &[Language], exchange: &Exchange) -> Option<Creation> {
    let whole = decode::parse(&exchange.body).ok()?;
    let results = whole.get("all_results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let created = |result: &Value| result.get("code").and_then(integer) == Some(BusinessCode::SUCCESS.0);
    let creation = collect(asked, &whole);
    (!creation.jobs.is_empty() || results.iter().any(created)).then_some(creation)
}

fn collect(asked: &[Language], answer: &Value) -> Creation {
    let mut creation = Creation::default();
    let results = answer.get("all_results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let named = |result: &Value| {
        let name = text(result.get("data")?.as_object()?, "language").map(Language::from)?;
        Some(asked.iter().find(|asked| asked.is(&name)).cloned().unwrap_or(name))
    };
    // Without a language of its own, a result can be told by its place, where there are as many as
    // were asked for, and those that have one are in that order.
    let by_place = results.len() == asked.len()
        && results
            .iter()
            .zip(asked)
            .all(|(result, asked)| named(result).is_none_or(|language| language.is(asked)));
    for (place, result) in results.iter().enumerate() {
        let data = result.get("data").and_then(Value::as_object);
        let language = named(result).or_else(|| by_place.then(|| asked[place].clone()));
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
    let open = |creation: &Creation| -> Vec<Language> {
        let jobs = creation.jobs.iter().map(|job| &job.language);
        let told: Vec<_> =
            jobs.chain(creation.refused.iter().map(|refusal| &refusal.language)).flatten().collect();
        asked.iter().filter(|asked| !told.iter().any(|told| told.is(asked))).cloned().collect()
    };
    // One result without a name for one language without a result: that is the one.
    let nameless = creation.jobs.iter().filter(|job| job.language.is_none()).count()
        + creation.refused.iter().filter(|refusal| refusal.language.is_none()).count();
    if let (1, Ok([only])) = (nameless, <[Language; 1]>::try_from(open(&creation))) {
        let jobs = creation.jobs.iter_mut().map(|job| &mut job.language);
        let refusals = creation.refused.iter_mut().map(|refusal| &mut refusal.language);
        if let Some(language) = jobs.chain(refusals).find(|language| language.is_none()) {
            *language = Some(only);
        }
    }
    let mut unclear = open(&creation);
    if !unclear.is_empty()
        && let Some(data) = answer.get("data").and_then(Value::as_object)
        && let Some(id) = text(data, "_id").map(JobId::from)
        && creation.jobs.iter().all(|job| job.id != id)
    {
        // A job of which the results say nothing. Of several languages it may be any.
        let language = if let [only] = &unclear[..] { Some(only.clone()) } else { None };
        let status = data.get("video_status").and_then(integer).map(Status::from);
        if language.is_some() {
            unclear.clear();
        }
        creation.jobs.push(CreatedJob { id, language, status });
    }
    creation.unclear = unclear;
    creation
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
    use akool_client::Ending;
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
    fn places_count_only_where_no_name_says_otherwise() {
        let body = json!({"code": 1000, "all_results": [
            {"code": 1000, "data": {"_id": "2", "language": "fr"}}, {"code": 1006}]});
        assert_eq!(seen(&["es", "fr"], body), "fr=2 es!1006");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(seen(&["es", "fr"], body), "es=1 fr!1003");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1006}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(seen(&["es", "fr", "ja"], body), "es=1 ?!1003 ?!1006 fr?? ja??");
    }

    #[test]
    fn a_success_without_an_id_is_unclear_whatever_the_envelope_says() {
        for code in [1000, 1006] {
            let body = json!({"code": code, "all_results": [
                {"code": 1003, "data": {"language": "es"}}, {"code": 1000, "data": {"language": "fr"}}]});
            assert_eq!(seen(&["es", "fr"], body), "es!1003 fr??");
        }
    }

    #[test]
    fn data_beside_a_result_for_every_language_is_no_further_job() {
        let body = json!({"code": 1000, "data": {"_id": "batch"}, "all_results": [
            {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(seen(&["es"], body), "es=1");
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
            json!({"code": 1000, "data": [], "all_results": []}),
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
        assert!(
            matches!(creation.or_rejected(), Err(CreateError::AllRefused(refused)) if refused.len() == 2)
        );
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
