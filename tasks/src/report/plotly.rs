//! A figure as traces and layout for Plotly.
//!
//! Colours are names with an `@`, such as `@ink` or `@series0/0.5`: the page's script puts in those
//! of the theme, and does so again when the theme changes. Text from data is escaped, since Plotly
//! takes text for a small HTML.

use super::dashboard::ChartKind;
use super::draw::{Picture, points_alone, stroke};
use super::figure::{Figure, Points, Positions, Row, Series, Shape};
use super::format::{self, DAY, Format, Grain, Numbers};
use super::ticks::Scale;
use serde_json::{Map, Value, json};

const DAY_MILLIS: i64 = DAY / 1_000;

/// Height of labels and title below the axis.
const BELOW: f64 = 56.0;

/// `{"data": [...], "layout": {...}}`, in `tick_width` the room that a tick along x needs, and in
/// `beside` what labels beside the axes take of the chart's width. Where there is less room, the
/// page leaves some ticks out.
pub(super) fn plot(picture: &Picture<'_>) -> Value {
    let figure = picture.figure;
    let mut layout = base(picture);
    let data = match &figure.shape {
        Shape::Aligned { at, series } if figure.kind == ChartKind::HorizontalBar => {
            horizontal(picture, (at, series), &mut layout)
        }
        Shape::Aligned { at, series } => aligned(picture, (at, series), &mut layout),
        Shape::Points { time, series } => points(picture, (*time, series), &mut layout),
        Shape::Grid { columns, rows, cells } => grid(figure, (columns, rows, cells), &mut layout),
        Shape::Bins { edges, counts } => bins(picture, (edges, counts), &mut layout),
        Shape::Empty => Vec::new(),
    };
    let tick_width = match &figure.shape {
        _ if figure.kind == ChartKind::HorizontalBar => Some(56),
        // Of names in no order, none goes without saying.
        _ if !figure.x_is_ordered => None,
        _ => Some(32),
    };
    let beside = picture.labels_width() + 24.0 + layout["margin"]["r"].as_f64().unwrap_or(0.0);
    json!({"data": data, "layout": layout, "tick_width": tick_width, "beside": beside.ceil()})
}

fn base(picture: &Picture<'_>) -> Map<String, Value> {
    let axis = json!({
        "automargin": true, "fixedrange": true, "showgrid": false, "zeroline": false,
        "showline": false, "ticks": "", "ticklabelstandoff": 6,
        "linecolor": "@edge", "tickcolor": "@edge", "gridcolor": "@line",
        "zerolinecolor": "@edge", "zerolinewidth": 1, "tickfont": {"size": 12},
    });
    let mut x = axis.clone();
    x["tickangle"] = "auto".into();
    x["autotickangles"] = json!([0, -45, -90]);
    if let Some(title) = &picture.figure.x_title {
        x["title"] = json!({"text": escaped(title), "font": {"size": 12}, "standoff": 10});
    }
    let layout = json!({
        "height": picture.plot_height() + BELOW,
        "margin": {"l": 8, "r": 12, "t": 20, "b": 28, "pad": 0},
        "font": {"family": "inherit", "size": 12, "color": "@soft"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": false,
        "dragmode": false,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "@panel", "bordercolor": "@edge", "align": "left",
            "font": {"family": "inherit", "size": 13, "color": "@ink"},
        },
        "bargap": 0.3,
        "bargroupgap": 0.04,
        "xaxis": x,
        "yaxis": axis,
    });
    match layout {
        Value::Object(layout) => layout,
        _ => Map::new(),
    }
}

/// Sets keys of one of the layout's axes.
fn set(layout: &mut Map<String, Value>, axis: &str, keys: Value) {
    let Some(Value::Object(axis)) = layout.get_mut(axis) else { return };
    if let Value::Object(keys) = keys {
        axis.extend(keys);
    }
}

/// An axis with these ticks, labelled as in the pictures.
fn set_values(layout: &mut Map<String, Value>, axis: &str, scale: &Scale, numbers: &Numbers) {
    set(
        layout,
        axis,
        json!({
            "range": [scale.low, scale.high],
            "tickvals": scale.ticks.iter().map(|tick| number(*tick)).collect::<Vec<_>>(),
            "ticktext": numbers.ticks(&scale.ticks),
            "showgrid": true,
            "zeroline": true,
        }),
    );
}

