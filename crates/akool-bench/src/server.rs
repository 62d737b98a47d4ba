//! The server that the rows poll, on loopback and in its own process (this program with the command `serve`).
//!
//! This is not the mock server, because a response must take only microseconds: the rows measure the client. A job
//! with the id `E-N`, if E is a number of milliseconds since 1970, is processing until E and completed afterwards;
//! every other job is processing. The video of job `E-SIZE-N` is `/file/SIZE/ID`, a file of so many bytes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The server's process. Dropping this ends it.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
}

/// The connections and polls that a server has received.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) polls: u64,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server's process")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("the server has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { process, url: line.trim().to_owned() })
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
        let base = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State { base, connections: AtomicU64::new(0), polls: AtomicU64::new(0) });
        loop {
            let (stream, _) = listener.accept().await?;
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
    base: String,
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
            if let Some(file) = target.strip_prefix("/file/") {
                let size = file.split('/').next().and_then(|size| size.parse().ok()).unwrap_or(0);
                send_file(&mut stream, size).await?;
            } else {
                let body = self.body(target);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Sun, 22 Nov 2026 10:00:00 GMT\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await?;
            }
        }
    }

    fn body(&self, target: &str) -> String {
        if target == "/counts" {
            let counts =
                Counts { connections: self.connections.load(Relaxed), polls: self.polls.load(Relaxed) };
            return serde_json::to_string(&counts).unwrap_or_default();
        }
        self.polls.fetch_add(1, Relaxed);
        let id = target.split("video_model_id=").nth(1).unwrap_or_default();
        let (ends, rest) = id.split_once('-').unwrap_or_default();
        let size = rest.split_once('-').map_or("1", |(size, _)| size);
        let (status, video) = match ends.parse::<u128>() {
            Ok(ends) if now_millis() >= ends => ("3", format!("{}/file/{size}/{id}", self.base)),
            _ => ("2", String::new()),
        };
        EXAMPLE.replace("{ID}", id).replace("{STATUS}", status).replace("{VIDEO}", &video)
    }
}

async fn send_file(stream: &mut TcpStream, size: u64) -> Result<()> {
    static BLOCK: [u8; 64 * 1024] = [b'a'; 64 * 1024];
    // The start of a video, which is one box up to the end of the file.
    static START: [u8; 8] = *b"\0\0\0\0mdat";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let start = size.min(START.len() as u64);
    stream.write_all(&START[..start as usize]).await?;
    let mut left = size - start;
    while left > 0 {
        let part = left.min(BLOCK.len() as u64);
        stream.write_all(&BLOCK[..part as usize]).await?;
        left -= part;
    }
    Ok(())
}

/// The example response in the vendor's documentation.
const EXAMPLE: &str = r#"{"code":1000,"msg":"OK","data":{"faceswap_quality":2,"storage_loc":1,"_id":"{ID}","create_time":1692242625334,"uid":378337,"type":2,"from":1,"video_id":"0acfed62e24f4cfd8801c9e846347b1d","video_lock_duration":7.91,"deduction_lock_duration":10,"video_status":{STATUS},"external_video":"","video":"{VIDEO}","audio_splits":{"original_srt_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/xd4mtd1sk8h0.srt","translated_srt_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/e893u0r1nim1.srt","no_caption_video_url":"https://d3323c6w59hl44.cloudfront.net/algorithm/video_translate/260401/default/zr9eyq8rpla4.mp4"}}}"#;
