//! Forms with files (`multipart/form-data`), without I/O.
//!
//! Read first: RFC 7578 (forms) and RFC 2046, section 5.1 (how parts are divided). Content is handed out
//! as slices of what came in; no more is kept back than could be the beginning of a boundary.

use bytes::Bytes;
use std::fmt;

/// Bytes of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_LEN_MAX: usize = 70;
/// Bytes of the headers of one part.
const HEADERS_LEN_MAX: usize = 8 * 1024;
/// Header lines of one part.
const HEADERS_MAX: usize = 16;
/// Parts of one form.
const PARTS_MAX: usize = 256;

/// Takes a form apart.
///
/// After each [`push`](Self::push) poll until there is nothing more. The order of events is
/// `(Part Data* PartEnd)* End`; after an error or `End` nothing follows.
pub struct Multipart {
    /// `CRLF -- boundary`.
    delimiter: Vec<u8>,
    buffer: Bytes,
    stage: Stage,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Before the first boundary.
    Preamble,
    /// Right after a boundary.
    Boundary,
    /// In the headers of a part.
    Headers,
    /// In the content of a part.
    Content,
    Over,
}

/// A piece of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormEvent {
    /// A part begins.
    Part {
        /// The name of the field.
        name: String,
        /// The name of the file, if it is one.
        filename: Option<String>,
    },
    /// Some of its content.
    Data(Bytes),
    /// It is complete.
    PartEnd,
    /// The form is complete.
    End,
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// The `Content-Type` names no boundary, or an impossible one.
    Boundary,
    /// A part begins wrongly, or its headers are malformed or too long.
    Headers,
    /// A part has no name.
    NoName,
    /// There are too many parts.
    TooManyParts,
    /// The form ends in the middle.
    CutShort,
}

impl Multipart {
    /// A form whose parts are divided as the value of a `Content-Type` header says; `None` if it is of
    /// another type.
    pub fn for_content_type(value: &str) -> Option<Result<Multipart, FormError>> {
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameters_of(parameters).into_iter().flatten().find(|(name, _)| name == "boundary");
        Some(match boundary {
            Some((_, boundary)) => Multipart::new(&boundary),
            None => Err(FormError::Boundary),
        })
    }

    /// A form whose parts are divided by this.
    ///
    /// # Errors
    /// If it cannot be a boundary.
    pub fn new(boundary: &str) -> Result<Multipart, FormError> {
        let printable = boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if boundary.is_empty() || boundary.len() > BOUNDARY_LEN_MAX || !printable || boundary.ends_with(' ') {
            return Err(FormError::Boundary);
        }
        // The first boundary has no line before it; as if it had.
        let buffer = Bytes::from_static(b"\r\n");
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Ok(Multipart { delimiter, buffer, stage: Stage::Preamble, parts: 0 })
    }

    /// Takes what came in.
    pub fn push(&mut self, bytes: Bytes) {
        if self.stage == Stage::Over {
            return;
        }
        if self.buffer.is_empty() {
            self.buffer = bytes;
        } else {
            self.buffer = Bytes::from([&self.buffer[..], &bytes[..]].concat());
        }
    }

    /// Whether the form has come to its end; what follows does not matter.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The next piece; `None` if more has to come in.
    ///
    /// # Errors
    /// If it is no form.
    pub fn poll(&mut self) -> Result<Option<FormEvent>, FormError> {
        let event = self.advance();
        if event.is_err() {
            self.end();
        }
        event
    }

    fn advance(&mut self) -> Result<Option<FormEvent>, FormError> {
        loop {
            match self.stage {
                Stage::Preamble => {
                    if !self.skip_preamble() {
                        return Ok(None);
                    }
                }
                Stage::Boundary => match self.after_boundary()? {
                    Some(true) => {
                        self.end();
                        return Ok(Some(FormEvent::End));
                    }
                    Some(false) => self.stage = Stage::Headers,
                    None => return Ok(None),
                },
                Stage::Headers => return self.headers(),
                Stage::Content => return Ok(self.content()),
                Stage::Over => return Ok(None),
            }
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.buffer = Bytes::new();
    }

    fn skip_preamble(&mut self) -> bool {
        match memchr::memmem::find(&self.buffer, &self.delimiter) {
            Some(at) => {
                let _ = self.buffer.split_to(at + self.delimiter.len());
                self.stage = Stage::Boundary;
                true
            }
            None => {
                let _ = self.buffer.split_to(self.buffer.len() - self.undecided());
                false
            }
        }
    }

    /// Whether the boundary was the last; nothing if that is not to be seen yet.
    fn after_boundary(&mut self) -> Result<Option<bool>, FormError> {
        if self.buffer.starts_with(b"--") {
            return Ok(Some(true));
        }
        // Blanks may follow a boundary.
        let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &self.buffer[blanks..] {
            [b'\r', b'\n', ..] => {
                // The line's end stays: it is that of no headers, or begins the last of them.
                let _ = self.buffer.split_to(blanks);
                Ok(Some(false))
            }
            [] | [b'\r'] if blanks < HEADERS_LEN_MAX => Ok(None),
            [b'-'] if blanks == 0 => Ok(None),
            _ => Err(FormError::Headers),
        }
    }

    fn headers(&mut self) -> Result<Option<FormEvent>, FormError> {
        let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > HEADERS_LEN_MAX { Err(FormError::Headers) } else { Ok(None) };
        };
        if at > HEADERS_LEN_MAX {
            return Err(FormError::Headers);
        }
        let head = self.buffer.split_to(at + 4);
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(FormError::TooManyParts);
        }
        self.stage = Stage::Content;
        part(&head[2..]).map(Some)
    }

    fn content(&mut self) -> Option<FormEvent> {
        match memchr::memmem::find(&self.buffer, &self.delimiter) {
            Some(0) => {
                let _ = self.buffer.split_to(self.delimiter.len());
                self.stage = Stage::Boundary;
                Some(FormEvent::PartEnd)
            }
            Some(at) => Some(FormEvent::Data(self.buffer.split_to(at))),
            None => {
                let sure = self.buffer.len() - self.undecided();
                (sure > 0).then(|| FormEvent::Data(self.buffer.split_to(sure)))
            }
        }
    }

    /// How many bytes at the end of the buffer may be the beginning of a delimiter.
    fn undecided(&self) -> usize {
        let longest = self.buffer.len().min(self.delimiter.len() - 1);
        (1..=longest).rev().find(|len| self.buffer.ends_with(&self.delimiter[..*len])).unwrap_or(0)
    }
}

