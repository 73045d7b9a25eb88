//! Results on stdout: a table for people, JSON or bare values for programs.
//!
//! Invariants: what programs read does not depend on the terminal (no wrapping, no colour, no
//! truncation when stdout is no terminal); nothing that a tenant named can carry control
//! characters to a terminal. `value` and `table` spell as the openstack client does (`None`,
//! `True`), JSON is JSON.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::{Cell as TableCell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use crate::args::{Format, OutputArgs};
use crate::error::Failure;

/// Columns of a terminal below which wrapping makes a table unreadable rather than narrow.
const NARROWEST: u16 = 60;

/// One value: what JSON says, and the text for people where that differs.
#[derive(Debug, Clone)]
pub struct Cell {
    json: Value,
    text: Option<String>,
}

impl Cell {
    /// A value with its own text.
    pub fn with_text(json: Value, text: String) -> Self {
        Self { json, text: Some(text) }
    }

    /// The member of an object, null when it is missing.
    pub fn of(object: &Value, key: &str) -> Self {
        object.get(key).cloned().unwrap_or_default().into()
    }

    fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| plain(&self.json))
    }
}

impl<T: Into<Value>> From<T> for Cell {
    fn from(value: T) -> Self {
        Self { json: value.into(), text: None }
    }
}

/// A value as the openstack client writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(object) => {
            let pair = |(key, value): (&String, &Value)| format!("{key}='{}'", plain(value));
            object.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Text without anything that a terminal would obey; line breaks and tabs stay.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            // Bidirectional overrides make a name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// stdout.
pub struct Out {
    sink: Box<dyn Write>,
    terminal: bool,
    colour: bool,
}

impl Out {
    /// Of this process.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            sink: Box::new(io::BufWriter::new(io::stdout())),
            terminal,
            colour: terminal && !plain && !dumb,
        }
    }

    #[cfg(test)]
    fn into(sink: Box<dyn Write>) -> Self {
        Self { sink, terminal: false, colour: false }
    }

    /// Whether a person looks.
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// For everything that is no table.
    pub fn writer(&mut self) -> &mut dyn Write {
        &mut self.sink
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.sink.flush()?)
    }

    /// Prints a list.
    ///
    /// # Errors
    /// When a column does not exist or stdout is closed.
    pub fn list(
        &mut self,
        output: &OutputArgs,
        columns: &[&str],
        rows: Vec<Vec<Cell>>,
    ) -> Result<(), Failure> {
        let chosen = choose(&output.columns, columns)?;
        let pick = |row: &Vec<Cell>| -> Vec<Cell> {
            chosen.iter().filter_map(|index| row.get(*index).cloned()).collect()
        };
        let names: Vec<&str> =
            chosen.iter().filter_map(|index| columns.get(*index).copied()).collect();
        match output.format {
            Format::Json => {
                let object = |row: &Vec<Cell>| -> Value {
                    let cells = pick(row).into_iter().map(|cell| cell.json);
                    names
                        .iter()
                        .map(|name| (*name).to_owned())
                        .zip(cells)
                        .collect::<Map<_, _>>()
                        .into()
                };
                self.json(&rows.iter().map(object).collect())
            }
            Format::Value => {
                for row in &rows {
                    let texts: Vec<String> = pick(row).iter().map(one_line).collect();
                    writeln!(self.sink, "{}", texts.join(" "))?;
                }
                Ok(())
            }
            Format::Table => {
                let rows = rows.iter().map(pick).collect();
                self.table(&names, rows)
            }
        }
    }

    /// Prints one thing with its fields.
    ///
    /// # Errors
    /// When a field does not exist or stdout is closed.
    pub fn record(
        &mut self,
        output: &OutputArgs,
        fields: Vec<(String, Cell)>,
    ) -> Result<(), Failure> {
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let chosen = choose(&output.columns, &names)?;
        let picked: Vec<&(String, Cell)> =
            chosen.iter().filter_map(|index| fields.get(*index)).collect();
        match output.format {
            Format::Json => {
                let pairs = picked.iter().map(|(name, cell)| (name.clone(), cell.json.clone()));
                self.json(&Value::Object(pairs.collect()))
            }
            Format::Value => {
                for (_, cell) in picked {
                    writeln!(self.sink, "{}", one_line(cell))?;
                }
                Ok(())
            }
            Format::Table => {
                let rows =
                    picked.iter().map(|(name, cell)| vec![name.as_str().into(), cell.clone()]);
                let rows = rows.collect();
                self.table(&["Field", "Value"], rows)
            }
        }
    }

    fn json(&mut self, value: &Value) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        Ok(writeln!(self.sink, "{text}")?)
    }

    fn table(&mut self, columns: &[&str], rows: Vec<Vec<Cell>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::ASCII_FULL_CONDENSED);
        if self.terminal && table.width().is_some_and(|width| width >= NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if !self.colour {
            table.force_no_tty();
        }
        table.set_header(columns.iter().map(|name| printable(name)));
        for row in rows {
            table.add_row(row.iter().map(|cell| self.cell(cell)));
        }
        for (index, name) in columns.iter().enumerate() {
            // An id in pieces cannot be copied, nor a status searched for.
            if let Some(column) = table.column_mut(index)
                && (matches!(*name, "Field" | "Status") || name.ends_with("ID"))
            {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Ok(writeln!(self.sink, "{}", table.trim_fmt())?)
    }

    fn cell(&self, cell: &Cell) -> TableCell {
        let text = printable(&cell.text());
        let colour = if self.colour { status_colour(&text) } else { None };
        let shown = TableCell::new(text);
        colour.map_or(shown.clone(), |colour| shown.fg(colour))
    }
}

/// A record is a line: breaks inside a value would make two of it.
fn one_line(cell: &Cell) -> String {
    printable(&cell.text()).replace('\n', "\\n")
}

/// The chosen columns in their own order, as the openstack client does; all without a choice.
fn choose(wanted: &[String], columns: &[&str]) -> Result<Vec<usize>, Failure> {
    let known = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        let message = format!("there is no column '{unknown}'; there is: {}", columns.join(", "));
        return Err(Failure::Usage(message));
    }
    let included = |column: &str| {
        wanted.is_empty() || wanted.iter().any(|name| name.eq_ignore_ascii_case(column))
    };
    Ok(columns.iter().enumerate().filter(|(_, name)| included(name)).map(|(i, _)| i).collect())
}