/// An axis with these names, the longer ones in lines of one word or two.
fn set_names(layout: &mut Map<String, Value>, names: &[String]) {
    let in_lines = |name: &String| {
        let lines = wrapped_at(name, (96 / names.len().max(1)).clamp(4, 12));
        lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br>")
    };
    set(layout, "xaxis", json!({"type": "category"}));
    if names.len() <= 40 {
        let at: Vec<String> = names.iter().map(|name| escaped(name)).collect();
        let text: Vec<String> = names.iter().map(in_lines).collect();
        set(layout, "xaxis", json!({"tickvals": at, "ticktext": text}));
    }
}

/// Lines of about so many characters, broken between words.
fn wrapped_at(text: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn aligned(
    picture: &Picture<'_>,
    (at, series): (&Positions, &[Series]),
    layout: &mut Map<String, Value>,
) -> Vec<Value> {
    let figure = picture.figure;
    set_values(layout, "yaxis", &picture.scale(), &figure.numbers);
    let is_bar = !matches!(figure.kind, ChartKind::Line | ChartKind::Area);
    let x: Vec<Value> = match at {
        Positions::Times { at, grain } => {
            set(layout, "xaxis", date_axis(at[0], at[at.len() - 1], *grain));
            at.iter().map(|at| time(*at, *grain)).collect()
        }
        Positions::Numbers(at) => {
            set(layout, "xaxis", json!({"type": "linear", "ticks": "outside"}));
            set(layout, "xaxis", d3_axis(&figure.x_numbers));
            at.iter().map(|at| number(*at)).collect()
        }
        Positions::Names(names) => {
            set_names(layout, names);
            names.iter().map(|name| escaped(name).into()).collect()
        }
    };
    if !is_bar {
        if !matches!(at, Positions::Names(_)) && at.len() > 1 {
            set(layout, "xaxis", json!({"range": [x[0], x[x.len() - 1]]}));
        }
        layout.insert("hovermode".into(), "x unified".into());
        // Part of a long time can be looked at closely; a double click leads back.
        if at.len() > 60 {
            layout.insert("dragmode".into(), "zoom".into());
            set(layout, "xaxis", json!({"fixedrange": false}));
        }
    }
    let barmode = if figure.kind == ChartKind::StackedBar { "relative" } else { "group" };
    layout.insert("barmode".into(), barmode.into());
    let labelled = picture.has_labels(series);
    let trace = |one: &Series, x: &[Value]| {
        let mut trace = json!({"name": escaped(&one.name), "x": x, "y": values(&one.values)});
        let colour = format!("@{}", one.colour.name());
        let value = d3(&figure.numbers, "y");
        if is_bar {
            trace["type"] = "bar".into();
            trace["marker"] = json!({"color": colour});
            let name = if series.len() > 1 { "%{fullData.name}<br>" } else { "" };
            trace["hovertemplate"] = format!("{name}%{{x}}: {value}<extra></extra>").into();
            if labelled {
                label(&mut trace, &one.values, &figure.numbers);
            }
        } else {
            trace["type"] = "scatter".into();
            trace["line"] = json!({"color": colour, "width": stroke(at.len(), one.colour)});
            trace["hovertemplate"] = format!("%{{fullData.name}}: {value}<extra></extra>").into();
            line(&mut trace, figure, &one.values, (&colour, series.len()));
        }
        trace
    };
    match series {
        // The fill of one trace would bridge its gaps.
        [one] if figure.kind == ChartKind::Area => {
            pieces(one, &x).iter().map(|(one, x)| trace(one, x)).collect()
        }
        _ => series.iter().map(|one| trace(one, &x)).collect(),
    }
}

/// The parts of a series between its gaps, each with its part of x.
fn pieces(one: &Series, x: &[Value]) -> Vec<(Series, Vec<Value>)> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for values in one.values.split(Option::is_none) {
        let range = start..start + values.len();
        start = range.end + 1;
        if !range.is_empty() {
            pieces.push((Series { values: values.to_vec(), ..one.clone() }, x[range].to_vec()));
        }
    }
    pieces
}

/// A line, or the area below it; values alone between gaps are dots.
fn line(trace: &mut Value, figure: &Figure, values: &[Option<f64>], (colour, of): (&str, usize)) {
    let alone = points_alone(values);
    trace["mode"] = "lines".into();
    if alone.iter().any(|alone| *alone) {
        let sizes: Vec<u32> = alone.iter().map(|alone| if *alone { 5 } else { 0 }).collect();
        trace["mode"] = "lines+markers".into();
        // At either end, half of a dot lies outside.
        trace["cliponaxis"] = false.into();
        trace["marker"] = json!({"size": sizes, "color": colour, "opacity": 1});
    }
    if figure.kind != ChartKind::Area {
        return;
    }
    if of > 1 {
        trace["stackgroup"] = "all".into();
        trace["fillcolor"] = format!("{colour}/0.55").into();
    } else {
        trace["fill"] = "tozeroy".into();
        trace["fillcolor"] = format!("{colour}/0.16").into();
    }
}