/// The content of a form may be private.
impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multipart({:?}, {} parts, {} bytes wait)", self.stage, self.parts, self.buffer.len())
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boundary => "the Content-Type of the form names no boundary that could be one",
            Self::Headers => "a part of the form begins wrongly",
            Self::NoName => "a part of the form has no name",
            Self::TooManyParts => "the form has too many parts",
            Self::CutShort => "the form ends before its last boundary",
        })
    }
}

impl std::error::Error for FormError {}

/// What the headers of a part say.
fn part(headers: &[u8]) -> Result<FormEvent, FormError> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let headers = match httparse::parse_headers(headers, &mut slots) {
        Ok(httparse::Status::Complete((_, headers))) => headers,
        _ => return Err(FormError::Headers),
    };
    let disposition = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-disposition"));
    let disposition = disposition.ok_or(FormError::NoName)?;
    let value = std::str::from_utf8(disposition.value).map_err(|_| FormError::Headers)?;
    let (kind, parameters) = value.split_once(';').ok_or(FormError::NoName)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormError::Headers);
    }
    let (mut field, mut filename) = (None, None);
    for (name, value) in parameters_of(parameters).ok_or(FormError::Headers)? {
        match name.as_str() {
            "name" => field = Some(unescape(&value)),
            "filename" => filename = Some(unescape(&value)),
            _ => {}
        }
    }
    Ok(FormEvent::Part { name: field.ok_or(FormError::NoName)?, filename })
}

/// The `name=value` pairs of a header, names in small letters; `None` if a quote is not closed.
fn parameters_of(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ';']).to_ascii_lowercase();
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let (value, left) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        found.push((name, value));
        rest = left;
    }
    Some(found)
}

/// A quoted string up to its end, and what follows. Before anything but a quote or another one, a
/// backslash is a backslash: some browsers send the paths of Windows.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, next)) => value.push(next),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

