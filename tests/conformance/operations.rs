//! Broken requests and responses of every operation, derived from its documented examples, and a server that sends the
//! responses.
//!
//! `cargo xtask conformance` starts this program. It prints a JSON object for each mutant: its operation, the request to
//! send, and whether that request or the response to it is broken. The header `x-mutant` of a request chooses the response.

use std::{collections::BTreeMap, error::Error, fs, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/akool.resolved.yaml");
const JSON: &str = "application/json";

/// A documented operation with its examples.
#[derive(Clone)]
struct Operation {
    id: String,
    method: String,
    path: String,
    needs_credential: bool,
    /// The examples of the query parameters.
    query: Vec<(String, String)>,
    request: Option<Value>,
    response: Value,
}

/// A message to send.
#[derive(Clone)]
struct Message {
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

/// An exchange of which at most one message is broken, in one way.
struct Mutant {
    what: String,
    side: &'static str,
    method: String,
    query: Vec<(String, String)>,
    has_credential: bool,
    request: Message,
    status: u16,
    response: Message,
}

impl Message {
    fn json(value: &Value) -> Self {
        Self { content_type: Some(JSON), body: value.to_string().into_bytes() }
    }

    fn raw(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type), body: body.into() }
    }
}

impl Operation {
    fn valid(&self) -> Mutant {
        let none = Message { content_type: None, body: Vec::new() };
        Mutant {
            what: String::new(),
            side: "",
            method: self.method.clone(),
            query: self.query.clone(),
            has_credential: true,
            request: self.request.as_ref().map_or(none, Message::json),
            status: 200,
            response: Message::json(&self.response),
        }
    }

    fn mutants(&self) -> Vec<Mutant> {
        let mut all = vec![self.valid()];
        let broken_request = |what: String| Mutant { what, side: "request", ..self.valid() };
        let broken_response = |what: String| Mutant { what, side: "response", ..self.valid() };
        for (what, response) in broken(&self.response) {
            all.push(Mutant { response, ..broken_response(what) });
        }
        all.push(Mutant { status: 500, ..broken_response("HTTP 500".to_owned()) });
        for (what, request) in self.request.iter().flat_map(broken) {
            all.push(Mutant { request, ..broken_request(what) });
        }
        let method = if self.method == "GET" { "POST" } else { "GET" };
        let request = Message { content_type: None, body: Vec::new() };
        all.push(Mutant { method: method.to_owned(), request, ..broken_request(format!("method {method}")) });
        if self.needs_credential {
            all.push(Mutant { has_credential: false, ..broken_request("no credential".to_owned()) });
        }
        for (index, (name, value)) in self.query.iter().enumerate() {
            let mut query = self.query.clone();
            query.remove(index);
            all.push(Mutant { query, ..broken_request(format!("parameter `{name}` missing")) });
            let mut query = self.query.clone();
            query.push((name.clone(), value.clone()));
            all.push(Mutant { query, ..broken_request(format!("parameter `{name}` twice")) });
        }
        let mut query = self.query.clone();
        query.push(("undocumented".to_owned(), "1".to_owned()));
        all.push(Mutant { query, ..broken_request("an undocumented parameter".to_owned()) });
        all
    }
}

