//! A store that others wrote, as a process of its own.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use akool_mock::MockServer;

use super::{Folder, program};
use crate::support::Program;

/// The location of each test.
const STAGE: &str = "s3://bucket/videos";

/// A store with an empty bucket. It stops when it is dropped.
pub(super) struct Store {
    process: Child,
    url: String,
}

impl Store {
    /// moto, which checks neither signatures nor times.
    pub(super) async fn moto() -> Self {
        let mut command = Command::new(program("MOTO_SERVER"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let store = Self::start(command, "Running on ");
        let bucket = format!("{}/bucket", store.url);
        assert!(reqwest::Client::new().put(bucket).send().await.unwrap().status().is_success());
        store
    }

    /// s3s-fs, which checks signatures and times, and keeps its objects in this folder.
    pub(super) fn s3s(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("bucket")).unwrap();
        let mut command = Command::new(program("S3S_FS"));
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--access-key",
            "key",
            "--secret-key",
            "MARKER-secret",
        ]);
        command.arg(folder).env("RUST_LOG", "s3s_fs=info");
        Self::start(command, "running at ")
    }

    /// Azurite, which checks signatures and times, without a container.
    pub(super) fn azurite() -> Self {
        let mut command = Command::new(program("AZURITE"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry"]);
        Self::start(command, "successfully listens on ")
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Starts a server that prints its URL after this text.
    fn start(mut command: Command, before: &str) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, received) = std::sync::mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for output in outputs {
            let (sender, before) = (sender.clone(), before.to_owned());
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, url)) = line.split_once(&before) {
                        let _ = sender.send(url.trim().trim_end_matches('/').to_owned());
                    }
                }
            });
        }
        let url = received.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        Self { process, url }
    }

    /// The program with this store.
    pub(super) fn akool(&self, folder: &Folder, server: &MockServer, args: &[&str]) -> Program {
        let mut command = folder.akool(server, args);
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "MARKER-secret");
        command.env("AWS_ENDPOINT_URL", &self.url).env("AWS_REGION", "us-east-1").env("AKOOL_STAGE", STAGE);
        command
    }

    /// The text of a request without a signature, which moto answers.
    pub(super) async fn get(&self, target: &str) -> String {
        let answer = reqwest::get(format!("{}/bucket{target}", self.url)).await.unwrap();
        answer.text().await.unwrap()
    }

    /// Writes an object without a signature.
    pub(super) async fn put(&self, key: &str, body: &'static str) {
        let answer =
            reqwest::Client::new().put(format!("{}/bucket/{key}", self.url)).body(body).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// Removes an object. moto wants a signature here, but does not verify it.
    pub(super) async fn delete(&self, key: &str) {
        let request = reqwest::Client::new().delete(format!("{}/bucket/{key}", self.url));
        let credential = "Credential=key/20260101/us-east-1/s3/aws4_request";
        let signature = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=x");
        let answer = request.header("authorization", signature).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    pub(super) async fn post(&self, target: &str, body: &'static str) {
        let answer =
            reqwest::Client::new().post(format!("{}{target}", self.url)).body(body).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// The status of a request without a signature.
    pub(super) async fn status(&self, target: &str) -> u16 {
        reqwest::get(format!("{}/bucket/{target}", self.url)).await.unwrap().status().as_u16()
    }

    /// The keys of all objects.
    pub(super) async fn keys(&self) -> Vec<String> {
        members(&self.get("?list-type=2").await, "Key")
    }

    /// Whether there is exactly one upload, and some of its parts are stored, so that its id is recorded.
    pub(super) async fn has_one_upload_with_parts(&self) -> bool {
        let uploads = self.get("?uploads").await;
        let (ids, keys) = (members(&uploads, "UploadId"), members(&uploads, "Key"));
        let ([id], [key]) = (&ids[..], &keys[..]) else { return false };
        !members(&self.get(&format!("/{key}?uploadId={id}")).await, "PartNumber").is_empty()
    }

    /// The uploads that have begun and not ended.
    pub(super) async fn uploads(&self) -> Vec<String> {
        members(&self.get("?uploads").await, "UploadId")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The texts of the elements with this name.
fn members(xml: &str, name: &str) -> Vec<String> {
    let (begins, ends) = (format!("<{name}>"), format!("</{name}>"));
    let elements = xml.split(&begins).skip(1);
    elements.filter_map(|rest| rest.split_once(&ends)).map(|(text, _)| text.to_owned()).collect()
}
