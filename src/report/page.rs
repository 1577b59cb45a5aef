//! A page: what it is made of, and its HTML, in one file that needs no other.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::Environment;
use serde::Serialize;

use crate::plot::chart::{self, Sheet};

/// A page.
#[derive(Debug, Serialize)]
pub struct Page {
    pub title: String,
    pub subtitle: String,
    /// What a reader looks for first.
    pub figures: Vec<Figure>,
    pub sections: Vec<Section>,
}

/// A number, or a word, with what it is.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Serialize)]
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Block {
    Heading(String),
    Text(String),
    /// Beside each other, where there is room.
    Tables(Vec<Table>),
    /// Drawings of one size, beside each other.
    Charts(Vec<String>),
    Picture(Picture),
}

/// Rows below a head, which may be empty.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
pub struct Picture {
    /// The file itself, as a data URI.
    uri: String,
    pub caption: String,
}

impl Figure {
    pub fn new(name: &str, value: impl Into<String>) -> Figure {
        Figure { name: name.into(), value: value.into() }
    }
}

impl Table {
    /// Names and what they are.
    pub fn of_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Table {
        Table { head: Vec::new(), rows: pairs.into_iter().map(|(name, value)| vec![name.into(), value.into()]).collect() }
    }

    pub fn with_head(head: &[&str], rows: Vec<Vec<String>>) -> Table {
        Table { head: head.iter().map(|word| word.to_string()).collect(), rows }
    }
}

impl Picture {
    pub fn of_png(png: &[u8], caption: String) -> Picture {
        Picture { uri: format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)), caption }
    }
}

impl Section {
    pub fn new(title: &str) -> Section {
        Section { title: title.into(), blocks: Vec::new() }
    }

    /// Adds a table, if it has rows.
    pub fn table(&mut self, table: Table) {
        self.tables(vec![table]);
    }

    /// Adds those tables that have rows.
    pub fn tables(&mut self, mut tables: Vec<Table>) {
        tables.retain(|table| !table.rows.is_empty());
        if !tables.is_empty() {
            self.blocks.push(Block::Tables(tables));
        }
    }

    /// Adds charts, if there are some.
    pub fn charts(&mut self, sheets: Vec<Sheet>) {
        if !sheets.is_empty() {
            self.blocks.push(Block::Charts(sheets.iter().map(inline).collect()));
        }
    }
}

impl Page {
    /// Sections without content are left out.
    pub fn html(mut self) -> String {
        self.sections.retain(|section| !section.blocks.is_empty());
        let mut environment = Environment::new();
        environment.add_template("page.html", include_str!("page.html")).expect("the template is part of the program");
        let template = environment.get_template("page.html").expect("it was added");
        template.render(&self).expect("every field of the template is one of the page")
    }
}

/// A chart in the colours of the page, which may be dark.
fn inline(sheet: &Sheet) -> String {
    let hex = |colour: &plotters::style::RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let named = [(chart::INK, "currentColor"), (chart::AXIS, "var(--axis)"), (chart::GRID, "var(--grid)"), (chart::PAPER, "var(--paper)")];
    let svg = named.iter().fold(sheet.inline_svg(), |svg, (colour, name)| svg.replace(&hex(colour), name));
    chart::PALETTE.iter().enumerate().fold(svg, |svg, (i, colour)| svg.replace(&hex(colour), &format!("var(--c{i})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::chart::{Axis, Chart, Layer, Line};

    #[test]
    fn a_page_escapes_words_and_needs_no_other_file() {
        let line = Layer::Line(Line::named("a <b>", 1, vec![[0.0, 1.0], [1.0, 2.0]]));
        let chart = Chart { title: "c & d".into(), x: Axis::linear("x"), y: Axis::linear("y"), layers: vec![line], square: false };
        let mut section = Section::new("A section");
        section.charts(vec![Sheet::of(chart, (300, 200))]);
        section.table(Table::of_pairs([("<script>", "1 < 2")]));
        section.blocks.push(Block::Picture(Picture::of_png(b"png", "a \"picture\"".into())));
        let page = Page {
            title: "runs/<a>".into(),
            subtitle: "x".into(),
            figures: vec![Figure::new("steps", "20")],
            sections: vec![section, Section::new("Nothing")],
        };
        let html = page.html();
        for part in ["&lt;a&gt;", "&lt;script&gt;", "1 &lt; 2", "data:image/png;base64,cG5n", "<svg", "var(--c1)", "currentColor"] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        for part in ["<script", "http://", "https://", "Nothing"] {
            assert!(!html.replace("http://www.w3.org/2000/svg", "").contains(part), "{part}");
        }
    }
}
