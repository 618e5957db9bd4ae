//! Tables as bar charts for the documents: SVG that follows the reader's light or dark theme.

use std::path::Path;

use super::ports::Peer;
use super::table::Table;

const WIDTH: f64 = 760.0;
const BARS_AT: f64 = 110.0;
const BARS_WIDE: f64 = 420.0;
const ROW: f64 = 26.0;
const PANEL_HEAD: f64 = 34.0;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
.head{font-weight:600}.note{fill:#59636e}.bar{fill:#9aa4af}.own{fill:#0969da}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.note{fill:#9198a1}\
.bar{fill:#656c76}.own{fill:#4493f8}}";

/// One group of bars: a column of a table under a heading of its own.
pub struct Panel<'a> {
    /// Above the bars.
    pub heading: String,
    /// Whose figures.
    pub table: &'a Table,
    /// Which of them.
    pub column: usize,
}

/// Draws panels below each other.
pub fn draw(path: &Path, title: &str, panels: &[Panel<'_>]) {
    let mut body = String::new();
    let mut told = String::new();
    let mut top = 30.0;
    for panel in panels {
        body.push_str(&text(0.0, top + 16.0, "head", &panel.heading));
        told.push_str(&format!("{}: ", panel.heading));
        top += PANEL_HEAD;
        let mut bars = bars(panel);
        bars.sort_by(|one, other| one.1.total_cmp(&other.1));
        let longest = bars.last().map_or(1.0, |bar| bar.1);
        for (peer, value) in bars {
            let label = label(panel, peer, value);
            told.push_str(&format!("{} {label}; ", peer.name()));
            body.push_str(&bar(top, peer, value / longest, &label));
            top += ROW;
        }
        top += 14.0;
    }
    let document = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\">\n\
         <title>{title}</title>\n<desc>{told}</desc>\n<style>{STYLE}</style>\n{}{body}</svg>\n",
        text(0.0, 16.0, "head", title)
    );
    std::fs::write(path, document)
        .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}

fn bars(panel: &Panel<'_>) -> Vec<(Peer, f64)> {
    let peers = panel.table.rows.iter().map(|row| row.peer);
    peers.filter_map(|peer| Some((peer, panel.table.median(peer, panel.column)?))).collect()
}

fn label(panel: &Panel<'_>, peer: Peer, value: f64) -> String {
    let ratio = panel.table.ratio(peer, Peer::Bare, panel.column);
    let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
    format!("{value:.*} {}{ratio}", panel.table.decimals, panel.table.unit)
}

fn bar(top: f64, peer: Peer, share: f64, label: &str) -> String {
    let class = if peer == Peer::Portcullis { "own" } else { "bar" };
    let wide = BARS_WIDE * share;
    let name = text(0.0, top + 14.0, "", peer.name());
    let label =
        text(BARS_AT + wide + 8.0, top + 14.0, "note", &format!("{label}, {}", peer.work()));
    format!(
        "{name}<rect class=\"{class}\" x=\"{BARS_AT}\" y=\"{top:.0}\" width=\"{wide:.1}\" \
         height=\"18\" rx=\"3\"/>\n{label}"
    )
}

fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.0}\" class=\"{class}\">{words}</text>\n")
}
