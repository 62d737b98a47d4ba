//! Mock servers that are broken on purpose, behind one address.
//!
//! The header `x-mutant` of a request chooses the server. The bytes are relayed without changes, so that a
//! broken body arrives as it was sent. `cargo xtask conformance` starts this program and reads the names of
//! the mutants and the address from its output.

use std::{collections::BTreeMap, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use akool_mock::{Fault, MockServer, RetryAfter, Timeline, Times};
use akool_tests::ID;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// The mutants. One of each kind of undocumented response; a fault without a response has nothing to judge.
const MUTANTS: [Fault; 34] = [
    Fault::Http(404),
    Fault::Http(500),
    Fault::RateLimited { retry_after: RetryAfter::Seconds(1) },
    Fault::Redirect(302),
    Fault::Html,
    Fault::WrongContentType,
    Fault::EmptyBody,
    Fault::TruncatedJson,
    Fault::TruncatedBody,
    Fault::NotUtf8,
    Fault::Utf16,
    Fault::Compressed,
    Fault::TooLarge,
    Fault::CodeMissing,
    Fault::CodeAsText,
    Fault::MessageMissing,
    Fault::MessageNull,
    Fault::EnvelopeInList,
    Fault::EnvelopeTwice,
    Fault::DataNull,
    Fault::DataMissing,
    Fault::DataString,
    Fault::DataArray,
    Fault::StatusMissing,
    Fault::StatusRenamed,
    Fault::StatusNull,
    Fault::StatusAsText,
    Fault::StatusAsFraction,
    Fault::StatusHuge,
    Fault::StatusNumber(7),
    Fault::OtherTypes,
    Fault::Code(1299),
    Fault::NoVideo,
    Fault::VideoInvalidUrl,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut servers = Vec::new();
    let mut addresses = BTreeMap::new();
    let front = TcpListener::bind("127.0.0.1:0").await?;
    let valid = (None, "no fault".to_owned());
    let mutants = MUTANTS.into_iter().map(|fault| (Some(fault), fault.description()));
    for (fault, what) in [valid].into_iter().chain(mutants) {
        let server = MockServer::builder().lenient().start().await;
        server.job(ID, Timeline::new().completed());
        let mut url = server.url();
        if let Some(fault) = fault {
            server.inject(fault, Times::Always);
            url = server.url_for(fault);
        }
        let name = fault.map_or_else(|| "None".to_owned(), |fault| format!("{fault:?}"));
        let address: SocketAddr = url.trim_start_matches("http://").parse()?;
        println!("{}", serde_json::json!({ "event": "mutant", "name": name, "what": what }));
        addresses.insert(name, address);
        servers.push(server);
    }
    println!(
        "{}",
        serde_json::json!({
            "event": "listening", "url": format!("http://{}", front.local_addr()?),
            "key": servers[0].api_key(), "job": ID,
        })
    );
    let addresses = Arc::new(addresses);
    loop {
        let (stream, _) = front.accept().await?;
        let addresses = Arc::clone(&addresses);
        tokio::spawn(async move {
            // A mutant may close the connection, and so does the relay then.
            if let Err(error) = relay(stream, &addresses).await {
                eprintln!("{error}");
            }
        });
    }
}

/// Relays one request and its response.
async fn relay(
    mut client: TcpStream,
    addresses: &BTreeMap<String, SocketAddr>,
) -> Result<(), Box<dyn Error>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = client.read(&mut buffer).await?;
        if count == 0 || head.len() > 64 * 1024 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let name = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-mutant").then(|| value.trim().to_owned())
    });
    let address = name.as_ref().and_then(|name| addresses.get(name)).ok_or("no such mutant")?;
    let mut server = TcpStream::connect(address).await?;
    // Only one request for each connection: the next one may be for another mutant.
    let head: String = text
        .split_inclusive("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .map(|line| if line == "\r\n" { "connection: close\r\n\r\n" } else { line })
        .collect();
    server.write_all(head.as_bytes()).await?;
    tokio::time::timeout(Duration::from_secs(30), copy_bidirectional(&mut client, &mut server)).await??;
    Ok(())
}
