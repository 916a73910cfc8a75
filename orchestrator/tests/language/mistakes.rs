//! Mistakes that people make, one in each pipeline: its code, and its place, which `▸` marks.

use crate::kinds::kinds;
use tidemill_orchestrator::diagnostic::line_and_column;
use tidemill_orchestrator::load::load_and_plan;
use tidemill_orchestrator::plan::PlanRequest;

/// A pipeline of tasks: only what differs is written down.
fn tasks(text: &str) -> String {
    format!("name: p\ntasks:\n{text}\n")
}

#[test]
fn each_mistake_has_its_code_at_its_place() {
    let mut wrong = Vec::new();
    let whole = WHOLE.iter().map(|(code, text)| (*code, (*text).to_owned()));
    let all: Vec<(&str, String)> =
        whole.chain(TASKS.iter().map(|(code, text)| (*code, tasks(text)))).collect();
    for (code, marked) in &all {
        let place = marked.find('▸').unwrap_or_else(|| panic!("no mark in {marked}"));
        let text = marked.replace('▸', "");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.yaml");
        std::fs::write(&path, &text).unwrap();
        let request = PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap());
        let problems = match load_and_plan(&path, &kinds(), &request) {
            Err(problems) => problems.diagnostics,
            Ok((_, _, warnings)) => warnings,
        };
        let expect = line_and_column(&text, place);
        let found = |code: &str| {
            problems.iter().any(|problem| {
                let span = problem.span.as_ref();
                problem.code.as_str() == code
                    && span.is_some_and(|span| line_and_column(&text, span.start) == expect)
            })
        };
        if !found(code) {
            let got: Vec<String> = (problems.iter())
                .map(|problem| {
                    let at = problem.span.as_ref().map(|span| line_and_column(&text, span.start));
                    format!("{} at {at:?}: {}", problem.code.as_str(), problem.message)
                })
                .collect();
            wrong.push(format!("{marked}\n{code} at {expect:?}; got {got:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n\n"));
    assert!(all.len() >= 100, "{} mistakes", all.len());
}

/// Mistakes outside the tasks.
const WHOLE: &[(&str, &str)] = &[
    ("missing-key", "▸tasks: {a: {uses: noop}}\n"),
    ("missing-key", "▸name: p\n"),
    ("wrong-type", "name: ▸5\ntasks: {a: {uses: noop}}\n"),
    ("wrong-type", "▸name: [p]\ntasks: {a: {uses: noop}}\n"),
    ("bad-name", "name: ▸my pipeline\ntasks: {a: {uses: noop}}\n"),
    ("bad-name", "name: ▸1st\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸descripton: x\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸steps: []\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸jobs: {}\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸on: push\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸env: {A: b}\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\n▸vars: {a: 1}\ntasks: {a: {uses: noop}}\n"),
    ("duplicate-key", "name: p\n▸name: q\ntasks: {a: {uses: noop}}\n"),
    ("wrong-type", "name: p\n▸tasks: [{uses: noop}]\n"),
    ("out-of-range", "name: p\n▸tasks: {}\n"),
    ("wrong-type", "name: p\n▸tasks:\n"),
    ("out-of-range", "name: p\nmax_active_runs: ▸0\ntasks: {a: {uses: noop}}\n"),
    ("wrong-type", "name: p\nmax_active_runs: ▸one\ntasks: {a: {uses: noop}}\n"),
    ("yaml-syntax", "name: p\ntasks:\n▸\ta: {uses: noop}\n"),
    ("yaml-syntax", "name: p\ntasks: ▸{a: {uses: noop}\n"),
    ("bad-schedule", "name: p\n▸schedule: {}\ntasks: {a: {uses: noop}}\n"),
    ("wrong-type", "name: p\nschedule: ▸'@daily'\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\nschedule: {▸corn: '@daily'}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {cron: ▸every day}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {cron: ▸0 25 * * *}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {cron: ▸0 0 31 4 *}\ntasks: {a: {uses: noop}}\n"),
    (
        "bad-schedule",
        "name: p\nschedule: {cron: '@daily', timezone: ▸Mars/Base}\ntasks: {a: {uses: noop}}\n",
    ),
    ("bad-format", "name: p\nschedule: {every: ▸often}\ntasks: {a: {uses: noop}}\n"),
    ("bad-format", "name: p\nschedule: {every: ▸'15'}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {every: ▸10ms}\ntasks: {a: {uses: noop}}\n"),
    (
        "not-a-choice",
        "name: p\nschedule: {cron: '@daily', overlap: ▸skp}\ntasks: {a: {uses: noop}}\n",
    ),
    (
        "not-a-choice",
        "name: p\nschedule: {cron: '@daily', catch_up: ▸yes}\ntasks: {a: {uses: noop}}\n",
    ),
    ("out-of-range", "name: p\ndefaults: {timeout: ▸0s}\ntasks: {a: {uses: noop}}\n"),
    ("bad-format", "name: p\ndefaults: {timeout: ▸soon}\ntasks: {a: {uses: noop}}\n"),
    ("unknown-key", "name: p\ndefaults: {▸retries: 3}\ntasks: {a: {uses: noop}}\n"),
    ("missing-key", "name: p\nparams: {▸n: {default: 1}}\ntasks: {a: {uses: noop}}\n"),
    ("not-a-choice", "name: p\nparams: {n: {type: ▸int}}\ntasks: {a: {uses: noop}}\n"),
    ("wrong-type", "name: p\nparams: {n: ▸5}\ntasks: {a: {uses: noop}}\n"),
    ("bad-name", "name: p\nparams: {▸a-b: {type: string}}\ntasks: {a: {uses: noop}}\n"),
    (
        "unused-param",
        "name: p\nparams: {▸n: {type: integer, default: 1}}\ntasks: {a: {uses: noop}}\n",
    ),
    ("bad-dataset", "name: p\ndatasets: {▸orders: {key: [a]}}\ntasks: {a: {uses: noop}}\n"),
    ("unused-dataset", "name: p\ndatasets: {▸'table:t': {key: [a]}}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {cron: ▸30 2 * * foo}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {cron: ▸half 2 * * *}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {every: 1h, timezone: ▸UTC}\ntasks: {a: {uses: noop}}\n"),
    ("bad-schedule", "name: p\nschedule: {every: 15m, window: ▸2d}\ntasks: {a: {uses: noop}}\n"),
    ("expression-misplaced", "name: p\nschedule: {cron: ▸'${{ x }}'}\ntasks: {a: {uses: noop}}\n"),
    ("expression-misplaced", "name: ▸p${{ params.x }}\ntasks: {a: {uses: noop}}\n"),
    (
        "out-of-range",
        "name: p\ndefaults: {retry: {delay: 5m, max_delay: ▸1m}}\ntasks: {a: {uses: noop}}\n",
    ),
    (
        "out-of-range",
        "name: p\nparams: {n: {type: integer, minimum: 9, maximum: ▸3}}\ntasks: {a: {uses: noop}}\n",
    ),
    ("bad-param", "name: p\nparams: {n: {type: string, minimum: ▸1}}\ntasks: {a: {uses: noop}}\n"),
    (
        "wrong-type",
        "name: p\nparams: {n: {type: string, ▸enum: [a, 5]}}\ntasks: {a: {uses: noop}}\n",
    ),
];

/// Mistakes in tasks.
const TASKS: &[(&str, &str)] = &[
    ("missing-key", "  ▸a: {needs: []}"),
    ("wrong-type", "  a: ▸noop"),
    ("bad-name", "  ▸my task: {uses: noop}"),
    ("unknown-kind", "  a: {uses: ▸nop}"),
    ("unknown-kind", "  a: {uses: ▸python}"),
    ("unknown-key", "  a: {uses: noop, ▸need: [b]}\n  b: {uses: noop}"),
    ("unknown-key", "  a: {uses: noop, ▸depends_on: [b]}\n  b: {uses: noop}"),
    ("unknown-key", "  a: {uses: noop, ▸depends: [b]}\n  b: {uses: noop}"),
    ("unknown-key", "  a: {uses: noop, ▸if: 'true'}"),
    ("unknown-key", "  a: {uses: noop, ▸type: x}"),
    ("unknown-key", "  a: {uses: noop, ▸operator: x}"),
    ("unknown-key", "  a: {uses: noop, ▸runs_on: x}"),
    ("unknown-key", "  a: {uses: noop, ▸retries: 3}"),
    ("unknown-key", "  a: {uses: noop, ▸run: ls}"),
    ("duplicate-key", "  a: {uses: noop}\n  ▸a: {uses: noop}"),
    ("unknown-task", "  a: {uses: noop, needs: [▸c]}\n  b: {uses: noop}"),
    ("unknown-task", "  load: {uses: noop, needs: [▸exract]}\n  extract: {uses: noop}"),
    ("wrong-type", "  a: {uses: noop, needs: ▸b}\n  b: {uses: noop}"),
    ("cycle", "  a: {uses: noop, needs: [▸a]}"),
    ("cycle", "  ▸a: {uses: noop, needs: [b]}\n  b: {uses: noop, needs: [a]}"),
    ("bad-format", "  a: {uses: noop, timeout: ▸5 parsecs}"),
    ("wrong-type", "  a: {uses: noop, timeout: ▸30}"),
    ("out-of-range", "  a: {uses: noop, timeout: ▸0s}"),
    ("out-of-range", "  a: {uses: noop, retry: {attempts: ▸0}}"),
    ("wrong-type", "  a: {uses: noop, retry: ▸3}"),
    ("wrong-type", "  a: {uses: noop, retry: {attempts: ▸'3'}}"),
    ("not-a-choice", "  a: {uses: noop, retry: {backoff: ▸linear}}"),
    ("bad-format", "  a: {uses: noop, retry: {delay: ▸'2'}}"),
    ("not-a-choice", "  a: {uses: noop, trigger_rule: ▸all_finished}"),
    ("wrong-type", "  a: {uses: noop, when: ▸7}"),
    ("wrong-type", "  a: {uses: noop, ▸with: [x]}"),
    ("missing-key", "  a: {uses: make, ▸with: {}, outputs: {rows: table:t}}"),
    ("out-of-range", "  a: {uses: make, with: {rows: ▸0}, outputs: {rows: table:t}}"),
    ("out-of-range", "  a: {uses: make, with: {rows: ▸1001}, outputs: {rows: table:t}}"),
    ("wrong-type", "  a: {uses: make, with: {rows: ▸many}, outputs: {rows: table:t}}"),
    ("wrong-type", "  a: {uses: make, with: {rows: ▸1.5}, outputs: {rows: table:t}}"),
    ("wrong-type", "  a: {uses: make, with: {rows: 1, quiet: ▸1}, outputs: {rows: table:t}}"),
    ("unknown-key", "  a: {uses: make, with: {rows: 1, ▸sed: 4}, outputs: {rows: table:t}}"),
    ("not-a-choice", "  a: {uses: make, with: {rows: 1, shape: ▸round}, outputs: {rows: table:t}}"),
    (
        "bad-format",
        "  a: {uses: make, with: {rows: 1, roll: {every: ▸x}}, outputs: {rows: table:t}}",
    ),
    ("missing-port", "  ▸a: {uses: make, with: {rows: 1}}"),
    ("unknown-port", "  a: {uses: make, with: {rows: 1}, outputs: {rows: table:t, ▸tru: table:u}}"),
    ("wrong-scheme", "  a: {uses: make, with: {rows: 1}, outputs: {rows: ▸topic:t}}"),
    (
        "unknown-port",
        "  a: {uses: make, with: {rows: 1}, inputs: {▸x: table:x}, outputs: {rows: table:t}}",
    ),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸orders}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸tabel:orders}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸'table:'}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸table:a/b}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸file:../x}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸file:/etc/x}}"),
    ("bad-dataset", "  a: {uses: noop, outputs: {o: ▸'table:${{ params.x }}'}}"),
    (
        "two-writers",
        "  a: {uses: noop, outputs: {o: table:t}}\n  b: {uses: noop, outputs: {o: ▸table:t}}",
    ),
    (
        "overlapping-paths",
        "  a: {uses: noop, outputs: {o: file:d}}\n  b: {uses: noop, outputs: {o: ▸file:d/x.csv}}",
    ),
    ("expression-syntax", "  a: {uses: noop, with: {x: '▸${{ 1 + 1'}}"),
    ("expression-syntax", "  a: {uses: noop, with: {x: 'a ▸${{ }} b'}}"),
    ("expression-syntax", "  a: {uses: noop, with: {x: '${{ true ▸&& true }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ ▸params.rows }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ ▸ds }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ ▸now() }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ 1 | ▸double }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ ▸interval.begin }}'}}"),
    ("unknown-name", "  a: {uses: noop, with: {x: '${{ ▸tasks.b.state }}'}}"),
    ("unset-variable", "  a: {uses: noop, with: {x: '${{ ▸env.TIDEMILL_NOT_SET_ANYWHERE }}'}}"),
    ("unquoted-expression", "  a: {uses: noop, with: {x: '▸{{ interval.date }}'}}"),
    ("expression-failed", "  a: {uses: noop, with: {x: '${{ ▸1 / 0 }}'}}"),
    ("expression-misplaced", "  a: {uses: ▸'${{ params.kind }}'}"),
    ("expression-misplaced", "  a: {uses: noop, needs: [▸'${{ params.x }}']}"),
    ("expression-misplaced", "  a: {uses: noop, timeout: ▸'${{ params.m }}m'}"),
    ("bad-option", "  a: {uses: noop, trigger_rule: ▸any_failed}"),
    ("yaml-syntax", "  a:\n    uses: noop\n    description: ▸| and more\n"),
    ("yaml-syntax", "  a:\n    uses: noop\n    description: ▸> file.txt\n"),
    (
        "unused-output",
        "  a: {uses: noop, outputs: {o: ▸table:orders}}\n  b: {uses: noop, inputs: {i: table:order}}",
    ),
];
