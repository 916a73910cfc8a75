//! What only the outside can answer, asked right before a run.

use crate::attempt::TaskError;
use crate::dataset::DatasetName;
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Catalog;
use crate::load::Definition;
use crate::plan::Plan;
use std::collections::HashSet;

/// Checks that every dataset exists that the run reads and does not write. All problems at once.
pub async fn preflight(
    definition: &Definition,
    plan: &Plan,
    catalog: &dyn Catalog,
) -> Result<Vec<Diagnostic>, TaskError> {
    let tree = definition.tree().map_err(|problem| TaskError::permanent(problem.message))?;
    let outputs = plan.tasks.iter().flat_map(|task| task.outputs.values());
    let written: Vec<&DatasetName> = outputs.map(|output| &output.dataset).collect();
    let exact: HashSet<&DatasetName> = written.iter().copied().collect();
    let mut problems = Vec::new();
    for task in &plan.tasks {
        for (input, dataset) in &task.inputs {
            let made = exact.contains(dataset) || written.iter().any(|one| one.overlaps(dataset));
            if made || task.skip.is_some() || catalog.exists(dataset).await? {
                continue;
            }
            let path = ["tasks", &task.name, "inputs", input];
            let message = format!("`{dataset}` does not exist, and no task of this run writes it");
            let help = format!(
                "it would be `{}`: put it there, or run first what makes it",
                catalog.locate(dataset)
            );
            let problem = Diagnostic::error(Code::MissingDataset, message)
                .at(&definition.pipeline.path, tree.place(&path))
                .path(path.join("."))
                .help(help);
            problems.push(problem);
        }
    }
    Ok(problems)
}
