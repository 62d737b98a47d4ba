//! Reads the vendor's documentation pages: Markdown with OpenAPI fragments in fenced blocks whose info
//! string is `yaml METHOD /path`.

use std::ops::Range;

use anyhow::{Result, bail};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use crate::openapi::METHODS;

/// One OpenAPI fragment of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The operation in the info string, such as `GET /path`.
    pub operation: String,
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// The bytes between the fences.
    pub yaml: &'a str,
}

/// A block whose end has not been reached yet.
struct Open {
    operation: String,
    line: usize,
    /// Its content so far.
    span: Option<Range<usize>>,
}

/// The OpenAPI fragments of a page, in order.
///
/// A fence is what CommonMark defines: any length, backticks or tildes, Windows line ends. A byte-order
/// mark is skipped. Blocks with another info string are ignored.
///
/// # Errors
/// If the page has no block, or one that is empty or not closed.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::page;
///
/// let page = "# Talks\n\n```yaml GET /talks\nopenapi: 3.0.3\n```\n";
/// let blocks = page::blocks(page, "talks.md")?;
/// assert_eq!((blocks[0].operation.as_str(), blocks[0].line), ("GET /talks", 3));
/// # Ok(())
/// # }
/// ```
pub fn blocks<'a>(page: &'a str, shown: &str) -> Result<Vec<Block<'a>>> {
    let text = page.strip_prefix('\u{feff}').unwrap_or(page);
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                if let Some(operation) = operation(&info) {
                    let line = text[..range.start].matches('\n').count() + 1;
                    if !closes(&text[range]) {
                        bail!(
                            "{shown}:{line}: the block `{operation}` is not closed; the page is truncated, or its fence is damaged"
                        );
                    }
                    open = Some(Open { operation, line, span: None });
                }
            }
            Event::Text(_) => {
                if let Some(open) = &mut open {
                    let start = open.span.as_ref().map_or(range.start, |span| span.start);
                    open.span = Some(start..range.end);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some(Open { operation, line, span }) = open.take() {
                    let Some(span) = span else {
                        bail!("{shown}:{line}: the block `{operation}` is empty");
                    };
                    blocks.push(Block { operation, line, yaml: &text[span] });
                }
            }
            _ => {}
        }
    }
    if blocks.is_empty() {
        bail!(
            "{shown}: no OpenAPI block; a page needs a fenced block whose info string is `yaml METHOD /path`, \
             such as ```yaml GET /path"
        );
    }
    Ok(blocks)
}

/// `METHOD /path` in an info string `yaml METHOD /path ...`.
fn operation(info: &str) -> Option<String> {
    let mut words = info.split_whitespace();
    let language = words.next()?;
    let (method, path) = (words.next()?, words.next()?);
    let is_operation = matches!(language, "yaml" | "yml" | "json")
        && path.starts_with('/')
        && METHODS.contains(&method.to_lowercase().as_str());
    is_operation.then(|| format!("{} {path}", method.to_uppercase()))
}

/// Whether a fenced block has a closing fence. CommonMark accepts the end of the page instead, but then
/// the page is truncated.
fn closes(block: &str) -> bool {
    let mut lines = block.lines();
    let opening = lines.next().unwrap_or_default().trim_start();
    let fence = opening.chars().next().unwrap_or('`');
    let length = opening.chars().take_while(|letter| *letter == fence).count();
    let last = lines.next_back().unwrap_or_default().trim();
    last.len() >= length && last.chars().all(|letter| letter == fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "openapi: 3.0.3\ninfo:\n  title: t\n";

    fn only<'a>(page: &'a str) -> Block<'a> {
        let mut found = blocks(page, "page.md").unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn a_block_is_the_bytes_between_the_fences() {
        for (open, close) in
            [("````", "````"), ("```", "```"), ("~~~", "~~~~~"), ("``````````", "``````````")]
        {
            let page = format!(
                "# A page\n\n```json\n{{}}\n```\n\n{open}yaml GET /a/{{id}} theme=dark\n{YAML}{close}\nmore\n"
            );
            let block = only(&page);
            assert_eq!((block.yaml, block.operation.as_str(), block.line), (YAML, "GET /a/{id}", 7));
        }
    }

    #[test]
    fn windows_line_ends_a_byte_order_mark_and_tabs_are_accepted() {
        let page =
            format!("\u{feff}# A page\n\n````yaml POST /a\n{YAML}# a\tb\n````\n").replace('\n', "\r\n");
        let block = only(&page);
        assert_eq!(block.yaml, format!("{YAML}# a\tb\n").replace('\n', "\r\n"));
        assert_eq!(block.line, 3);
    }

    #[test]
    fn a_shorter_fence_inside_a_block_is_content() {
        let page = format!("````yaml GET /a\n{YAML}# ```\n````\n");
        assert_eq!(only(&page).yaml, format!("{YAML}# ```\n"));
    }

    #[test]
    fn several_blocks_are_returned_in_order() {
        let page = format!("```yaml GET /a\n{YAML}```\n\n```yaml POST /b\n{YAML}```\n");
        let operations: Vec<_> =
            blocks(&page, "p").unwrap().into_iter().map(|block| block.operation).collect();
        assert_eq!(operations, ["GET /a", "POST /b"]);
    }

    #[test]
    fn a_page_without_a_complete_block_is_an_error_with_its_place() {
        for (page, says) in [
            ("# A page\n", "page.md: no OpenAPI block"),
            ("", "page.md: no OpenAPI block"),
            ("```yaml\na: 1\n```\n", "no OpenAPI block"),
            ("```yaml FETCH /a\na: 1\n```\n", "no OpenAPI block"),
            ("text\n\n````yaml GET /a\nopenapi: 3.0.3\n", "page.md:3: the block `GET /a` is not closed"),
            ("````yaml GET /a\nopenapi: 3.0.3\n```\n", "page.md:1: the block `GET /a` is not closed"),
            ("```yaml GET /a\n```\n", "page.md:1: the block `GET /a` is empty"),
        ] {
            let error = blocks(page, "page.md").unwrap_err().to_string();
            assert!(error.contains(says), "{page:?}: {error}");
        }
    }
}
