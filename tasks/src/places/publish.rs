//! The publication protocol for an output that is a table.

use super::Places;
use super::tables::{Publication, Staged};
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::event::Published;

/// Publishes an attempt's output, exactly once whatever dies when: the intent is journalled, an
/// earlier attempt's commit is looked for and adopted, else the rows are staged and committed, and
/// that is journalled.
///
/// `staged` is only driven if there is something to write. Stops when the attempt is cancelled.
pub async fn publish_table(
    attempt: &Attempt,
    places: &Places,
    output: &str,
    staged: impl Future<Output = Result<Vec<Staged>, TaskError>>,
) -> Result<Published, TaskError> {
    if let Some(published) = &attempt.outputs[output].published {
        return Ok(published.clone());
    }
    let name = attempt.outputs[output].dataset().name().to_owned();
    let tables = places.tables();
    let base = attempt.intend(output, tables.latest(&name).await?).await?;
    let published = match tables.find(&name, &attempt.publication(output), base).await? {
        Some(published) => {
            tracing::info!(
                "`table:{name}` already holds what an earlier attempt committed, as version {}",
                published.version.unwrap_or_default()
            );
            published
        }
        None => {
            let staged = tokio::select! {
                biased;
                () = attempt.cancel.cancelled() => return Err(TaskError::Cancelled),
                staged = staged => staged?,
            };
            // From here on a cancel is heeded only before the commit, so that a cancelled attempt
            // has published nothing.
            tables.publish(&name, &Publication::of(attempt, output, base), staged).await?
        }
    };
    attempt.published(output, published.clone()).await?;
    Ok(published)
}

#[cfg(test)]
mod tests;
