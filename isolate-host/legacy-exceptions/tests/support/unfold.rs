//! Rewrites the folded text form of the legacy instructions,
//! `(try (do A) (catch $e B))`, to the flat one, `try A catch $e B end`.
//!
//! The parser reads the legacy instructions in their flat form only; the
//! specification's files, and ours, are folded. Lines stay where they are.

/// What an open parenthesis belongs to.
enum Open {
    /// Something that stays as it is.
    Kept,
    Try {
        delegates: bool,
    },
    /// A part of a `try`, which has no parentheses in the flat form.
    Part,
}

pub(crate) fn unfold(text: &str) -> String {
    let mut flat = String::with_capacity(text.len());
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(token) = next_token(rest) {
        rest = &rest[token.len()..];
        match token {
            "(" => {
                let head = next_token(rest).unwrap_or_default();
                let kind = match (head, open.last_mut()) {
                    ("try", _) => Open::Try { delegates: false },
                    ("delegate", Some(Open::Try { delegates })) => {
                        *delegates = true;
                        Open::Part
                    }
                    ("do", Some(Open::Try { .. })) => {
                        rest = &rest["do".len()..];
                        Open::Part
                    }
                    ("catch" | "catch_all", Some(Open::Try { .. })) => Open::Part,
                    _ => Open::Kept,
                };
                flat.push_str(if matches!(kind, Open::Kept) { "(" } else { " " });
                open.push(kind);
            }
            ")" => flat.push_str(match open.pop() {
                Some(Open::Try { delegates: false }) => " end ",
                Some(Open::Try { delegates: true } | Open::Part) => " ",
                Some(Open::Kept) | None => ")",
            }),
            other => flat.push_str(other),
        }
    }
    flat
}

/// The first token: a parenthesis, a string, a comment, blank space or a word.
fn next_token(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    let end = match first {
        '(' if text.starts_with("(;") => text.find(";)").map(|at| at + 2),
        '(' | ')' => Some(1),
        ';' => text.find('\n'),
        '"' => end_of_string(text),
        _ if first.is_whitespace() => text.find(|c: char| !c.is_whitespace()),
        _ => text.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | ';')),
    };
    Some(&text[..end.unwrap_or(text.len())])
}

fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return Some(at + 1),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

#[test]
fn unfolds_and_keeps_lines() {
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
    let folded = "(func ;; (try\n (try $l (result i32) (do (call $f (i32.const 1)))\n (catch $e)\n \
                  (catch_all (i32.const 2))) (export \"(do \\\" )\"))";
    let flat = unfold(folded);
    assert_eq!(flat.lines().count(), folded.lines().count());
    assert_eq!(
        words(&flat),
        words(
            "(func ;; (try\n try $l (result i32) (call $f (i32.const 1))\n catch $e\n \
             catch_all (i32.const 2) end (export \"(do \\\" )\"))"
        )
    );
    assert_eq!(words(&unfold("(try (do (nop)) (delegate $l))")), words("try (nop) delegate $l"));
}
