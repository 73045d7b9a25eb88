//! How the demo prints. Colour only on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

/// What became of a scene.
pub struct Outcome {
    /// Scene.
    pub name: &'static str,
    /// Whether everything in it was as it should be.
    pub passed: bool,
    /// What was measured, or why it failed.
    pub words: String,
    /// How long it took.
    pub took: Duration,
}

/// The printer.
pub struct Show {
    colour: bool,
}

impl Show {
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A new part.
    pub fn title(&self, text: &str) {
        println!("\n{}", self.paint("1", &format!("== {text}")));
    }

    /// A sentence.
    pub fn plain(&self, text: &str) {
        println!("   {text}");
    }

    /// What is asked for.
    pub fn asked(&self, text: &str) {
        println!();
        self.block("36", "ask", text);
    }

    /// What the logs say.
    pub fn log(&self, text: &str) {
        self.block("2", "log", text);
    }

    /// What the broker carried.
    pub fn messages(&self, text: &str) {
        self.block("34", "bus", text);
    }

    /// What libvirt says.
    pub fn libvirt(&self, text: &str) {
        self.block("35", "libvirt", text);
    }

    /// What the guest says.
    pub fn guest(&self, text: &str) {
        self.block("33", "guest", text);
    }

    /// What the API says, and what was measured.
    pub fn result(&self, text: &str) {
        self.block("32", "result", text);
    }

    fn block(&self, code: &str, who: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let who = if index == 0 { who } else { "" };
            println!("   {} {line}", self.paint(code, &format!("{who:>7} |")));
        }
    }

    /// A row of the summary.
    pub fn outcome(&self, outcome: &Outcome) {
        let word =
            if outcome.passed { self.paint("32", "passed") } else { self.paint("31", "FAILED") };
        let seconds = outcome.took.as_secs_f64();
        println!("   {:<12} {word} {seconds:>6.1} s   {}", outcome.name, outcome.words);
    }
}
