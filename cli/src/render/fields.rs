//! `-o '{id} {status} {spec.name}'`: a line of chosen fields per row, by the names that `-o json` has.

use std::fmt::Write as _;

use serde_json::Value;

use super::tame;

/// A line with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Vec<String>),
}

/// Why a line of fields cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A bracket alone.
    #[error("--output '{given}': a bracket has no partner; write '{{id}} {{status}}', and {{{{ for a bracket itself")]
    Bracket {
        /// The whole text.
        given: String,
    },
    /// No such field.
    #[error("there is no field '{field}' here; there are: {}{}", .known.join(", "), hint(.nearest.as_deref()))]
    Unknown {
        /// As written, with what leads to it.
        field: String,
        /// Those that there are, at the same place.
        known: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean '{name}'?"))
        .unwrap_or_default()
}

impl Fields {
    /// Reads a line with fields in brackets. `{{` and `}}` are brackets, `\t` and `\n` what they are elsewhere.
    ///
    /// # Errors
    /// A bracket without its partner.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let refused = || FieldError::Bracket { given: text.to_owned() };
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' if rest.next_if_eq(&'{').is_some() => plain.push('{'),
                '}' if rest.next_if_eq(&'}').is_some() => plain.push('}'),
                '\\' if rest.next_if_eq(&'t').is_some() => plain.push('\t'),
                '\\' if rest.next_if_eq(&'n').is_some() => plain.push('\n'),
                '}' => return Err(refused()),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next().ok_or_else(refused)? {
                            '}' => break,
                            '{' => return Err(refused()),
                            c => name.push(c),
                        }
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(name.trim().split('.').map(str::to_owned).collect()));
                }
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// A line for each row of a list, one for anything else.
    ///
    /// # Errors
    /// A field that no row has. One that only some rows have is a dash in the others.
    pub fn lines(&self, value: &Value) -> Result<String, FieldError> {
        let one = std::slice::from_ref(value);
        let rows = value.as_array().map_or(one, Vec::as_slice);
        for part in &self.parts {
            if let Part::Field(path) = part {
                check(path, rows)?;
            }
        }
        let mut out = String::new();
        for row in rows {
            for part in &self.parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Field(path) => {
                        let found = path.iter().try_fold(row, |value, name| step(value, name));
                        let text = told(found.unwrap_or(&Value::Null));
                        // Sentences are lines for people; a line end of any other text is shown as such.
                        let lines: Vec<String> = match path.as_slice() {
                            [name] if name == "sentence" => text.split('\n').map(tame).collect(),
                            _ => vec![tame(&text)],
                        };
                        out.push_str(&lines.join("\n"));
                    }
                }
            }
            out.push('\n');
        }
        Ok(out)
    }
}

fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    }
}

fn check(path: &[String], rows: &[Value]) -> Result<(), FieldError> {
    let has = |row: &Value, path: &[String]| path.iter().try_fold(row, |value, name| step(value, name)).is_some();
    if rows.is_empty() || rows.iter().any(|row| has(row, path)) {
        return Ok(());
    }
    // The longest way that leads somewhere; behind a null there is nothing in any row, which is no slip.
    let leads = |length: usize| rows.iter().any(|row| has(row, &path[..length]));
    let good = (0..path.len()).rev().find(|length| leads(*length)).unwrap_or(0);
    let at = |row: &Value| {
        path[..good]
            .iter()
            .try_fold(row, |value, name| step(value, name))
            .cloned()
    };
    let there: Vec<Value> = rows.iter().filter_map(at).collect();
    let depends = |value: &Value| value.is_null() || ["is", "t", "unit"].iter().any(|tag| value.get(tag).is_some());
    if there.iter().all(depends) {
        return Ok(());
    }
    let mut known: Vec<String> = there
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys().cloned())
        .collect();
    known.sort();
    known.dedup();
    let wrong = &path[good];
    Err(FieldError::Unknown {
        field: path[..=good].join("."),
        nearest: crate::args::nearest(wrong, known.iter().map(String::as_str)).map(str::to_owned),
        known,
    })
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let mut text = String::new();
            for (number, item) in items.iter().enumerate() {
                // A String takes everything.
                let _ = write!(text, "{}{}", if number > 0 { "," } else { "" }, told(item));
            }
            text
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(text: &str, value: &Value) -> Result<String, String> {
        let fields = Fields::parse(text).map_err(|error| error.to_string())?;
        fields.lines(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_per_row() {
        let rows = json!([
            { "id": 1, "status": "Queued", "spec": { "name": "a b" }, "state": { "is": "queued" }, "nodes": ["n1", "n2"] },
            { "id": 2, "status": "Running", "spec": { "name": "" }, "state": { "is": "running", "started_at": 5 }, "nodes": [] },
        ]);
        assert_eq!(
            lines("{id}\\t{spec.name} {{{status}}} {nodes} {nodes.0}", &rows).as_deref(),
            Ok("1\ta b {Queued} n1,n2 n1\n2\t {Running}  -\n")
        );
        assert_eq!(lines("{state.started_at}", &rows).as_deref(), Ok("-\n5\n"));
        assert_eq!(lines("{id}", &rows[0]).as_deref(), Ok("1\n"));
        assert_eq!(lines("{anything}", &json!([])).as_deref(), Ok(""));
        let why = json!({ "sentence": "it waits\nnext: \u{1b}", "name": "a\nb" });
        assert_eq!(
            lines("{sentence} {name}", &why).as_deref(),
            Ok("it waits\nnext: ^[ a^Jb\n")
        );
    }

    #[test]
    fn fields_that_are_not_there_are_named() {
        let rows = json!([{ "id": 1, "status": "Queued", "spec": { "name": "" }, "state": { "is": "queued" } }]);
        assert_eq!(
            lines("{statsu}", &rows).unwrap_err(),
            "there is no field 'statsu' here; there are: id, spec, state, status; did you mean 'status'?"
        );
        assert!(
            lines("{spec.nmae}", &rows)
                .unwrap_err()
                .contains("'spec.nmae' here; there are: name")
        );
        assert_eq!(lines("{state.ended_at}", &rows).as_deref(), Ok("-\n"));
        for wrong in ["{id", "id}", "{a{b}}"] {
            assert!(lines(wrong, &rows).unwrap_err().contains("no partner"), "{wrong}");
        }
    }
}
