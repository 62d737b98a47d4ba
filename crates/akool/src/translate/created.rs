//! What a response to a creation says: [`Created`].

use std::fmt;

use akool_client::Exchange;
use serde_json::{Map, Value};

use super::CreateError;
use crate::{
    BusinessCode, Error, JobId, Language, Status,
    decode::{self, integer, undecodable},
    redact,
};

/// The result of [`Translate::send`](crate::Translate::send): the created jobs, and the languages for
/// which there is none.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Created {
    /// The jobs that were created. Each of them was paid for.
    pub jobs: Vec<CreatedJob>,
    /// The languages that the service rejected. Nothing was paid for them.
    pub rejected: Vec<Rejection>,
    /// The languages about which the response says neither that a job was created nor that they were
    /// rejected. Jobs may exist for them.
    pub unknown: Vec<Language>,
}

/// A job that was created.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The id of the job.
    pub id: JobId,
    /// The target language. `None` if the response does not say which of several it is.
    pub language: Option<Language>,
    /// The status of the job, if the response has it.
    pub status: Option<Status>,
}

/// A language that the service rejected, while it may have created jobs for others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rejection {
    /// The language. `None` if the response does not say which of several it is.
    pub language: Option<Language>,
    /// The reason, as a code.
    pub code: BusinessCode,
    /// The reason in the service's words. May be empty.
    pub message: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language}: ")?,
            None => f.write_str("a language that the response does not name: ")?,
        }
        write!(f, "the service answered with code {}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": \"{}\"", self.message)?;
        }
        Ok(())
    }
}

impl CreatedJob {
    /// Creates a job with nothing but its id.
    pub fn new(id: impl Into<JobId>) -> Self {
        Self { id: id.into(), language: None, status: None }
    }
}

impl Rejection {
    /// Creates a rejection of a language that the response does not name.
    pub fn new(code: BusinessCode, message: impl Into<String>) -> Self {
        Self { language: None, code, message: message.into() }
    }
}

impl Created {
    /// Creates a result by hand, for tests.
    pub fn new(jobs: Vec<CreatedJob>, rejected: Vec<Rejection>, unknown: Vec<Language>) -> Self {
        Self { jobs, rejected, unknown }
    }

    /// Returns whether there is a job for every requested language.
    pub fn is_complete(&self) -> bool {
        self.rejected.is_empty() && self.unknown.is_empty()
    }

    /// Returns an error if every language was rejected.
    pub(super) fn or_rejected(self) -> Result<Self, CreateError> {
        if self.jobs.is_empty() && self.unknown.is_empty() {
            return Err(CreateError::AllRejected(self.rejected));
        }
        Ok(self)
    }
}

/// Reads a response to a request for these languages. An id that can be read is never lost, whatever
/// else the response contains, and however the connection ended.
pub(super) fn read(requested: &[Language], exchange: &Exchange) -> Result<Created, Error> {
    if let Some(created) = salvage(requested, exchange) {
        return Ok(created);
    }
    decode::opened(exchange)?;
    let response = decode::parse(&exchange.body).unwrap_or_default();
    let created = collect(requested, &response);
    if created.rejected.len() >= requested.len() {
        return Ok(created);
    }
    Err(undecodable("the response has no job id").with_http(exchange.status.as_u16(), None))
}

/// Reads the created jobs from a response that may be incomplete or an error otherwise. Returns `None`
/// if it says nothing about a created job.
pub(super) fn salvage(requested: &[Language], exchange: &Exchange) -> Option<Created> {
    let response = decode::parse(&exchange.body).ok()?;
    let succeeded = |result: &Value| result.get("code").and_then(integer) == Some(BusinessCode::SUCCESS.0);
    let created = collect(requested, &response);
    (!created.jobs.is_empty() || results(&response).iter().any(succeeded)).then_some(created)
}

