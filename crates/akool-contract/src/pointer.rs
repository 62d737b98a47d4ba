//! JSON Pointers (RFC 6901) into messages and into the description.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// Longer chains of references are taken for a cycle.
const MAX_REFERENCES: usize = 64;

/// What a URI fragment escapes. `/` separates the steps.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// The pointer to a member of the value at `pointer`.
pub(crate) fn step(pointer: &str, name: &str) -> String {
    let mut pointer = pointer.to_owned();
    push_step(&mut pointer, name);
    pointer
}

/// Appends one step, escaped.
pub(crate) fn push_step(pointer: &mut String, name: &str) {
    pointer.push('/');
    if name.contains(['~', '/']) {
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(name);
    }
}

/// The steps of a pointer, unescaped.
pub(crate) fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
}

/// A pointer as a URI fragment carries it (RFC 6901, section 6).
pub(crate) fn to_fragment(pointer: &str) -> String {
    utf8_percent_encode(pointer, FRAGMENT).to_string()
}

/// Decodes `%XX`, in a URI fragment or in a step of a path.
pub(crate) fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Follows `$ref` from the value at `pointer` to the pointer of a value that is not a reference.
pub(crate) fn follow(document: &Value, pointer: &str) -> Result<String, String> {
    let mut at = pointer.to_owned();
    for _ in 0..MAX_REFERENCES {
        let Some(value) = document.pointer(&at) else {
            // Something optional that is absent is not a broken reference.
            return if at == pointer { Ok(at) } else { Err(format!("{pointer}: {at} does not exist")) };
        };
        match value.get("$ref").and_then(Value::as_str) {
            None => return Ok(at),
            Some(reference) => match reference.strip_prefix('#') {
                Some(target) => target.clone_into(&mut at),
                None => return Err(format!("{at}/$ref: {reference} is outside of the document")),
            },
        }
    }
    Err(format!("{pointer}: its references form a cycle"))
}

/// Whether the value at `pointer` is `true`.
pub(crate) fn is_true(document: &Value, pointer: &str) -> bool {
    document.pointer(pointer) == Some(&Value::Bool(true))
}

/// The keys of the object at `pointer`.
pub(crate) fn keys<'a>(document: &'a Value, pointer: &str) -> Vec<&'a String> {
    let object = document.pointer(pointer).and_then(Value::as_object);
    object.into_iter().flat_map(|object| object.keys()).collect()
}

/// The length of the array at `pointer`; 0 without one.
pub(crate) fn length(document: &Value, pointer: &str) -> usize {
    document.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
}
