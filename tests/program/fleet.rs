//! `--fleet` without a fleet: what is refused, and what happens if nobody answers. `tests/fleet/program.py` runs the program on
//! a real one.

use std::process::Output;

use crate::support::{akool, code, stderr};

const URL: &str = "http://127.0.0.1:1";
const TRANSLATE: [&str; 4] = ["translate", "https://example.com/talk.mp4", "--to", "es"];

fn run(args: &[&str], more: &[&str]) -> Output {
    akool(&[args, more].concat()).output().unwrap()
}

fn refused(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(code(output), 2, "{text}");
    text
}

#[test]
fn the_other_commands_refuse_a_fleet() {
    for command in [["languages"], ["credits"], ["auth"]] {
        let text = refused(&run(&command, &["--fleet", URL]));
        assert!(
            text.contains("--fleet works with translate, wait, jobs and status only"),
            "{command:?}: {text}"
        );
        // The variable is not about them.
        let output = akool(&["--sandbox", command[0]]).env("AKOOL_FLEET", URL).output().unwrap();
        assert_eq!(code(&output), 0, "{command:?}: {}", stderr(&output));
    }
}

#[cfg(not(feature = "fleet"))]
#[test]
fn a_program_without_the_feature_does_not_work_on_this_machine_instead() {
    for command in [&TRANSLATE[..], &["wait", "a"], &["jobs"], &["status", "a"]] {
        let text = refused(&run(command, &["--fleet", URL]));
        assert!(text.contains("--fleet is set") && text.contains("--features fleet"), "{command:?}: {text}");
        let output = akool(command).env("AKOOL_FLEET", URL).output().unwrap();
        assert!(refused(&output).contains("AKOOL_FLEET is set"), "{command:?}");
    }
    // An empty variable counts as not set.
    let output = akool(&["--sandbox", "jobs"]).env("AKOOL_FLEET", "").output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[cfg(feature = "fleet")]
mod with_the_feature {
    use super::*;
    use crate::support::objects;

    /// An option, and its value if it has one.
    type Set = (&'static str, &'static [&'static str]);

    #[test]
    fn every_option_that_a_fleet_cannot_honour_is_refused_by_its_name() {
        let global: [Set; 4] = [
            ("--sandbox", &[]),
            ("--base-url", &["http://127.0.0.1:1"]),
            ("--api-key-file", &["key"]),
            ("--ledger", &["ledger.db"]),
        ];
        let translate: [Set; 9] = [
            ("--max-credits", &["5"]),
            ("--reserve", &["5"]),
            ("--dry-run", &[]),
            ("--stage", &["s3://bucket/prefix"]),
            ("--keep-staged", &[]),
            ("--link-lifetime", &["1h"]),
            ("--strict-limits", &[]),
            ("--on-complete", &["true"]),
            ("--max-polls-per-second", &["5"]),
        ];
        let wait: [Set; 3] =
            [("--on-complete", &["true"]), ("--max-polls-per-second", &["5"]), ("--max-failures", &["3"])];
        let jobs: [Set; 5] =
            [("--refresh", &[]), ("--expiring", &[]), ("--costs", &[]), ("--all", &[]), ("--staged", &[])];
        let status: [Set; 0] = [];
        let commands: [(&[&str], &[Set]); 4] = [
            (&TRANSLATE, &translate),
            (&["wait", "a"], &wait),
            (&["jobs"], &jobs),
            (&["status", "a"], &status),
        ];
        for (command, own) in commands {
            for (name, value) in global.iter().chain(own) {
                let option = [&[*name], *value].concat();
                let text = refused(&run(command, &[&option[..], &["--fleet", URL]].concat()));
                let message = format!("{name} does not work on a fleet");
                assert!(text.contains(&message), "{command:?}: {text}");
                assert!(text.contains(&format!("remove {name}, or --fleet")), "{command:?}: {text}");
                let output = akool(&[command, &option].concat()).env("AKOOL_FLEET", URL).output().unwrap();
                assert!(refused(&output).contains(&message), "{command:?} {name}");
            }
        }
    }

    #[test]
    fn a_fleet_that_does_not_answer_is_reported_at_once() {
        for command in [&TRANSLATE[..], &["wait", "a"], &["wait", "--pending"], &["jobs"], &["status", "a"]] {
            let output = run(command, &["--fleet", URL, "--json"]);
            assert_eq!(code(&output), 6, "{command:?}: {}", stderr(&output));
            let error = objects(&output).remove(0);
            assert_eq!((&error["event"], &error["kind"]), (&"error".into(), &"connect".into()), "{error}");
            assert!(error["help"].as_str().unwrap().contains("AKOOL_FLEET"), "{error}");
        }
    }

    #[test]
    fn an_address_that_is_not_one_is_named() {
        for (given, wanted) in
            [("restate", "\"restate\""), ("unix:/x", "\"unix:/x\""), ("http://a,b", "\"b\"")]
        {
            let text = refused(&run(&["jobs"], &["--fleet", given]));
            assert!(text.contains("is not the address of an ingress") && text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn a_worker_refuses_a_place_for_files_that_it_cannot_use() {
        for (place, why) in [("/proc/nope", "cannot write to /proc/nope"), ("gs3://b", "not that of a store")]
        {
            let listen = ["--listen", "127.0.0.1:0", "--sandbox"];
            let text = refused(&run(&["fleet", "worker", "--output", place], &listen));
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn files_of_this_machine_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("talk.mp4");
        std::fs::write(&file, "x").unwrap();
        let mut command = akool(&["translate", file.to_str().unwrap(), "--to", "es", "--fleet", URL]);
        let output = command.env("AKOOL_STAGE", "s3://bucket/prefix").output().unwrap();
        let text = refused(&output);
        assert!(text.contains("a fleet does not upload files of this machine"), "{text}");
    }
}
