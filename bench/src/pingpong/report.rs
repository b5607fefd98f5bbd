//! The table of a measurement. Pure: figures in, text out.

use std::fmt::Write as _;

use super::options::Packet;
use super::statistics::{PairFigures, median_of};

/// All that is printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How many ranks took part.
    pub ranks: u32,
    /// On how many nodes.
    pub nodes: usize,
    /// What carried the messages, in words.
    pub link: &'static str,
    /// What went back and forth.
    pub packet: Packet,
    /// A row each, in the order measured.
    pub rows: Vec<Row>,
}

/// One pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where the first rank runs.
    pub first: String,
    /// Where the second rank runs.
    pub second: String,
    /// What was measured.
    pub figures: PairFigures,
}

impl Report {
    /// The table, ending in a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.head();
        let width = self
            .rows
            .iter()
            .map(|row| row.name().chars().count())
            .max()
            .unwrap_or(0)
            .max(18);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<width$} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "pair", "min us", "median us", "mean us", "p99 us", "max us", "MB/s"
        );
        for row in &self.rows {
            self.row(&mut text, width, row);
        }
        self.summary(&mut text, width);
        text
    }

    fn head(&self) -> String {
        let clock_us = self.rows.iter().map(|row| row.figures.clock_us).fold(0.0, f64::max);
        let Packet { size_bytes, iterations } = self.packet;
        format!(
            "mpipingpong: {}, {}, {}, one after the other\n\
             link: {}\n\
             packet: {} there and back, {} per pair after a warm-up\n\
             latency is half a round trip; MB/s is the size by the median latency, 10^6 bytes\n\
             the clock costs up to {clock_us:.3} us per round trip, which is contained in it\n\n",
            counted(self.ranks.into(), "rank"),
            counted(self.nodes as u64, "node"),
            counted(self.rows.len() as u64, "pair"),
            self.link,
            counted(size_bytes as u64, "byte"),
            counted(iterations, "round trip"),
        )
    }

    fn row(&self, text: &mut String, width: usize, row: &Row) {
        let figures = &row.figures;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<width$} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>10.2}",
            row.name(),
            figures.min_us,
            figures.median_us,
            figures.mean_us,
            figures.p99_us,
            figures.max_us,
            figures.megabytes_per_second(self.packet.size_bytes),
        );
    }

    /// Best, worst and middle pair by median latency.
    fn summary(&self, text: &mut String, width: usize) {
        let mut order: Vec<&Row> = self.rows.iter().collect();
        order.sort_by(|left, right| left.figures.median_us.total_cmp(&right.figures.median_us));
        let (Some(best), Some(worst)) = (order.first(), order.last()) else {
            return;
        };
        let size = self.packet.size_bytes;
        let middle_us = median_of(&order, |row| row.figures.median_us).unwrap_or(best.figures.median_us);
        let middle_rate = median_of(&order, |row| row.figures.megabytes_per_second(size)).unwrap_or(0.0);
        text.push('\n');
        let mut line = |what: &str, latency_us: f64, rate: f64, name: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{what:<width$} {:>10} {latency_us:>10.2} {:>32} {rate:>10.2}  {name}",
                "", ""
            );
        };
        line(
            "best pair",
            best.figures.median_us,
            best.figures.megabytes_per_second(size),
            &best.name(),
        );
        line(
            "worst pair",
            worst.figures.median_us,
            worst.figures.megabytes_per_second(size),
            &worst.name(),
        );
        line("median of pairs", middle_us, middle_rate, "");
        while text.ends_with([' ', '\n']) {
            text.pop();
        }
        text.push('\n');
    }
}

impl Row {
    fn name(&self) -> String {
        format!("{} -> {}", self.first, self.second)
    }
}

fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(first: &str, second: &str, median_us: f64, max_us: f64) -> Row {
        let figures = PairFigures {
            min_us: median_us - 0.5,
            median_us,
            mean_us: median_us + 0.25,
            p99_us: median_us + 100.0,
            max_us,
            clock_us: 0.027,
        };
        Row {
            first: first.to_owned(),
            second: second.to_owned(),
            figures,
        }
    }

    fn report(size_bytes: usize, rows: Vec<Row>) -> Report {
        let packet = Packet {
            size_bytes,
            iterations: 1000,
        };
        Report {
            ranks: 3,
            nodes: 3,
            link: "QUIC over UDP, the measuring pair polls",
            packet,
            rows,
        }
    }

    #[test]
    fn the_table_is_as_recorded() {
        let rows = vec![
            row("node1", "node2", 1650.5, 2101.25),
            row("node1", "a-rather-long-name.cluster", 1637.25, 12_345.5),
            row("node2", "a-rather-long-name.cluster", 1810.125, 1990.0),
        ];
        assert_eq!(report(4_000_000, rows).text(), include_str!("golden/table.txt"));
    }

    #[test]
    fn columns_align() {
        let text = report(1, vec![row("a", "b", 6.5, 210.0), row("a", "c", 1234.5, 99_999.0)]).text();
        let table: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("pair"))
            .take(3)
            .collect();
        assert!(table.windows(2).all(|lines| lines[0].len() == lines[1].len()), "{text}");
    }

    #[test]
    fn one_of_something_is_singular() {
        let text = report(1, vec![row("a", "b", 6.5, 210.0)]).text();
        assert!(text.contains("1 pair,") && text.contains("1 byte there"), "{text}");
    }
}
