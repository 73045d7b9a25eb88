//! From the text of a check to a [`Check`].
//!
//! The language is oslo.policy's: `not` binds closer than `and`, `and` closer than `or`; a word is
//! `kind:value`, `@` or `!`; parentheses stick to words. Texts are short and shallow, or refused.

use std::fmt;

use super::check::{Attribute, Check, Part, Template};

/// Longest check, in characters.
pub const MAX_LENGTH: usize = 4096;
/// Deepest nesting of parentheses and `not`.
pub const MAX_DEPTH: usize = 32;

/// Why a text is no check, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {position}: {problem}")]
pub struct SyntaxError {
    /// Character, counted from 1; one past the end for what is missing there.
    pub position: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with the text of a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than 4096 characters.
    #[error("a check may have at most {MAX_LENGTH} characters")]
    TooLong,
    /// More than 32 levels.
    #[error("parentheses and 'not' may be nested at most {MAX_DEPTH} deep")]
    TooDeep,
    /// Something else instead of a check.
    #[error("a check was expected, such as role:admin, not {0}")]
    NoCheck(String),
    /// Something else between two checks.
    #[error("'and', 'or' or the end was expected, not {0}")]
    NoOperator(String),
    /// The end came before `)`.
    #[error("a parenthesis is not closed")]
    Unclosed,
    /// A word without a colon.
    #[error("'{0}' is no check: write kind:value, '@' (always) or '!' (never)")]
    NoColon(String),
    /// Nothing before the colon, or a text that does not end.
    #[error("'{0}' does not say what to compare")]
    NoKind(String),
    /// Nothing after the colon.
    #[error("'{0}' does not say what to compare with")]
    NoValue(String),
    /// `http:` and `https:`.
    #[error("asking another server ({0}:) is not supported")]
    Remote(String),
    /// A percent sign that begins nothing.
    #[error("'{0}' may hold %(name)s and %%, and no other percent sign")]
    Template(String),
}

/// Reads a check. Nothing at all is always true, as in oslo.policy.
///
/// # Errors
/// [`SyntaxError`].
pub fn parse(text: &str) -> Result<Check, SyntaxError> {
    if text.chars().count() > MAX_LENGTH {
        return Err(SyntaxError { position: MAX_LENGTH + 1, problem: Problem::TooLong });
    }
    let (tokens, end) = tokens(text);
    if tokens.is_empty() {
        return Ok(Check::Always);
    }
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), end };
    let check = parser.any(0)?;
    match parser.tokens.next() {
        None => Ok(check),
        Some((position, token)) => {
            Err(SyntaxError { position, problem: Problem::NoOperator(token.to_string()) })
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Not,
    And,
    Or,
    Word(&'a str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("'('"),
            Self::Close => f.write_str("')'"),
            Self::Not => f.write_str("'not'"),
            Self::And => f.write_str("'and'"),
            Self::Or => f.write_str("'or'"),
            Self::Word(word) => write!(f, "'{word}'"),
        }
    }
}

/// Every token with its position, and the position of the end.
fn tokens(text: &str) -> (Vec<(usize, Token<'_>)>, usize) {
    let mut found = Vec::new();
    let mut position = 1_usize;
    for piece in text.split_inclusive(char::is_whitespace) {
        word(piece.trim_end(), position, &mut found);
        position = position.saturating_add(piece.chars().count());
    }
    (found, position)
}

/// A word with the parentheses at its ends.
fn word<'a>(word: &'a str, mut position: usize, found: &mut Vec<(usize, Token<'a>)>) {
    let inner = word.trim_start_matches('(');
    for _ in 0..word.len().saturating_sub(inner.len()) {
        found.push((position, Token::Open));
        position = position.saturating_add(1);
    }
    let bare = inner.trim_end_matches(')');
    if !bare.is_empty() {
        let token = match bare.to_ascii_lowercase().as_str() {
            "not" => Token::Not,
            "and" => Token::And,
            "or" => Token::Or,
            _ => Token::Word(bare),
        };
        found.push((position, token));
        position = position.saturating_add(bare.chars().count());
    }
    for _ in 0..inner.len().saturating_sub(bare.len()) {
        found.push((position, Token::Close));
        position = position.saturating_add(1);
    }
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<(usize, Token<'a>)>>,
    end: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: Token<'_>) -> bool {
        self.tokens.next_if(|(_, token)| *token == wanted).is_some()
    }

    /// `… or …`.
    fn any(&mut self, depth: usize) -> Result<Check, SyntaxError> {
        let first = self.all(depth)?;
        let mut parts = vec![first];
        while self.take(Token::Or) {
            parts.push(self.all(depth)?);
        }
        Ok(alone_or(parts, Check::Any))
    }

    /// `… and …`.
    fn all(&mut self, depth: usize) -> Result<Check, SyntaxError> {
        let first = self.one(depth)?;
        let mut parts = vec![first];
        while self.take(Token::And) {
            parts.push(self.one(depth)?);
        }
        Ok(alone_or(parts, Check::All))
    }

    /// `not …`, `( … )`, or a word.
    fn one(&mut self, depth: usize) -> Result<Check, SyntaxError> {
        let Some((position, token)) = self.tokens.next() else {
            return Err(SyntaxError {
                position: self.end,
                problem: Problem::NoCheck("the end".to_owned()),
            });
        };
        let error = |problem| Err(SyntaxError { position, problem });
        match token {
            Token::Not | Token::Open if depth >= MAX_DEPTH => error(Problem::TooDeep),
            Token::Not => Ok(Check::Not(Box::new(self.one(depth.saturating_add(1))?))),
            Token::Open => {
                let inner = self.any(depth.saturating_add(1))?;
                match self.tokens.next() {
                    Some((_, Token::Close)) => Ok(inner),
                    Some((position, other)) => Err(SyntaxError {
                        position,
                        problem: Problem::NoOperator(other.to_string()),
                    }),
                    None => error(Problem::Unclosed),
                }
            }
            Token::Word(word) => single(word).or_else(error),
            Token::Close | Token::And | Token::Or => error(Problem::NoCheck(token.to_string())),
        }
    }
}

/// The only part itself, or all of them together.
fn alone_or(mut parts: Vec<Check>, together: fn(Vec<Check>) -> Check) -> Check {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            together(parts)
        }
    }
}