/// What browsers escape in names (HTML, "multipart form data").
fn unescape(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Name, name of the file, content.
    type Field = (String, Option<String>, Vec<u8>);

    /// The fields of a form that comes in pieces of these lengths, in turn.
    fn fields(boundary: &str, form: &[u8], cuts: &[usize]) -> Result<Vec<Field>, FormError> {
        let mut multipart = Multipart::new(boundary)?;
        let (mut fields, mut open, mut rest) = (Vec::new(), false, form);
        let mut cuts = cuts.iter().copied().chain([form.len()]).cycle();
        loop {
            while let Some(event) = multipart.poll()? {
                match event {
                    FormEvent::Part { name, filename } => {
                        assert!(!open, "a part begins within another");
                        open = true;
                        fields.push((name, filename, Vec::new()));
                    }
                    FormEvent::Data(data) => {
                        assert!(open && !data.is_empty());
                        fields.last_mut().expect("a part is open").2.extend_from_slice(&data);
                    }
                    FormEvent::PartEnd => open = false,
                    FormEvent::End => return Ok(fields),
                }
            }
            if rest.is_empty() {
                return Err(FormError::CutShort);
            }
            let len = cuts.next().expect("endless").clamp(1, rest.len());
            let (front, back) = rest.split_at(len);
            multipart.push(Bytes::copy_from_slice(front));
            assert!(multipart.buffer.len() <= len + HEADERS_LEN_MAX + multipart.delimiter.len());
            rest = back;
        }
    }

    fn form(boundary: &str, parts: &[Field]) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, filename, content) in parts {
            let filename = filename.as_ref().map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
            let head =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(content);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        form
    }

    /// What a browser and a command line send, word for word.
    #[test]
    fn forms_from_outside() {
        let browser = "------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\nupload\r\n\
            ------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a %22b%22.txt\"\r\n\
            Content-Type: text/plain\r\n\r\nline\r\n--no boundary\r\n\r\n------WebKitFormBoundaryX--\r\n";
        let expected = vec![
            ("t".into(), None, b"upload".to_vec()),
            ("file".into(), Some("a \"b\".txt".into()), b"line\r\n--no boundary\r\n".to_vec()),
        ];
        assert_eq!(fields("----WebKitFormBoundaryX", browser.as_bytes(), &[]), Ok(expected));
        let curl = "preamble\r\n--bb  \r\ncontent-type: a/b\r\ncontent-disposition: Form-Data; filename=\"C:\\x\\\"y\"; name=file\r\n\r\n\r\n--bb--epilogue";
        let expected = vec![("file".to_owned(), Some("C:\\x\"y".to_owned()), vec![])];
        assert_eq!(fields("bb", curl.as_bytes(), &[]), Ok(expected));
        assert_eq!(fields("bb", b"--bb--", &[1]), Ok(vec![]));
    }

    #[test]
    fn content_types() {
        let kind =
            |value: &str| Multipart::for_content_type(value).map(|form| form.map(|form| form.delimiter));
        assert_eq!(kind("Multipart/Form-Data; boundary=ab"), Some(Ok(b"\r\n--ab".to_vec())));
        assert_eq!(kind("multipart/form-data;charset=x; boundary=\"a b\""), Some(Ok(b"\r\n--a b".to_vec())));
        assert_eq!(kind("text/plain; boundary=ab"), None);
        for bad in ["", "; boundary=", "; boundary=\"a", "; boundary=\"a \"", "; boundary=\u{e9}"] {
            assert_eq!(kind(&format!("multipart/form-data{bad}")), Some(Err(FormError::Boundary)), "{bad}");
        }
        assert_eq!(Multipart::new(&"x".repeat(71)).map(|_| ()), Err(FormError::Boundary));
    }

    #[test]
    fn broken_forms() {
        let disposition = "Content-Disposition: form-data; name=\"a\"";
        for (form, error) in [
            ("".to_owned(), FormError::CutShort),
            ("--b".into(), FormError::CutShort),
            ("--c--".into(), FormError::CutShort),
            ("--bx\r\n".into(), FormError::Headers),
            ("--b-x".into(), FormError::Headers),
            (format!("--b\r\n{disposition}\r\n\r\nx"), FormError::CutShort),
            (format!("--b\r\n{disposition}\r\n\r\nx\r\n--b"), FormError::CutShort),
            ("--b\r\n\r\nx\r\n--b--".into(), FormError::NoName),
            ("--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--".into(), FormError::NoName),
            ("--b\r\nContent-Disposition: form-data; filename=x\r\n\r\nx\r\n--b--".into(), FormError::NoName),
            ("--b\r\nContent-Disposition: attachment; name=x\r\n\r\n".into(), FormError::Headers),
            ("--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\n".into(), FormError::Headers),
            ("--b\r\nno header\r\n\r\n".into(), FormError::Headers),
            (format!("--b\r\nX: {}", "x".repeat(HEADERS_LEN_MAX)), FormError::Headers),
            (format!("--b{}", " ".repeat(HEADERS_LEN_MAX)), FormError::Headers),
            (format!("--b\r\n{}", "X: y\r\n".repeat(HEADERS_MAX + 1)) + "\r\n", FormError::Headers),
            (format!("--b\r\n{disposition}\r\n\r\n\r\n").repeat(PARTS_MAX + 1), FormError::TooManyParts),
        ] {
            assert_eq!(fields("b", form.as_bytes(), &[]), Err(error), "{form:.40}");
            assert_eq!(fields("b", form.as_bytes(), &[1]), Err(error), "{form:.40}, byte by byte");
        }
    }

    proptest! {
        /// However the bytes are cut, the form is the same; content may look like a boundary.
        #[test]
        fn any_split(
            parts in proptest::collection::vec(
                ("[a-z_]{1,8}", proptest::option::of("[a-z. é]{0,9}"), "(\r|\n|-|b|--b|\r\n|\r\n-|x){0,40}"),
                0..5,
            ),
            cuts in proptest::collection::vec(1..40_usize, 1..6),
        ) {
            let delimiter = "\r\n--bb";
            let parts: Vec<_> = parts
                .into_iter()
                .filter(|(.., content)| !format!("\r\n{content}\r\n").contains(delimiter))
                .map(|(name, filename, content)| (name, filename, content.into_bytes()))
                .collect();
            let form = form("bb", &parts);
            prop_assert_eq!(fields("bb", &form, &cuts), Ok(parts));
        }

        /// Nothing that comes in makes it panic, and the split makes no difference.
        #[test]
        fn anything(form in "(--b|\r\n|--|: |Content-Disposition: form-data; name=|\"|a|;|=){0,40}",
                    cuts in proptest::collection::vec(1..9_usize, 1..6)) {
            prop_assert_eq!(fields("b", form.as_bytes(), &cuts), fields("b", form.as_bytes(), &[]));
        }
    }
}
