//! The bytes of a file that is being stored, out of the body of a request.

use super::refusal::Refusal;
use crate::http::{FormError, FormEvent, Multipart};
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of the fields of a form, all together.
pub(super) const FIELDS_LEN_MAX: usize = 128 * 1024;

/// The content of a file: the body itself, or a part of a form.
#[derive(Debug)]
pub(super) struct Content {
    form: Option<Box<FormContent>>,
    pending: VecDeque<Bytes>,
    /// Whether the body has come to its end.
    ended: bool,
}

#[derive(Debug)]
struct FormContent {
    multipart: Multipart,
    /// Whether the parser has said all that it can for now.
    drained: bool,
    /// Whether the part with the file is over.
    file_over: bool,
    /// A field after the file, and its value so far.
    field: Option<(String, Vec<u8>)>,
    late: Vec<(String, String)>,
    /// Bytes of these fields.
    late_len: usize,
}

/// What comes next of the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// That was all.
    End,
    /// The client has to send more.
    NotYet,
}

impl Content {
    /// The body itself.
    pub(super) fn body() -> Content {
        Content { form: None, pending: VecDeque::new(), ended: false }
    }

    /// The part of a form that has just begun.
    pub(super) fn of_form(multipart: Multipart) -> Content {
        let (drained, file_over, field, late) = (false, false, None, Vec::new());
        let form = FormContent { multipart, drained, file_over, field, late, late_len: 0 };
        Content { form: Some(Box::new(form)), ..Content::body() }
    }

    /// Takes more of the body.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match &mut self.form {
            Some(form) => {
                form.multipart.push(bytes);
                form.drained = false;
            }
            None => self.pending.push_back(bytes),
        }
    }

    /// The body is complete.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether more of the body is of use now.
    pub(super) fn is_hungry(&self) -> bool {
        self.pending.is_empty() && self.form.as_ref().is_none_or(|form| form.drained)
    }

    /// Whether only the client can bring more.
    pub(super) fn waits_for_client(&self) -> bool {
        !self.ended && self.is_hungry()
    }

    /// The next bytes of the content. Of a form, the end is told only after all of it was seen.
    ///
    /// # Errors
    /// If the form is malformed, or says something after the file that is needed before it.
    pub(super) fn next(&mut self) -> Result<Piece, Refusal> {
        if let Some(bytes) = self.pending.pop_front() {
            return Ok(Piece::Bytes(bytes));
        }
        match &mut self.form {
            Some(form) => form.next(self.ended),
            None if self.ended => Ok(Piece::End),
            None => Ok(Piece::NotYet),
        }
    }

    /// Gives back what could not be used yet.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.pending.push_front(bytes);
    }

    /// Fields that came after the file.
    pub(super) fn take_late(&mut self) -> Vec<(String, String)> {
        self.form.as_mut().map(|form| std::mem::take(&mut form.late)).unwrap_or_default()
    }
}

impl FormContent {
    fn next(&mut self, ended: bool) -> Result<Piece, Refusal> {
        if self.multipart.is_over() {
            return Ok(Piece::End);
        }
        loop {
            match self.multipart.poll().map_err(|error| of_form(&error))? {
                Some(FormEvent::Data(data)) => match &mut self.field {
                    None => return Ok(Piece::Bytes(data)),
                    Some((_, value)) => {
                        self.late_len += data.len();
                        if self.late_len > FIELDS_LEN_MAX {
                            return Err(too_long());
                        }
                        value.extend_from_slice(&data);
                    }
                },
                Some(FormEvent::Part { name, .. }) => {
                    // What decides about the file would come too late now.
                    if !["when_done", "redirect_to_result"].contains(&name.as_str()) {
                        return Err(Refusal::bad(
                            "The file must be the last field of the form: send what belongs to it before.",
                        ));
                    }
                    self.field = Some((name, Vec::new()));
                }
                Some(FormEvent::PartEnd) if !self.file_over => self.file_over = true,
                Some(FormEvent::PartEnd) => {
                    if let Some((name, value)) = self.field.take() {
                        self.late.push((name, field_text(value)?));
                    }
                }
                Some(FormEvent::End) => return Ok(Piece::End),
                None if ended => return Err(of_form(&FormError::CutShort)),
                None => {
                    self.drained = true;
                    return Ok(Piece::NotYet);
                }
            }
        }
    }
}

/// The value of a field.
pub(super) fn field_text(value: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(value).map_err(|_| Refusal::bad("A field of the form is not UTF-8."))
}

pub(super) fn of_form(error: &FormError) -> Refusal {
    Refusal::bad(format!("The form cannot be read: {error}."))
}

pub(super) fn too_long() -> Refusal {
    Refusal::new(413, format!("The fields of a form may have {FIELDS_LEN_MAX} bytes."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is for all of them: many fields of a bearable length are too long as well.
    #[test]
    fn fields_after_the_file_are_bounded_together() {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let read = |count: usize| {
            let mut multipart = Multipart::new("b").expect("a boundary");
            let late = part("when_done", &"x".repeat(FIELDS_LEN_MAX / 2)).repeat(count);
            multipart.push(Bytes::from(format!("{}{late}--b--", part("file", "content"))));
            assert!(matches!(multipart.poll(), Ok(Some(FormEvent::Part { .. }))));
            let mut content = Content::of_form(multipart);
            content.end();
            loop {
                match content.next() {
                    Ok(Piece::Bytes(_)) => {}
                    other => return other,
                }
            }
        };
        assert_eq!(read(2), Ok(Piece::End));
        assert_eq!(read(3), Err(too_long()));
    }
}