/// A check that is one word.
fn single(word: &str) -> Result<Check, Problem> {
    match word {
        "@" => return Ok(Check::Always),
        "!" => return Ok(Check::Never),
        _ => {}
    }
    let (kind, value) = word.split_once(':').ok_or_else(|| Problem::NoColon(word.to_owned()))?;
    if value.is_empty() {
        return Err(Problem::NoValue(word.to_owned()));
    }
    match kind {
        "rule" => return Ok(Check::Rule(value.to_owned())),
        "http" | "https" => return Err(Problem::Remote(kind.to_owned())),
        _ => {}
    }
    let value = template(value).ok_or_else(|| Problem::Template(value.to_owned()))?;
    if kind == "role" {
        return Ok(Check::Role(value));
    }
    if let Some(text) = literal(kind) {
        return Ok(Check::Literal(text.to_owned(), value));
    }
    let is_name = |character: char| character.is_alphanumeric() || "_.-".contains(character);
    if kind.is_empty() || !kind.chars().all(is_name) {
        return Err(Problem::NoKind(word.to_owned()));
    }
    Ok(Check::Attribute(Attribute::named(kind), value))
}

/// The value of a Python literal as Python prints it; `None` for names.
fn literal(kind: &str) -> Option<&str> {
    if matches!(kind, "True" | "False" | "None") {
        return Some(kind);
    }
    if !kind.is_empty() && kind.chars().all(|character| character.is_ascii_digit()) {
        let digits = kind.trim_start_matches('0');
        return Some(if digits.is_empty() { "0" } else { digits });
    }
    let quoted = |quote: char| {
        let text = kind.strip_prefix(quote)?.strip_suffix(quote)?;
        (!text.contains(['\\', quote])).then_some(text)
    };
    quoted('\'').or_else(|| quoted('"'))
}

/// A value with its holes.
fn template(value: &str) -> Option<Template> {
    let mut parts = Vec::new();
    let mut rest = value;
    while let Some((text, after)) = rest.split_once('%') {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        if let Some(after) = after.strip_prefix('%') {
            parts.push(Part::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let (name, after) = after.strip_prefix('(')?.split_once(")s")?;
        parts.push(match name {
            "project_id" => Part::ProjectId,
            "user_id" => Part::UserId,
            _ => Part::Absent,
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(Template(parts))
}
