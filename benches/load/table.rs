//! Figures side by side: printed, and written as JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::ports::Peer;

/// One table: a column per workload, a row per proxy, a sample per round in each cell.
#[derive(Clone)]
pub struct Table {
    /// Of its file.
    pub name: &'static str,
    /// What is measured.
    pub title: &'static str,
    /// In what.
    pub unit: &'static str,
    /// Decimals shown.
    pub decimals: usize,
    /// Workloads.
    pub columns: Vec<String>,
    /// Proxies.
    pub rows: Vec<Row>,
}

/// A proxy's samples.
#[derive(Clone)]
pub struct Row {
    /// Which proxy.
    pub peer: Peer,
    /// By column; empty where the proxy cannot do it.
    pub cells: Vec<Vec<f64>>,
}

impl Table {
    /// An empty one over these proxies.
    pub fn new(
        (name, title, unit): (&'static str, &'static str, &'static str),
        decimals: usize,
        columns: &[&str],
        peers: &[Peer],
    ) -> Self {
        let cells = vec![Vec::new(); columns.len()];
        let columns = columns.iter().map(ToString::to_string).collect();
        let rows = peers.iter().map(|peer| Row { peer: *peer, cells: cells.clone() }).collect();
        Self { name, title, unit, decimals, columns, rows }
    }

    /// One more sample.
    pub fn add(&mut self, peer: Peer, column: usize, sample: f64) {
        let row = self.rows.iter_mut().find(|row| row.peer == peer).expect("a row for each proxy");
        row.cells[column].push(sample);
    }

    /// The samples of a proxy.
    pub fn samples(&self, peer: Peer, column: usize) -> &[f64] {
        let row = self.rows.iter().find(|row| row.peer == peer);
        row.map_or(&[], |row| &row.cells[column])
    }

    /// The middle sample.
    pub fn median(&self, peer: Peer, column: usize) -> Option<f64> {
        median(self.samples(peer, column).to_vec())
    }

    /// How a proxy compares with another: the median of the rounds' own ratios.
    pub fn ratio(&self, peer: Peer, to: Peer, column: usize) -> Option<f64> {
        let pairs = self.samples(peer, column).iter().zip(self.samples(to, column));
        median(pairs.map(|(own, other)| own / other).collect())
    }

    /// To standard output: median, range, and the ratios to others.
    pub fn print(&self) {
        println!("\n{} ({})", self.title, self.unit);
        print!("{:<12}", "");
        self.columns.iter().for_each(|column| print!(" | {column:<48}"));
        println!();
        for row in &self.rows {
            print!("{:<12}", row.peer.name());
            for column in 0..self.columns.len() {
                print!(" | {:<48}", self.cell(row.peer, column));
            }
            println!(" | {}", row.peer.work());
        }
    }

    fn cell(&self, peer: Peer, column: usize) -> String {
        let samples = self.samples(peer, column);
        let Some(middle) = self.median(peer, column) else { return "-".to_owned() };
        let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let high = samples.iter().copied().fold(0.0, f64::max);
        let digits = self.decimals;
        let ratio = |to: Peer, sign: &str| {
            self.ratio(peer, to, column).map_or(String::new(), |ratio| format!(" {ratio:.2}{sign}"))
        };
        format!(
            "{middle:.digits$} [{low:.digits$}-{high:.digits$}]{}{}{}{}",
            ratio(Peer::Bare, "×P"),
            ratio(Peer::Nginx, "×n"),
            ratio(Peer::Lua, "×L"),
            ratio(Peer::Other, "×o"),
        )
    }

    /// To `{folder}/{name}.json`, all samples.
    pub fn write(&self, folder: &Path) {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let document = json!({
            "title": self.title, "unit": self.unit, "columns": self.columns, "rows": rows,
        });
        let path = folder.join(format!("{}.json", self.name));
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, format!("{document:#}\n"))
            .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
    }

    fn row_json(&self, row: &Row) -> Value {
        let columns = 0..self.columns.len();
        let of = |to: Peer| -> Vec<Option<f64>> {
            columns.clone().map(|column| self.ratio(row.peer, to, column)).collect()
        };
        let medians: Vec<_> = columns.clone().map(|at| self.median(row.peer, at)).collect();
        json!({
            "proxy": row.peer.name(), "work": row.peer.work(), "median": medians,
            "against_pingora": of(Peer::Bare), "against_nginx": of(Peer::Nginx),
            "against_lua": of(Peer::Lua),
            "samples": row.cells,
        })
    }
}

/// The middle one.
pub fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => None,
        length if length % 2 == 0 => Some((samples[middle - 1] + samples[middle]) / 2.0),
        _ => Some(samples[middle]),
    }
}
