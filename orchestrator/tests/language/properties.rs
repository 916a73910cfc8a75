//! What holds for any pipeline, and for any damage to a text.

use crate::kinds::kinds;
use proptest::prelude::*;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::LazyLock;
use tidemill_orchestrator::diagnostic::{Diagnostic, Sources, render};
use tidemill_orchestrator::kind::Files;
use tidemill_orchestrator::load::{Definition, from_text};
use tidemill_orchestrator::plan::{Plan, PlanRequest, plan};

fn request() -> PlanRequest {
    PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap())
}

fn files() -> Files {
    let sql = "select 1".to_owned();
    Files::from([("sql/count.sql".to_owned(), sql.clone()), ("a.sql".to_owned(), sql)])
}

/// The plan of a text, or its problems with the texts that they point into.
fn planned(text: &str) -> Result<(Definition, Plan), (Vec<Diagnostic>, Sources)> {
    let definition = from_text("p.yaml", text, files(), &kinds(), &|_| None)
        .map_err(|problems| (problems.diagnostics, problems.sources))?;
    match plan(&definition, &kinds(), &request()) {
        Ok((plan, _)) => Ok((definition, plan)),
        Err(diagnostics) => Err((diagnostics, definition.sources())),
    }
}

/// A pipeline whose task `a` comes before `b` for each pair `(a, b)`, by need or by dataset.
fn graph(count: usize, edges: &[(usize, usize, bool)]) -> String {
    let mut text = String::from("name: p\ntasks:\n");
    for task in 0..count {
        let before = |by_need: bool| {
            let mine = edges.iter().filter(move |edge| edge.1 == task && edge.2 == by_need);
            mine.map(|edge| edge.0).collect::<std::collections::BTreeSet<usize>>()
        };
        let needs: Vec<String> = before(true).iter().map(|from| format!("t{from}")).collect();
        let inputs: Vec<String> =
            before(false).iter().map(|from| format!("i{from}: table:d{from}")).collect();
        let (needs, inputs) = (needs.join(", "), inputs.join(", "));
        writeln!(
            text,
            "  t{task}:\n    uses: noop\n    needs: [{needs}]\n    inputs: {{{inputs}}}\n    \
             outputs: {{o: table:d{task}}}"
        )
        .unwrap();
    }
    text
}

/// Whether some task comes, by the pairs, before itself.
fn has_cycle(count: usize, edges: &[(usize, usize, bool)]) -> bool {
    let mut left: HashSet<usize> = (0..count).collect();
    loop {
        let free = left
            .iter()
            .copied()
            .find(|task| !edges.iter().any(|(from, to, _)| to == task && left.contains(from)));
        match free {
            Some(task) => left.remove(&task),
            None => return !left.is_empty(),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_respects_edges(
        count in 1usize..12,
        pairs in prop::collection::vec((0usize..12, 0usize..12, any::<bool>()), 0..24),
    ) {
        let edges: Vec<_> = pairs.into_iter().map(|(a, b, n)| (a % count, b % count, n)).collect();
        let text = graph(count, &edges);
        match planned(&text) {
            Ok((definition, plan)) => {
                prop_assert!(!has_cycle(count, &edges), "{text}");
                let mut sorted = plan.order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..count).collect::<Vec<_>>());
                let rank = |task: usize| plan.order.iter().position(|at| *at == task).unwrap();
                for (from, to, _) in &edges {
                    prop_assert!(rank(*from) < rank(*to), "{text}");
                }
                for edge in &plan.edges {
                    prop_assert!(edges.iter().any(|(a, b, _)| (*a, *b) == (edge.from, edge.to)));
                }
                let stored = serde_json::to_string(&definition).unwrap();
                let restored: Definition = serde_json::from_str(&stored).unwrap();
                prop_assert_eq!(restored.digest(), definition.digest());
                let (again, _) = plan_of(&restored);
                prop_assert_eq!(
                    serde_json::to_value(again).unwrap(),
                    serde_json::to_value(plan).unwrap()
                );
            }
            Err((diagnostics, _)) => {
                prop_assert!(has_cycle(count, &edges), "{text}{diagnostics:?}");
                prop_assert!(diagnostics.iter().all(|d| d.code.as_str() == "cycle"));
            }
        }
    }

    #[test]
    fn a_damaged_text_never_panics_and_each_problem_has_a_place(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec(
            (0usize..7, any::<prop::sample::Index>(), 0usize..30),
            1..4,
        ),
    ) {
        let texts = &*GOOD;
        let mut text = which.get(texts).clone();
        for (kind, at, size) in &damages {
            text = damage(&text, *kind, at, *size);
        }
        check_problems(&text)?;
    }
}

