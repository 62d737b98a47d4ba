//! From the reply to a creation to its result, by language.

use akool_client::types::{CreateTranslationResponse, CreatedTranslation, LanguageResult};

use crate::{
    account::Language,
    code::BusinessCode,
    error::Error,
    id::JobId,
    redact,
    response::{Decoded, Reply},
    snapshot,
    status::Status,
    translate::{
        created::{Created, CreatedJob, Rejection},
        error::{CreateError, NotCreated},
    },
};

/// Reads the reply to a request for these languages. An id that can be read is never lost, whatever else the response
/// says, and however the connection ended.
pub(super) fn read(
    requested: &[Language],
    reply: Reply<CreateTranslationResponse>,
) -> Result<Created, CreateError> {
    let created = reply.value.as_ref().map(|decoded| {
        let created = collect(requested, &decoded.value);
        let any = !created.jobs.is_empty() || decoded.value.all_results.iter().any(is_success);
        (created, any)
    });
    match (created, reply.error) {
        (Some((created, true)), _) => Ok(created),
        (Some((created, false)), None) if created.unknown.is_empty() && !created.rejected.is_empty() => {
            let first = &created.rejected[0];
            let error = Error::business(first.code, &first.message);
            Err(CreateError::NotCreated(NotCreated { rejected: created.rejected, error }))
        }
        (_, Some(error)) => Err(CreateError::of(error)),
        (_, None) => Err(CreateError::of(unclear(reply.value.as_ref()))),
    }
}

/// Why it is not known whether there is a job, although the envelope says success.
fn unclear(response: Option<&Decoded<CreateTranslationResponse>>) -> Error {
    let results = response.into_iter().flat_map(|decoded| &decoded.value.all_results);
    let failures = results.filter_map(|result| Some((BusinessCode(result.code?), result.msg.as_deref())));
    let mut failures = failures.filter(|(code, _)| *code != BusinessCode::SUCCESS && code.may_have_created());
    failures
        .next()
        .map(|(code, message)| Error::business(code, message.unwrap_or_default()))
        .unwrap_or_else(|| Error::undecodable("the response has no job id"))
}

fn is_success(result: &LanguageResult) -> bool {
    result.code == Some(BusinessCode::SUCCESS.0)
}

fn collect(requested: &[Language], response: &CreateTranslationResponse) -> Created {
    let mut created = Created::default();
    let results = &response.all_results;
    let named = |result: &LanguageResult| {
        let name = Language::from(text(result.data.as_ref()?.language.as_deref())?);
        Some(requested.iter().find(|requested| requested.is(&name)).cloned().unwrap_or(name))
    };
    // A result without a language is matched by its position, if there are as many results as languages, and if those
    // that have a language are in that order.
    let by_place = results.len() == requested.len()
        && results
            .iter()
            .zip(requested)
            .all(|(result, requested)| named(result).is_none_or(|language| language.is(requested)));
    for (place, result) in results.iter().enumerate() {
        let language = named(result).or_else(|| by_place.then(|| requested[place].clone()));
        let data = result.data.as_ref();
        match (data.and_then(|data| text(data.id.as_deref())), result.code.map(BusinessCode)) {
            (Some(id), _) => {
                // `data` beside the results may say more about the same job.
                let other = response.data.as_ref().filter(|other| text(other.id.as_deref()) == Some(id));
                let held = data.and_then(|data| data.deduction_lock_duration);
                let length = data.and_then(|data| data.video_lock_duration);
                created.jobs.push(CreatedJob {
                    id: id.into(),
                    language,
                    status: data.and_then(|data| data.video_status).map(Status::from),
                    credits_held: snapshot::credits(
                        held.or(other.and_then(|other| other.deduction_lock_duration)),
                    ),
                    video_length: snapshot::video_length(
                        length.or(other.and_then(|other| other.video_lock_duration)),
                    ),
                });
            }
            (None, Some(code)) if !code.may_have_created() => {
                let message = redact::excerpt(result.msg.as_deref().unwrap_or_default().trim());
                created.rejected.push(Rejection { language, code, message });
            }
            // Created without an id, not readable, or a code after which a job may exist: see `unknown`.
            (None, _) => {}
        }
    }
    name_the_only_nameless(&mut created, requested);
    created.unknown = without_result(&created, requested);
    if (!created.unknown.is_empty() || created.jobs.is_empty())
        && let Some(data) = &response.data
        && let Some(id) = text(data.id.as_deref()).map(JobId::from)
        && created.jobs.iter().all(|job| job.id != id)
    {
        // A job that the results do not list. It may be for any of several languages.
        let language = if let [only] = &created.unknown[..] { Some(only.clone()) } else { None };
        if language.is_some() {
            created.unknown.clear();
        }
        created.jobs.push(only_job(id, language, data));
    }
    // The results have any order.
    let place = |language: &Option<Language>| {
        let own = language.as_ref().and_then(|own| requested.iter().position(|requested| requested.is(own)));
        own.unwrap_or(usize::MAX)
    };
    created.jobs.sort_by_key(|job| place(&job.language));
    created.rejected.sort_by_key(|rejection| place(&rejection.language));
    created
}

