//! Running `qemu-img` with everything explicit.

use std::path::PathBuf;
use std::time::Duration;

/// How to run `qemu-img`.
#[derive(Debug, Clone)]
pub struct QemuImg {
    /// The program; looked up in `PATH` when it has no slash.
    pub program: PathBuf,
    /// How long one run may take.
    pub deadline: Duration,
}

impl Default for QemuImg {
    fn default() -> Self {
        Self { program: PathBuf::from("qemu-img"), deadline: Duration::from_secs(120) }
    }
}
