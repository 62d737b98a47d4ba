//! Compiles an OpenAPI document: every operation, parameter and schema is prepared once.

use http::Method;
use serde_json::Value;

use crate::{
    dialect::Direction,
    operation::{Carrier, Content, Media, Operation, Parameter, RequestBody, Response, Scheme, Segment},
    pointer::{follow, is_true, keys, length, step},
    schemas::Schemas,
    shape::Shapes,
};

/// A compiled document.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) operations: Vec<Operation>,
    pub(crate) callbacks: Vec<Operation>,
    /// The named schemas (`#/components/schemas`).
    pub(crate) schemas: Vec<(String, Media)>,
    request_shapes: Shapes,
    response_shapes: Shapes,
    pub(crate) document: Value,
}

impl Compiled {
    /// The shapes that the node of a media type belongs to.
    pub(crate) fn shapes(&self, media: &Media) -> &Shapes {
        match media.direction {
            Direction::Request => &self.request_shapes,
            Direction::Response => &self.response_shapes,
        }
    }
}

pub(crate) fn compile(document: Value) -> Result<Compiled, String> {
    let mut compiler = Compiler {
        document: &document,
        request_schemas: Schemas::new(&document, Direction::Request)?,
        response_schemas: Schemas::new(&document, Direction::Response)?,
        request_shapes: Shapes::default(),
        response_shapes: Shapes::default(),
    };
    let (mut operations, mut callbacks) = (Vec::new(), Vec::new());
    compiler.paths("/paths", &mut operations, &mut callbacks)?;
    let mut schemas = Vec::new();
    for name in keys(&document, "/components/schemas") {
        let pointer = step("/components/schemas", name);
        schemas.push((name.clone(), compiler.media("", &pointer, Direction::Response)?));
    }
    let Compiler { request_shapes, response_shapes, .. } = compiler;
    Ok(Compiled { operations, callbacks, schemas, request_shapes, response_shapes, document })
}

struct Compiler<'a> {
    document: &'a Value,
    request_schemas: Schemas<'a>,
    response_schemas: Schemas<'a>,
    request_shapes: Shapes,
    response_shapes: Shapes,
}

impl<'a> Compiler<'a> {
    /// Compiles the operations of a map of paths, and their callbacks.
    fn paths(
        &mut self,
        at: &str,
        operations: &mut Vec<Operation>,
        callbacks: &mut Vec<Operation>,
    ) -> Result<(), String> {
        for path in self.names(at) {
            let item = self.follow(&step(at, path))?;
            for name in keys(self.document, &item) {
                let Some(method) = method(name) else { continue };
                let pointer = step(&item, name);
                operations.push(self.operation(operations.len(), method, path, &item, &pointer)?);
                let named = format!("{pointer}/callbacks");
                for name in self.names(&named) {
                    let at = self.follow(&step(&named, name))?;
                    let mut own = Vec::new();
                    self.paths(&at, &mut own, &mut Vec::new())?;
                    callbacks.append(&mut own);
                }
            }
        }
        Ok(())
    }

