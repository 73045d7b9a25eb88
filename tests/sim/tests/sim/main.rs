//! The whole of Reprieve on one thread, on clocks that stand still, and on one seed.
//!
//! ```text
//! users -> app -> store (SQLite) -> dispatch -> network -> agent -> ledger -> actor -> machine
//!                    ^--- reports <- network <---------------------------------------- fake guests
//! ```
//!
//! Everything but the hypervisor and the bus in between is the product. Each process has a runtime of
//! its own that is stepped ([`process`]); what the product does outside of its runtime is done on the
//! spot (`reprieve_outside`); what it draws at random comes from the seed ([`system`]). So a seed tells
//! the same story every time ([`story`]), and a seed that breaks a rule ([`judge`], [`check`]) can be
//! run again until it is understood. A process is made for each seed, because some of what libraries
//! draw depends on what was drawn in the process before.
//!
//! ```console
//! $ cargo xtask sim                                # what CI runs
//! $ cargo xtask sim --seeds 1000 --operations 200  # a night
//! $ cargo xtask sim --story 17                     # one seed, told aloud
//! ```

mod chance;
mod check;
mod clock;
mod cloud;
mod damage;
mod hosts;
mod judge;
mod machine;
mod names;
mod network;
mod options;
mod process;
mod processor;
mod promises;
mod queue;
mod restarts;
mod run;
mod seeds;
mod single;
mod story;
mod system;
mod users;
mod world;

use std::process::ExitCode;

use options::{Options, Task};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match options.task {
        Task::Single(seed) => single::run(seed, options.operations, options.aloud),
        Task::Fixed => seeds::fixed(),
        Task::Range { from, seeds } => {
            seeds::range(from..from.saturating_add(seeds), options.operations)
        }
    }
}
