//! Requests whose body is needed before anything can be done: forms, JSON, capabilities.

use super::Gateway;
use super::content::{Content, FIELDS_LEN_MAX, field_text, of_form, too_long};
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::request::Request;
use crate::http::percent::parse_query;
use crate::http::{BodyKind, FormError, FormEvent, Method, Multipart};
use bytes::Bytes;
use tallac_core::machine::ConnId;
use tallac_core::time::Now;

/// A request and its body so far.
pub(super) struct Gathering {
    request: Request,
    body: Body,
}

enum Body {
    /// All of it.
    Whole { bytes: Vec<u8>, len_max: u64 },
    /// The fields of a form, encoded like a query.
    Query(Vec<u8>),
    /// A form in parts; the field that is being read.
    Form { multipart: Multipart, field: Option<(String, Vec<u8>)>, len: usize },
}

impl Gathering {
    pub(super) fn held(&self) -> u64 {
        match &self.body {
            Body::Whole { bytes, .. } | Body::Query(bytes) => bytes.len() as u64,
            Body::Form { len, .. } => *len as u64,
        }
    }
}

/// What gathering has come to.
enum Gathered {
    More,
    /// All is there: the request with its fields, and the body if it was no form.
    All(Bytes),
    /// The file of a form begins.
    File(Option<String>),
}

impl Gateway {
    /// Reads a whole body first, up to a length.
    pub(super) fn gather(&mut self, conn: ConnId, request: Request, len_max: u64) -> Result<(), Refusal> {
        if let BodyKind::Length(len) = request.head.body
            && len > len_max
        {
            return Err(too_large(len_max));
        }
        self.begin_gathering(conn, request, Body::Whole { bytes: Vec::new(), len_max });
        Ok(())
    }

    /// Reads the form in the body of a `POST` first, if it is one.
    pub(super) fn gather_form(&mut self, conn: ConnId, request: Request) -> Result<(), Refusal> {
        let content_type = request.head.headers.get_str("Content-Type").unwrap_or_default();
        let body = if let Some(multipart) = Multipart::for_content_type(content_type) {
            Body::Form { multipart: multipart.map_err(|error| of_form(&error))?, field: None, len: 0 }
        } else if content_type.split(';').next().is_some_and(is_query) {
            Body::Query(Vec::new())
        } else {
            // It must be empty, then.
            Body::Whole { bytes: Vec::new(), len_max: FIELDS_LEN_MAX as u64 }
        };
        self.begin_gathering(conn, request, body);
        Ok(())
    }

    fn begin_gathering(&mut self, conn: ConnId, request: Request, body: Body) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.http.send_continue();
        connection.exchange = Exchange::Gathering(Box::new(Gathering { request, body }));
    }

    /// More of the body has come, or its end.
    pub(super) fn gathered(&mut self, conn: ConnId, bytes: Option<Bytes>, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Gathering(gathering) = &mut connection.exchange else { return };
        match gathering.take(bytes) {
            Ok(Gathered::More) => {
                if self.holds_too_much() {
                    self.refuse(conn, &busy());
                }
            }
            Ok(ready) => {
                let exchange = std::mem::replace(&mut connection.exchange, Exchange::Idle);
                let Exchange::Gathering(gathering) = exchange else { return };
                let Gathering { mut request, body } = *gathering;
                if matches!(request.segments.as_slice(), [login] if login == "login") {
                    let entered = self.log_in(conn, &request, now);
                    return entered.unwrap_or_else(|refusal| self.refuse(conn, &refusal));
                }
                if let Err(refusal) = self.check_form(&mut request) {
                    return self.refuse(conn, &refusal);
                }
                let acted = match (ready, body) {
                    (Gathered::File(filename), Body::Form { multipart, .. }) => {
                        self.store_upload(conn, &request, filename, Content::of_form(multipart), now)
                    }
                    (Gathered::All(_), Body::Query(_) | Body::Form { .. }) if request.takes_children() => {
                        let t = request.t();
                        Err(Refusal::bad(format!(
                            "Put t={t} into the address, and the children into the body as JSON."
                        )))
                    }
                    (Gathered::All(_), _) if request.page.is_some() && request.segments[0] == "open" => {
                        self.open_cap(conn, &request)
                    }
                    (Gathered::All(_), _) if request.page.is_some() && request.segments[0] == "drive" => {
                        self.make_personal(conn)
                    }
                    (Gathered::All(_), _) if request.page.is_some() && request.segments[0] == "logout" => {
                        self.log_out(conn);
                        Ok(())
                    }
                    (Gathered::All(body), _) if request.head.method == Method::Put => {
                        self.put_cap(conn, &request, &body, now)
                    }
                    (Gathered::All(body), _) => {
                        let acted = self.act(conn, &request, &body, now);
                        self.holds(conn, body.len() as u64);
                        acted
                    }
                    _ => Ok(()),
                };
                acted.unwrap_or_else(|refusal| self.refuse(conn, &refusal));
            }
            Err(refusal) => self.refuse(conn, &refusal),
        }
    }

    /// Whether bodies in memory, all together, are too many.
    pub(super) fn holds_too_much(&self) -> bool {
        let held: u64 = self.connections.values().map(|connection| connection.exchange.held()).sum();
        held > super::HELD_MAX
    }

    /// Refuses a body that would be held when too much is held already.
    pub(super) fn check_room(&self) -> Result<(), Refusal> {
        if self.holds_too_much() { Err(busy()) } else { Ok(()) }
    }
}