/// The bodies that are broken in one way.
fn broken(example: &Value) -> Vec<(String, Message)> {
    let text = example.to_string();
    let mut all = vec![
        ("empty body".to_owned(), Message::raw(JSON, "")),
        ("truncated JSON".to_owned(), Message::raw(JSON, &text[..text.len() - 1])),
        ("an HTML page".to_owned(), Message::raw("text/html", "<p>Hello</p>")),
        ("content type text/plain".to_owned(), Message::raw("text/plain", text.clone())),
        ("invalid UTF-8".to_owned(), Message::raw(JSON, [text.as_bytes(), b"\xff"].concat())),
        ("the body in a list".to_owned(), Message::json(&json!([example]))),
        ("the body in another object".to_owned(), Message::json(&json!({ "response": example }))),
    ];
    for pointer in pointers(example, "") {
        let value = example.pointer(&pointer).cloned().unwrap_or_default();
        let shown = pointer.replace("/0/", "/*/");
        let mut replace = |what: &str, with: Value| {
            let mut body = example.clone();
            if let Some(place) = body.pointer_mut(&pointer) {
                *place = with;
            }
            all.push((format!("`{shown}` {what}"), Message::json(&body)));
        };
        replace("is null", Value::Null);
        match value {
            Value::String(_) => replace("as a number", json!(7)),
            Value::Number(number) => replace("as a string", json!(number.to_string())),
            Value::Bool(value) => replace("as a string", json!(value.to_string())),
            Value::Array(_) | Value::Object(_) => replace("as a string", json!("x")),
            Value::Null => {}
        }
        let mut body = example.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(parent)) = body.pointer_mut(parent) {
            parent.remove(name);
            all.push((format!("`{shown}` missing"), Message::json(&body)));
            // As if the field had been renamed.
            if let Some(Value::Object(parent)) =
                body.pointer_mut(pointer.rsplit_once('/').unwrap_or_default().0)
            {
                parent
                    .insert(format!("{name}Renamed"), example.pointer(&pointer).cloned().unwrap_or_default());
                all.push((format!("`{shown}` renamed"), Message::json(&body)));
            }
        }
    }
    all
}

/// The places of all members of objects; of a list, only those of the first element.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| {
                let at = format!("{at}/{name}");
                let below = pointers(value, &at);
                std::iter::once(at).chain(below)
            })
            .collect(),
        Value::Array(list) => {
            list.first().map_or_else(Vec::new, |element| pointers(element, &format!("{at}/0")))
        }
        _ => Vec::new(),
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let empty = Map::new();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap_or(&empty) {
        for (method, operation) in item.as_object().unwrap_or(&empty) {
            let Some(id) = operation["operationId"].as_str() else { continue };
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let query = parameters.iter().filter(|parameter| parameter["in"] == "query").map(|parameter| {
                let text = |name: &str| parameter[name].as_str().unwrap_or_default().to_owned();
                (text("name"), text("example"))
            });
            let request = operation.pointer("/requestBody/content/application~1json/example").cloned();
            let response = operation.pointer("/responses/200/content/application~1json/example");
            all.push(Operation {
                id: id.to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                needs_credential: operation["security"].as_array().is_none_or(|schemes| !schemes.is_empty()),
                query: query.collect(),
                request,
                response: response.cloned().unwrap_or_default(),
            });
        }
    }
    all
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let document: Value = serde_saphyr::from_str(&fs::read_to_string(DESCRIPTION)?)?;
    let mut responses = BTreeMap::new();
    for operation in operations(&document) {
        for (index, mutant) in operation.mutants().into_iter().enumerate() {
            let name = format!("{}-{index}", operation.id);
            let key = if mutant.has_credential { Some("key-of-the-mutants") } else { None };
            println!(
                "{}",
                json!({
                    "event": "mutant", "name": name, "operation": operation.id, "what": mutant.what, "side": mutant.side,
                    "method": mutant.method, "path": operation.path, "query": mutant.query, "key": key,
                    "content_type": mutant.request.content_type,
                    // A byte for each character, because some bodies are not UTF-8.
                    "body": mutant.request.body.iter().map(|byte| char::from(*byte)).collect::<String>(),
                })
            );
            responses.insert(name, (mutant.status, mutant.response));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", json!({ "event": "listening", "url": format!("http://{}", listener.local_addr()?) }));
    let responses = Arc::new(responses);
    loop {
        let (stream, _) = listener.accept().await?;
        let responses = Arc::clone(&responses);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &responses).await {
                eprintln!("{error}");
            }
        });
    }
}

/// Answers one request.
async fn answer(
    mut stream: TcpStream,
    responses: &BTreeMap<String, (u16, Message)>,
) -> Result<(), Box<dyn Error>> {
    let mut received = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        if let Some(end) = received.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            break (head, end + 4 + length);
        }
    };
    while received.len() < length && stream.read_buf(&mut received).await? > 0 {}
    let (status, message) =
        header(&head, "x-mutant").and_then(|name| responses.get(&name)).ok_or("no such mutant")?;
    let head = format!(
        "HTTP/1.1 {status} Mutant\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        message.content_type.unwrap_or_default(),
        message.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&message.body).await?;
    stream.shutdown().await?;
    Ok(())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