fn plan_of(definition: &Definition) -> (Plan, Vec<Diagnostic>) {
    plan(definition, &kinds(), &request()).unwrap()
}

/// Plans a text; whatever is wrong must lie in it and can be rendered.
fn check_problems(text: &str) -> Result<(), TestCaseError> {
    let Err((diagnostics, sources)) = planned(text) else { return Ok(()) };
    prop_assert!(!diagnostics.is_empty(), "{text}");
    for diagnostic in &diagnostics {
        let source = sources.get(&diagnostic.file);
        prop_assert!(source.is_some(), "{diagnostic:?}\n{text}");
        let span = diagnostic.span.clone();
        prop_assert!(span.is_some(), "{diagnostic:?}\n{text}");
        let end = span.unwrap().end;
        prop_assert!(end <= source.unwrap().len() + 1, "{diagnostic:?}\n{text}");
        prop_assert!(!diagnostic.message.is_empty() && diagnostic.code.as_str() != "internal");
    }
    prop_assert!(!render(&diagnostics, &sources, false).is_empty());
    Ok(())
}

/// The cases, those with problems too, and the examples of the kinds.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let cases = std::fs::read_dir("tests/cases").unwrap().map(|file| file.unwrap().path());
    let mut texts: Vec<String> = cases
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| !path.ends_with("yaml_bomb.yaml"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    texts.sort();
    texts.extend(kinds().iter().map(|kind| kind.example().to_owned()));
    texts
});

fn damage(text: &str, kind: usize, at: &prop::sample::Index, size: usize) -> String {
    const SIGNS: &[&str] = &[
        ":", " ", "\t", "\n", "-", "[", "]", "{", "}", "\"", "'", "#", "&a", "*a", "${{", "}}",
        "|", ">", "\\", "é", "\u{feff}", "<<: ", "? ", "!!int ", "---\n", "~", "%", "@", "\r",
        "\0",
    ];
    if text.is_empty() {
        return SIGNS[size % SIGNS.len()].to_owned();
    }
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = *at.get(&starts);
    let to = starts.iter().copied().find(|end| *end >= from + size).unwrap_or(text.len());
    let (before, within, after) = (&text[..from], &text[from..to], &text[to..]);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let line = |offset: usize| (at.index(lines.len()) + offset) % lines.len();
    match kind {
        0 => format!("{before}{after}"),
        1 => format!("{before}{within}{within}{after}"),
        2 | 3 => format!("{before}{}{within}{after}", SIGNS[size % SIGNS.len()]),
        4 => {
            let mut lines = lines.clone();
            let (a, b) = (line(0), line(size));
            lines.swap(a, b);
            lines.concat()
        }
        5 => {
            let at = line(0);
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[at].insert_str(0, &" ".repeat(1 + size % 4));
            lines.concat()
        }
        _ => {
            let mut chars: Vec<char> = within.chars().collect();
            chars.reverse();
            format!("{before}{}{after}", chars.into_iter().collect::<String>())
        }
    }
}

#[test]
fn examples_of_kinds_are_planned() {
    for kind in kinds().iter() {
        let result = planned(kind.example());
        assert!(result.is_ok(), "{}: {:?}", kind.name(), result.err().map(|(d, _)| d));
    }
}
