//! placeholder
pub mod config_drive;
mod durable;
pub mod fake;
pub mod files;
pub mod image_cache;
pub mod saved_memory;
pub use durable::FileError;