/// Writes each bar's value at its end.
fn label(trace: &mut Value, values: &[Option<f64>], numbers: &Numbers) {
    trace["text"] = numbers.labels(values).into();
    trace["textposition"] = "outside".into();
    trace["textfont"] = json!({"color": "@ink", "size": 12});
    trace["textangle"] = 0.into();
    trace["cliponaxis"] = false.into();
}

fn horizontal(
    picture: &Picture<'_>,
    (at, series): (&Positions, &[Series]),
    layout: &mut Map<String, Value>,
) -> Vec<Value> {
    let figure = picture.figure;
    let numbers = &figure.numbers;
    let (low, high) = figure.value_range();
    set_values(layout, "xaxis", &Scale::within(low, high, 4), numbers);
    let names: Vec<String> = match at {
        Positions::Names(names) => names.iter().map(|name| escaped(name)).collect(),
        Positions::Numbers(at) => at.iter().map(f64::to_string).collect(),
        Positions::Times { at, grain } => at.iter().map(|at| format::time(*at, *grain)).collect(),
    };
    let y = json!({"type": "category", "autorange": "reversed", "tickfont": {"color": "@ink"}});
    set(layout, "yaxis", y);
    let one = &series[0];
    let mut trace = json!({
        "type": "bar", "orientation": "h", "name": escaped(&one.name),
        "x": values(&one.values), "y": names,
        "marker": {"color": format!("@{}", one.colour.name())},
        "hovertemplate": format!("%{{y}}: {}<extra></extra>", d3(numbers, "x")),
    });
    if picture.has_labels(series) {
        label(&mut trace, &one.values, numbers);
        let labels = numbers.labels(&one.values);
        let characters = labels.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        layout["margin"]["r"] = (12 + 7 * characters).into();
    }
    vec![trace]
}

fn points(
    picture: &Picture<'_>,
    (is_time, series): (Option<Grain>, &[Points]),
    layout: &mut Map<String, Value>,
) -> Vec<Value> {
    let figure = picture.figure;
    let x_value = match is_time {
        Some(grain) => {
            let (low, high) = figure.x_range();
            set(layout, "xaxis", date_axis(low as i64, high as i64, grain));
            format!("%{{x|{}}}", hover(grain))
        }
        None => {
            set(layout, "xaxis", d3_axis(&figure.x_numbers));
            d3(&figure.x_numbers, "x")
        }
    };
    set(layout, "xaxis", json!({"ticks": "outside", "fixedrange": false, "showline": true}));
    let scale = picture.scale();
    let y = json!({
        "fixedrange": false, "showgrid": true, "nticks": 6, "zeroline": true,
        "range": [scale.low, scale.high],
    });
    set(layout, "yaxis", y);
    set(layout, "yaxis", d3_axis(&figure.numbers));
    layout.insert("dragmode".into(), "zoom".into());
    let trace = |points: &Points| {
        let x: Vec<Value> = match is_time {
            Some(grain) => points.x.iter().map(|x| time(*x as i64, grain)).collect(),
            None => points.x.iter().map(|x| number(*x)).collect(),
        };
        let name = if series.len() > 1 { "%{fullData.name}<br>" } else { "" };
        let value = d3(&figure.numbers, "y");
        json!({
            "type": "scatter", "mode": "markers", "name": escaped(&points.name),
            "x": x, "y": points.y.iter().map(|y| number(*y)).collect::<Vec<_>>(),
            "marker": {"color": format!("@{}", points.colour.name()), "size": 7, "opacity": 0.6},
            "hovertemplate": format!("{name}{x_value}<br>{value}<extra></extra>"),
        })
    };
    series.iter().map(trace).collect()
}

fn grid(
    figure: &Figure,
    (columns, rows, cells): (&[String], &[String], &[Row]),
    layout: &mut Map<String, Value>,
) -> Vec<Value> {
    let (low, high) = figure.value_range();
    let texts = |names: &[String]| names.iter().map(|name| escaped(name)).collect::<Vec<_>>();
    set_names(layout, columns);
    set(layout, "yaxis", json!({"type": "category", "autorange": "reversed"}));
    let z: Vec<Value> = cells.iter().map(|row| values(row)).collect();
    vec![json!({
        "type": "heatmap", "x": texts(columns), "y": texts(rows), "z": z,
        "zmin": low, "zmax": if high > low { high } else { low + 1.0 },
        "colorscale": [[0, "@series0/0.06"], [1, "@series0/1"]],
        "xgap": 1, "ygap": 1, "showscale": false, "hoverongaps": false,
        "hovertemplate": format!("%{{y}}, %{{x}}: {}<extra></extra>", d3(&figure.numbers, "z")),
    })]
}