/// The job of a response without a result for each language.
fn only_job(id: JobId, language: Option<Language>, data: &CreatedTranslation) -> CreatedJob {
    CreatedJob {
        id,
        language,
        status: data.video_status.map(Status::from),
        credits_held: snapshot::credits(data.deduction_lock_duration),
        video_length: snapshot::video_length(data.video_lock_duration),
    }
}

/// The requested languages that have neither a job nor a rejection.
fn without_result(created: &Created, requested: &[Language]) -> Vec<Language> {
    let jobs = created.jobs.iter().map(|job| &job.language);
    let rejections = created.rejected.iter().map(|rejection| &rejection.language);
    let named: Vec<_> = jobs.chain(rejections).flatten().collect();
    requested.iter().filter(|requested| !named.iter().any(|named| named.is(requested))).cloned().collect()
}

/// If one result has no language, and one language has no result, they belong together.
fn name_the_only_nameless(created: &mut Created, requested: &[Language]) {
    let Ok([only]) = <[Language; 1]>::try_from(without_result(created, requested)) else { return };
    let jobs = created.jobs.iter_mut().map(|job| &mut job.language);
    let rejections = created.rejected.iter_mut().map(|rejection| &mut rejection.language);
    let mut nameless = jobs.chain(rejections).filter(|language| language.is_none());
    if let (Some(language), None) = (nameless.next(), nameless.next()) {
        *language = Some(only);
    }
}

