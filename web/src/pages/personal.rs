//! The pages that make the personal drive.

use super::Frame;
use askama::Template;

/// There is no personal drive yet.
#[derive(Template)]
#[template(path = "make_drive.html")]
pub(crate) struct MakeDrive {
    pub(crate) frame: Frame,
}

/// It has just been made: its capability is shown, this once.
#[derive(Template)]
#[template(path = "made_drive.html")]
pub(crate) struct MadeDrive {
    pub(crate) frame: Frame,
    pub(crate) cap: String,
    /// A QR code: SVG in base64.
    pub(crate) code: String,
}
