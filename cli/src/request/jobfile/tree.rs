//! A job file as a tree of texts with their lines, whichever of the three notations it is written in.
//!
//! Values stay texts: the parsers of the options read them, so that a value means the same in a file and on the command
//! line. Of YAML there are no anchors and aliases, which nobody needs for this and which can blow a file up.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Deeper than any key of a job file lies.
const DEEPEST: usize = 8;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its line, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, number, truth or moment, as it was written.
    Text(String),
    /// Several in order.
    List(Vec<Node>),
    /// Several under keys, in the order of their lines.
    Map(Vec<Entry>),
    /// YAML's and JSON's null.
    Nothing,
}

/// A value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As written.
    pub(super) key: String,
    /// The line of the key.
    pub(super) line: usize,
    /// What stands there.
    pub(super) node: Node,
}

/// What is wrong with the text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The line, from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) what: String,
}

impl Value {
    /// For messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a table",
            Self::Nothing => "nothing",
        }
    }
}

/// Reads TOML.
pub(super) fn of_toml(text: &str) -> Result<Node, Wrong> {
    let table = DeTable::parse(text).map_err(|error| Wrong {
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        what: error.message().to_owned(),
    })?;
    let (span, table) = (table.span(), table.into_inner());
    of_table(text, span.start, table, 0)
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn of_table(text: &str, at: usize, table: DeTable<'_>, depth: usize) -> Result<Node, Wrong> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let line = line_at(text, key.span().start);
        let node = of_value(text, value, depth)?;
        entries.push(Entry {
            key: key.into_inner().into_owned(),
            line,
            node,
        });
    }
    // The parser keeps them by name.
    entries.sort_by_key(|entry| entry.line);
    Ok(Node {
        line: line_at(text, at),
        value: Value::Map(entries),
    })
}

fn of_value(text: &str, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Wrong> {
    let at = value.span().start;
    let line = line_at(text, at);
    if depth > DEEPEST {
        return Err(too_deep(line));
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Value::Text(number.as_str().to_owned()),
        DeValue::Integer(_) => {
            return Err(Wrong {
                line,
                what: "write the number in decimal digits".to_owned(),
            });
        }
        DeValue::Float(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Boolean(is) => Value::Text(is.to_string()),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| of_value(text, item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => return of_table(text, at, table, depth + 1),
    };
    Ok(Node { line, value })
}

fn too_deep(line: usize) -> Wrong {
    Wrong {
        line,
        what: format!("lists and tables are nested more than {DEEPEST} deep"),
    }
}

/// Reads JSON. What is good JSON is read as YAML then, which knows its lines.
pub(super) fn of_json(text: &str) -> Result<Node, Wrong> {
    let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    checked.map_err(|error| Wrong {
        line: error.line().max(1),
        what: without_place(&error.to_string()),
    })?;
    of_yaml(text)
}

/// The line is told before it.
fn without_place(error: &str) -> String {
    error
        .rsplit_once(" at line ")
        .map_or(error, |(what, _)| what)
        .to_owned()
}

/// Reads YAML.
pub(super) fn of_yaml(text: &str) -> Result<Node, Wrong> {
    let mut events = Events {
        parser: Parser::new_from_str(text),
    };
    let mut root = None;
    loop {
        let (event, span) = events.next()?;
        let line = span.start.line().max(1);
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => {
                return Err(Wrong {
                    line,
                    what: "a second document begins; a job file has one".to_owned(),
                });
            }
            event => root = Some(events.node(event, line, 0)?),
        }
    }
    Ok(root.unwrap_or(Node {
        line: 1,
        value: Value::Nothing,
    }))
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Wrong> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Wrong {
                line: error.marker().line().max(1),
                what: error.info().to_owned(),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Wrong> {
        let wrong = |what: &str| {
            Err(Wrong {
                line,
                what: what.to_owned(),
            })
        };
        if depth > DEEPEST {
            return Err(too_deep(line));
        }
        let value = match event {
            Event::Alias(_) => return wrong("anchors and aliases are not read here; write it out"),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return wrong("anchors and aliases are not read here; write it out");
            }
            Event::Scalar(text, ScalarStyle::Plain, _, _)
                if text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null") =>
            {
                Value::Nothing
            }
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return wrong("this is no value"),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span.start.line(), depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Wrong {
                        line,
                        what: "a key is a word".to_owned(),
                    });
                }
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                return Err(Wrong {
                    line,
                    what: format!("'{key}' was said in line {} already", first.line),
                });
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span.start.line(), depth + 1)?;
            entries.push(Entry { key, line, node });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Text(text) => format!("{text}@{}", node.line),
            Value::Nothing => format!("-@{}", node.line),
            Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entry = |entry: &Entry| format!("{}@{}:{}", entry.key, entry.line, shown(&entry.node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn the_three_notations_give_the_same_texts_with_their_lines() {
        let toml =
            of_toml("[job]\nname = \"a\"\npriority = 3_000\n\n[[task]]\nenv = { A = \"1\" }\nexclusive = true\n");
        assert_eq!(
            shown(&toml.expect("TOML")),
            "{job@1:{name@2:a@2 priority@3:3000@3} task@5:[{env@6:{A@6:1@6} exclusive@7:true@7}]}"
        );
        let yaml = of_yaml("# jobs\njob:\n  name: 'a'\n  runtime: 1:30\n  env: {A: ~}\ntask:\n- command: [x, 'y z']\n");
        assert_eq!(
            shown(&yaml.expect("YAML")),
            "{job@2:{name@3:a@3 runtime@4:1:30@4 env@5:{A@5:-@5}} task@6:[{command@7:[x@7 y z@7]}]}"
        );
        let json = of_json("{\n\t\"job\": {\n\t\t\"name\": \"\\u00e4\\/\",\n\t\t\"exclusive\": true\n\t}\n}\n");
        assert_eq!(shown(&json.expect("JSON")), "{job@2:{name@3:ä/@3 exclusive@4:true@4}}");
    }

    #[test]
    fn what_is_wrong_says_where() {
        let wrong = |read: Result<Node, Wrong>| {
            let Wrong { line, what } = read.expect_err("wrong");
            format!("{line}: {what}")
        };
        assert!(wrong(of_toml("a = 1\nb = \n")).starts_with("2: "));
        assert!(wrong(of_toml("a = 0x1F\n")).contains("decimal"));
        assert_eq!(
            wrong(of_yaml("a: 1\nb: 2\na: 3\n")),
            "3: 'a' was said in line 1 already"
        );
        assert!(wrong(of_yaml("a: &x 1\nb: *x\n")).contains("1: anchors"));
        assert!(wrong(of_yaml("a: 1\n---\nb: 1\n")).contains("a second document"));
        let said = wrong(of_json("{\n \"a\": 1,\n}"));
        assert!(said.starts_with("3: ") && !said.contains("at line"), "{said}");
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(wrong(of_yaml(&deep)).contains("nested"));
        assert!(wrong(of_toml(&format!("a = {deep}"))).contains("nested"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\\n\\tä]{0,60}") {
            // Any answer is right as long as there is one.
            let _ = (of_toml(&text), of_yaml(&text), of_json(&text));
        }
    }
}