fn bins(
    picture: &Picture<'_>,
    (edges, counts): (&[f64], &[f64]),
    layout: &mut Map<String, Value>,
) -> Vec<Value> {
    let figure = picture.figure;
    set_values(layout, "yaxis", &picture.scale(), &figure.numbers);
    set(layout, "xaxis", json!({"type": "linear", "ticks": "outside"}));
    set(layout, "xaxis", d3_axis(&figure.x_numbers));
    layout.insert("bargap".into(), 0.03.into());
    let name = |edges: &[f64]| {
        format!("{} to {}", figure.x_numbers.short(edges[0]), figure.x_numbers.short(edges[1]))
    };
    let middle = |edges: &[f64]| number((edges[0] + edges[1]) / 2.0);
    vec![json!({
        "type": "bar",
        "x": edges.windows(2).map(middle).collect::<Vec<_>>(),
        "y": counts.iter().map(|count| number(*count)).collect::<Vec<_>>(),
        "customdata": edges.windows(2).map(name).collect::<Vec<_>>(),
        "marker": {"color": "@series0"},
        "hovertemplate": format!("%{{customdata}}: {}<extra></extra>", d3(&figure.numbers, "y")),
    })]
}

/// A value in a hover label, written by d3 as [`Numbers::exact`] would.
fn d3(numbers: &Numbers, axis: &str) -> String {
    match numbers.format {
        Format::Integer => format!("%{{{axis}:,.0f}}"),
        Format::Decimal => format!("%{{{axis}:,.2f}}"),
        Format::Percent => format!("%{{{axis}:.1%}}"),
        Format::Currency => format!("{}%{{{axis}:,.2f}}", escaped(&numbers.currency)),
    }
}

/// For an axis along which the reader may zoom, so that the ticks are Plotly's.
fn d3_axis(numbers: &Numbers) -> Value {
    match numbers.format {
        Format::Integer | Format::Decimal => json!({"tickformat": "~s"}),
        Format::Percent => json!({"tickformat": "~%"}),
        Format::Currency => {
            json!({"tickformat": "~s", "tickprefix": escaped(&numbers.currency)})
        }
    }
}

fn values(values: &[Option<f64>]) -> Value {
    values.iter().map(|value| value.map_or(Value::Null, number)).collect()
}

/// Whole numbers without a fraction: shorter, and the same in the script.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

/// How d3 writes a time in a hover label.
fn hover(grain: Grain) -> &'static str {
    match grain {
        Grain::Month => "%b %Y",
        Grain::Day => "%a %-d %b %Y",
        Grain::Instant => "%a %-d %b %Y, %H:%M",
    }
}

/// An axis of time, with the larger unit in a second line where it changes.
fn date_axis(first: i64, last: i64, grain: Grain) -> Value {
    let stop = |range: Value, text: &str| json!({"dtickrange": range, "value": text});
    let mut axis = json!({
        "type": "date",
        "hoverformat": hover(grain),
        "ticks": "outside",
        "tickformatstops": [
            stop(json!([null, DAY_MILLIS - 1]), "%H:%M\n%-d %b %Y"),
            stop(json!([DAY_MILLIS, "M1"]), "%-d %b\n%Y"),
            stop(json!(["M1", "M12"]), "%b\n%Y"),
            stop(json!(["M12", null]), "%Y"),
        ],
    });
    // Among few days, hours would be named that the data says nothing of.
    if grain != Grain::Instant && last - first < 10 * DAY {
        axis["dtick"] = DAY_MILLIS.into();
        axis["tickformat"] = "%-d %b\n%Y".into();
        axis["tickformatstops"] = json!([]);
    }
    axis
}

fn time(micros: i64, grain: Grain) -> Value {
    let pattern = match grain {
        Grain::Month | Grain::Day => "%Y-%m-%d",
        Grain::Instant => "%Y-%m-%dT%H:%M:%S%.f",
    };
    format::civil(micros).strftime(pattern).to_string().into()
}

/// Plotly reads tags and entities in text; what comes from data has none.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
