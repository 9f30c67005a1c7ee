//! Why a request is not fulfilled: every error becomes a status and one sentence here.

use std::fmt::Display;
use tallac_core::directory::{EditError, EditProblem, NewTableError, PathError, TableError};
use tallac_core::disk::DiskError;
use tallac_core::download::DownloadError;
use tallac_core::drive::DriveError;
use tallac_core::mutable::{ChangeError, MakeError, ReadError};
use tallac_core::upload::UploadError;

/// A response that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// A sentence for the person who meets it. No capability may be in it.
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Refusal {
        Refusal { status, text: text.into() }
    }

    /// The request makes no sense.
    pub(super) fn bad(text: impl Into<String>) -> Refusal {
        Refusal::new(400, text)
    }

    /// An error as a sentence of its own.
    pub(super) fn of(status: u16, error: &impl Display) -> Refusal {
        Refusal::new(status, sentence(&error.to_string()))
    }

    /// The same with something said first.
    pub(super) fn after(self, lead: &str) -> Refusal {
        Refusal { text: format!("{lead} {}", self.text), ..self }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Refusal {
        Refusal::of(400, &error)
    }
}

impl From<&DriveError> for Refusal {
    fn from(error: &DriveError) -> Refusal {
        let status = match error {
            DriveError::NoSuchChild { .. } => 404,
            DriveError::NotADirectory { .. }
            | DriveError::VerifyOnly
            | DriveError::ReadOnly { .. }
            | DriveError::Name { .. }
            | DriveError::NoName
            | DriveError::Capability(_) => 400,
            DriveError::Exists { .. } | DriveError::IntoItself | DriveError::Beaten => 409,
            // It is there, but leads nowhere.
            DriveError::Unusable { .. } => 410,
            DriveError::UnknownKind { .. } => 501,
            DriveError::TooMuch(_) => 413,
            DriveError::Children(error) => of_children(error),
            DriveError::Read(error) => of_read(error),
            DriveError::Download(error) => of_download(error),
            DriveError::Table(error) => of_table(error),
            DriveError::Change(error) | DriveError::LeftBehind(error) => of_change(error),
            DriveError::Upload(error) => of_upload(error),
            DriveError::Busy | DriveError::Stopping => 503,
        };
        Refusal::of(status, error)
    }
}

impl From<&ChangeError> for Refusal {
    fn from(error: &ChangeError) -> Refusal {
        Refusal::of(of_change(error), error)
    }
}

impl From<&UploadError> for Refusal {
    fn from(error: &UploadError) -> Refusal {
        Refusal::new(of_upload(error), format!("The file was not stored: {error}."))
    }
}

impl From<&DownloadError> for Refusal {
    fn from(error: &DownloadError) -> Refusal {
        Refusal::new(of_download(error), format!("The file cannot be read: {error}."))
    }
}

impl From<&ReadError> for Refusal {
    fn from(error: &ReadError) -> Refusal {
        Refusal::new(of_read(error), format!("The file cannot be read: {error}."))
    }
}

fn of_download(error: &DownloadError) -> u16 {
    match error {
        DownloadError::NotEnoughShares { .. } => 410,
        DownloadError::Inconsistent { .. } => 500,
        DownloadError::Stopping => 503,
    }
}

fn of_read(error: &ReadError) -> u16 {
    match error {
        ReadError::NotFound { .. } | ReadError::NotEnoughShares { .. } => 410,
        ReadError::Inconsistent { .. } => 500,
        ReadError::Changed | ReadError::Stopping => 503,
    }
}

fn of_upload(error: &UploadError) -> u16 {
    match error {
        UploadError::SourceTooShort { .. } | UploadError::SourceTooLong { .. } => 400,
        UploadError::TooLarge { .. } => 413,
        UploadError::SpoolFull { .. } | UploadError::Spool(DiskError::Full) => 507,
        UploadError::Spool(_) | UploadError::SpoolDamaged => 500,
        UploadError::NoServers | UploadError::Unhappy { .. } | UploadError::Stopping => 503,
    }
}

fn of_change(error: &ChangeError) -> u16 {
    match error {
        ChangeError::NotFound { .. } | ChangeError::NoPrivateKey { .. } => 410,
        ChangeError::NoServers
        | ChangeError::TooFew { .. }
        | ChangeError::NoRoom { .. }
        | ChangeError::Unreadable { .. }
        | ChangeError::Divided { .. }
        | ChangeError::Stopping => 503,
        ChangeError::NoKeys => 500,
        ChangeError::NoDirectory(error) => of_table(error),
        ChangeError::Edit { error, .. } => of_edit(error),
        ChangeError::Children(error) => of_children(error),
        ChangeError::AlreadyThere | ChangeError::Beaten { .. } => 409,
        ChangeError::PastEnd { .. } => 416,
        ChangeError::Make(MakeError::TooLarge { .. } | MakeError::Encoding(_)) => 413,
        ChangeError::Make(MakeError::Key(_) | MakeError::CannotSign) => 400,
    }
}

fn of_edit(error: &EditError) -> u16 {
    match error.problem {
        EditProblem::ReadOnly | EditProblem::Name(_) | EditProblem::Child(_) => 400,
        EditProblem::NoSuchChild => 404,
        EditProblem::Exists
        | EditProblem::WouldReplaceDirectory
        | EditProblem::NotAFile
        | EditProblem::NotADirectory
        | EditProblem::Changed { .. } => 409,
        EditProblem::Full => 413,
    }
}

fn of_children(error: &NewTableError) -> u16 {
    match error {
        NewTableError::Name { .. } | NewTableError::Child { .. } | NewTableError::Twice { .. } => 400,
        NewTableError::TooLarge => 413,
    }
}

/// What is stored is no directory, or none that can be worked with: nobody's request is wrong.
fn of_table(error: &TableError) -> u16 {
    match error {
        TableError::TooLong { .. } | TableError::TooMany | TableError::Entry { .. } => 500,
    }
}

/// A phrase as a sentence: errors begin with a small letter and have no full stop.
fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if phrase.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
