//! `reprieve image …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OutputArgs, key_value};

/// The commands on images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Create an image and upload its data.
    #[command(
        long_about = "Create an image and upload its data. Without --disk-format the format is \
                      recognised by the first bytes of the file: qcow2, iso, else raw.",
        after_help = "\
Example:
  reprieve image create tiny --file target/images/tiny.qcow2 --public"
    )]
    Create(Box<CreateArgs>),
    /// List images.
    #[command(after_help = "\
Example:
  reprieve image list -f value -c ID -c Name")]
    List(ListArgs),
    /// Show everything about one image.
    #[command(after_help = "\
Example:
  reprieve image show tiny")]
    Show(ShowArgs),
    /// Delete images.
    #[command(after_help = "\
Example:
  reprieve image delete tiny")]
    Delete {
        /// Names or ids.
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Download the data of an image and check it.
    #[command(after_help = "\
Example:
  reprieve image save tiny --file tiny.qcow2")]
    Save {
        /// Name or id.
        image: String,
        /// Where to; replaced only when all data arrived [default: stdout]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the image.
    pub name: String,
    /// Id of the image [default: chosen by the service]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// File with the data; `-` reads stdin. Without it the image stays empty (queued).
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Format of the data: raw, qcow2 or iso [default: by the first bytes]
    #[arg(long, value_name = "FORMAT")]
    pub disk_format: Option<String>,
    /// Format of the container.
    #[arg(long, value_name = "FORMAT", default_value = "bare")]
    pub container_format: String,
    /// Everybody may use it.
    #[arg(long, conflicts_with_all = ["private", "shared", "community"])]
    pub public: bool,
    /// Only this project may use it.
    #[arg(long, conflicts_with_all = ["shared", "community"])]
    pub private: bool,
    /// This project and its members may use it.
    #[arg(long, conflicts_with = "community")]
    pub shared: bool,
    /// Everybody may use it, but it is listed only on request.
    #[arg(long)]
    pub community: bool,
    /// It cannot be deleted.
    #[arg(long)]
    pub protected: bool,
    /// Smallest disk of a server, in GB.
    #[arg(long, value_name = "GB")]
    pub min_disk: Option<u32>,
    /// Smallest memory of a server, in MB.
    #[arg(long, value_name = "MB")]
    pub min_ram: Option<u32>,
    /// Property, such as hw_rescue_device=disk; may be repeated.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub properties: Vec<(String, String)>,
    /// Tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl CreateArgs {
    /// The visibility that was asked for.
    pub fn visibility(&self) -> Option<&'static str> {
        match (self.public, self.private, self.shared, self.community) {
            (true, ..) => Some("public"),
            (_, true, ..) => Some("private"),
            (_, _, true, _) => Some("shared"),
            (.., true) => Some("community"),
            (false, false, false, false) => None,
        }
    }
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only the image with this name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only images in this status (active, queued …).
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// More columns: format, size, checksum, visibility and others.
    #[arg(long)]
    pub long: bool,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name or id.
    pub image: String,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}
