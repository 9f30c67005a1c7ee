//! What only the owner of the node may ask for: requests below `/private`.
//!
//! Who can connect to the web port can use the node, but these show the token in the node's directory
//! besides (`private/api_auth_token`, in a header as Tahoe-LAFS has it: `Authorization: tahoe-lafs
//! TOKEN`). So neither a page in a browser nor another user of the machine can send them.

use super::exchange::{Exchange, plain_head};
use super::{Gateway, text};
use crate::http::RequestHead;
use std::fmt;
use subtle::ConstantTimeEq;
use tallac_core::machine::ConnId;
use tallac_core::operation::{Command, OperationId};
use tallac_core::secret::SecretBytes;
use tallac_core::time::Now;
use tallac_core::vdrive::{MakeRootError, RootMade};

const SCHEME: &[u8] = b"tahoe-lafs";

/// The token that shows that a request comes from the node's owner. Compared in constant time, never
/// printed.
#[derive(Clone)]
pub struct ApiToken(SecretBytes);

impl ApiToken {
    /// Takes a token of at least 16 printable characters.
    pub fn new(text: &str) -> Option<ApiToken> {
        let good = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| ApiToken(SecretBytes::new(text.into())))
    }

    /// Whether the value of an `Authorization` header shows it.
    pub(super) fn is_shown_by(&self, header: &[u8]) -> bool {
        let Some((scheme, token)) = header.split_at_checked(SCHEME.len()) else { return false };
        let token = token.trim_ascii_start();
        scheme.eq_ignore_ascii_case(SCHEME) && token.ct_eq(self.0.expose()).into()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken")
    }
}

impl Gateway {
    /// From now on requests that show this token may do what only the node's owner may. Without it
    /// nobody may.
    #[must_use]
    pub fn with_token(mut self, token: ApiToken) -> Gateway {
        self.token = Some(token);
        self
    }

    /// `POST /private/make-root`.
    pub(super) fn ask_for_root(&mut self, conn: ConnId, head: &RequestHead, now: Now) {
        let shown = head.headers.get("Authorization");
        if !self.token.as_ref().zip(shown).is_some_and(|(token, shown)| token.is_shown_by(shown)) {
            let mut head = plain_head(401, "text/plain; charset=utf-8");
            head.headers = head.headers.with("WWW-Authenticate", "tahoe-lafs");
            let why = "Only the owner of this node may ask for that: send the header Authorization: \
                       tahoe-lafs TOKEN with what is in private/api_auth_token of the node's directory.\n";
            return self.answer_with(conn, head, text(why));
        }
        let id = self.new_operation(conn);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.exchange = Exchange::MakeRoot(id);
        }
        self.command(Command::MakeRoot { id }, now);
    }

    /// It is known what came of the wish for a shared root.
    pub(super) fn root_made(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<RootMade, MakeRootError>,
    ) {
        self.end_operation(id);
        let (status, text) = match result {
            Ok(RootMade::New) => (200, "The shared root has been made.".into()),
            Ok(RootMade::Before) => (200, "There is a shared root already.".into()),
            Err(error @ MakeRootError::NoVdrive) => (404, format!("There is no shared root here: {error}.")),
            Err(error @ (MakeRootError::Unreadable(_) | MakeRootError::Unstored(_))) => {
                (500, format!("There is no shared root: {error}."))
            }
            Err(error @ (MakeRootError::Change(_) | MakeRootError::Stopping)) => {
                (503, format!("The shared root was not made: {error}."))
            }
        };
        self.answer_text(conn, status, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_shows_the_token() {
        let token = ApiToken::new("0123456789abcdef=").unwrap();
        for header in ["tahoe-lafs 0123456789abcdef=", "Tahoe-LAFS  0123456789abcdef="] {
            assert!(token.is_shown_by(header.as_bytes()), "{header}");
        }
        for header in [
            "",
            "tahoe-lafs",
            "tahoe-lafs ",
            "tahoe-lafs 0123456789abcdef",
            "tahoe-lafs 0123456789abcdef==",
            "tahoe-lafs 0123456789abcdeg=",
            "Bearer 0123456789abcdef=",
            "0123456789abcdef=",
        ] {
            assert!(!token.is_shown_by(header.as_bytes()), "{header}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        for bad in ["", "short", "with a blank in it", "with\na line end in it"] {
            assert!(ApiToken::new(bad).is_none(), "{bad:?}");
        }
    }
}
