//! The dashboard file: what a report shows, written in YAML.

use super::format::Format;
use super::query::{Names, Query};
use super::yaml::{Fields, Place, Reader};
use crate::engine::sql::missing;
use orchestrator::kind::{Files, Part, Problem};
use orchestrator::yaml::{Entry, Node, Tree};
use std::ops::Range;

/// The most columns or groups that one chart tells apart: as many as there are colours.
pub(super) const MAX_SERIES: usize = super::theme::SERIES;

#[derive(Clone, Debug)]
pub(super) struct Dashboard {
    /// The path as written in the pipeline.
    pub(super) path: String,
    pub(super) title: String,
    pub(super) subtitle: Option<String>,
    /// The symbol before amounts of money.
    pub(super) currency: String,
    pub(super) figures: Vec<KeyFigure>,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
}

impl Dashboard {
    /// All queries: those of the figures, then of the charts, then of the tables.
    pub(super) fn queries(&self) -> impl Iterator<Item = &Query> {
        let figures = self.figures.iter().map(|figure| &figure.query);
        let charts = self.charts.iter().map(|chart| &chart.query);
        figures.chain(charts).chain(self.tables.iter().map(|table| &table.query))
    }
}

/// One number that is worth a heading.
#[derive(Clone, Debug)]
pub(super) struct KeyFigure {
    pub(super) label: String,
    pub(super) note: Option<String>,
    /// Gives one row: the value, and where there is a second column what to compare it with.
    pub(super) query: Query,
    pub(super) format: Option<Format>,
    /// What the second column is, such as `the 30 days before`.
    pub(super) compared_with: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Names its files: `charts/NAME.png`.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) note: Option<String>,
    pub(super) query: Query,
    pub(super) kind: ChartKind,
    pub(super) x: String,
    pub(super) y: Vec<Measure>,
    /// The column whose values become a line, a colour of bars or of points each.
    pub(super) series: Option<String>,
    /// A label or a value of the series that is drawn in grey, as a background to the others.
    pub(super) muted: Option<String>,
    /// The column that colours the cells of a heat map.
    pub(super) value: Option<String>,
    pub(super) bins: Option<usize>,
    pub(super) x_title: Option<String>,
    pub(super) y_title: Option<String>,
    pub(super) x_format: Option<Format>,
    pub(super) format: Option<Format>,
    pub(super) width: Width,
}

/// A column and what to call it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    pub(super) column: String,
    pub(super) label: String,
    /// Only for columns of tables.
    pub(super) format: Option<Format>,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) note: Option<String>,
    pub(super) query: Query,
    /// Empty: all columns as they come.
    pub(super) columns: Vec<Measure>,
    pub(super) width: Width,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChartKind {
    Line,
    Area,
    Bar,
    HorizontalBar,
    StackedBar,
    GroupedBar,
    Scatter,
    Heatmap,
    Histogram,
}

impl ChartKind {
    pub(super) const WORDS: [(&'static str, ChartKind); 9] = [
        ("line", ChartKind::Line),
        ("area", ChartKind::Area),
        ("bar", ChartKind::Bar),
        ("horizontal_bar", ChartKind::HorizontalBar),
        ("stacked_bar", ChartKind::StackedBar),
        ("grouped_bar", ChartKind::GroupedBar),
        ("scatter", ChartKind::Scatter),
        ("heatmap", ChartKind::Heatmap),
        ("histogram", ChartKind::Histogram),
    ];

    pub(super) fn word(self) -> &'static str {
        let found = ChartKind::WORDS.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(word, _)| word)
    }

    /// Whether several columns or a column of series make sense.
    fn takes_series(self) -> bool {
        use ChartKind as K;
        matches!(self, K::Line | K::Area | K::StackedBar | K::GroupedBar | K::Scatter)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Full,
    Half,
}

const WIDTHS: [(&str, Width); 2] = [("full", Width::Full), ("half", Width::Half)];

