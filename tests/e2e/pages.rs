//! The pages and the API of the daemon, asked over HTTP.

use crate::daemon::{Daemon, Site};
use crate::project::{Project, end, wait_until};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const FAILING: &str = "\
name: scores
description: Scores <b>of</b> orders
params:
  level: {type: integer, default: 3, minimum: 1, maximum: 9, description: How deep}
tasks:
  extract: {uses: shell, with: {run: 'echo \"<script>alert(1)</script>\"; printf \"\\\\033[31mred\\\\n\"'}}
  score: {uses: shell, needs: [extract], with: {run: 'test -e model || { echo no model >&2; exit 3; }'}}
  publish: {uses: shell, needs: [score], with: {run: 'true'}}
";

const SLOW: &str = "\
name: slow
tasks:
  a: {uses: shell, with: {run: 'echo begun; sleep 60'}}
";

/// A daemon with one pipeline, and its pages.
fn served(name: &str, pipeline: &str) -> (Project, Daemon, Site) {
    let project = Project::new();
    project.write(&format!("pipelines/{name}.yaml"), pipeline);
    let daemon = Daemon::start(&project, &[]);
    let site = Site::of(&project);
    (project, daemon, site)
}

fn wait_for_state(site: &Site, run: &str, state: &str) {
    wait_until(&format!("run {run} is {state}"), || {
        site.api("GET", &format!("/runs/{run}"), "").1["state"] == state
    });
}

/// The run that a form has led to.
fn started(answer: &crate::daemon::Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:#?}");
    answer.header("location").unwrap().strip_prefix("/runs/").unwrap().to_owned()
}

