//! Tables and blocks of `Name : value` lines.
//!
//! A table that is wider than the terminal shortens its widest text column with `…`, again and again; ids, numbers and
//! states are never cut. Where there is no terminal nothing is cut.

/// The least that is left of a shortened column.
const SHORTEST: usize = 6;

/// Between columns.
const GAP: &str = "  ";

/// What a value is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tint {
    None,
    Good,
    Bad,
    Waiting,
    Dim,
}

impl Tint {
    /// Of a state's word.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "Running" | "Finished" | "Online" | "OK" | "Active" => Self::Good,
            "Failed" | "Lost" | "Suspect" => Self::Bad,
            "Configuring" | "Queued" | "Dispatching" | "Canceling" | "Finishing" | "Terminating" | "Draining"
            | "Unseen" | "Resizing" | "Deleting" => Self::Waiting,
            "Canceled" | "Terminated" | "Disabled" | "Completed" | "Offline" => Self::Dim,
            _ => Self::None,
        }
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Good => Some("\x1b[32m"),
            Self::Bad => Some("\x1b[31m"),
            Self::Waiting => Some("\x1b[33m"),
            Self::Dim => Some("\x1b[2m"),
        }
    }

    /// The text in this colour.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        match self.code() {
            Some(code) if colour => format!("{code}{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ids, times: never cut.
    Id,
    /// Numbers: to the right, never cut.
    Number,
    /// States: in their colours, never cut.
    State,
    /// May be shortened.
    Text,
}

/// Rows under titles.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Kind)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Texts are tamed here, whoever wrote them.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for every column");
        self.rows.push(cells.iter().map(|cell| super::tame(cell)).collect());
    }

    /// One line per row.
    pub(super) fn lines(&self, width: Option<usize>, colour: bool) -> String {
        let widths = self.widths(width);
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        self.line(&titles, &widths, |_, text| text) + &self.rows(width, colour)
    }

    /// One line per row, without the titles.
    pub(super) fn rows(&self, width: Option<usize>, colour: bool) -> String {
        let widths = self.widths(width);
        let line = |row: &Vec<String>| {
            self.line(row, &widths, |kind, text| match kind {
                Kind::State => Tint::of(text.trim_end()).paint(&text, colour),
                _ => text,
            })
        };
        self.rows.iter().map(line).collect()
    }

    /// A block per row.
    pub(super) fn blocks(&self) -> String {
        let block = |row: &Vec<String>| {
            let pairs = self
                .columns
                .iter()
                .zip(row)
                .map(|((title, _), cell)| (*title, cell.clone()));
            properties(&pairs.collect::<Vec<_>>())
        };
        self.rows.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize], finish: impl Fn(Kind, String) -> String) -> String {
        let mut out = String::new();
        let last = cells.len().saturating_sub(1);
        for (at, ((cell, width), (_, kind))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            let cell = shorten(cell, *width);
            let room = " ".repeat(width.saturating_sub(cell.chars().count()));
            let padded = match kind {
                Kind::Number => room + &cell,
                _ if at == last => cell,
                _ => cell + &room,
            };
            if at > 0 {
                out.push_str(GAP);
            }
            out += &finish(*kind, padded);
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
        out
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| title.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let Some(room) = width else { return widths };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        while over > 0 {
            let texts = widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(_, (_, kind))| *kind == Kind::Text);
            let widest = texts
                .map(|(width, _)| width)
                .filter(|width| **width > SHORTEST)
                .max_by_key(|width| **width);
            let Some(widest) = widest else { break };
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Aligned `Name : value` lines.
pub(super) fn properties(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = pairs.iter().map(|(name, value)| format!("{name:<width$} : {value}"));
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("ID", Kind::Number),
            ("Name", Kind::Text),
            ("State", Kind::State),
            ("Command", Kind::Text),
        ]);
        table.row([
            "7".into(),
            "short".into(),
            "Running".into(),
            "mpiexec -c 1 solver --very-long-option".into(),
        ]);
        table.row(["12345".into(), "x\x1b[31mred".into(), "Failed".into(), "true".into()]);
        table
    }

    #[test]
    fn nothing_is_cut_without_a_terminal() {
        assert_eq!(
            table().lines(None, false),
            "   ID  Name        State    Command\n    \
             7  short       Running  mpiexec -c 1 solver --very-long-option\n\
             12345  x^[[31mred  Failed   true\n"
        );
    }

    #[test]
    fn the_widest_text_gives_way_first_and_ids_never() {
        let text = table().lines(Some(40), false);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(
            text.contains("12345") && text.contains("Running") && text.contains("short") && text.contains('…'),
            "{text}"
        );
        let narrow = table().lines(Some(5), false);
        assert!(narrow.contains("12345") && narrow.contains("Running"), "{narrow}");
    }

    #[test]
    fn states_have_colours_on_a_terminal() {
        let text = table().lines(None, true);
        assert!(
            text.contains("\x1b[32mRunning\x1b[0m") && text.contains("\x1b[31mFailed \x1b[0m"),
            "{text:?}"
        );
        assert_eq!(text.matches('\x1b').count(), 4, "no colour but ours: {text:?}");
    }
}
