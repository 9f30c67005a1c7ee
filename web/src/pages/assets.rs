//! Style and script of the pages, served by the node itself.
//!
//! Their addresses hold a hash of their content: a browser may keep them for ever.

use std::sync::LazyLock;
use tallac_core::base32;
use tallac_core::hash::tagged_hash;

/// A file that belongs to the pages.
pub(crate) struct Asset {
    /// The last part of its address.
    pub(crate) name: String,
    pub(crate) content_type: &'static str,
    pub(crate) content: &'static [u8],
}

/// The style of all pages.
pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_bytes!("../../static/pages.css")));
/// What scripts add to them.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("js", "text/javascript; charset=utf-8", include_bytes!("../../static/pages.js"))
});
/// The sign of the program.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_bytes!("../../static/icon.svg")));

/// The file of that name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    fn new(ending: &str, content_type: &'static str, content: &'static [u8]) -> Asset {
        let hash = base32::encode(&tagged_hash(b"tallac:pages:asset", content).0[..10]);
        Asset { name: format!("{hash}.{ending}"), content_type, content }
    }
}
