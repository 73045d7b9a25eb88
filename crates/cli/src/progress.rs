//! Progress on stderr: bars for data, a spinner for operations. Hidden when stderr is no terminal
//! or the user wants quiet; then only the notes around them remain.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

fn target(visible: bool) -> ProgressDrawTarget {
    // `stderr()` hides itself when stderr is no terminal.
    if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

fn style(template: &str, fallback: ProgressStyle) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or(fallback)
}

/// Bytes of a transfer, with rate.
#[derive(Clone)]
pub struct Bytes(ProgressBar);

impl Bytes {
    /// A bar when the length is known, else a counter.
    pub fn new(label: &str, length: Option<u64>, visible: bool) -> Self {
        let bar = ProgressBar::with_draw_target(length, target(visible));
        let (template, fallback) = match length {
            Some(_) => (
                "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
                ProgressStyle::default_bar(),
            ),
            None => (
                "{msg} {spinner} {bytes} {binary_bytes_per_sec}, {elapsed}",
                ProgressStyle::default_spinner(),
            ),
        };
        bar.set_style(style(template, fallback));
        bar.set_message(label.to_owned());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// So many bytes more.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// An operation on a server that goes on elsewhere.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Starts to turn.
    pub fn new(visible: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(visible));
        bar.set_style(style("{spinner} {msg} {elapsed}", ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// What is going on, and how far it is when the service says so.
    pub fn show(&self, text: String, percent: Option<u64>) {
        match percent {
            Some(percent @ 1..=100) if self.0.length().is_none() => {
                self.0.set_length(100);
                let bar = "{spinner} {msg} [{bar:30}] {pos} % {elapsed}";
                self.0.set_style(style(bar, ProgressStyle::default_bar()));
                self.0.set_position(percent);
            }
            Some(percent) => self.0.set_position(percent),
            None => {}
        }
        self.0.set_message(text);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
