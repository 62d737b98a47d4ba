//! JSON Pointers (RFC 6901) into messages and into the description.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

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
