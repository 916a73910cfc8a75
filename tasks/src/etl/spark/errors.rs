//! Errors of Spark as a task's errors.

use crate::engine::sql::placed;
use orchestrator::attempt::TaskError;
use spark_connect::SparkError;

/// gRPC's code for a server that is not there.
const UNAVAILABLE: i32 = 14;
/// gRPC's codes for what a server may do better next time: unknown (a broken connection),
/// deadline exceeded, aborted.
const PASSING: [i32; 3] = [2, 4, 10];

/// An error of a call that has no SQL.
pub(super) fn transport_error(remote: &str, error: &SparkError) -> TaskError {
    classed(error, &[], format!("Spark at `{remote}`: {}", summary(error)))
}

/// An error of a query. `path` names the file or the option that holds it, `lines_before` is how
/// many lines stood above it in what Spark got, and `views` are the tables that Spark was given.
pub(super) fn query_error(
    path: &str,
    sql: &str,
    lines_before: u64,
    views: &[String],
    error: &SparkError,
) -> TaskError {
    let at = place(&error.message)
        .filter(|(line, _)| *line > lines_before)
        .map(|(line, column)| (line - lines_before, column));
    classed(error, views, placed(path, sql, at, &summary(error)))
}

/// An error of rows while they are made: the query and the rules have become one text, of which
/// Spark shows the line.
pub(super) fn rows_error(path: &str, views: &[String], error: &SparkError) -> TaskError {
    let shown = error.message.split_once("== SQL (").and_then(|(_, rest)| rest.lines().nth(1));
    let shown = shown.map(|line| format!(", in `{}`", line.trim())).unwrap_or_default();
    classed(error, views, format!("{path}: {}{shown}", summary(error)))
}

fn classed(error: &SparkError, views: &[String], message: String) -> TaskError {
    if is_transient(error, views) {
        TaskError::Transient(message)
    } else {
        TaskError::Permanent(message)
    }
}

fn is_transient(error: &SparkError, views: &[String]) -> bool {
    let class = error.error_class.as_str();
    if class.is_empty() {
        return match error.grpc_code {
            Some(code) => code == UNAVAILABLE || PASSING.contains(&code),
            // What the client itself found wrong with an answer.
            None => true,
        };
    }
    // The class of a Java exception; those of conditions have no small letters.
    if class.contains(char::is_lowercase) {
        const LASTING: [&str; 5] = [
            "FileNotFoundException",
            "AccessControlException",
            "IllegalArgumentException",
            "UnsupportedOperationException",
            "NullPointerException",
        ];
        return !LASTING.iter().any(|lasting| class.contains(lasting));
    }
    // Of a server that has been started again the session is there, but without its views.
    let lost = |view: &String| error.message.contains(&format!("`{view}`"));
    match class {
        "TABLE_OR_VIEW_NOT_FOUND" => views.iter().any(lost),
        "OPERATION_CANCELED" | "FAILED_READ_FILE.NO_HINT" | "TASK_WRITE_FAILED" => true,
        class => class.starts_with("INVALID_HANDLE") || class.starts_with("INVALID_CURSOR"),
    }
}

/// The first line of what Spark says, which begins with the condition's name.
fn summary(error: &SparkError) -> String {
    let message = if error.message.is_empty() { error.message() } else { error.message.clone() };
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    let mut line = line.trim();
    // The place is told in tidemill's own way.
    if let Some(start) = line.rfind("; line ").or_else(|| line.rfind(" (line ")) {
        line = &line[..start];
    }
    if let Some(start) = line.rfind(" SQLSTATE: ") {
        line = &line[..start];
    }
    line.trim_end_matches(['.', ';', ' ']).to_owned()
}

/// The line and the column of an error, which count from 1, in texts such as `line 1 pos 7`,
/// `(line 1, pos 7)` and `(line 1, position 8)`. Only the last counts its columns from 1.
fn place(message: &str) -> Option<(u64, u64)> {
    message.match_indices("line ").find_map(|(at, _)| {
        let (line, rest) = number(&message[at + 5..])?;
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let (column, first) = match rest.strip_prefix(" position ") {
            Some(rest) => (number(rest)?.0, 0),
            None => (number(rest.strip_prefix(" pos ")?)?.0, 1),
        };
        Some((line, column + first))
    })
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: &str, message: &str, code: Option<i32>) -> SparkError {
        let mut error = SparkError::connect_msg(message);
        error.error_class = class.to_owned();
        error.grpc_code = code;
        error
    }

    #[test]
    fn places_are_those_of_the_text_in_the_pipeline() {
        let message = "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `prize` cannot be \
                       resolved. SQLSTATE: 42703; line 3 pos 11;\n'Project ['prize]";
        let error = error("UNRESOLVED_COLUMN.WITH_SUGGESTION", message, Some(13));
        assert_eq!(
            query_error("sql/a.sql", "select\nid, price, prize", 1, &[], &error).to_string(),
            "sql/a.sql:2:12: [UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `prize` cannot \
             be resolved\n2 | id, price, prize\n  |            ^^^^^"
        );
        assert_eq!(place("near 'x'. SQLSTATE: 42601 (line 2, pos 0)"), Some((2, 1)));
        assert_eq!(place("a line in\n== SQL (line 12, position 8) =="), Some((12, 8)));
        assert_eq!(place("a line 7"), None);
    }

    #[test]
    fn the_line_that_failed_is_shown() {
        let message = "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012\n\
                       == SQL (line 4, position 1) ==\nv / k > 0\n^^^^^\n";
        let error = error("DIVIDE_BY_ZERO", message, Some(13));
        let told = rows_error("from", &[], &error);
        assert_eq!(told.to_string(), "from: [DIVIDE_BY_ZERO] Division by zero, in `v / k > 0`");
    }

    #[test]
    fn a_retry_is_for_what_can_pass() {
        let transient = |class, message, code| {
            is_transient(&error(class, message, code), &["orders".to_owned()])
        };
        assert!(transient("", "transport error", Some(2)));
        assert!(transient("", "[Unavailable] refused", Some(14)));
        assert!(transient("java.net.ConnectException", "refused", Some(13)));
        assert!(transient("INVALID_HANDLE.SESSION_NOT_FOUND", "gone", Some(13)));
        assert!(transient("TABLE_OR_VIEW_NOT_FOUND", "no `orders`", Some(13)));
        assert!(!transient("TABLE_OR_VIEW_NOT_FOUND", "no `order`", Some(13)));
        assert!(!transient("DIVIDE_BY_ZERO", "division", Some(13)));
        assert!(!transient("java.io.FileNotFoundException", "gone", Some(13)));
        assert!(!transient("", "no token", Some(16)));
    }
}
