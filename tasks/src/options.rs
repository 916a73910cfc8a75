//! The options of a planned task as its kind reads them.

use crate::engine::sql::{Fault, check_expression};
use orchestrator::kind::{Part, Problem};
use orchestrator::plan::PlannedTask;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The options; `None` where one can't be read, which becomes a problem, unless the attempt is still to
/// render some of them: they may be of any type until then.
pub(crate) fn read<T: DeserializeOwned>(
    task: &PlannedTask,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let none = json!({});
    let options = if task.options.is_null() { &none } else { &task.options };
    let error = match serde_path_to_error::deserialize::<&Value, T>(options) {
        Ok(options) => return Some(options),
        Err(error) => error,
    };
    if task.late.is_empty() {
        let path = error.path().iter().map(ToString::to_string).filter(|step| step != ".");
        let path = std::iter::once("with".to_owned()).chain(path);
        problems.push(Problem::new(path, error.inner().to_string()));
    }
    None
}

/// What is wrong with the SQL of an option.
pub(crate) fn at<'p>(path: impl IntoIterator<Item = &'p str>, fault: Fault) -> Problem {
    let Fault { range, message, help } = fault;
    Problem { part: Some(Part::Text(range)), help, ..Problem::new(path, message) }
}

/// The conditions of `write: replace_where` that are not SQL.
pub(crate) fn check_conditions(task: &PlannedTask) -> Vec<Problem> {
    let conditions = task.outputs.iter().filter_map(|(name, output)| {
        let condition = output.replace_where.as_ref().filter(|text| !text.contains("${{"))?;
        let fault = check_expression(condition).err()?;
        let message = format!(
            "the `where` of `{}` is no condition in SQL: {}",
            output.dataset, fault.message
        );
        Some(Problem::new(["outputs", name], message).help(format!("it is: {condition}")))
    });
    conditions.collect()
}
