//! The server that the rows poll, on loopback and in its own process (this program with the command `serve`).
//!
//! This is not the mock server, because a response must take only microseconds: the rows measure the client. A job
//! with the id `E-N`, if E is a number of milliseconds since 1970, is processing until E and completed afterwards;
//! every other job is processing. A POST creates a job.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::process::Running;

/// The server's process. Dropping this ends it.
pub(crate) struct Server {
    _process: Running,
    pub(crate) url: String,
}

/// The connections, and the polls and creations, that a server has received.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) polls: u64,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Running::start(command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(process.output()?).read_line(&mut line)?;
        Ok(Self { _process: process, url: line.trim().to_owned() })
    }

    /// The counts so far.
    pub(crate) async fn counts(&self) -> Result<Counts> {
        Ok(reqwest::Client::builder()
            .no_proxy()
            .build()?
            .get(format!("{}/counts", self.url))
            .send()
            .await?
            .json()
            .await?)
    }
}

pub(crate) fn now_millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Serves until stdin closes, which happens when the parent process ends.
pub(crate) fn serve() -> Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let state = Arc::new(State { connections: AtomicU64::new(0), polls: AtomicU64::new(0) });
        loop {
            // While the machine stands still, a task per job opens more connections than a process may have files.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            state.connections.fetch_add(1, Relaxed);
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                // The client reports a broken connection.
                let _ = state.connection(stream).await;
            });
        }
    })
}

struct State {
    connections: AtomicU64,
    polls: AtomicU64,
}

impl State {
    async fn connection(&self, mut stream: TcpStream) -> Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            };
            let head: Vec<u8> = buffer.drain(..end).collect();
            let head = String::from_utf8_lossy(&head);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            while buffer.len() < length {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            }
            buffer.drain(..length);
            let body = self.body(target);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Sun, 22 Nov 2026 10:00:00 GMT\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    fn body(&self, target: &str) -> String {
        if target == "/counts" {
            let counts =
                Counts { connections: self.connections.load(Relaxed), polls: self.polls.load(Relaxed) };
            return serde_json::to_string(&counts).unwrap_or_default();
        }
        let poll = self.polls.fetch_add(1, Relaxed);
        if target.ends_with("createbytranslate") {
            return format!(r#"{{"code":1000,"msg":"OK","data":{{"_id":"{poll:024x}","video_status":1}}}}"#);
        }
        let id = target.split("video_model_id=").nth(1).unwrap_or_default();
        let (ends, _) = id.split_once('-').unwrap_or_default();
        let (status, video) = match ends.parse::<u128>() {
            Ok(ends) if now_millis() >= ends => ("3", "https://files.example/video.mp4".to_owned()),
            _ => ("2", String::new()),
        };
        example(id, status, &video)
    }
}

/// The documented response, with this id, status and video.
pub(crate) fn example(id: &str, status: &str, video: &str) -> String {
    EXAMPLE.replace("{ID}", id).replace("{STATUS}", status).replace("{VIDEO}", video)
}

/// The example response in the vendor's documentation.
const EXAMPLE: &str = r#"{"code":1000,"msg":"OK","data":{"faceswap_quality":2,"storage_loc":1,"_id":"{ID}","create_time":1692242625334,"uid":378337,"type":2,"from":1,"video_id":"0acfed62e24f4cfd8801c9e846347b1d","video_lock_duration":7.91,"deduction_lock_duration":10,"video_status":{STATUS},"external_video":"","video":"{VIDEO}","audio_splits":{"original_srt_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/xd4mtd1sk8h0.srt","translated_srt_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/e893u0r1nim1.srt","no_caption_video_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/zr9eyq8rpla4.mp4"}}}"#;
