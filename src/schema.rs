//! `tidemill schema`

use crate::OK;
use crate::pipeline;
use crate::stdout::print_json;
use anyhow::Result;
use orchestrator::spec::pipeline_schema;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill schema > .tidemill.schema.json

Editors that speak to yaml-language-server, such as VS Code with its YAML extension, complete and
check pipelines with it. Either each file names it in its first line:

  # yaml-language-server: $schema=../.tidemill.schema.json

or the settings of the editor do, as in .vscode/settings.json:

  {\"yaml.schemas\": {\".tidemill.schema.json\": \"pipelines/*.yaml\"}}")]
pub struct Arguments {}

pub fn run(_arguments: &Arguments) -> Result<u8> {
    print_json(&pipeline_schema(&pipeline::kinds()))?;
    Ok(OK)
}
