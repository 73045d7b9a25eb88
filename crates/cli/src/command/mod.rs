//! Runs one command from the arguments to the exit status.

mod flavor;
mod host;
mod image;
mod keypair;
mod operation;
mod resolve;
mod server;
mod token;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::Builder;

use crate::args::{Cli, CloudArgs, Command};
use crate::client::Session;
use crate::config::{self, Environment};
use crate::error::{Exit, Failure};
use crate::output::{Out, printable};
use crate::trace;

/// What every command has: the two output streams, and the cloud once it is asked for.
pub struct Context {
    cloud: CloudArgs,
    verbose: bool,
    quiet: bool,
    /// stdout.
    pub out: Out,
}

impl Context {
    /// Authenticates with the chosen cloud.
    async fn session(&self) -> Result<Session, Failure> {
        let cloud = config::resolve(&self.cloud, &Environment::of_process())?;
        if !cloud.verify {
            self.note("warning: certificates are not checked (insecure)");
        }
        Ok(Session::open(cloud, self.verbose).await?)
    }

    /// Tells a person something that is no result.
    fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{}", printable(text));
        }
    }

    /// Whether progress is shown (on a terminal).
    const fn shows_progress(&self) -> bool {
        // Lines of requests and a moving bar would tear each other apart.
        !self.quiet && !self.verbose
    }

    /// Asks a person, on a terminal; `None` when nobody is there to be asked.
    async fn confirms(&self, question: &str) -> Option<bool> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        eprint!("{} Type 'yes' to go on: ", printable(question));
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        Some(matches!(line.await, Ok(Ok(line)) if line.trim() == "yes"))
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    if std::env::args_os().len() == 1 {
        // Asking for nothing is asking for help; clap alone would call it an error.
        let printed = Cli::command().print_long_help();
        return status(if printed.is_ok() { Exit::Ok } else { Exit::Failed });
    }
    let cli = Cli::parse();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("reprieve: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(cli) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    });
    // A thread may still wait for a line of stdin; it must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            status(failure.exit())
        }
    }
}

fn status(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// Prints an error and what to do about it.
fn report(failure: &Failure) {
    eprintln!("reprieve: {}", failure.text());
    if let Some(advice) = failure.advice() {
        eprintln!("hint: {}", printable(&advice));
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { cloud, quiet, verbose, command } = cli;
    let mut context = Context { cloud, verbose, quiet, out: Out::stdout() };
    match command {
        Command::Server(command) => server::run(&mut context, command).await?,
        Command::Image(command) => image::run(&mut context, command).await?,
        Command::Flavor(command) => flavor::run(&mut context, command).await?,
        Command::Keypair(command) => keypair::run(&mut context, command).await?,
        Command::Operation(command) => operation::run(&mut context, command).await?,
        Command::Host(command) => host::run(&mut context, command).await?,
        Command::Token(command) => token::run(&mut context, command).await?,
        Command::Trace(args) => {
            trace::run(&args, &Environment::of_process(), context.out.writer())?;
        }
        Command::Completion { shell } => {
            // clap's generator panics on a closed pipe, a Vec never closes.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "reprieve", &mut script);
            context.out.writer().write_all(&script)?;
        }
    }
    context.out.flush()
}

/// Does something to each of several things; goes on after a failure, as the others were asked
/// for too, and reports each.
struct Batch {
    all: usize,
    failures: Vec<Failure>,
}

impl Batch {
    const fn new(all: usize) -> Self {
        Self { all, failures: Vec::new() }
    }

    /// Takes note of how one went.
    fn add<T>(&mut self, outcome: Result<T, Failure>) -> Option<T> {
        outcome.map_err(|failure| self.failures.push(failure)).ok()
    }

    /// The failure of the whole.
    fn end(mut self) -> Result<(), Failure> {
        let Some(exit) = self.failures.first().map(Failure::exit) else { return Ok(()) };
        if self.all == 1 {
            return self.failures.pop().map_or(Ok(()), Err);
        }
        self.failures.iter().for_each(report);
        Err(Failure::Several { failed: self.failures.len(), all: self.all, exit })
    }
}