/// The SQL files that a dashboard names.
pub(super) fn referred(path: &str, text: &str) -> Vec<String> {
    fn walk(node: &Node, found: &mut Vec<String>) {
        match &node.tree {
            Tree::List(nodes) => nodes.iter().for_each(|node| walk(node, found)),
            Tree::Map(entries) => {
                for Entry { key, node, .. } in entries {
                    match node.as_text() {
                        Some(text) if key == "sql" && Query::names_a_file(text) => {
                            found.push(text.to_owned());
                        }
                        _ => walk(node, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(root) = Reader::new(path).parse(text) {
        walk(&root, &mut found);
    }
    found
}

/// Reads the dashboard at `path`, with all its problems. `known` is what its SQL may name.
pub(super) fn read(path: &str, files: &Files, known: Names<'_>) -> Result<Dashboard, Vec<Problem>> {
    let Some(text) = files.get(path) else {
        // The file could not be read, which `load` has already reported.
        return Err(Vec::new());
    };
    let mut reader = Reader::new(path);
    let dashboard = reader.parse(text).and_then(|root| {
        let mut source = Source { reader: &mut reader, files, path, text, known };
        source.dashboard(&root)
    });
    match dashboard {
        Some(dashboard) if reader.problems.is_empty() => Ok(dashboard),
        _ => Err(reader.problems),
    }
}

struct Source<'a, 'r> {
    reader: &'r mut Reader<'a>,
    files: &'a Files,
    path: &'a str,
    text: &'a str,
    known: Names<'a>,
}

impl Source<'_, '_> {
    fn dashboard(&mut self, root: &Node) -> Option<Dashboard> {
        let known = ["title", "subtitle", "currency", "figures", "charts", "tables"];
        let fields = self.reader.fields(root, ("", 0..0), &known)?;
        let title = self.reader.required_text(&fields, "title");
        let subtitle = self.reader.text(&fields, "subtitle");
        let currency = self.reader.text(&fields, "currency").unwrap_or_else(|| "$".into());
        let figures = self.figures(&fields);
        let charts = self.named(&fields, "charts", Source::chart);
        let tables = self.named(&fields, "tables", Source::table);
        for table in &tables {
            if charts.iter().any(|chart| chart.name == table.name) {
                let message = "a chart has this name too; their files would be one";
                let range = key_range(fields.get("tables"), &table.name);
                self.reader.problem(&format!("tables.{}", table.name), range, message);
            }
        }
        let nothing = figures.is_empty() && charts.is_empty() && tables.is_empty();
        if nothing && self.reader.problems.is_empty() {
            let message = "there is nothing to show";
            let problem = self.reader.problem("", root.span.into(), message);
            problem.help.get_or_insert("add `figures`, `charts` or `tables`".into());
        }
        let path = self.path.to_owned();
        Some(Dashboard { path, title: title?, subtitle, currency, figures, charts, tables })
    }

    fn figures(&mut self, fields: &Fields<'_>) -> Vec<KeyFigure> {
        let Some(node) = fields.get("figures") else { return Vec::new() };
        let Tree::List(nodes) = &node.tree else {
            self.reader.unexpected("figures", node, "a list of figures");
            return Vec::new();
        };
        let figures = nodes.iter().enumerate();
        figures.filter_map(|(i, node)| self.figure(node, &format!("figures.{i}"))).collect()
    }

    fn figure(&mut self, node: &Node, at: &str) -> Option<KeyFigure> {
        let known = ["label", "note", "sql", "format", "compared_with"];
        let fields = self.reader.fields(node, (at, node.span.into()), &known)?;
        let label = self.reader.required_text(&fields, "label");
        let query = self.query(&fields);
        Some(KeyFigure {
            note: self.reader.text(&fields, "note"),
            format: self.reader.choice(&fields, "format", &Format::WORDS),
            compared_with: self.reader.text(&fields, "compared_with"),
            label: label?,
            query: query?,
        })
    }

    /// The entries of a mapping from names to what is read from each.
    fn named<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: fn(&mut Self, &str, &Node, Place<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let Some(fields) = self.reader.entries(node, (key, node.span.into())) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for Entry { key: name, key_span, node } in fields.entries {
            let at = fields.at(name);
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || name.len() > 80 || !name.chars().all(is_plain) {
                let message = "this name becomes a file's name and can't be one";
                let help = "use lowercase letters, digits and `_`";
                self.reader.problem(&at, (*key_span).into(), message).help = Some(help.into());
            }
            all.extend(read(self, name, node, (&at, (*key_span).into())));
        }
        all
    }

    fn chart(&mut self, name: &str, node: &Node, place: Place<'_>) -> Option<Chart> {
        let known = [
            "title", "note", "kind", "x", "y", "series", "muted", "value", "bins", "x_title",
            "y_title", "x_format", "format", "width", "sql",
        ];
        let fields = self.reader.fields(node, place, &known)?;
        let reader = &mut *self.reader;
        let title = reader.required_text(&fields, "title");
        let note = reader.text(&fields, "note");
        let kind = reader.choice(&fields, "kind", &ChartKind::WORDS);
        if fields.get("kind").is_none() {
            let words: Vec<&str> = ChartKind::WORDS.iter().map(|(word, _)| *word).collect();
            reader.missing(&fields, "kind").help =
                Some(format!("it may be {}", super::yaml::listed(&words)));
        }
        let x = reader.required_text(&fields, "x");
        let y = fields.get("y").map(|node| self.measures(node, &fields.at("y"), false));
        let query = self.query(&fields);
        let bins = self.bins(&fields);
        let reader = &mut *self.reader;
        let chart = Chart {
            name: name.into(),
            note,
            y: y.unwrap_or_default(),
            series: reader.text(&fields, "series"),
            muted: reader.text(&fields, "muted"),
            value: reader.text(&fields, "value"),
            bins,
            x_title: reader.text(&fields, "x_title"),
            y_title: reader.text(&fields, "y_title"),
            x_format: reader.choice(&fields, "x_format", &Format::WORDS),
            format: reader.choice(&fields, "format", &Format::WORDS),
            width: reader.choice(&fields, "width", &WIDTHS).unwrap_or(Width::Full),
            title: title?,
            query: query?,
            kind: kind?,
            x: x?,
        };
        self.fitting(&chart, &fields);
        let one = |key, name: &Option<String>| name.clone().map(|name| (key, name));
        let named = [Some(("x", chart.x.clone())), one("series", &chart.series)];
        let named = named.into_iter().chain([one("value", &chart.value)]).flatten();
        let y = chart.y.iter().map(|measure| ("y", measure.column.clone()));
        self.check_columns(&chart.query, &fields, named.chain(y).collect());
        Some(chart)
    }

    /// Reports columns that a query does not give, if it can be told what it gives.
    fn check_columns(&mut self, query: &Query, fields: &Fields<'_>, named: Vec<(&str, String)>) {
        let Some(Ok(known)) = self.known.columns.query(&query.sql, self.known.parameters) else {
            return;
        };
        for (key, name) in named {
            if !known.contains_key(&name) {
                let (message, help) = missing("column", &name, known.keys().map(String::as_str));
                let range = fields.get(key).map_or(0..0, |node| node.span.into());
                let message = format!("the query's result has {message}");
                self.reader.problem(&fields.at(key), range, message).help = help;
            }
        }
    }

    /// Checks that the keys of a chart fit its kind.
    fn fitting(&mut self, chart: &Chart, fields: &Fields<'_>) {
        let kind = chart.kind;
        let word = kind.word();
        let mut wrong = |key: &str, message: String, help: &str| {
            let (at, range) = match fields.get(key) {
                Some(node) => (fields.at(key), node.span.into()),
                None => (fields.place().0.to_owned(), fields.place().1),
            };
            self.reader.problem(&at, range, message).help = Some(help.into());
        };
        if fields.get("y").is_none() && kind != ChartKind::Histogram {
            let help = match kind {
                ChartKind::Heatmap => "name the column of its rows",
                _ => "name the column, or the columns, to draw",
            };
            wrong("y", format!("the key `y` is missing, which a chart `{word}` needs"), help);
        }
        if chart.y.len() > 1 && !kind.takes_series() {
            wrong("y", format!("a chart `{word}` draws one column"), "choose one of them");
        }
        if chart.y.len() > MAX_SERIES {
            let message = format!("at most {MAX_SERIES} columns can be told apart");
            wrong("y", message, "draw fewer, or make two charts");
        }
        if chart.series.is_some() && !kind.takes_series() {
            let help = "leave it out, or choose another kind";
            wrong("series", format!("a chart `{word}` has no series"), help);
        }
        if chart.series.is_some() && chart.y.len() > 1 {
            let help = "keep either `series` or the list of columns";
            wrong("series", "several columns can't be split into series".into(), help);
        }
        if kind == ChartKind::Heatmap && chart.value.is_none() {
            let help = "name the column that colours the cells";
            wrong("value", "the key `value` is missing, which a heatmap needs".into(), help);
        }
        if kind != ChartKind::Heatmap && chart.value.is_some() {
            wrong("value", format!("a chart `{word}` has no `value`"), "name the column in `y`");
        }
        if kind != ChartKind::Histogram && chart.bins.is_some() {
            wrong("bins", format!("a chart `{word}` has no `bins`"), "leave it out");
        }
    }

    fn bins(&mut self, fields: &Fields<'_>) -> Option<usize> {
        let node = fields.get("bins")?;
        match &node.tree {
            Tree::Number(bins) if (2..=500).contains(&bins.as_u64().unwrap_or(0)) => {
                bins.as_u64().map(|bins| bins as usize)
            }
            _ => {
                self.reader.unexpected(&fields.at("bins"), node, "a number from 2 to 500");
                None
            }
        }
    }

    fn table(&mut self, name: &str, node: &Node, place: Place<'_>) -> Option<Table> {
        let known = ["title", "note", "columns", "width", "sql"];
        let fields = self.reader.fields(node, place, &known)?;
        let title = self.reader.required_text(&fields, "title");
        let query = self.query(&fields);
        let columns = fields.get("columns");
        let columns = columns.map(|node| self.measures(node, &fields.at("columns"), true));
        let reader = &mut *self.reader;
        let table = Table {
            name: name.into(),
            note: reader.text(&fields, "note"),
            columns: columns.unwrap_or_default(),
            width: reader.choice(&fields, "width", &WIDTHS).unwrap_or(Width::Full),
            title: title?,
            query: query?,
        };
        let named = table.columns.iter().map(|measure| ("columns", measure.column.clone()));
        self.check_columns(&table.query, &fields, named.collect());
        Some(table)
    }

    /// `revenue`, `[revenue, orders]`, `{revenue: Revenue}`; in tables also
    /// `{revenue: {title: Revenue, format: currency}}`.
    fn measures(&mut self, node: &Node, at: &str, formats: bool) -> Vec<Measure> {
        let plain = |column: String| Measure { label: column.clone(), column, format: None };
        match &node.tree {
            Tree::List(nodes) => {
                let columns = nodes.iter().enumerate();
                columns
                    .filter_map(|(i, node)| self.reader.text_of(node, &format!("{at}.{i}")))
                    .map(plain)
                    .collect()
            }
            Tree::Map(entries) => {
                let measure = |Entry { key, node, .. }: &Entry| {
                    self.measure(key, node, &format!("{at}.{key}"), formats)
                };
                entries.iter().filter_map(measure).collect()
            }
            _ => self.reader.text_of(node, at).map(plain).into_iter().collect(),
        }
    }

    fn measure(&mut self, column: &str, node: &Node, at: &str, formats: bool) -> Option<Measure> {
        if !formats || !matches!(node.tree, Tree::Map(_)) {
            let label = self.reader.text_of(node, at)?;
            return Some(Measure { column: column.into(), label, format: None });
        }
        let fields = self.reader.fields(node, (at, node.span.into()), &["title", "format"])?;
        let label = self.reader.text(&fields, "title").unwrap_or_else(|| column.into());
        let format = self.reader.choice(&fields, "format", &Format::WORDS);
        Some(Measure { column: column.into(), label, format })
    }

    /// The statement behind `sql:`, itself or in the file that it names.
    fn query(&mut self, fields: &Fields<'_>) -> Option<Query> {
        let text = self.reader.required_text(fields, "sql")?;
        let range = fields.get("sql").map_or(0..0, |node| node.span.into());
        let at = fields.at("sql");
        let query = if Query::names_a_file(&text) {
            let sql = self.files.get(&text)?.clone();
            Query { sql, at, file: Some(text), range }
        } else {
            Query { sql: text, at, file: None, range }
        };
        for fault in query.check(&self.known) {
            let place = query.locate(fault.range, (self.path, self.text));
            let problem = self.reader.problem(&query.at, 0..0, fault.message);
            problem.help = fault.help;
            problem.part = Some(Part::File(place));
        }
        Some(query)
    }
}

/// The place of a key in a mapping.
fn key_range(mapping: Option<&Node>, key: &str) -> Range<usize> {
    mapping.and_then(|node| node.entry(key)).map_or(0..0, |entry| entry.key_span.into())
}
