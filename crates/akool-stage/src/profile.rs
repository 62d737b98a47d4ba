//! Profiles of AWS's command line, which the store's library does not read: [`Profile`] has the keys, the region and the
//! endpoint of one. Profiles that get their credentials in another way are refused with the command that exports them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use configparser::ini::Ini;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Sources of credentials in the environment that take precedence over the files.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
/// What a profile has that gets its credentials in a way that is not supported here.
const UNSUPPORTED: [&str; 5] =
    ["sso_session", "sso_start_url", "role_arn", "credential_process", "web_identity_token_file"];

/// The settings of a profile.
#[derive(Default)]
pub(crate) struct Profile {
    name: String,
    values: Vec<(String, String)>,
    has_credentials: bool,
}

impl Profile {
    /// Reads the profile of the environment, or the default one. `None` if there is none.
    ///
    /// # Errors
    /// If a file cannot be read, or has no such profile, as a message.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let file = |name: &str, default: &str| match variable(name) {
            Some(path) => Some(PathBuf::from(path)),
            None => env::home_dir().map(|home| home.join(".aws").join(default)),
        };
        let named = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        let (credentials, config) =
            (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config"));
        let profile = from_files(credentials.as_deref(), config.as_deref(), named.as_deref())?;
        Ok(profile.map(|profile| Self {
            has_credentials: CREDENTIALS.iter().any(|name| variable(name).is_some()),
            ..profile
        }))
    }

    /// Sets what the environment does not set.
    ///
    /// # Errors
    /// If the profile gets its credentials in a way that is not supported, as a message.
    pub(crate) fn apply(self, mut builder: AmazonS3Builder) -> Result<AmazonS3Builder, String> {
        use AmazonS3ConfigKey::{
            AccessKeyId, DefaultRegion, Endpoint, Region, S3Endpoint, SecretAccessKey, Token,
        };
        let is_set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
        if !self.has_credentials {
            let (key, secret) = (self.get("aws_access_key_id"), self.get("aws_secret_access_key"));
            if let (Some(key), Some(secret)) = (key, secret) {
                builder = builder.with_config(AccessKeyId, key).with_config(SecretAccessKey, secret);
                if let Some(token) = self.get("aws_session_token") {
                    builder = builder.with_config(Token, token);
                }
            } else if let Some(way) = UNSUPPORTED.iter().find(|way| self.get(way).is_some()) {
                let name = &self.name;
                return Err(format!(
                    "the profile {name} gets its credentials by {way}, which is not supported; set them with: \
                     eval \"$(aws configure export-credentials --profile {name} --format env)\""
                ));
            }
        }
        if let Some(region) =
            self.get("region").filter(|_| !is_set(&builder, Region) && !is_set(&builder, DefaultRegion))
        {
            builder = builder.with_config(Region, region);
        }
        if let Some(url) =
            self.get("endpoint_url").filter(|_| !is_set(&builder, Endpoint) && !is_set(&builder, S3Endpoint))
        {
            builder = builder.with_config(Endpoint, url);
        }
        Ok(builder)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The profile in these files. What is in both comes from the first.
fn from_files(
    credentials: Option<&Path>,
    config: Option<&Path>,
    named: Option<&str>,
) -> Result<Option<Profile>, String> {
    let name = named.unwrap_or("default");
    let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
    let section = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    let mut is_found = false;
    for (path, section) in [(credentials, name), (config, section.as_str())] {
        let Some(path) = path.filter(|path| path.is_file()) else { continue };
        let text =
            fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut ini = Ini::new_cs();
        // Keys may contain the characters that begin comments.
        ini.set_inline_comment_symbols(Some(&[]));
        // Its errors have the line, and not the text, which is secret.
        let mut sections =
            ini.read(text).map_err(|error| format!("{} is not valid: {error}", path.display()))?;
        let Some(values) = sections.remove(section) else { continue };
        is_found = true;
        profile.values.extend(values.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    match named {
        Some(name) if !is_found => {
            Err(format!("there is no profile {name} in the files of AWS's command line"))
        }
        _ => Ok(is_found.then_some(profile)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(credentials: &str, config: &str, named: Option<&str>) -> Result<Option<Profile>, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        from_files(Some(&write("credentials", credentials)), Some(&write("config", config)), named)
    }

    fn applied(profile: Profile, builder: AmazonS3Builder) -> Vec<Option<String>> {
        use AmazonS3ConfigKey::{AccessKeyId, Endpoint, Region, SecretAccessKey, Token};
        let builder = profile.apply(builder).unwrap();
        [AccessKeyId, SecretAccessKey, Token, Region, Endpoint]
            .iter()
            .map(|key| builder.get_config_value(key))
            .collect()
    }

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = a/\\+=\"#\n\
        [work]\naws_access_key_id=W\naws_secret_access_key=w\naws_session_token=t\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\n[profile work]\nregion=us-west-2\n\
        endpoint_url=http://127.0.0.1:1\ns3 =\n  max_queue_size = 10\n";

    #[test]
    fn keys_region_and_endpoint_of_a_profile_are_used() {
        let some = |text: &str| Some(text.to_owned());
        let default = read(CREDENTIALS, CONFIG, None).unwrap().unwrap();
        let expected = [some("A"), some("a/\\+=\"#"), None, some("eu-west-1"), None];
        assert_eq!(applied(default, AmazonS3Builder::new()), expected);
        let work = || read(CREDENTIALS, CONFIG, Some("work")).unwrap().unwrap();
        let expected = [some("W"), some("w"), some("t"), some("us-west-2"), some("http://127.0.0.1:1")];
        assert_eq!(applied(work(), AmazonS3Builder::new()), expected);
        // The environment takes precedence.
        let set = AmazonS3Builder::new().with_access_key_id("E").with_region("r").with_endpoint("e");
        let with_credentials = Profile { has_credentials: true, ..work() };
        assert_eq!(applied(with_credentials, set), [some("E"), None, None, some("r"), some("e")]);
    }

    #[test]
    fn a_profile_without_keys_names_the_command_that_exports_them() {
        let config = "[profile sso]\nsso_session = corp\nregion = eu-west-1\n";
        let profile = read("", config, Some("sso")).unwrap().unwrap();
        let error = profile.apply(AmazonS3Builder::new()).err().unwrap();
        assert!(
            error.contains("by sso_session") && error.contains("export-credentials --profile sso"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_or_damaged_file_is_told_without_its_contents() {
        assert!(read("", "", None).unwrap().is_none());
        assert!(read("", "", Some("work")).err().unwrap().contains("no profile work"));
        let error = read("[default\naws_secret_access_key = MARKER", "", None).err().unwrap();
        assert!(error.contains("line 1") && !error.contains("MARKER"), "{error}");
    }
}