#[test]
fn from_home_it_is_one_click_to_why_a_run_failed() {
    let (project, _daemon, site) = served("scores", FAILING);
    assert!(site.get("/").body.contains("<h1>Nothing has run yet</h1>"));
    let run = started(&site.post("/pipelines/scores/run", "param.level=4"));
    wait_for_state(&site, &run, "failed");
    let home = site.get("/").body;
    assert!(home.contains("<h1>scores failed "), "{home}");
    assert!(home.contains(&format!("<a class=\"button first\" href=\"/runs/{run}\">See why</a>")));
    let page = site.get(&format!("/runs/{run}")).body;
    for words in [
        "pipelines/scores.yaml:7",
        "^^^^^ the command ended with exit code 3: no model",
        "1 of 3\u{a0}tasks succeeded",
        "Did not run, because <code>score</code> failed.",
        "Log of score",
        "<dd>level 4",
    ] {
        assert!(page.contains(words), "`{words}` is not in {page}");
    }
    // It is mended, and goes on where it failed.
    project.write("model", "");
    let again = started(&site.post(&format!("/runs/{run}/again"), ""));
    wait_for_state(&site, &again, "succeeded");
    let same = started(&site.post("/pipelines/scores/run", ""));
    wait_for_state(&site, &same, "succeeded");
    let page = site.get(&format!("/runs/{same}")).body;
    assert!(page.contains(&format!("same as of the <a href=\"/runs/{again}\">")), "{page}");
    project.write("pipelines/scores.yaml", &FAILING.replace("exit 3", "exit 4"));
    std::fs::remove_file(project.path("model")).unwrap();
    let other = started(&site.post("/pipelines/scores/run", ""));
    wait_for_state(&site, &other, "failed");
    let page = site.get(&format!("/runs/{other}")).body;
    assert!(page.contains(&format!("another than of the <a href=\"/runs/{same}\">")), "{page}");
    project.write("model", "");
    let mended = started(&site.post(&format!("/runs/{other}/again"), ""));
    wait_for_state(&site, &mended, "succeeded");
    let shown = project.show(&again);
    let tasks: Vec<&str> =
        shown["tasks"].as_array().unwrap().iter().map(|t| t["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["score", "publish"]);
    assert!(site.get("/").body.contains("<h1>All is well now</h1>"));
    let grid = site.get("/pipelines/scores").body;
    assert!(grid.contains(&format!("href=\"/runs/{run}?task=score#log\"")), "{grid}");
}

#[test]
fn what_tasks_and_files_say_is_text_on_the_pages() {
    let (_project, _daemon, site) = served("scores", FAILING);
    let run = started(&site.post("/pipelines/scores/run", ""));
    wait_for_state(&site, &run, "failed");
    let log = site.get(&format!("/runs/{run}?task=extract&q=%3Cscript%3E")).body;
    assert!(log.contains("&#60;script&#62;alert(1)") || log.contains("&lt;script&gt;alert(1)"));
    for page in
        ["/", "/pipelines/scores", &format!("/runs/{run}?task=extract"), "/runs?state=%3Cb%3E"]
    {
        let answer = site.get(page);
        assert_eq!(answer.status, 200, "{page}");
        for bad in ["<script>alert", "<b>of</b>", "\u{1b}"] {
            assert!(!answer.body.contains(bad), "`{bad}` is in {page}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn a_form_with_wrong_values_starts_nothing_and_says_why() {
    let project = Project::new();
    project.write("pipelines/scores.yaml", FAILING);
    project.write("pipelines/broken.yaml", "name: broken\ntasks: {a: {uses: shel}}\n");
    let _daemon = Daemon::start(&project, &[]);
    let site = Site::of(&project);
    let check = |path: &str, form: &str, status: u16, words: &str| {
        let answer = site.post(path, form);
        assert_eq!(answer.status, status, "{path} {form}: {answer:#?}");
        assert!(answer.body.contains(words), "`{words}` is not in {}", answer.body);
    };
    check("/pipelines/scores/run", "param.level=10", 422, "must be at most 9, not 10");
    check("/pipelines/scores/run", "param.levle=1", 422, "has no param `levle`");
    check("/pipelines/scores/run", "profile=nowhere", 422, "nowhere");
    check("/pipelines/scores/run", "date=yesterday", 400, "not a date");
    check("/pipelines/nothing/run", "", 404, "there is no pipeline");
    check("/pipelines/broken/run", "", 404, "broken");
    check("/pipelines/scores/pause", "paused=true", 409, "no schedule");
    check("/runs/latest/cancel", "", 404, "there is no run");
    assert_eq!(site.get("/pipelines/nothing").status, 404);
    assert_eq!(site.get("/nothing").status, 404);
    let page = site.get("/pipelines/broken").body;
    assert!(page.contains("there is no kind of task <code>shel</code>"), "{page}");
    assert!(site.get("/").body.contains("pipelines/broken.yaml</a> has 1\u{a0}problem since"));
    assert_eq!(site.api("GET", "/runs", "").1, Value::Array(Vec::new()));
    let (status, problem) = site.api("POST", "/pipelines/scores/runs", "{\"parms\": {}}");
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("unknown field `parms`"), "{problem}");
}

#[test]
fn a_run_is_cancelled_and_one_whose_process_died_goes_on() {
    let (project, _daemon, site) = served("slow", SLOW);
    let (status, new) = site.api("POST", "/pipelines/slow/runs", "{}");
    assert_eq!(status, 201, "{new}");
    let run = new["run"].as_str().unwrap().to_owned();
    wait_until("it is at work", || site.get(&format!("/runs/{run}")).body.contains("begun</span>"));
    let home = site.get("/").body;
    assert!(home.contains("Cancel slow"), "{home}");
    let (status, busy) = site.api("POST", "/pipelines/slow/runs", "{}");
    assert_eq!(status, 409);
    assert!(busy["detail"].as_str().unwrap().contains("no more than 1 may be"), "{busy}");
    // Its process is killed: the daemon, which has started it, resumes it.
    let pid = project.show_history(&run)["pid"].as_i64().unwrap();
    kill_process_group(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    wait_until("it is resumed", || {
        let events = site.api("GET", &format!("/runs/{run}/events"), "").1;
        let owned = events.as_array().unwrap().iter().filter(|e| e["kind"] == "run_owned");
        owned.count() == 2
    });
    wait_for_state(&site, &run, "running");
    assert_eq!(site.post(&format!("/runs/{run}/cancel"), "").status, 303);
    wait_for_state(&site, &run, "cancelled");
    let page = site.get(&format!("/runs/{run}")).body;
    assert!(page.contains("asked to stop: somebody cancelled it on the pages"), "{page}");
    assert_eq!(site.api("POST", &format!("/runs/{run}/cancel"), "").0, 409);
    assert_eq!(site.api("POST", &format!("/runs/{run}/resume"), "").0, 409);
    // One that was started by hand is resumed by a button.
    let child = project.start(&["run", "pipelines/slow.yaml"]);
    wait_until("it has begun", || project.read_history().iter().any(|r| r["state"] == "running"));
    let by_hand = project.read_history()[0]["run"].as_str().unwrap().to_owned();
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    end(child);
    wait_for_state(&site, &by_hand, "crashed");
    assert!(site.get("/").body.contains("slow crashed"), "{}", site.get("/").body);
    assert_eq!(started(&site.post(&format!("/runs/{by_hand}/resume"), "")), by_hand);
    wait_for_state(&site, &by_hand, "running");
    site.post(&format!("/runs/{by_hand}/cancel"), "");
    wait_for_state(&site, &by_hand, "cancelled");
}

#[test]
fn other_pages_and_other_names_are_refused() {
    let (_project, _daemon, site) = served("slow", SLOW);
    let check = |method: &str, path: &str, headers: &str, status: u16| {
        let answer = site.ask(method, path, headers, "");
        assert_eq!(answer.status, status, "{method} {path} {headers}: {answer:#?}");
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    check("GET", "/", "Host: evil.example\r\n", 421);
    check("GET", "/api/v1/runs", "Host: evil.example:5000\r\n", 421);
    check("GET", "/", "Host: localhost:1234\r\n", 200);
    check("POST", "/pipelines/slow/run", &format!("{form}Origin: http://evil.example\r\n"), 403);
    check("POST", "/pipelines/slow/run", &format!("{form}Origin: null\r\n"), 403);
    check("POST", "/api/v1/pipelines/slow/pause", "Sec-Fetch-Site: cross-site\r\n", 403);
    assert_eq!(site.api("GET", "/runs", "").1, Value::Array(Vec::new()));
    check("POST", "/theme", &format!("{form}Origin: http://{}\r\n", site.0), 422);
    // Paths that lead elsewhere.
    for path in ["/artifacts/a/latest/../../../store.db", "/artifacts/%2e%2e/%2e%2e/store.db"] {
        check("GET", path, "", 404);
    }
    check("GET", "/runs/..%2f..%2fstore.db", "", 404);
    check("GET", "/datasets/table:..%2f..", "", 404);
    let theme = site.ask(
        "POST",
        "/theme",
        &format!("{form}Referer: http://evil.example//evil/\r\n"),
        "theme=dark",
    );
    assert_eq!(theme.header("location"), Some("/"));
}

#[test]
fn greedy_and_slow_clients_are_cut_off() {
    let (_project, _daemon, site) = served("slow", SLOW);
    let long = "x".repeat(100_000);
    assert_eq!(site.ask("GET", "/", &format!("X-Long: {long}\r\n"), "").status, 431);
    let path = format!("/{}", "x".repeat(70_000));
    assert!(matches!(site.get(&path).status, 414 | 431), "{}", site.get(&path).status);
    let body = "a".repeat(300 * 1024);
    assert_eq!(site.post("/pipelines/slow/run", &body).status, 413);
    assert_eq!(site.api("POST", "/pipelines/slow/runs", &body).0, 413);
    // A head that does not come: others are answered in the meantime, and it ends.
    let mut slow = site.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    assert_eq!(site.get("/healthz").status, 200);
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(site.raw(b"\x00\x01nonsense\r\n\r\n").status, 400);
    assert_eq!(site.get("/readyz").body, "ok\n");
}

#[test]
fn a_token_opens_the_pages_to_those_who_know_it() {
    let project = Project::new();
    project.write("pipelines/slow.yaml", SLOW);
    let open = end(project.start(&["serve", "--listen", "0.0.0.0:0"]));
    assert_eq!(open.code, Some(1));
    assert!(open.err.contains("--token-file"), "{open:?}");
    project.write("short", "abc\n");
    let short = end(project.start(&["serve", "--token-file", "short"]));
    assert!(short.err.contains("at least 16 characters"), "{short:?}");
    let token = "0123456789abcdef0123456789abcdef";
    project.write("token", &format!("{token}\n"));
    let _daemon = Daemon::start(&project, &["--token-file", "token"]);
    let site = Site::of(&project);
    assert_eq!(site.get("/healthz").status, 200);
    let answer = site.get("/runs?state=failed");
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), Some("/login?next=%2Fruns%3Fstate%3Dfailed"));
    for path in ["/api/v1/runs", "/metrics", "/live"] {
        assert_eq!(site.ask("GET", path, "", "").status, 401, "{path}");
    }
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(site.ask("GET", "/api/v1/runs", &bearer("0123456789abcdef"), "").status, 401);
    let named = format!("{}Host: tidemill.example\r\n", bearer(token));
    assert_eq!(site.ask("GET", "/api/v1/runs", &named, "").status, 200);
    let wrong = site.post("/login", "token=wrong&next=/");
    assert_eq!(wrong.status, 200);
    assert!(wrong.body.contains("This is not the token"), "{}", wrong.body);
    let right = site.post("/login", &format!("token={token}&next=//evil.example"));
    assert_eq!((right.status, right.header("location")), (303, Some("/")));
    let cookie = right.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite"), "{cookie}");
    assert!(!cookie.contains(token), "{cookie}");
    let session = format!("Cookie: theme=dark; {}\r\n", cookie.split(';').next().unwrap());
    let home = site.ask("GET", "/", &session, "");
    assert_eq!(home.status, 200);
    assert!(home.body.contains("data-theme=\"dark\"") && home.body.contains("Sign out"));
}

#[test]
fn a_busy_port_gets_a_sentence() {
    let (one, other) = (Project::new(), Project::new());
    one.write("pipelines/slow.yaml", SLOW);
    other.write("pipelines/slow.yaml", SLOW);
    let _daemon = Daemon::start(&one, &[]);
    let site = Site::of(&one);
    let second = end(other.start(&["serve", "--listen", &site.0]));
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("is in use") && second.err.contains("--listen 127.0.0.1:"));
    let wrong = end(other.start(&["serve", "--listen", "here"]));
    assert!(wrong.err.contains("such as 127.0.0.1:5000"), "{wrong:?}");
}

#[test]
fn pages_hear_of_what_happens() {
    let (project, daemon, site) = served("slow", SLOW);
    let mut stream = site.connect();
    write!(stream, "GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", site.0).unwrap();
    let mut heard = String::new();
    let mut until = |words: &str| {
        let mut buffer = [0; 4096];
        while !heard.contains(words) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the stream ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        heard.clear();
    };
    until("text/event-stream");
    // The store has been written by another process.
    project.write("quick.yaml", "name: quick\ntasks: {a: {uses: shell, with: {run: ls}}}\n");
    project.ok(&["run", "quick.yaml"]);
    until("event: change");
    // A file has changed.
    project
        .write("pipelines/other.yaml", "name: other\ntasks: {a: {uses: shell, with: {run: ls}}}\n");
    until("event: change");
    // It keeps no daemon from ending.
    let began = Instant::now();
    daemon.stop();
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_run_whose_definition_is_not_understood_any_more_has_a_page() {
    let (project, _daemon, site) = served("scores", FAILING);
    let run = started(&site.post("/pipelines/scores/run", ""));
    wait_for_state(&site, &run, "failed");
    // As one of a version of tidemill that knew other kinds.
    let store = rusqlite::Connection::open(project.data().join("store.db")).unwrap();
    store.execute("update definitions set json = replace(json, 'shell', 'fetch')", []).unwrap();
    let page = site.get(&format!("/runs/{run}"));
    assert_eq!(page.status, 200, "{page:#?}");
    for words in ["can’t be read any more", "there is no kind of task `fetch`", "upstream failed"]
    {
        assert!(page.body.contains(words), "`{words}` is not in {}", page.body);
    }
    let (status, problem) = site.api("GET", &format!("/runs/{run}"), "");
    assert_eq!(status, 422, "{problem}");
    assert!(site.get("/").body.contains("scores failed"));
    // Its file has another text now, and goes on where that one failed.
    project.write("pipelines/scores.yaml", &format!("# mended\n{FAILING}"));
    project.write("model", "");
    let again = started(&site.post(&format!("/runs/{run}/again"), ""));
    wait_for_state(&site, &again, "succeeded");
}

#[test]
fn metrics_and_datasets_are_told() {
    let project = Project::shipped();
    let _daemon = Daemon::start(&project, &[]);
    let site = Site::of(&project);
    let (status, new) = site.api(
        "POST",
        "/pipelines/ecommerce_nightly/runs",
        "{\"params\": {\"rows\": 2000}, \"date\": \"2026-11-20\"}",
    );
    assert_eq!(status, 201, "{new}");
    let run = new["run"].as_str().unwrap();
    wait_for_state(&site, run, "succeeded");
    let (_, shown) = site.api("GET", &format!("/runs/{run}"), "");
    assert_eq!(shown["interval_start"], "2026-11-20T00:00:00Z");
    assert_eq!(shown["params"]["rows"], 2000);
    project.ok(&["query", "select count(*) from nightly_orders"]);
    assert_ne!(project.tidemill(&["query", "select nothing from nightly_orders"]).code, Some(0));
    wait_until("the daemon has counted it", || {
        site.get("/metrics").body.contains("task=\"clean\"")
    });
    let metrics = site.get("/metrics").body;
    let runs = "tidemill_runs_total{pipeline=\"ecommerce_nightly\",state=\"succeeded\"} 1";
    for words in [runs, "tidemill_runs_active 0", "tidemill_task_duration_seconds_count", "# EOF"] {
        assert!(metrics.contains(words), "`{words}` is not in {metrics}");
    }
    assert!(!metrics.contains(run), "a run's id is in the metrics");
    let (_, datasets) = site.api("GET", "/datasets", "");
    let names: Vec<&str> =
        datasets.as_array().unwrap().iter().filter_map(|d| d["dataset"].as_str()).collect();
    assert!(names.contains(&"table:nightly_orders") && names.contains(&"artifact:nightly"));
    for dataset in &names {
        let page = site.get(&format!("/datasets/{dataset}"));
        assert_eq!(page.status, 200, "{dataset}");
        assert!(page.body.contains(run), "{dataset}");
        assert!(page.body.contains("ecommerce_nightly"), "{dataset}");
    }
    let orders = site.get("/datasets/table:nightly_orders").body;
    assert!(orders.contains("order_timestamp") && orders.contains("Read by"), "{orders}");
    let rows = site.get("/datasets/table:nightly_orders?rows=1").body;
    assert_eq!(rows.matches("<td class=\"number\">2026").count(), 0);
    assert_eq!(rows.matches("<td>2026-11-20</td>").count(), 20, "{rows}");
    let dashboard = site.get("/dashboards/nightly").body;
    let frame = "src=\"/artifacts/nightly/latest/index.html\"";
    assert!(dashboard.contains(frame) && dashboard.contains("sandbox=\"allow-scripts\""));
    let artifact = site.get("/artifacts/nightly/latest/index.html");
    assert_eq!(artifact.status, 200);
    assert!(artifact.header("content-security-policy").unwrap().starts_with("sandbox"));
    let admin = site.get("/admin").body;
    for words in [
        "topic:bda_proj_nightly",
        "data-label=\"Landed to offset\">2,000<",
        "data-label=\"Lag\">0<",
        "rows/s",
        "select nothing from nightly_orders",
        "table:nightly_",
    ] {
        assert!(admin.contains(words), "`{words}` is not in {admin}");
    }
    let (_, edges) = site.api("GET", "/lineage", "");
    assert!(edges.as_array().unwrap().iter().any(|e| e["to"] == "artifact:nightly"));
}

impl Project {
    fn read_history(&self) -> Vec<Value> {
        serde_json::from_str(&self.tidemill(&["history", "-o", "json"]).out).unwrap_or_default()
    }

    fn show_history(&self, run: &str) -> Value {
        let all = self.read_history();
        all.into_iter().find(|row| row["run"] == run).unwrap()
    }
}
