//! What the node is asked to do for the connections, and what it reports of that.

use super::exchange::Exchange;
use super::{Gateway, WRITE_AHEAD};
use tallac_core::machine::{Action, ConnId, Event, Machine};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::time::Now;
use tallac_core::upload::{UploadPlan, UploadProgress};

/// What is known of an upload under way.
#[derive(Debug, Default)]
pub(super) struct UploadView {
    pub(super) handle: Option<String>,
    pub(super) received: u64,
    pub(super) size: Option<u64>,
    pub(super) plan: Option<Box<UploadPlan>>,
    pub(super) progress: Option<UploadProgress>,
}

impl Gateway {
    pub(super) fn new_operation(&mut self, conn: ConnId) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        self.operations.insert(id, conn);
        id
    }

    pub(super) fn end_operation(&mut self, id: OperationId) {
        self.operations.remove(&id);
        if let Some(handle) = self.views.remove(&id).and_then(|view| view.handle) {
            self.watched.remove(&handle);
        }
    }

    /// Gives an operation up whose answer is known already.
    pub(super) fn drop_operation(&mut self, id: OperationId, now: Now) {
        self.end_operation(id);
        self.command(Command::Cancel { id }, now);
    }

    pub(super) fn command(&mut self, command: Command, now: Now) {
        // The node's actions must be taken before its next event.
        self.collect();
        self.node.handle(Event::Command(command), now);
        self.collect();
    }

    /// Takes the node's actions: reports are for the web side, the rest for the host.
    pub(super) fn collect(&mut self) {
        while let Some(action) = self.node.poll_action() {
            let Action::Report(report) = action else {
                self.actions.push_back(action);
                continue;
            };
            match report.operation() {
                Some(id) if self.handles.have(id) => self.handle_reports.push_back(report),
                Some(id) => {
                    let conn = self.operations.get(&id);
                    self.reports.extend(conn.map(|conn| (*conn, report)));
                }
                None => {
                    if matches!(report, Report::Stopped) {
                        self.actions
                            .extend(self.connections.keys().map(|conn| Action::Close { conn: *conn }));
                    }
                    self.actions.push_back(Action::Report(report));
                }
            }
        }
    }

    /// The node tells something about the operation of a connection.
    pub(super) fn report(&mut self, conn: ConnId, report: Report, now: Now) {
        // It may have been given up since.
        let under_way = report.operation().filter(|id| self.operations.get(id) == Some(&conn));
        let (Some(id), Some(connection)) = (under_way, self.connections.get_mut(&conn)) else { return };
        let measures = matches!(connection.exchange, Exchange::Waiting(_));
        match report {
            Report::UploadGrant { bytes, .. } => {
                if let Exchange::Storing(storing) = &mut connection.exchange {
                    storing.granted(bytes);
                }
            }
            Report::UploadPlanned { plan, .. } => {
                if let Some(view) = self.views.get_mut(&id) {
                    view.plan = Some(plan);
                }
            }
            Report::UploadProgress { progress, .. } => {
                if let Some(view) = self.views.get_mut(&id) {
                    view.progress = Some(progress);
                }
            }
            Report::Uploaded { result, .. } => self.uploaded(conn, id, result, now),
            Report::Changed { result, .. } => self.changed(conn, id, result, now),
            Report::Errand { result, .. } => self.errand_done(conn, id, result, now),
            Report::Surveyed { found, .. } => self.surveyed(conn, *found),
            Report::Located { locations, .. } => self.located(conn, id, &locations),
            Report::DownloadData { data, .. } => self.download_data(conn, data),
            Report::Downloaded { result, .. } => self.downloaded(conn, id, result),
            Report::MutableFound { found, .. } if measures => self.measured(conn, id, Ok(&found), now),
            Report::MutableFound { found, .. } => self.mutable_found(conn, id, &found, now),
            Report::MutableRead { result: Err(error), .. } if measures => {
                self.measured(conn, id, Err(&error), now);
            }
            Report::RootMade { result, .. } => self.root_made(conn, id, result),
            Report::MutableRead { result, .. } => self.mutable_read(conn, id, result),
            Report::Notice(_) | Report::Stopped => {}
        }
    }

    /// Asks for more of a file while the client keeps reading.
    pub(super) fn grant_download(&mut self, conn: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let unsent = connection.unsent + connection.http.output_len() as u64;
        if let Exchange::Download(download) = &mut connection.exchange {
            let outstanding = download.granted + unsent;
            let more = WRITE_AHEAD.saturating_sub(outstanding);
            if more >= WRITE_AHEAD / 4 {
                download.granted += more;
                let id = download.id;
                self.command(Command::DownloadGrant { id, bytes: more }, now);
            }
        }
    }
}
