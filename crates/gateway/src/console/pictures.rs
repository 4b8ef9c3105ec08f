//! Pictures as SVG, made here: where people would rather look than read. What is in them is text like everywhere else.

use super::chronicle::Tally;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Width of a bar and its gap, in units of the picture.
const BAR: usize = 10;
const HEIGHT: u64 = 72;
/// Nodes of one column of a flow; what comes later is counted.
const COLUMN_NODES_MAX: usize = 12;
/// How much of a node's text is shown, in characters.
const NODE_CHARS_MAX: usize = 26;
const ROW: usize = 34;
const WIDE: usize = 228;
const GAP: usize = 88;

/// Decisions by the hour, the last `count` hours up to `now` (`2026-01-31T13`); empty ones are shown as such.
pub(super) fn decisions(hours: &BTreeMap<String, Tally>, names: &[String]) -> Markup {
    let tallies: Vec<Tally> = names.iter().map(|name| hours.get(name).copied().unwrap_or_default()).collect();
    let most = tallies.iter().map(|tally| tally.decisions()).max().unwrap_or(0).max(1);
    let total: u64 = tallies.iter().map(|tally| tally.decisions()).sum();
    let scaled = |count: u64| (count * HEIGHT).div_ceil(most);
    let wide = names.len() * BAR;
    html! {
        svg.bars viewBox={ "0 0 " (wide) " " (HEIGHT + 2) } preserveAspectRatio="none" role="img"
            aria-label={ (total) " decisions in the last " (names.len()) " hours" } {
            @for (at, (name, tally)) in names.iter().zip(&tallies).enumerate() {
                g {
                    title {
                        (name.replace('T', " ")) ":00 UTC: " (tally.allowed) " allowed, " (tally.granted) " granted, "
                        (tally.denied) " denied"
                    }
                    rect.base x=(at * BAR) y="0" width=(BAR) height=(HEIGHT + 2) {}
                    @let (allowed, granted, denied) = (scaled(tally.allowed), scaled(tally.granted), scaled(tally.denied));
                    rect.good x=(at * BAR + 1) y=(HEIGHT.saturating_sub(allowed)) width=(BAR - 2) height=(allowed) {}
                    rect.person x=(at * BAR + 1) y=(HEIGHT.saturating_sub(allowed + granted)) width=(BAR - 2) height=(granted) {}
                    rect.bad x=(at * BAR + 1) y=(HEIGHT.saturating_sub(allowed + granted + denied)) width=(BAR - 2) height=(denied) {}
                }
            }
            line.ground x1="0" y1=(HEIGHT + 1) x2=(wide) y2=(HEIGHT + 1) {}
        }
    }
}

/// Questions per session as one row of `most_bars` bars, the newest last.
pub(super) fn asks(counts: &[(String, u64)], most_bars: usize) -> Markup {
    let before = most_bars.saturating_sub(counts.len());
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let wide = most_bars * BAR;
    html! {
        svg.bars viewBox={ "0 0 " (wide) " " (HEIGHT + 2) } preserveAspectRatio="none" role="img"
            aria-label={ "Questions in each of the last " (counts.len()) " sessions, at most " (most) } {
            @for (at, (name, count)) in (before..).zip(counts) {
                g {
                    title { (name) ": " (count) " asked" }
                    rect.base x=(at * BAR) y="0" width=(BAR) height=(HEIGHT + 2) {}
                    @let tall = (count * HEIGHT).div_ceil(most);
                    rect.wait x=(at * BAR + 1) y=(HEIGHT.saturating_sub(tall)) width=(BAR - 2) height=(tall) {}
                }
            }
            line.ground x1="0" y1=(HEIGHT + 1) x2=(wide) y2=(HEIGHT + 1) {}
        }
    }
}

/// One edge of a flow: where a value was first seen, the value, and the tool it went to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) source: String,
    pub(super) value: String,
    pub(super) sink: String,
    /// `good`, `person` or `bad`, as the call was decided.
    pub(super) tone: &'static str,
}

/// Columns of a flow: sources, values, sinks, each with those that stand in it.
struct Column(Vec<String>);

impl Column {
    fn of<'a>(all: impl Iterator<Item = &'a String>) -> Self {
        let mut names: Vec<String> = Vec::new();
        for name in all {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.truncate(COLUMN_NODES_MAX);
        Self(names)
    }

    fn at(&self, name: &String) -> Option<usize> {
        self.0.iter().position(|found| found == name)
    }
}

/// The flow of a session: source → value → sink. The texts were cleared by the caller.
pub(super) fn flow(edges: &[Edge]) -> Markup {
    let sources = Column::of(edges.iter().map(|edge| &edge.source));
    let values = Column::of(edges.iter().map(|edge| &edge.value));
    let sinks = Column::of(edges.iter().map(|edge| &edge.sink));
    let rows = sources.0.len().max(values.0.len()).max(sinks.0.len());
    let (wide, tall) = (3 * WIDE + 2 * GAP, rows * ROW + 26);
    let x = |column: usize| column * (WIDE + GAP);
    let y = |row: usize| row * ROW + 26;
    let line = |from: (usize, usize), to: (usize, usize), tone: &str| {
        let (x1, y1, x2, y2) = (x(from.0) + WIDE, y(from.1) + 13, x(to.0), y(to.1) + 13);
        let middle = usize::midpoint(x1, x2);
        html! { path class={ "edge " (tone) } d={ "M" (x1) " " (y1) "C" (middle) " " (y1) " " (middle) " " (y2) " " (x2) " " (y2) } {} }
    };
    html! {
        div.picture tabindex="0" role="group" aria-label="Flow of values, wider than the page on small screens" {
            svg.flow viewBox={ "0 0 " (wide) " " (tall) } width=(wide) role="img"
                aria-label={ "From " (sources.0.len()) " sources to " (sinks.0.len()) " tools" } {
                @for (column, name) in ["First seen in", "Value", "Went to"].iter().enumerate() {
                    text.head x=(x(column)) y="12" { (name) }
                }
                @for edge in edges {
                    @if let (Some(from), Some(value)) = (sources.at(&edge.source), values.at(&edge.value)) {
                        (line((0, from), (1, value), edge.tone))
                    }
                    @if let (Some(value), Some(to)) = (values.at(&edge.value), sinks.at(&edge.sink)) {
                        (line((1, value), (2, to), edge.tone))
                    }
                }
                @for (column, names) in [sources, values, sinks].iter().enumerate() {
                    @for (row, name) in names.0.iter().enumerate() {
                        g.node {
                            title { (name) }
                            rect x=(x(column)) y=(y(row)) width=(WIDE) height="26" rx="5" {}
                            text x=(x(column) + 9) y=(y(row) + 17) { (cut(name)) }
                        }
                    }
                }
            }
        }
    }
}

fn cut(name: &str) -> String {
    let mut cut: String = name.chars().take(NODE_CHARS_MAX).collect();
    if cut.len() < name.len() {
        cut.push('…');
    }
    cut
}