fn status_colour(text: &str) -> Option<Color> {
    match text {
        "ACTIVE" | "active" => Some(Color::Green),
        "ERROR" | "error" | "killed" => Some(Color::Red),
        "PAUSED" | "SUSPENDED" | "RESCUE" => Some(Color::Yellow),
        "SHUTOFF" | "queued" => Some(Color::DarkGrey),
        "BUILD" | "REBOOT" | "HARD_REBOOT" | "saving" => Some(Color::Cyan),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Rc<RefCell<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(print: impl FnOnce(&mut Out) -> Result<(), Failure>) -> String {
        let captured = Captured::default();
        let mut out = Out::into(Box::new(captured.clone()));
        print(&mut out).unwrap();
        let bytes = captured.0.borrow().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn args(format: Format, columns: &[&str]) -> OutputArgs {
        OutputArgs { format, columns: columns.iter().map(|c| (*c).to_owned()).collect() }
    }

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["1".into(), "a\u{1b}[2Jb".into(), Value::Null.into()],
            vec!["2".into(), "two\nlines".into(), true.into()],
        ]
    }

    #[test]
    fn formats_of_a_list() {
        let columns = ["ID", "Name", "On"];
        let table = printed(|out| out.list(&args(Format::Table, &[]), &columns, rows()));
        assert_eq!(
            table,
            "+----+-----------+------+\n\
             | ID | Name      | On   |\n\
             +=======================+\n\
             | 1  | a\\x1b[2Jb | None |\n\
             | 2  | two       | True |\n\
             |    | lines     |      |\n\
             +----+-----------+------+\n"
        );
        let value = printed(|out| out.list(&args(Format::Value, &["on", "ID"]), &columns, rows()));
        assert_eq!(value, "1 None\n2 True\n");
        let names = printed(|out| out.list(&args(Format::Value, &["Name"]), &columns, rows()));
        assert_eq!(names, "a\\x1b[2Jb\ntwo\\nlines\n");
        let text = printed(|out| out.list(&args(Format::Json, &[]), &columns, rows()));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[0], json!({"ID": "1", "Name": "a\u{1b}[2Jb", "On": null}));
        let none = printed(|out| out.list(&args(Format::Json, &[]), &columns, vec![]));
        assert_eq!(none, "[]\n");
    }

    #[test]
    fn formats_of_a_record() {
        let fields = || {
            let nested = Cell::with_text(json!({"a": 1}), "one".into());
            vec![("id".to_owned(), "x".into()), ("nested".to_owned(), nested)]
        };
        let json = printed(|out| out.record(&args(Format::Json, &["nested"]), fields()));
        assert_eq!(json, "{\n  \"nested\": {\n    \"a\": 1\n  }\n}\n");
        let value = printed(|out| out.record(&args(Format::Value, &[]), fields()));
        assert_eq!(value, "x\none\n");
    }

    #[test]
    fn an_unknown_column_is_a_usage_error() {
        let mut out = Out::into(Box::new(io::sink()));
        let failure = out.list(&args(Format::Value, &["nope"]), &["ID"], vec![]).unwrap_err();
        assert_eq!(failure.text(), "there is no column 'nope'; there is: ID");
        assert_eq!(failure.exit(), crate::error::Exit::Usage);
    }

    #[test]
    fn nested_values_for_people() {
        assert_eq!(plain(&json!({"a": "b", "c": null})), "a='b', c='None'");
        assert_eq!(plain(&json!(["x", 1, false])), "x, 1, False");
        assert_eq!(printable("a\u{9b}b\u{202e}c"), "a\\x9bb\\u{202e}c");
    }
}
