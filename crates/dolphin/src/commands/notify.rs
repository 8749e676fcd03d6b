//! `dolphin notify test`: does a page arrive?

use std::path::PathBuf;

use market::text::counted;
use node::config::Config;
use node::error::Failure;
use telemetry::notify::Notifier;

/// Pages: to a webhook, Slack, Telegram
#[derive(clap::Args)]
#[command(after_help = "Example: dolphin notify test --config configs/blue.yml")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Send a test page to every channel of the configuration, and say what came of it
    Test {
        /// Configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let What::Test { config } = &args.what;
    let config = Config::load(config)?;
    let notifier = Notifier::of(&config.telemetry.notify).map_err(Failure::usage)?;
    let results = super::status::runtime()?.block_on(notifier.test());
    if results.is_empty() {
        return Err(Failure::usage(format!(
            "{}: `telemetry.notify` names no channel: webhook_file, slack_file or telegram_file",
            config.path.display()
        )));
    }
    let mut failed = 0;
    for (channel, result) in results {
        match result {
            Ok(()) => println!("{channel}: delivered"),
            Err(why) => {
                failed += 1;
                println!("{channel}: {why}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::unavailable(format!("{} did not take the page", counted(n, "channel")))),
    }
}
