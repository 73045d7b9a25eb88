//! Images in the database: descriptions, properties, tags, members. The data itself is in files.

mod record;

pub use record::{
    ContainerFormat, ImageData, ImageRecord, ImageStatus, MemberRecord, MemberStatus, Visibility,
};
