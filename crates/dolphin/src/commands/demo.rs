//! x
#[derive(clap::Args)]
/// x
pub struct Args {}
/// x
pub fn run(_: Args) -> Result<(), crate::error::CliError> { Ok(()) }
