//! The graph of a pipeline's tasks, in layers from left to right, with what each task writes.
//!
//! As by Sugiyama: a task's layer is its longest distance from a task that depends on nothing;
//! an edge over several layers gets a place in each; the order within the layers follows the means
//! of the neighbours' places, some sweeps forth and back.

use super::Svg;
use crate::words::escaped;
use orchestrator::plan::{EdgeReason, Plan};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// More tasks than these are not drawn: nobody could read it.
pub const MOST_TASKS: usize = 200;

const WIDTH: f64 = 176.0;
const GAP_X: f64 = 44.0;
const GAP_Y: f64 = 26.0;
const HEAD: f64 = 32.0;
const LINE: f64 = 20.0;
/// The room of an edge that passes a layer.
const PASSING: f64 = 6.0;
const SWEEPS: usize = 6;

/// Something that has a place in a layer: a task, or an edge that passes.
struct Place {
    task: Option<usize>,
    layer: usize,
    height: f64,
    y: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// The graph, or `None` if it is too large. `state` gives each task's class and where its node
/// leads to.
pub fn graph(plan: &Plan, state: impl Fn(&str) -> (&'static str, String)) -> Option<Svg> {
    if plan.tasks.is_empty() || plan.tasks.len() > MOST_TASKS {
        return None;
    }
    let mut links: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for edge in &plan.edges {
        let stream = matches!(edge.reason, EdgeReason::Stream(_));
        links.entry((edge.from, edge.to)).and_modify(|all| *all &= stream).or_insert(stream);
    }
    let mut layer = vec![0; plan.tasks.len()];
    for task in &plan.order {
        for (_, to) in links.keys().filter(|(from, _)| from == task) {
            layer[*to] = layer[*to].max(layer[*task] + 1);
        }
    }
    let mut places: Vec<Place> = (plan.tasks.iter().zip(&layer).enumerate())
        .map(|(index, (task, layer))| Place {
            task: Some(index),
            layer: *layer,
            height: HEAD
                + LINE * task.outputs.len() as f64
                + if task.outputs.is_empty() { 0.0 } else { 6.0 },
            y: 0.0,
            before: Vec::new(),
            after: Vec::new(),
        })
        .collect();
    let mut paths = Vec::new();
    for ((from, to), stream) in links {
        let mut path = vec![from];
        for layer in places[from].layer + 1..places[to].layer {
            path.push(places.len());
            let (before, after) = (Vec::new(), Vec::new());
            places.push(Place { task: None, layer, height: PASSING, y: 0.0, before, after });
        }
        path.push(to);
        for pair in path.windows(2) {
            places[pair[0]].after.push(pair[1]);
            places[pair[1]].before.push(pair[0]);
        }
        paths.push((path, stream));
    }
    let height = arrange(&mut places);
    Some(draw(plan, &places, &paths, height, state))
}

/// Gives each place its `y`; returns the height of all.
fn arrange(places: &mut [Place]) -> f64 {
    let count = places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, place) in places.iter().enumerate() {
        layers[place.layer].push(index);
    }
    let mut rank: Vec<f64> = vec![0.0; places.len()];
    let number = |layer: &[usize], rank: &mut Vec<f64>| {
        for (position, place) in layer.iter().enumerate() {
            rank[*place] = position as f64 - layer.len() as f64 / 2.0;
        }
    };
    layers.iter().for_each(|layer| number(layer, &mut rank));
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let order: Vec<usize> =
            if forth { (0..count).collect() } else { (0..count).rev().collect() };
        for layer in order {
            let mean = |place: usize| {
                let near = if forth { &places[place].before } else { &places[place].after };
                let sum: f64 = near.iter().map(|near| rank[*near]).sum();
                if near.is_empty() { rank[place] } else { sum / near.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> =
                layers[layer].iter().map(|place| (mean(*place), *place)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[layer] = keyed.into_iter().map(|(_, place)| place).collect();
            number(&layers[layer], &mut rank);
        }
    }
    let height_of = |layer: &[usize], places: &[Place]| {
        let all: f64 = layer.iter().map(|place| places[*place].height).sum();
        all + GAP_Y * layer.len().saturating_sub(1) as f64
    };
    let height = layers.iter().map(|layer| height_of(layer, places)).fold(0.0, f64::max);
    for layer in &layers {
        let mut y = (height - height_of(layer, places)) / 2.0 + 1.0;
        for place in layer {
            places[*place].y = y;
            y += places[*place].height + GAP_Y;
        }
    }
    height + 2.0
}

fn left(layer: usize) -> f64 {
    1.0 + layer as f64 * (WIDTH + GAP_X)
}

fn draw(
    plan: &Plan,
    places: &[Place],
    paths: &[(Vec<usize>, bool)],
    height: f64,
    state: impl Fn(&str) -> (&'static str, String),
) -> Svg {
    let layers = places.iter().map(|place| place.layer + 1).max().unwrap_or(1);
    let width = left(layers) - GAP_X + 1.0;
    let mut svg = format!(
        "<svg width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         role=\"group\" aria-labelledby=\"graph-title\"><title id=\"graph-title\">{}</title>",
        escaped(&words(plan, paths))
    );
    for (path, stream) in paths {
        let class = if *stream { "edge streams" } else { "edge" };
        let _ = write!(svg, "<path class=\"{class}\" d=\"{}\"/>", line(places, path));
    }
    for place in places {
        if let Some(task) = place.task {
            node(&mut svg, plan, task, place, &state);
        }
    }
    svg.push_str("</svg>");
    Svg(svg)
}

fn node(
    svg: &mut String,
    plan: &Plan,
    task: usize,
    place: &Place,
    state: &impl Fn(&str) -> (&'static str, String),
) {
    let task = &plan.tasks[task];
    let (class, href) = state(&task.name);
    let (x, y) = (left(place.layer), place.y);
    let _ = write!(
        svg,
        "<g class=\"node {class}\"><a href=\"{}\"><title>{} ({}){}</title><rect x=\"{x}\" \
         y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{:.1}\" rx=\"6\"/>",
        escaped(&href),
        escaped(&task.name),
        escaped(&task.kind),
        if class.is_empty() { String::new() } else { format!(", {}", class.replace('_', " ")) },
        place.height
    );
    if !task.outputs.is_empty() {
        let line = y + HEAD - 0.5;
        let _ = write!(
            svg,
            "<line x1=\"{x}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>",
            x + WIDTH
        );
    }
    let mut name_x = x + 12.0;
    if !class.is_empty() {
        let _ = write!(
            svg,
            "<use href=\"#{class}-shape\" x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"14\"/>",
            x + 10.0,
            y + 9.0
        );
        name_x = x + 32.0;
    }
    let (name, kind) = (short(&task.name, 17), short(&task.kind, 10));
    let fits = name.chars().count() + kind.chars().count() < 20 && task.name != task.kind;
    let _ = write!(
        svg,
        "<text class=\"name\" x=\"{name_x:.1}\" y=\"{:.1}\">{}</text>",
        y + 21.0,
        escaped(&name)
    );
    if fits {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x + WIDTH - 10.0,
            y + 21.0,
            escaped(&kind)
        );
    }
    for (index, output) in task.outputs.values().enumerate() {
        let _ = write!(
            svg,
            "<text class=\"set\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 12.0,
            y + HEAD + 15.0 + LINE * index as f64,
            escaped(&dataset(&output.dataset.to_string()))
        );
    }
    svg.push_str("</a></g>");
}

/// The middle of a long text is the part that tells least.
fn dataset(name: &str) -> String {
    const MOST: usize = 23;
    let count = name.chars().count();
    if count <= MOST {
        return name.to_owned();
    }
    let (scheme, rest) = name.split_once(':').unwrap_or(("", name));
    let keep = MOST.saturating_sub(scheme.chars().count() + 2);
    let end: String = rest.chars().skip(rest.chars().count().saturating_sub(keep)).collect();
    format!("{scheme}:…{end}")
}

fn short(text: &str, most: usize) -> String {
    match text.chars().count() <= most {
        true => text.to_owned(),
        false => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// From the right of the first place to the left of the last, through the places between.
fn line(places: &[Place], path: &[usize]) -> String {
    let middle = |place: usize| places[place].y + places[place].height / 2.0;
    let (mut x, mut y) = (left(places[path[0]].layer) + WIDTH, middle(path[0]));
    let mut d = format!("M{x:.1} {y:.1}");
    for place in &path[1..] {
        let (to_x, to_y) = (left(places[*place].layer), middle(*place));
        let half = f64::midpoint(x, to_x);
        let _ = write!(d, "C{half:.1} {y:.1} {half:.1} {to_y:.1} {to_x:.1} {to_y:.1}");
        (x, y) = (to_x, to_y);
        if places[*place].task.is_none() {
            x += WIDTH;
            let _ = write!(d, "H{x:.1}");
        }
    }
    d
}

/// The graph for those who don't see it.
fn words(plan: &Plan, paths: &[(Vec<usize>, bool)]) -> String {
    let name = |place: usize| plan.tasks[place].name.as_str();
    let ends = |path: &[usize]| (path[0], path[path.len() - 1]);
    let mut text = crate::words::plural(plan.tasks.len(), "task");
    for (separator, (path, stream)) in [": "].into_iter().chain(std::iter::repeat("; ")).zip(paths)
    {
        let (from, to) = ends(path);
        let how = if *stream { " while it runs" } else { "" };
        let _ = write!(text, "{separator}{} feeds {}{how}", name(from), name(to));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator::plan::{Edge, PlannedTask};

    fn plan(names: &[&str], edges: &[(usize, usize)]) -> Plan {
        let task = |name: &&str| {
            serde_json::from_value::<PlannedTask>(serde_json::json!({
                "name": name, "kind": "shell", "options": {}, "late": [], "inputs": {},
                "outputs": {}, "when": null, "skip": null, "trigger_rule": "all_success",
                "retry": orchestrator::plan::Retry::default(), "timeout": null,
            }))
            .unwrap()
        };
        Plan {
            tasks: names.iter().map(task).collect(),
            edges: edges
                .iter()
                .map(|(from, to)| Edge { from: *from, to: *to, reason: EdgeReason::Needs })
                .collect(),
            order: (0..names.len()).collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn no_two_tasks_overlap_and_all_edges_go_right() {
        let names = ["a", "b", "c", "d", "e"];
        let plan = plan(&names, &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 4), (0, 4)]);
        let svg = graph(&plan, |name| ("", format!("#{name}"))).unwrap().to_string();
        let boxes: Vec<(f64, f64)> = svg
            .split("<rect x=\"")
            .skip(1)
            .map(|rest| {
                let (x, rest) = rest.split_once('"').unwrap();
                let y = rest.split("y=\"").nth(1).unwrap().split('"').next().unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert_eq!(boxes.len(), 5);
        for (index, one) in boxes.iter().enumerate() {
            for other in &boxes[index + 1..] {
                assert!((one.0 - other.0).abs() >= WIDTH || (one.1 - other.1).abs() >= HEAD);
            }
        }
        assert_eq!(svg.matches("class=\"edge\"").count(), 7);
        assert!(svg.contains("5\u{a0}tasks: a feeds b; a feeds c"), "{svg}");
    }

    #[test]
    fn names_are_escaped_and_shortened() {
        let plan = plan(&["<script>alert(1)</script>"], &[]);
        let svg = graph(&plan, |_| ("failed", "/x".into())).unwrap().to_string();
        assert!(!svg.contains("<script>"), "{svg}");
        assert_eq!(dataset("file:raw/ecommerce_data_part1.csv"), "file:…ce_data_part1.csv");
    }
}