impl Gateway {
    /// What was made of a body of so many bytes is being worked on.
    fn holds(&mut self, conn: ConnId, bytes: u64) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && let Exchange::Waiting(waiting) = &mut connection.exchange
        {
            waiting.held = bytes;
        }
    }
}

impl Gathering {
    fn take(&mut self, bytes: Option<Bytes>) -> Result<Gathered, Refusal> {
        let request = &mut self.request;
        match (&mut self.body, bytes) {
            (Body::Whole { bytes, len_max }, Some(more)) => {
                if (bytes.len() + more.len()) as u64 > *len_max {
                    return Err(too_large(*len_max));
                }
                bytes.extend_from_slice(&more);
                Ok(Gathered::More)
            }
            (Body::Query(bytes), Some(more)) => {
                if bytes.len() + more.len() > FIELDS_LEN_MAX {
                    return Err(too_long());
                }
                bytes.extend_from_slice(&more);
                Ok(Gathered::More)
            }
            (Body::Whole { bytes, .. }, None) => Ok(Gathered::All(std::mem::take(bytes).into())),
            (Body::Query(bytes), None) => {
                let form = field_text(std::mem::take(bytes))?;
                let fields = parse_query(form.trim()).map_err(|_| {
                    Refusal::bad("The form has a % that is not followed by two hex digits, or is not UTF-8.")
                })?;
                request.args.extend(fields);
                Ok(Gathered::All(Bytes::new()))
            }
            (Body::Form { multipart, field, len }, bytes) => {
                let ended = bytes.is_none();
                multipart.push(bytes.unwrap_or_default());
                while let Some(event) = multipart.poll().map_err(|error| of_form(&error))? {
                    match event {
                        FormEvent::Part { name, filename } if name == "file" => {
                            return Ok(Gathered::File(filename));
                        }
                        FormEvent::Part { name, .. } => {
                            *len += name.len();
                            *field = Some((name, Vec::new()));
                        }
                        FormEvent::Data(data) => {
                            *len += data.len();
                            if *len > FIELDS_LEN_MAX {
                                return Err(too_long());
                            }
                            if let Some((_, value)) = field {
                                value.extend_from_slice(&data);
                            }
                        }
                        FormEvent::PartEnd => {
                            if let Some((name, value)) = field.take() {
                                request.args.extend([(name, field_text(value)?)]);
                            }
                        }
                        FormEvent::End => return Ok(Gathered::All(Bytes::new())),
                    }
                }
                if ended { Err(of_form(&FormError::CutShort)) } else { Ok(Gathered::More) }
            }
        }
    }
}

fn busy() -> Refusal {
    Refusal::new(503, "The node holds too much for others already; try again later.")
}

fn too_large(len_max: u64) -> Refusal {
    Refusal::new(413, format!("That is too much: the body may have {len_max} bytes here."))
}

fn is_query(content_type: &str) -> bool {
    content_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