    fn operation(
        &mut self,
        index: usize,
        method: Method,
        path: &str,
        item: &str,
        pointer: &str,
    ) -> Result<Operation, String> {
        let segments = path.trim_start_matches('/').split('/');
        let template = segments
            .map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => Segment::Parameter(name.to_owned()),
                None => Segment::Text(segment.to_owned()),
            })
            .collect();
        let security_pointer = match self.get(pointer, "security") {
            Some(_) => format!("{pointer}/security"),
            None => "/security".to_owned(),
        };
        let body = match self.get(pointer, "requestBody") {
            None => None,
            Some(_) => {
                let pointer = self.follow(&format!("{pointer}/requestBody"))?;
                Some(RequestBody {
                    required: is_true(self.document, &format!("{pointer}/required")),
                    content: self.content(pointer, Direction::Request)?,
                })
            }
        };
        Ok(Operation {
            index,
            id: self.text(pointer, "operationId").map(str::to_owned),
            method,
            template,
            pointer: pointer.to_owned(),
            parameters: self.parameters(item, pointer)?,
            security: self.security(&security_pointer),
            security_pointer,
            body,
            responses: self.responses(&format!("{pointer}/responses"))?,
        })
    }

    fn parameters(&mut self, item: &str, operation: &str) -> Result<Vec<Parameter>, String> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for list in [format!("{operation}/parameters"), format!("{item}/parameters")] {
            for index in 0..length(self.document, &list) {
                let at = self.follow(&format!("{list}/{index}"))?;
                let (Some(name), Some(location)) = (self.text(&at, "name"), self.text(&at, "in")) else {
                    return Err(format!("{at} has no `name` or no `in`"));
                };
                // A parameter of the operation overrides one of its path.
                if !parameters.iter().any(|own| own.name == name && own.location == location) {
                    parameters.push(self.parameter(&at, name, location, Direction::Request)?);
                }
            }
        }
        Ok(parameters)
    }

    fn parameter(
        &mut self,
        at: &str,
        name: &str,
        location: &str,
        direction: Direction,
    ) -> Result<Parameter, String> {
        let mut parameter = Parameter {
            name: name.to_owned(),
            location: location.to_owned(),
            required: is_true(self.document, &format!("{at}/required")),
            pointer: at.to_owned(),
            media: None,
            kind: String::new(),
            item_kind: String::new(),
        };
        if self.get(at, "schema").is_some() {
            let schema = self.follow(&format!("{at}/schema"))?;
            self.text(&schema, "type").unwrap_or_default().clone_into(&mut parameter.kind);
            let items = self.follow(&format!("{schema}/items"))?;
            self.text(&items, "type").unwrap_or_default().clone_into(&mut parameter.item_kind);
            // An object can be written in too many styles.
            if parameter.kind != "object" {
                parameter.media = Some(self.media("", &format!("{at}/schema"), direction)?);
            }
        }
        Ok(parameter)
    }

    fn responses(&mut self, at: &str) -> Result<Vec<(String, Response)>, String> {
        let mut responses = Vec::new();
        for status in self.names(at) {
            let pointer = self.follow(&step(at, status))?;
            let mut headers = Vec::new();
            let named = format!("{pointer}/headers");
            for name in keys(self.document, &named) {
                // OpenAPI ignores this header here: `content` documents it.
                if !name.eq_ignore_ascii_case("content-type") {
                    let at = self.follow(&step(&named, name))?;
                    headers.push(self.parameter(&at, name, "header", Direction::Response)?);
                }
            }
            let content = self.content(pointer, Direction::Response)?;
            responses.push((status.clone(), Response { headers, content }));
        }
        Ok(responses)
    }

    fn content(&mut self, pointer: String, direction: Direction) -> Result<Content, String> {
        let at = format!("{pointer}/content");
        let mut media = Vec::new();
        for kind in keys(self.document, &at) {
            let schema = step(&at, kind) + "/schema";
            if self.document.pointer(&schema).is_some() {
                media.push(self.media(kind, &schema, direction)?);
            }
        }
        Ok(Content { pointer, media })
    }

    fn media(&mut self, kind: &str, pointer: &str, direction: Direction) -> Result<Media, String> {
        let (schemas, shapes) = match direction {
            Direction::Request => (&self.request_schemas, &mut self.request_shapes),
            Direction::Response => (&self.response_schemas, &mut self.response_shapes),
        };
        Ok(Media {
            kind: kind.to_owned(),
            direction,
            pointer: pointer.to_owned(),
            validator: schemas.validator(pointer)?,
            node: shapes.add(schemas, pointer)?,
        })
    }

    fn security(&self, pointer: &str) -> Vec<Vec<Scheme>> {
        let alternatives: Vec<Vec<Scheme>> = (0..length(self.document, pointer))
            .map(|index| {
                let names = keys(self.document, &format!("{pointer}/{index}"));
                names.into_iter().map(|name| self.scheme(name)).collect()
            })
            .collect();
        // An empty alternative makes credentials optional.
        if alternatives.iter().any(Vec::is_empty) { Vec::new() } else { alternatives }
    }

    fn scheme(&self, name: &str) -> Scheme {
        let at = step("/components/securitySchemes", name);
        let key = self.text(&at, "name").unwrap_or_default().to_owned();
        let (shown, carrier) = match (self.text(&at, "type"), self.text(&at, "in")) {
            (Some("apiKey"), Some("header")) => (format!("the header `{key}`"), Carrier::Header(key)),
            (Some("apiKey"), Some("query")) => (format!("the parameter `{key}`"), Carrier::Query(key)),
            (Some("apiKey"), _) => (format!("the cookie `{key}`"), Carrier::Cookie),
            (Some("http"), _) => {
                let word = self.text(&at, "scheme").unwrap_or("bearer");
                let (first, rest) = word.split_at_checked(1).unwrap_or_default();
                let shown = format!("`Authorization: {}{rest} ...`", first.to_ascii_uppercase());
                (shown, Carrier::Authorization(Some(word.to_owned())))
            }
            _ => ("`Authorization`".to_owned(), Carrier::Authorization(None)),
        };
        Scheme { shown, carrier }
    }

    /// The keys of the object at a pointer, without extensions.
    fn names(&self, pointer: &str) -> impl Iterator<Item = &'a String> + use<'a> {
        keys(self.document, pointer).into_iter().filter(|key| !key.starts_with("x-"))
    }

    fn get(&self, pointer: &str, name: &str) -> Option<&'a Value> {
        self.document.pointer(pointer)?.get(name)
    }

    fn text(&self, pointer: &str, name: &str) -> Option<&'a str> {
        self.get(pointer, name)?.as_str()
    }

    fn follow(&self, pointer: &str) -> Result<String, String> {
        follow(self.document, pointer)
    }
}

/// The HTTP method of a key of a path item; `None` for other keys, such as `parameters`.
fn method(key: &str) -> Option<Method> {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    METHODS.contains(&key).then(|| key.to_ascii_uppercase().parse().ok())?
}