fn results(response: &Value) -> &[Value] {
    response.get("all_results").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn collect(requested: &[Language], response: &Value) -> Created {
    let mut created = Created::default();
    let results = results(response);
    let named = |result: &Value| {
        let name = text(result.get("data")?.as_object()?, "language").map(Language::from)?;
        Some(requested.iter().find(|language| language.is(&name)).cloned().unwrap_or(name))
    };
    // The position of a result without a language identifies it only if there is one result for each
    // requested language, and those with a language are in the requested order.
    let in_order = results.len() == requested.len()
        && results
            .iter()
            .zip(requested)
            .all(|(result, language)| named(result).is_none_or(|name| name.is(language)));
    for (position, result) in results.iter().enumerate() {
        let data = result.get("data").and_then(Value::as_object);
        let language = named(result).or_else(|| in_order.then(|| requested[position].clone()));
        let code = result.get("code").and_then(integer).map(BusinessCode);
        match (data.and_then(|data| text(data, "_id")), code) {
            (Some(id), _) => {
                let status = data.and_then(|data| integer(data.get("video_status")?)).map(Status::from);
                created.jobs.push(CreatedJob { id: id.into(), language, status });
            }
            (None, Some(code)) if code != BusinessCode::SUCCESS => {
                let message = result.get("msg").and_then(Value::as_str).unwrap_or_default();
                created.rejected.push(Rejection { language, code, message: redact::excerpt(message.trim()) });
            }
            // A success without an id, or an unreadable result: the language stays in `unknown`.
            (None, _) => {}
        }
    }
    // If one result has no language and one language has no result, they belong together.
    let nameless = created.jobs.iter().filter(|job| job.language.is_none()).count()
        + created.rejected.iter().filter(|rejection| rejection.language.is_none()).count();
    if let (1, Ok([only])) = (nameless, <[Language; 1]>::try_from(without_result(requested, &created))) {
        let jobs = created.jobs.iter_mut().map(|job| &mut job.language);
        let rejected = created.rejected.iter_mut().map(|rejection| &mut rejection.language);
        if let Some(language) = jobs.chain(rejected).find(|language| language.is_none()) {
            *language = Some(only);
        }
    }
    let mut unknown = without_result(requested, &created);
    if !unknown.is_empty()
        && let Some(data) = response.get("data").and_then(Value::as_object)
        && let Some(id) = text(data, "_id").map(JobId::from)
        && created.jobs.iter().all(|job| job.id != id)
    {
        // A job that the results do not mention. If several languages have no result, it may be any.
        let language = if let [only] = &unknown[..] { Some(only.clone()) } else { None };
        let status = data.get("video_status").and_then(integer).map(Status::from);
        if language.is_some() {
            unknown.clear();
        }
        created.jobs.push(CreatedJob { id, language, status });
    }
    created.unknown = unknown;
    created
}

/// Returns the requested languages for which there is neither a job nor a rejection.
fn without_result(requested: &[Language], created: &Created) -> Vec<Language> {
    let jobs = created.jobs.iter().map(|job| &job.language);
    let rejected = created.rejected.iter().map(|rejection| &rejection.language);
    let known: Vec<_> = jobs.chain(rejected).flatten().collect();
    requested.iter().filter(|language| !known.iter().any(|known| known.is(language))).cloned().collect()
}

/// Returns a string that is not empty, or a number as text.
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

    fn response(status: u16, body: &Value) -> Exchange {
        let status = StatusCode::from_u16(status).unwrap();
        Exchange::new(status, HeaderMap::new(), body.to_string().into_bytes(), Ending::Complete)
    }

    fn requested(languages: &[&str]) -> Vec<Language> {
        languages.iter().map(|code| Language::from(*code)).collect()
    }

    /// Abbreviates the result: `es=1` is a job, `es!1006` a rejection, and `es??` an unknown language.
    fn abbreviated(languages: &[&str], body: Value) -> String {
        let created = match read(&requested(languages), &response(200, &body)) {
            Ok(created) => created,
            Err(error) => return error.cause().to_owned(),
        };
        let name = |language: &Option<Language>| language.as_ref().map_or("?".into(), ToString::to_string);
        let jobs: Vec<_> =
            created.jobs.iter().map(|job| format!("{}={}", name(&job.language), job.id)).collect();
        let rejected: Vec<_> = created
            .rejected
            .iter()
            .map(|rejection| format!("{}!{}", name(&rejection.language), rejection.code.0))
            .collect();
        let unknown: Vec<_> = created.unknown.iter().map(|language| format!("{language}??")).collect();
        [jobs, rejected, unknown].concat().join(" ")
    }

    #[test]
    fn each_language_gets_its_own_result() {
        let job = |id: &str, language: &str| json!({"code": 1000, "data": {"_id": id, "language": language}});
        let all = json!([job("1", "es"), {"code": 1006, "msg": "no"}, job("3", "JA")]);
        assert_eq!(
            abbreviated(
                &["es", "fr", "ja"],
                json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}, "all_results": all})
            ),
            "es=1 ja=3 fr!1006"
        );
        assert_eq!(
            abbreviated(&["es"], json!({"code": 1000, "data": {"_id": "1", "video_status": 1}})),
            "es=1"
        );
        // In another order, and with a language that was not requested.
        let all = json!([job("2", "fr"), job("1", "es"), job("9", "xx")]);
        assert_eq!(abbreviated(&["es", "fr"], json!({"code": 1000, "all_results": all})), "fr=2 es=1 xx=9");
    }

    #[test]
    fn positions_identify_results_only_if_names_do_not_contradict_them() {
        let body = json!({"code": 1000, "all_results": [
            {"code": 1000, "data": {"_id": "2", "language": "fr"}}, {"code": 1006}]});
        assert_eq!(abbreviated(&["es", "fr"], body), "fr=2 es!1006");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(abbreviated(&["es", "fr"], body), "es=1 fr!1003");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1006}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(abbreviated(&["es", "fr", "ja"], body), "es=1 ?!1003 ?!1006 fr?? ja??");
    }

    #[test]
    fn a_success_without_an_id_is_unknown_whatever_the_envelope_says() {
        for code in [1000, 1006] {
            let body = json!({"code": code, "all_results": [
                {"code": 1003, "data": {"language": "es"}}, {"code": 1000, "data": {"language": "fr"}}]});
            assert_eq!(abbreviated(&["es", "fr"], body), "es!1003 fr??");
        }
    }

    #[test]
    fn data_beside_a_result_for_every_language_is_not_another_job() {
        let body = json!({"code": 1000, "data": {"_id": "batch"}, "all_results": [
            {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(abbreviated(&["es"], body), "es=1");
    }

    #[test]
    fn one_job_for_several_languages_has_no_language() {
        let body = json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}});
        assert_eq!(abbreviated(&["es", "fr"], body), "?=1 es?? fr??");
    }

    #[test]
    fn every_readable_id_is_kept() {
        for body in [
            json!({"code": 1000, "all_results": [{"data": {"_id": 17}}]}),
            json!({"code": "1000", "data": {"_id": "17", "video_status": "odd"}, "all_results": null}),
            json!({"data": {"_id": " 17 "}}),
            // A rejecting envelope around a job that exists.
            json!({"code": 1006, "msg": "no", "all_results": [{"code": 1006, "data": {"_id": "17"}}]}),
            json!({"code": 1000, "data": {"_id": "17"}, "all_results": [{"code": 1000, "data": {"_id": "17"}}]}),
        ] {
            assert_eq!(abbreviated(&["es"], body.clone()), "es=17", "{body}");
        }
    }

    #[test]
    fn a_response_without_an_id_is_an_error() {
        for body in [
            json!({"code": 1000, "msg": "OK"}),
            json!({"code": 1000, "data": {"_id": ""}}),
            json!({"code": 1000, "data": [], "all_results": []}),
        ] {
            assert_eq!(abbreviated(&["es"], body.clone()), "the response has no job id", "{body}");
        }
        assert!(abbreviated(&["es"], json!({"code": 1006, "msg": "no"})).contains("1006"));
    }

    #[test]
    fn a_response_that_rejects_every_language_is_an_error() {
        let all = json!([{"code": 1006, "msg": "no"}, {"code": 1003}]);
        let created =
            read(&requested(&["es", "fr"]), &response(200, &json!({"code": 1000, "all_results": all})))
                .unwrap();
        assert!(
            matches!(created.or_rejected(), Err(CreateError::AllRejected(rejected)) if rejected.len() == 2)
        );
    }

    #[test]
    fn malformed_responses_never_panic() {
        for body in ["", "[]", "null", "{\"all_results\": 3}", "{\"all_results\": [[], 1, null]}"] {
            let exchange =
                Exchange::new(StatusCode::OK, HeaderMap::new(), body.as_bytes().to_vec(), Ending::Complete);
            assert!(read(&requested(&["es", "fr"]), &exchange).is_err(), "{body}");
        }
    }
}
