//! `tallac make-root`: has the running vdrive server make the grid's shared root now.

use crate::client::{Interrupt, NodeUrl, TEXT_LEN_MAX, refused};
use crate::output::print;
use crate::secrets;
use anyhow::Result;
use std::path::Path;
use tallac_web::http::{Method, RequestHead};

pub(crate) fn make_root(directory: &Path) -> Result<()> {
    let node = NodeUrl::of(directory)?;
    // Only who can read the node's directory may ask for it.
    let token = secrets::read_api_token(&directory.join("private"))?;
    let mut connection = node.connect(&Interrupt::on_signals())?;
    let mut head = RequestHead::new(Method::Post, "/private/make-root");
    head.headers.push("Host", &node.authority)?;
    head.headers.push("Authorization", format!("tahoe-lafs {token}"))?;
    connection.request(&head)?;
    let (response, _) = connection.response()?;
    let text = connection.body_text(TEXT_LEN_MAX)?;
    if response.status != 200 {
        return Err(refused(response.status, &text));
    }
    print(&text)
}