/// A text that is not blank.
fn text(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use akool_client::{BodyEnd, Received};
    use serde_json::{Value, json};

    use super::*;

    fn requested(languages: &[&str]) -> Vec<Language> {
        languages.iter().map(|code| Language::from(*code)).collect()
    }

    fn result(languages: &[&str], body: &str) -> Result<Created, CreateError> {
        let received = Received::new(reqwest::StatusCode::OK, body.to_owned(), BodyEnd::Complete);
        read(&requested(languages), Reply::lenient(&received))
    }

    /// Jobs, rejections and unknown languages in a few letters.
    fn shown(languages: &[&str], body: &Value) -> String {
        let created = match result(languages, &body.to_string()) {
            Ok(created) => created,
            Err(CreateError::OutcomeUnknown(error)) => return error.to_string(),
            Err(error) => return error.to_string(),
        };
        let name = |language: &Option<Language>| language.as_ref().map_or("?".into(), ToString::to_string);
        let jobs = created.jobs.iter().map(|job| format!("{}={}", name(&job.language), job.id));
        let rejected = created.rejected.iter().map(|one| format!("{}!{}", name(&one.language), one.code.0));
        let unknown = created.unknown.iter().map(|language| format!("{language}??"));
        jobs.chain(rejected).chain(unknown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_result_goes_to_its_language() {
        let job = |id: &str, language: &str| json!({"code": 1000, "data": {"_id": id, "language": language}});
        let all = json!([job("1", "es"), {"code": 1006, "msg": "no"}, job("3", "JA")]);
        let body = json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}, "all_results": all});
        assert_eq!(shown(&["es", "fr", "ja"], &body), "es=1 ja=3 fr!1006");
        let body = json!({"code": 1000, "data": {"_id": "1", "video_status": 1}});
        assert_eq!(shown(&["es"], &body), "es=1");
        // In another order, and with one that was not requested.
        let all = json!([job("2", "fr"), job("1", "es"), job("9", "xx")]);
        assert_eq!(shown(&["es", "fr"], &json!({"code": 1000, "all_results": all})), "es=1 fr=2 xx=9");
    }

    #[test]
    fn the_place_of_a_result_counts_only_if_no_name_contradicts_it() {
        let body = json!({"code": 1000, "all_results": [
            {"code": 1000, "data": {"_id": "2", "language": "fr"}}, {"code": 1006}]});
        assert_eq!(shown(&["es", "fr"], &body), "fr=2 es!1006");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(shown(&["es", "fr"], &body), "es=1 fr!1003");
        let body = json!({"code": 1000, "all_results": [
            {"code": 1003}, {"code": 1006}, {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(shown(&["es", "fr", "ja"], &body), "es=1 ?!1003 ?!1006 fr?? ja??");
    }

    #[test]
    fn what_is_held_is_read_for_each_job() {
        let held = |languages: &[&str], body: Value| -> Vec<_> {
            let jobs = result(languages, &body.to_string()).unwrap().jobs.into_iter();
            jobs.map(|job| (job.credits_held, job.video_length.map(|length| length.as_millis()))).collect()
        };
        let data = |id: &str| json!({"_id": id, "video_lock_duration": 16.44, "deduction_lock_duration": 4});
        assert_eq!(held(&["es"], json!({"code": 1000, "data": data("1")})), [(Some(4.0), Some(16_440))]);
        let all = json!([
            {"code": 1000, "data": {"_id": "1"}},
            {"code": 1000, "data": {"_id": "2", "video_lock_duration": 8, "deduction_lock_duration": 2.5}},
            {"code": 1000, "data": {"_id": "3", "video_lock_duration": -1, "deduction_lock_duration": -1}},
        ]);
        // Only the job that `data` names is also described by it.
        let body = json!({"code": 1000, "data": data("1"), "all_results": all});
        let expected = [(Some(4.0), Some(16_440)), (Some(2.5), Some(8000)), (None, None)];
        assert_eq!(held(&["es", "fr", "ja"], body), expected);
        let odd = json!({"code": 1000, "data": {"_id": "1", "deduction_lock_duration": "4"}});
        assert_eq!(held(&["es"], odd), [(Some(4.0), None)]);
    }

    #[test]
    fn an_unreadable_result_keeps_the_places_of_the_others() {
        let body = json!({"code": 1000, "all_results": [[], {"code": 1000, "data": {"_id": "2"}}]});
        assert_eq!(shown(&["es", "fr"], &body), "fr=2 es??");
    }

    #[test]
    fn a_job_that_the_results_do_not_list_is_kept() {
        let results = json!([{"code": 1000, "data": {"_id": "1", "language": "es"}}]);
        for (id, wanted) in [("2", "es=1 fr=2"), ("1", "es=1 fr??")] {
            let body = json!({"code": 1000, "data": {"_id": id}, "all_results": results});
            assert_eq!(shown(&["es", "fr"], &body), wanted);
        }
    }

    #[test]
    fn a_success_without_an_id_is_unknown_whatever_the_envelope_says() {
        for code in [1000, 1006] {
            let body = json!({"code": code, "all_results": [
                {"code": 1003, "data": {"language": "es"}}, {"code": 1000, "data": {"language": "fr"}}]});
            assert_eq!(shown(&["es", "fr"], &body), "es!1003 fr??");
        }
    }

    #[test]
    fn data_next_to_a_result_for_every_language_is_not_another_job() {
        let body = json!({"code": 1000, "data": {"_id": "batch"}, "all_results": [
            {"code": 1000, "data": {"_id": "1", "language": "es"}}]});
        assert_eq!(shown(&["es"], &body), "es=1");
    }

    #[test]
    fn one_job_for_several_languages_may_be_for_any_of_them() {
        let body = json!({"code": 1000, "msg": "OK", "data": {"_id": "1"}});
        assert_eq!(shown(&["es", "fr"], &body), "?=1 es?? fr??");
    }

    #[test]
    fn an_id_that_can_be_read_is_never_lost() {
        for body in [
            json!({"code": 1000, "all_results": [{"data": {"_id": 17}}]}),
            json!({"code": "1000", "data": {"_id": "17", "video_status": "odd"}, "all_results": null}),
            json!({"data": {"_id": " 17 "}}),
            // An envelope that says no, around a job that exists.
            json!({"code": 1006, "msg": "no", "all_results": [{"code": 1006, "data": {"_id": "17"}}]}),
            json!({"code": 1000, "data": {"_id": "17"}, "all_results": [{"code": 1000, "data": {"_id": "17"}}]}),
        ] {
            assert_eq!(shown(&["es"], &body), "es=17", "{body}");
        }
    }

    #[test]
    fn a_response_without_an_id_leaves_the_outcome_unknown() {
        for body in [
            json!({"code": 1000, "msg": "OK"}),
            json!({"code": 1000, "data": {"_id": ""}}),
            json!({"code": 1000, "data": [], "all_results": []}),
        ] {
            assert_eq!(shown(&["es"], &body), "the response has no job id", "{body}");
        }
        assert!(shown(&["es"], &json!({"code": 1006, "msg": "no"})).contains("1006"));
    }

    #[test]
    fn if_every_language_is_rejected_nothing_was_created() {
        let all = json!([{"code": 1006, "msg": "no"}, {"code": 1003}]);
        let body = json!({"code": 1000, "all_results": all}).to_string();
        let Err(CreateError::NotCreated(not_created)) = result(&["es", "fr"], &body) else { panic!() };
        assert_eq!(not_created.rejected.len(), 2);
        assert_eq!(not_created.rejected[1].language, Some("fr".into()));
        assert_eq!(not_created.error.code(), Some(BusinessCode(1006)));
    }

    #[test]
    fn rejections_of_other_languages_leave_the_outcome_unknown() {
        for all in [
            json!([{"code": 1003, "data": {"language": "es"}}, {"code": 1006, "data": {"language": "es"}}]),
            json!([{"code": 1003, "data": {"language": "xx"}}, {"code": 1006, "data": {"language": "yy"}}]),
        ] {
            let body = json!({"code": 1000, "all_results": all});
            assert_eq!(shown(&["es", "fr"], &body), "the response has no job id", "{body}");
        }
    }

    #[test]
    fn a_code_after_which_a_job_may_exist_is_not_a_rejection() {
        for code in [1015, 1205, 1299] {
            let failed = json!({"code": code, "msg": "odd", "data": {"language": "fr"}});
            let job = json!({"code": 1000, "data": {"_id": "1", "language": "es"}});
            assert_eq!(
                shown(&["es", "fr"], &json!({"code": 1000, "all_results": [job, failed]})),
                "es=1 fr??"
            );
            let error =
                result(&["fr"], &json!({"code": 1000, "all_results": [failed]}).to_string()).unwrap_err();
            assert!(
                matches!(&error, CreateError::OutcomeUnknown(error) if error.code() == Some(BusinessCode(code)))
            );
        }
    }

    #[test]
    fn an_id_next_to_a_rejection_is_kept() {
        let body = json!({"code": 1000, "data": {"_id": "17"}, "all_results": [{"code": 1006}]});
        assert_eq!(shown(&["es"], &body), "?=17 es!1006");
    }

    #[test]
    fn ids_in_a_body_that_broke_off_are_kept() {
        let whole = r#"{"code":1000,"all_results":[{"code":1000,"data":{"_id":"1","language":"es"}},{"code":1000,"da"#;
        let received =
            Received::new(reqwest::StatusCode::OK, whole, BodyEnd::TooLarge { limit: whole.len() });
        let created = read(&requested(&["es", "fr"]), Reply::lenient(&received)).unwrap();
        assert_eq!((created.jobs.len(), created.unknown), (1, vec![Language::from("fr")]));
    }

    #[test]
    fn broken_responses_are_errors() {
        for body in ["", "[]", "null", "{\"all_results\": 3}", "{\"all_results\": [[], 1, null]}"] {
            assert!(result(&["es", "fr"], body).is_err(), "{body}");
        }
    }
}
