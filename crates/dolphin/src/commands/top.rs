//! `dolphin top`: a running node on a terminal. It asks twice a second and changes nothing.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use node::error::Failure;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use telemetry::client::Client;

use super::status::{self, At};
use crate::top::{self, Seen, View};

/// A running node on the terminal
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin top --at http://127.0.0.1:9464\n\nKeys: 1 … 5 or Tab for the pages, q to leave. \
NO_COLOR is heeded. A node that ends is waited for."
)]
pub struct Args {
    #[command(flatten)]
    at: At,
}

/// How often the node is asked, and how often keys are looked for.
const ASK_EVERY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let client = args.at.client()?;
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "dolphin top needs a terminal; dolphin status tells the same in a few lines",
        ));
    }
    let seen = Arc::new(Mutex::new(Seen::new(client.base())));
    let asking = Arc::clone(&seen);
    let runtime = status::runtime()?;
    // It ends with the process.
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || runtime.block_on(ask(client, asking)))
        .map_err(|e| Failure::unavailable(format!("cannot start a thread: {e}")))?;
    let mut terminal =
        ratatui::try_init().map_err(|e| Failure::usage(format!("the terminal cannot be used: {e}")))?;
    let end = watch(&mut terminal, &seen);
    ratatui::restore();
    end.map_err(|e| Failure::usage(format!("the terminal cannot be used: {e}")))
}

async fn ask(client: Client, seen: Arc<Mutex<Seen>>) {
    loop {
        let answer = client.state().await;
        seen.lock().unwrap_or_else(PoisonError::into_inner).take(answer);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn watch(terminal: &mut ratatui::DefaultTerminal, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut view = View { page: 0, colour: std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) };
    let mut drawn = None::<Instant>;
    loop {
        if drawn.is_none_or(|at| at.elapsed() >= ASK_EVERY / 2) {
            drawn = Some(Instant::now());
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            terminal.draw(|frame| top::draw(frame, &seen, view))?;
        }
        if !event::poll(LOOK_EVERY)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char(c @ '1'..='5') => view.page = usize::from(c as u8 - b'1'),
                KeyCode::Tab | KeyCode::Right => view.page = (view.page + 1) % top::PAGES.len(),
                KeyCode::Left => view.page = (view.page + top::PAGES.len() - 1) % top::PAGES.len(),
                _ => continue,
            },
            Event::Resize(..) => {}
            _ => continue,
        }
        drawn = None;
    }
}
