//! placeholder
pub mod config_drive;
pub mod fake;
pub mod files;
pub mod image_cache;
pub mod saved_memory;
