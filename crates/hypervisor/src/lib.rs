//! placeholder
pub mod config_drive;
mod durable;
pub mod fake;
pub mod files;
pub mod image_cache;
pub mod libvirt;
pub mod saved_memory;
pub mod xml;
pub use durable::FileError;
