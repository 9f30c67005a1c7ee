//! Every bound of the protocol in one place, with what it costs.
//!
//! Sizes are checked against these before memory is taken. The memory of a transfer is a sum of
//! these numbers; see `ARCHITECTURE.md`, "Memory".

use core::time::Duration;

/// Most bytes of the message part of a frame.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Most bulk bytes of a frame: the largest block a segment can have (k = 1) plus room for a header.
pub const BULK_LEN_MAX: usize = crate::encoding::SEGMENT_SIZE_MAX as usize + 64 * 1024;
/// Most bytes of the first frame of a connection, before the peer has shown a swissnum.
pub const HELLO_LEN_MAX: usize = 4 * 1024;
/// Bytes a node lets one peer send before they are worked off. A peer's reading stops there.
pub const PEER_WINDOW: u64 = 4 * 1024 * 1024;
/// Requests of one connection that a server works on at once; more close the connection.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 256;
/// Answer bytes queued for one connection beyond which its further requests wait.
pub const ANSWER_BACKLOG: u64 = 8 * 1024 * 1024;
/// Bytes of requests and answers kept for all clients together; beyond that the heaviest is cut.
pub const CLIENTS_MEMORY_MAX: u64 = 256 * 1024 * 1024;
/// Ranges in one read request.
pub const READ_RANGES_MAX: usize = 64;
/// Bytes of a corruption advisory's reason, as the HTTP storage protocol bounds it.
pub const ADVISORY_REASON_MAX: usize = 32_765;
/// Advisories a server keeps; further ones are acknowledged and dropped.
pub const ADVISORIES_MAX: u64 = 1_000;
/// Shares in progress on one server, whoever uploads them; each costs a few hundred bytes.
pub const INCOMING_MAX: usize = 100_000;
/// Separate pieces that the written part of a share in progress may fall into.
pub const WRITTEN_PIECES_MAX: usize = 1_024;
/// Bytes written to a share in progress after which a sync begins, to keep the last one short.
pub const SYNC_EARLY: u64 = 32 * 1024 * 1024;
/// Leases a server adds to one share. Anybody who knows the file can add one.
pub const LEASES_MAX: u32 = 4_096;
/// Tests of one share in a write to a slot, as the HTTP storage protocol bounds them.
pub const SLOT_TESTS_MAX: usize = 30;
/// Ranges that a request reads of each share of a slot, as the HTTP storage protocol bounds them.
pub const SLOT_READS_MAX: usize = 30;
/// Pieces that one request writes to all shares of a slot.
pub const SLOT_WRITES_MAX: usize = 4_096;
/// Leases a server adds to one mutable share: those of 256 shares are in memory at once.
pub const SLOT_LEASES_MAX: usize = 512;
/// Bytes of one announcement.
pub const ANNOUNCEMENT_LEN_MAX: usize = 8 * 1024;
/// Announcements a node keeps in its table.
pub const ANNOUNCEMENTS_MAX: usize = 1_000_000;
/// Addresses tried for one server.
pub const ADDRESSES_MAX: usize = 8;
/// Inbound connections a node keeps at once.
pub const INBOUND_MAX: usize = 1_024;
/// Servers an upload asks, as a multiple of the number of shares (the peer's choice, too).
pub const CANDIDATES_PER_SHARE: usize = 2;
/// Bytes of a directory's table. The peer has no bound; 10,000 children take about 5 MB.
pub const DIRECTORY_LEN_MAX: usize = 64 * 1024 * 1024;
/// Children of one directory. Each costs about 200 bytes beside its place in the table, which may
/// be as short as 16 bytes if somebody means ill.
pub const DIRECTORY_ENTRIES_MAX: usize = 200_000;
/// Bytes (UTF-8) of a name given to a child: more than the 255 UTF-16 units that the file systems
/// with the longest names allow can take.
pub const DIRECTORY_NAME_LEN_MAX: usize = 1024;
/// Bytes (UTF-8) of a name that somebody else has given to a child.
pub const DIRECTORY_NAME_READ_LEN_MAX: usize = 64 * 1024;
/// Bytes of the metadata of one link.
pub const DIRECTORY_METADATA_LEN_MAX: usize = 1024 * 1024;
/// Tables of directories that are read at once. Each is in memory whole.
pub const TABLES_READ_MAX: usize = 16;
/// Surveys of whole trees that a node makes at once. Each holds a table and what is below.
pub const SURVEYS_MAX: usize = 16;
/// Different files and directories that one survey tells. Each costs about 50 bytes.
pub const SURVEY_SEEN_MAX: usize = 1_000_000;
/// Bytes of the directories of one survey that wait for their turn.
pub const SURVEY_WAITING_MAX: usize = 64 * 1024 * 1024;
/// Servers that are asked for shares when somebody wants to see where these are.
pub const LOCATE_SERVERS_MAX: usize = 128;
/// Operations that are over and still told of.
pub const JOURNAL_RECENT_MAX: usize = 200;
/// Stages of one operation that are told of: a change that is beaten again and again has many.
pub const JOURNAL_STAGES_MAX: usize = 64;
/// Operations under way that are told of; more are not noted.
pub const JOURNAL_ACTIVE_MAX: usize = 10_000;
/// Names in one path.
pub const PATH_DEPTH_MAX: usize = 1_024;

/// How long a connection attempt may take, TLS and hello included.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// How long a share in progress may lie without a write before it is dropped.
pub const INCOMING_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a new or renewed lease lasts, in seconds of the date.
pub const LEASE_SECONDS: u64 = 31 * 24 * 60 * 60;
/// How long an unheard server counts as known when happiness is derived from the grid's size.
pub const KNOWN_SECONDS: u64 = 30 * 24 * 60 * 60;
/// How long an announced server is remembered after it was last heard of.
pub const FORGOTTEN_SECONDS: u64 = 365 * 24 * 60 * 60;
